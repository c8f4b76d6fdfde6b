"""`varietas.Run`: a run in a folder, as notebooks and the command line use it. The work is done by `train`."""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ml_collections import ConfigDict
from rich.console import Console

from varietas.data.chat.template import chat_prompts
from varietas.data.files import write_json
from varietas.data.stream.stream import Stream
from varietas.data.tokenizer.model import encode_prompts, file_in
from varietas.data.tokenizer.model import load as load_tokenizer
from varietas.launch import backend, resolve
from varietas.launch.distributed.meeting import is_first, joined
from varietas.launch.distributed.watchdog import watched
from varietas.launch.evaluation.bits import Documents, Opened, evaluation
from varietas.launch.evaluation.tasks import benchmark
from varietas.launch.models.initial import resolved
from varietas.launch.models.quantizing import Small, made_small
from varietas.launch.power import own_power
from varietas.train.experiment import Experiment
from varietas.train.inference.sampling import Sampling, check_lengths
from varietas.train.run_folder import folder as run_folder
from varietas.train.run_folder.benchmarks import Benchmark
from varietas.train.run_folder.config import read_config
from varietas.train.run_folder.evaluations import Evaluation, Row
from varietas.train.run_folder.origin import languages_of
from varietas.train.run_folder.records import Losses, read_losses, readable

if TYPE_CHECKING:  # these import jax, which takes seconds: a mistake is answered without it
    from varietas.model.decoder import Build
    from varietas.train.inference.generate import Generator
    from varietas.train.inference.network import Network

Prompts = TypeVar("Prompts", str, list[str])
NONE: Any = ""  # of either type


class Run:
    """A run in a folder, made from a config or opened again.

    run = varietas.Run("tiny", {"optim.peak_lr": 1e-3})
    run.train(steps=50)
    run.losses.plot()
    print(run.generate("Ahoj,"))
    """

    _small: Small | None = None

    def __init__(
        self,
        config: str | ConfigDict = "demo",
        overrides: Mapping[str, Any] | Sequence[str] = (),
        folder: str | Path | None = None,
        cpu_devices: int | None = None,
        build: "Build | None" = None,
        console: Console | None = None,
    ):
        """Checks everything that can be checked before training. Nothing is written to the folder yet.

        Args:
            config: A config of ours by name, the path of a config file, or a ConfigDict.
            overrides: Values of fields by dotted names; for a config by name or path also command line arguments.
            folder: The run's folder; runs/<config> if not given.
            cpu_devices: On a CPU, the number of virtual devices; one for every two cores if not given.
            build: Makes the model; `model.decoder.Decoder` if not given.
            console: Where progress is shown.

        Raises:
            ValueError: If the config, the corpus or the folder do not fit together or this machine.
        """
        backend.stop_second_run()
        config, name = resolve.config_of(config, overrides)
        self._attach(config, folder or Path("runs") / name, cpu_devices, build, console)
        resolve.check_place(self.folder)
        self.config, self.stream = resolved(config, overrides, self.folder)
        if is_first() and (faults := resolve.missing_shards(self.stream.corpus, self.config)):
            self.console.print(f"{faults[0]}; documents of {len(faults):,} such shards are left out", highlight=False, soft_wrap=True)
        self._resolve_mesh(fit=False)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        cpu_devices: int | None = None,
        build: "Build | None" = None,
        console: Console | None = None,
        corpus: str | Path | None = None,
        small: Small | None = None,
    ) -> "Run":
        """Opens an existing run, to evaluate it, generate, report or train further, on whatever devices there are.

        Args:
            folder: The run's folder.
            cpu_devices: On a CPU, the number of virtual devices; one for every two cores if not given.
            build: Makes the model, as when the run was made; `model.decoder.Decoder` if not given.
            console: Where progress is shown.
            corpus: Where the run's corpus lies now, if it has moved; several with commas, as in `data.corpus`.
            small: The small form in which the model is evaluated and generates; None for float32. Nothing else uses it.

        Raises:
            ValueError: If the folder is not a run, if its config is damaged, or if `corpus` is not the corpus that it was trained on.
        """
        backend.stop_second_run()
        run = cls.__new__(cls)
        run._attach(resolve.reopened(read_config(Path(folder)), corpus), folder, cpu_devices, build, console)
        run._small = small
        if corpus is not None:
            run_folder.check_data(run.folder, run.stream.corpus)
        return run

    def _attach(
        self, config: ConfigDict, folder: str | Path, cpu_devices: int | None, build: "Build | None", console: Console | None
    ) -> None:
        self.config = config
        self.folder: Path = Path(folder).absolute()
        self.console = console or Console(highlight=False)
        self._cpu_devices, self._given_build, self._mesh_is_resolved = cpu_devices, build, False

    def train(self, steps: int | None = None, since: float | None = None) -> bool:
        """Trains from the folder's newest checkpoint on.

        Args:
            steps: How many steps further; None for all that are left.
            since: When this start of the run began, by time.monotonic(), for the account of its time; now if not given.

        Returns:
            Whether all steps of the run are done. False after SIGTERM or Ctrl-C, which save a checkpoint first.

        Raises:
            ValueError: If the folder holds a run of another config or corpus.
            MemoryError: If the devices have too little memory.
            FloatingPointError: If the loss or the gradient is not a number, or the loss is a spike, and the config says to stop then.
            RuntimeError: If a device computes the same step in two ways.
        """
        since = time.monotonic() if since is None else since
        from varietas.train.accounting.attempt import Attempt
        from varietas.train.run import train_run

        self._resolve_mesh(fit=False)
        exp = self._experiment
        for line in resolve.changed(self.folder, self.config):
            self.console.print(line, soft_wrap=True)
        run_folder.check_data(self.folder, self.stream.corpus)
        attempt = Attempt(self.folder, since, own_power(self.folder, self.config.mesh.to_dict()))
        with watched(joined(), self.config.train.stuck_after):
            outcome = train_run(attempt, self.config.to_dict(), exp, self.stream, self.console, steps, self._build)
        self.console.print(outcome.line(exp.steps), soft_wrap=True)
        return outcome.digest is not None

    def evaluate(self, documents: Documents = None, name: str | None = None, step: int | None = None) -> dict[str, Row]:
        """Computes bits per byte of each language.

        Args:
            documents: The text to evaluate on; None for the Declaration of Human Rights.
            name: That of the evaluation in the folder and the report, to which a small form is added; if None, `declaration` or `given`.
            step: The checkpoint after this many steps; None for the newest.

        Returns:
            A row for each language, the worst first.

        Raises:
            ValueError: If there is no checkpoint, the corpus is not the one that the run was trained on, or `name` is that of another text.
        """
        return dict(self.evaluation(documents, name, step, again=True).languages)

    def evaluation(self, documents: Documents = None, name: str | None = None, step: int | None = None, again: bool = False) -> Evaluation:
        """Evaluates as `evaluate` does, with what `varietas.compare` needs. What the folder has of this text is returned unless `again`."""
        return evaluation(self._opened, documents, name, step, again)

    def benchmark(self, tasks: Sequence[str], step: int | None = None, include_path: Path | None = None, **how: Any) -> list[Benchmark]:
        """Asks the model the questions of benchmarks of lm_eval, and keeps the scores in the run's folder.

        Args:
            tasks: Names of tasks and groups, such as belebele_deu_Latn.
            step: The checkpoint after this many steps; None for the newest.
            include_path: A folder with further tasks.
            how: limit, num_fewshot, apply_chat_template, fewshot_as_multiturn, log_samples, as lm_eval has them.

        Raises:
            ValueError: If there is no checkpoint, or a task is not known, not safe, or its data not at hand.
        """
        return benchmark(self._opened, tasks, self.console, step, include_path, how)

    def generate(
        self, prompts: Prompts = NONE, max_tokens: int = 64, temperature: float = 0.0, top_p: float = 1.0, seed: int = 0, chat: bool = False
    ) -> Prompts:
        """Continues a prompt, or several at once; with `chat`, answers what a user says. `Sampling` explains the other arguments.

        Returns:
            The continuation without the prompt; a list of them for a list of prompts.

        Raises:
            ValueError: If a prompt is too long, or there is no checkpoint.
        """
        several = [prompts] if isinstance(prompts, str) else prompts
        texts = [""] * len(several)
        for row, text in self.continuations(several, Sampling(max_tokens, temperature, top_p, seed), chat):
            texts[row] += text
        return texts[0] if isinstance(prompts, str) else texts

    def continuations(self, prompts: Sequence[str], sampling: Sampling, chat: bool = False) -> Iterator[tuple[int, str]]:
        """Continues prompts with the newest checkpoint.

        Args:
            prompts: The texts to continue.
            sampling: How tokens are chosen, and how many.
            chat: Whether each prompt is what a user says, which the assistant answers.

        Yields:
            The number of a prompt and the text that follows it, as the text comes.

        Raises:
            ValueError: If there is no checkpoint, it is damaged or of another model, there is no chat template, a prompt is not valid
                Unicode or too long, or a value of `sampling` is out of its range.
        """
        run_folder.saved_step(self.folder)
        processor = load_tokenizer(file_in(self.folder))
        ids, ends = chat_prompts(self.folder, prompts) if chat else (encode_prompts(processor, prompts), ())
        sampling.check()
        check_lengths(ids, sampling.max_tokens, self.config.model.max_seq_len)
        from varietas.train.inference.text import continuations

        yield from continuations(self._generator(), processor, ids, sampling, ends)

    def sample(self) -> list[dict[str, str]]:
        """Generates short texts in a few languages with the newest checkpoint, and keeps them in samples.json, for the report.

        Returns:
            The samples.

        Raises:
            ValueError: If there is no checkpoint, it is damaged or of another model, or mixture.json is missing or damaged.
        """
        run_folder.saved_step(self.folder)
        trained_on = languages_of(self.folder)
        from varietas.train.inference.text import sample

        samples = sample(self._generator(), load_tokenizer(file_in(self.folder)), trained_on)
        if is_first():
            write_json(self.folder / "samples.json", samples)
        return samples

    def report(self) -> Path:
        """Writes report.html into the run's folder and returns its path. Of several processes, process 0 does it.

        Raises:
            ValueError: If config.json is missing or cannot be read.
            OSError: If the report cannot be written.
        """
        from varietas.train.report.page import FILE, write_report

        return write_report(self.folder) if is_first() else self.folder / FILE

    def export(self, out: str | Path, step: int | None = None, dtype: str | None = None) -> None:
        """Writes the model into a new folder as transformers and vLLM load it.

        Args:
            out: The new folder.
            step: The checkpoint after this many steps; None for the newest.
            dtype: float32, bfloat16 or float16; None for the run's `model.dtype`.

        Raises:
            ValueError: If there is no such checkpoint, `out` exists, or transformers has no model or tokenizer that computes the same.
        """
        run_folder.saved_step(self.folder, step)
        if Path(out).exists():
            raise ValueError(f"{out} exists; name a new folder")
        from varietas.train.release.huggingface import export, settings

        beside = settings(self.folder, self._experiment.model, dtype := dtype or self.config.model.dtype)
        export(self.folder, *self._network(step), Path(out), dtype, beside)

    def export_gguf(self, out: str | Path, step: int | None = None, form: str | None = None, calibration: Documents = None) -> None:
        """Writes the model and its tokenizer into a new file for llama.cpp. `train.release.gguf.export` explains the arguments."""
        run_folder.saved_step(self.folder, step)
        from varietas.train.release.gguf import export

        export(self.folder, self._experiment.model, lambda: self._network(step), Path(out), form, calibration, self.console)

    def digest(self, step: int | None = None) -> str:
        """Returns the SHA-256 over the parameters of the checkpoint after `step` steps, None for the newest. It is the same on any mesh.

        Raises ValueError if there is no such checkpoint, or it is damaged or of another model.
        """
        run_folder.saved_step(self.folder, step)
        from varietas.train.run_folder.checkpoint import digest_of

        return digest_of(self.folder / "checkpoints", self._experiment.model, self._mesh(), step, self._build)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The records of metrics.jsonl, one a step."""
        return readable(self.folder / "metrics.jsonl")

    @property
    def losses(self) -> Losses:
        """The training losses, by step and by language."""
        return read_losses(self.folder)

    @cached_property
    def stream(self) -> Stream:
        """The training rows of the run. Raises ValueError if the corpus is no longer where it was, or is damaged."""
        resolve.check_corpus_is_there(self.folder, self.config)
        return resolve.stream_of(self.config, resolve.corpus_of(self.config))

    @property
    def _opened(self) -> Opened:
        return Opened(self.folder, self._small, lambda: self.stream, lambda: self._experiment, self._network_in_use)

    @property
    def _build(self) -> "Build":
        from varietas.model.decoder import Decoder

        return self._given_build or Decoder

    @property
    def _experiment(self) -> Experiment:
        return resolve.experiment_of(self.config)

    def _resolve_mesh(self, fit: bool) -> None:
        """Starts jax and fills in the sizes of the mesh. `fit`: use as many devices as suit the config rather than refuse."""
        if not self._mesh_is_resolved:
            self.config, self._mesh_is_resolved = resolve.with_mesh(self.config, self._cpu_devices, fit), True

    def _network(self, step: int | None = None) -> "tuple[Network, int]":
        mesh = self._mesh()
        from varietas.train.inference.network import load

        return load(self.folder, self._experiment.model, mesh, step, self._build)

    def _network_in_use(self, step: int | None = None) -> "tuple[Network, int]":  # in the form in which it is evaluated and generates
        network, found = self._network(step)
        return made_small(network, self.folder, self._small) if self._small else network, found

    def _mesh(self) -> Any:
        self._resolve_mesh(fit=True)
        from varietas.train.program import connected_mesh

        return connected_mesh(self._experiment)

    def _generator(self) -> "Generator":
        from varietas.train.inference.generate import generator

        return generator(self._network_in_use()[0])
