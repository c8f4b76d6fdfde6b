"""A run as an object: what the command line and notebooks use. Each method is a short use of the functions in `train`."""

import json
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from varietas.data import tokenizer
from varietas.data.corpus import Corpus
from varietas.data.default import default_corpus, parallel_documents
from varietas.data.documents import Document
from varietas.data.files import write_json
from varietas.data.languages import WORLD
from varietas.data.mixture import from_config
from varietas.data.sources import Sources, open_corpus
from varietas.data.stream import Stream
from varietas.launch import backend
from varietas.launch.settings import check, experiment, load_config, resolve_mesh, suitable
from varietas.launch.settings import cpu_devices as devices_for
from varietas.train import folder as run_folder

SAMPLE_LANGUAGES = ("eng_Latn", "deu_Latn", "ces_Latn", "ell_Grek", "fin_Latn", "bul_Cyrl")
EVALUATION_TEXT = "Universal Declaration of Human Rights, passages from gflanguages 0.7.11"


@dataclass(frozen=True)
class Losses:
    """Training losses in nats a token: by step, and for each language by step (NaN where a step had none of it, or it was no number)."""

    steps: np.ndarray
    loss: np.ndarray
    languages: dict[str, np.ndarray]

    def plot(self, languages: Sequence[str] = ()) -> Any:
        """Draws the loss, and those of `languages`; returns matplotlib's Axes. Needs matplotlib (extra `demo`)."""
        import matplotlib.pyplot as plt

        _, axes = plt.subplots()
        for code in languages:
            axes.plot(self.steps, self.languages[code], linewidth=0.8, label=code)
        axes.plot(self.steps, self.loss, color="black", linewidth=1.6, label="all")
        axes.set(xlabel="step", ylabel="loss (nats a token)")
        axes.legend(ncols=2, fontsize="small")
        return axes


def run_tokens(config: ConfigDict) -> int:
    """Tokens of all steps."""
    return config.train.steps * config.train.batch_size * config.data.seq_len


def corpus_of(config: ConfigDict) -> Corpus | Sources:
    """The corpus that a config names, or the embedded one. Raises ValueError if there is none, or it has more pieces than the model."""
    corpus = open_corpus(str(config.data.corpus or default_corpus(config.model.vocab_size)))
    have, need = config.model.vocab_size, corpus.manifest["vocab_size"]
    if have < need:
        raise ValueError(f"model.vocab_size={have} is smaller than the tokenizer of {corpus.path}; set model.vocab_size={need} or more")
    return corpus


def stream_of(config: ConfigDict, corpus: Corpus | Sources) -> Stream:
    """The rows that a config asks for. Raises ValueError if its mixture does not fit the corpus."""
    return Stream(corpus, from_config(config.data.mixture.to_dict()), config.data.seq_len, config.seed)


class Run:
    """A run in a folder; made from a config, or opened again.

    run = varietas.Run("tiny", {"optim.peak_lr": 1e-3})
    run.train(steps=50)
    run.losses.plot()
    print(run.generate("Ahoj, "))
    """

    def __init__(
        self,
        config: str | ConfigDict = "demo",
        overrides: Mapping[str, Any] | Sequence[str] = (),
        folder: str | Path | None = None,
        cpu_devices: int | None = None,
        build: Any = None,
        console: Console | None = None,
        fit: bool = False,
    ):
        """`folder`: runs/<config> if not given. `build`: makes the model, `model.decoder.Decoder` if not given.
        `fit`: use as many devices as suit the config rather than refuse.

        Nothing is written or allocated yet. Raises ValueError if the config cannot be trained here.
        """
        if isinstance(config, str):
            arguments = [f"--config.{k}={v}" for k, v in overrides.items()] if isinstance(overrides, Mapping) else list(overrides)
            config, name = load_config(config, arguments), Path(config.split(":")[0]).stem
        else:
            config, name = config.copy_and_resolve_references(), "run"
            try:
                config.update_from_flattened_dict(dict(overrides))  # type: ignore[arg-type]
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"overrides of a ConfigDict are a dict of its fields, as in {{'train.steps': 5}}; {error}") from None
        check(config)
        self.folder = Path(folder or Path("runs") / name)
        self.console = console or Console(highlight=False)
        self._build = {} if build is None else {"build": build}
        self._untrained: dict[str, float] = {}
        n_devices = backend.start(cpu_devices or devices_for(config, backend.cores()))
        backend.check_attention(config.model.attention)
        mesh = resolve_mesh(config, suitable(config, n_devices) if fit else n_devices)
        with config.unlocked():
            config.mesh.data, config.mesh.fsdp, config.mesh.tensor = mesh
            config.data.mixture.budget = config.data.mixture.budget or self._budget(config)
        self.config = config

    def _budget(self, config: ConfigDict) -> int:
        """Tokens of the whole run as it was begun: if train.steps changes later, the rows shall not."""
        if run_folder.begun(self.folder):
            return int(run_folder.read_config(self.folder)["data"]["mixture"]["budget"])
        return run_tokens(config)

    @classmethod
    def open(cls, folder: str | Path, cpu_devices: int | None = None, **kwargs: Any) -> "Run":
        """An existing run, to evaluate, sample, report or go on, on whatever devices there are here."""
        config = ConfigDict(run_folder.read_config(Path(folder)))
        config.mesh.update({"data": -1, "fsdp": -1, "tensor": 1})
        config.model.attention = "auto"
        return cls(config, folder=folder, cpu_devices=cpu_devices, fit=True, **kwargs)

    def train(self, steps: int | None = None) -> bool:
        """Trains to the end, or `steps` steps further, from the folder's newest checkpoint on. Returns whether the run is finished.

        Raises ValueError if the folder holds a run of another config, or a corpus that does not fit.
        """
        from varietas.train.loop import train

        corpus = self._corpus()
        self._shares(corpus)  # so that a mixture that does not fit is told before anything is written
        for change in run_folder.settle_config(self.folder, self.config.to_dict()):
            self.console.print(f"changed since the run began: {change}")
        done = self._steps_done()
        if not (done and (self.folder / "tokenizer.model").exists()):
            shutil.copyfile(str(corpus.path).split(",")[0] + "/tokenizer.model", self.folder / "tokenizer.model")
        stop = None if steps is None else done + steps
        evaluate = self._evaluate_while_training if self.config.eval.every else None
        outcome = train(self._experiment(corpus), self.folder, self.console, stop, evaluate, **self._build)
        if outcome.finished:
            from varietas.train.digest import digest

            sha256 = digest(outcome.params)
            self._note(parameter_digest={"step": outcome.step, "sha256": sha256})
            self.console.print(f"all {outcome.step:,} steps done; SHA-256 of the parameters: {sha256}", soft_wrap=True)
        else:
            self.console.print(f"stopped after step {outcome.step:,} of {self.config.train.steps:,}; the same command goes on from there")
        return outcome.finished

    def evaluate(self, documents: Iterable[Document] | None = None) -> dict[str, dict[str, Any]]:
        """Bits per byte by language, worst first, on `documents` or the Declaration of Human Rights; kept in evaluation.json."""
        params, mesh, step = self._restore()
        rows = self._score(params, mesh, documents)
        text = EVALUATION_TEXT if documents is None else "documents given"
        write_json(self.folder / "evaluation.json", {"step": step, "text": text, "languages": rows})
        return rows

    def generate(
        self, prompts: str | Sequence[str] = "", max_tokens: int = 64, temperature: float = 0.0, top_p: float = 1.0, seed: int = 0
    ) -> Any:
        """The continuation of a prompt, or a list of those of several. Greedy unless `temperature` is above 0."""
        several = [prompts] if isinstance(prompts, str) else list(prompts)
        texts = [""] * len(several)
        for row, piece in self.stream(several, max_tokens, temperature, top_p, seed):
            texts[row] += piece
        return texts[0] if isinstance(prompts, str) else texts

    def stream(
        self, prompts: Sequence[str], max_tokens: int = 64, temperature: float = 0.0, top_p: float = 1.0, seed: int = 0
    ) -> Iterator[tuple[int, str]]:
        """(which prompt, new text) as the text comes."""
        from varietas.train.generate import generate, weights_of

        params, mesh, _ = self._restore()
        processor = tokenizer.load(self.folder / "tokenizer.model")
        for prompt in prompts:
            try:
                prompt.encode()
            except UnicodeEncodeError:
                raise ValueError(f"the prompt {prompt!r} is no valid text; give it in UTF-8") from None
        ids = [processor.encode(prompt, add_bos=True) for prompt in prompts]
        decoders = [tokenizer.Incremental(processor) for _ in prompts]
        model = self._experiment_model()
        weights = weights_of(params, model)
        del params
        for tokens in generate(
            weights, model, ids, max_tokens, processor.eos_id(), mesh, temperature, top_p, seed, processor.get_piece_size(), **self._build
        ):
            for row, token in enumerate(tokens):
                if token is not None and (piece := decoders[row].add(token)):
                    yield row, piece
        for row, decoder in enumerate(decoders):
            if piece := decoder.end():
                yield row, piece

    def sample(self) -> list[dict[str, str]]:
        """Short continuations in a few languages, of the beginnings of the evaluation text; kept in samples.json for the report."""
        openings = {d.lang: " ".join(d.text.split()[:5]) for d in parallel_documents()}
        trained = self._noted("mixture.json")["languages"]
        codes = [code for code in SAMPLE_LANGUAGES if code in trained] or list(trained)[:6]
        prompts = [openings.get(code, "") for code in codes]
        texts = self.generate(prompts, max_tokens=min(48, self.config.model.max_seq_len // 2), temperature=0.7, top_p=0.9)
        samples = [{"language": c, "prompt": p, "text": t} for c, p, t in zip(codes, prompts, texts, strict=True)]
        write_json(self.folder / "samples.json", samples)
        return samples

    def report(self) -> Path:
        """Writes report.html and returns its path."""
        from varietas.train.report import write_report

        return write_report(self.folder)

    def digest(self, step: int | None = None) -> str:
        """SHA-256 over the parameters of the newest checkpoint, or of that after `step` steps."""
        from varietas.train.digest import digest

        return digest(self._restore(step)[0])

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The records of metrics.jsonl."""
        path = self.folder / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []

    @property
    def losses(self) -> Losses:
        records = self.metrics
        codes = sorted({code for record in records for code in record["languages"]})

        def column(code: str) -> np.ndarray:
            return np.array([record["languages"].get(code, {}).get("loss") for record in records], np.float64)

        loss = np.array([record["loss"] for record in records], np.float64)
        return Losses(np.array([record["step"] for record in records]), loss, {code: column(code) for code in codes})

    def _corpus(self) -> Corpus | Sources:
        return corpus_of(self.config)

    def _note(self, **facts: Any) -> None:
        """Adds to environment.json."""
        write_json(self.folder / "environment.json", {**self._noted("environment.json"), **facts})

    def _noted(self, name: str) -> dict[str, Any]:
        """A JSON file of the run's folder."""
        return json.loads((self.folder / name).read_text("utf-8"))

    def _shares(self, corpus: Corpus | Sources) -> np.ndarray:
        """Share of tokens of each language over the whole run. Raises ValueError if the mixture does not fit the corpus."""
        return stream_of(self.config, corpus).shares(run_tokens(self.config))

    def _experiment(self, corpus: Corpus | Sources) -> Any:
        mesh = self.config.mesh
        return experiment(self.config, str(corpus.path), (mesh.data, mesh.fsdp, mesh.tensor))

    def _experiment_model(self) -> Any:
        from varietas.model.config import ModelConfig

        return ModelConfig(**self.config.model)

    def _steps_done(self) -> int:
        from varietas.train.checkpoint import Checkpoints

        checkpoints = Checkpoints(self.folder / "checkpoints")
        steps = checkpoints.steps()
        checkpoints.close()
        return steps[-1] if steps else 0

    def _restore(self, step: int | None = None) -> tuple[Any, Any, int]:
        """Parameters of a checkpoint on this machine's mesh, the mesh, and the step."""
        from varietas.model.decoder import Decoder
        from varietas.train.checkpoint import restore_params

        mesh = self._mesh()
        params, found = restore_params(self.folder / "checkpoints", self._experiment_model(), mesh, step, self._build.get("build", Decoder))
        return params, mesh, found

    def _mesh(self) -> Any:
        import jax

        from varietas.model.sharding import make_mesh

        sizes = self.config.mesh.data, self.config.mesh.fsdp, self.config.mesh.tensor
        return make_mesh(*sizes, devices=jax.devices()[: math.prod(sizes)])

    def _evaluate_while_training(self, params: Any, mesh: Any, step: int) -> dict[str, float]:
        rows = self._score(params, mesh, None)
        write_json(self.folder / "evaluation.json", {"step": step, "text": EVALUATION_TEXT, "languages": rows})
        return {code: row["bits_per_byte"] for code, row in rows.items()}

    def _score(self, params: Any, mesh: Any, documents: Iterable[Document] | None) -> dict[str, dict[str, Any]]:
        from varietas.train import evaluate
        from varietas.train.step import fresh_params

        exp = self._experiment(corpus := self._corpus())
        if self._noted("mixture.json")["corpus_digest"] != corpus.digest:
            raise ValueError(f"data.corpus {corpus.path} is not the corpus that {self.folder} was trained on; put that back in its place")
        usual = documents is None
        if documents is None:  # languages of other continents only where they were trained on
            documents = [d for d in parallel_documents() if d.lang not in WORLD or d.lang in corpus.languages]
        texts = evaluate.encode(documents, tokenizer.load(self.folder / "tokenizer.model"))
        if not texts:
            raise ValueError("there is no document to evaluate on")
        share = self._shares(corpus)

        def nats(params: Any) -> dict[str, float]:
            return evaluate.nats(params, exp.model, texts, exp.seq_len, exp.batch_size // exp.grad_accum, mesh, **self._build)

        trained = nats(params)
        untrained = self._untrained if usual and self._untrained else nats(fresh_params(exp.model, mesh, exp.seed, **self._build))
        if usual:
            self._untrained = untrained  # the same at each evaluation in the course of training
        seen = {code for code, part in zip(corpus.languages, share, strict=True) if part > 0}
        return evaluate.table(texts, trained, untrained, evaluate.unigram_nats(texts, corpus, share), seen)
