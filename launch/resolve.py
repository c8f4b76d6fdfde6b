"""From a checked config to what the rest takes: its corpus, the size of its vocabulary, its stream of rows and its Experiment."""

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.removals import removed_from
from varietas.data.corpus.sources import Sources, open_corpus, sources_of
from varietas.data.files import split_paths
from varietas.data.prepare.default import default_corpus
from varietas.data.stream.mixture import from_config
from varietas.data.stream.stream import Stream
from varietas.launch import backend
from varietas.launch.check import check, check_fields
from varietas.launch.config import base_fields, load_config, stem_of
from varietas.launch.mesh import check_processes, resolve_mesh, suitable
from varietas.launch.mesh import cpu_devices as devices_for
from varietas.model.config import ModelConfig
from varietas.train.experiment import Experiment, OptimConfig
from varietas.train.run_folder.config import changes, read_config
from varietas.train.run_folder.folder import begun, saved_steps

VOCAB_MULTIPLE = 128  # so that the vocabulary divides over `tensor` and fills the lanes of matrix units


def config_of(config: str | ConfigDict, overrides: Mapping[str, Any] | Sequence[str]) -> tuple[ConfigDict, str]:
    """Loads a config, or copies a ConfigDict, and applies overrides to it.

    Args:
        config: A config of ours by name, the path of a config file, or a ConfigDict.
        overrides: Values of fields by dotted names; for a config by name or path also command line arguments.

    Returns:
        The checked config, and a name for its run.

    Raises:
        ValueError: If there is no such config, or if it is not sound.
    """
    if isinstance(config, str):
        arguments = [f"--config.{k}={v}" for k, v in overrides.items()] if isinstance(overrides, Mapping) else list(overrides)
        loaded, name = load_config(config, arguments), stem_of(config)
    else:
        loaded = config.as_configdict() if isinstance(config, FrozenConfigDict) else copy.deepcopy(config)
        name = "run"
        try:
            loaded.update_from_flattened_dict(dict(overrides))  # type: ignore[arg-type]  # references between fields follow
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"overrides of a ConfigDict are a dict of its fields, as in {{'train.steps': 5}}; {' '.join(str(error).split())}"
            ) from None
        loaded = loaded.copy_and_resolve_references()
    (check_fields if loaded.train.init_from else check)(loaded)  # `resolved` checks the rest when it knows the shape of the model
    return loaded, name


def reopened(values: Mapping[str, Any], corpus: str | Path | None = None) -> ConfigDict:
    """Returns the config of a run that exists, for whatever devices there are.

    Args:
        values: What its config.json holds.
        corpus: Where its corpus lies now, if it has moved.

    Raises:
        ValueError: If the config is not sound.
    """
    config = load_config("base").unlock()
    config.update(ConfigDict(values))
    config.mesh.update({"data": -1, "fsdp": -1, "tensor": 1})
    config.model.attention = "auto"
    if corpus is not None:
        config.data.corpus = absolute(str(corpus))
    check(config)
    return config.lock()


def corpus_of(config: ConfigDict) -> Corpus | Sources:
    """Opens the corpus that a config names, or the embedded one, which the first call makes.

    Raises:
        ValueError: If there is no such corpus, or it has more pieces than `model.vocab_size` says.
    """
    corpus = open_corpus(config.data.corpus or str(default_corpus(config.data.embedded_vocab_size)))
    size, pieces = config.model.vocab_size, corpus.manifest["vocab_size"]
    if 0 < size < pieces:
        raise ValueError(
            f"model.vocab_size={size} is smaller than the tokenizer of {corpus.path}, which has {pieces} pieces; leave it at 0, "
            f"or set model.vocab_size={pieces} or more"
        )
    return corpus


def check_objective(config: ConfigDict, corpus: Corpus | Sources) -> None:
    """Raises ValueError if the corpus holds preferences and the config wants none, or the other way round."""
    beta = config.optim.dpo_beta
    for source in sources_of(corpus).values():
        if source.has_preferences and not beta:
            raise ValueError(
                f"data.corpus {source.path} holds preferences; set optim.dpo_beta, such as 0.1, and model.lora_rank, such as 64"
            )
        if beta and not source.has_preferences:
            raise ValueError(
                f"optim.dpo_beta={beta} needs preferences alone, but data.corpus {source.path} holds none; leave it out, prepare some with "
                "`varietas prepare --preferences`, or set optim.dpo_beta=0"
            )


def check_place(run: Path) -> None:
    """Raises ValueError if there can be no folder at this path, or nothing may be written there."""
    there = next(place for place in (run, *run.parents) if place.exists())
    if not there.is_dir():
        raise ValueError(f"--run {run}: {there} is a file; name a folder")
    if not os.access(there, os.W_OK):
        raise ValueError(f"--run {run}: {there} may not be written to; name another folder")


def new_run(folder: str | Path) -> Path:
    """Returns the absolute path of a run that is to be made. Raises ValueError if it exists, or cannot be made."""
    run = Path(folder).absolute()
    if run.exists():
        raise ValueError(f"--run {folder} exists; name a new folder")
    check_place(run)
    return run


def check_corpus_is_there(run: Path, config: ConfigDict) -> None:
    """Raises ValueError if the corpus of a run has moved."""
    for path in split_paths(config.data.corpus, ","):
        if not Path(path).exists():
            raise ValueError(
                f"the corpus of {run} is not at {path}; say where it is now with evaluate --corpus PATH, or Run.open(…, corpus=PATH)"
            )


def with_vocab_size(config: ConfigDict, corpus: Corpus | Sources) -> ConfigDict:
    """Returns the config with `model.vocab_size`, where it is 0, set to the tokenizer's size rounded up to VOCAB_MULTIPLE."""
    return with_values(config, {"model.vocab_size": config.model.vocab_size or rounded(corpus.manifest["vocab_size"])})


def with_budget(config: ConfigDict, run: Path) -> ConfigDict:
    """Returns the config with `data.mixture.budget`, where it is 0, set to the tokens of the whole run as it began.

    If train.steps changes later, the rows of the run must not.
    """
    budget = config.data.mixture.budget
    if not budget:
        budget = int(read_config(run)["data"]["mixture"]["budget"]) if begun(run) else experiment_of(config).tokens
    return with_values(config, {"data.mixture.budget": budget})


def rounded(pieces: int) -> int:
    """Returns the size of the vocabulary for a tokenizer with this many pieces."""
    return -(-pieces // VOCAB_MULTIPLE) * VOCAB_MULTIPLE


def with_mesh(config: ConfigDict, cpu_devices: int | None, fit: bool) -> ConfigDict:
    """Starts jax and returns the config with the sizes of the mesh filled in.

    Args:
        config: The config.
        cpu_devices: On a CPU, the number of virtual devices that the user asks for; None for one that suits the config.
        fit: Whether to use as many devices as suit the config rather than refuse.

    Raises:
        ValueError: If jax cannot start, or its devices do not fit the config.
    """
    had_begun = backend.begun()
    n, of_this_node = backend.processes()
    of_a_cpu = devices_for(config, backend.cores() * n // of_this_node) // n
    n_devices = backend.start(max(1, of_a_cpu), cpu_devices)
    backend.check_attention(config.model.attention)
    if fit:
        check_processes(config, n, n_devices // n)
    data, fsdp, tensor = resolve_mesh(config, suitable(config, n_devices, n) if fit else n_devices, had_begun)
    return with_values(config, {"mesh.data": data, "mesh.fsdp": fsdp, "mesh.tensor": tensor})


def with_values(config: ConfigDict, values: Mapping[str, object]) -> ConfigDict:
    """Returns a locked copy of a config with other values of these fields, given by dotted names."""
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(dict(values))
    return config.lock()


def absolute(paths: str) -> str:
    """Returns the paths of `data.corpus` (one, or several with commas) as absolute ones, which mean the same from any folder.

    Raises:
        ValueError: If there is none.
    """
    found = split_paths(paths, ",")
    if not found:
        raise ValueError(f"data.corpus={paths!r} names no folder; give one, or several with commas between them")
    return ",".join(str(Path(path).expanduser().absolute()) for path in found)


def stream_of(config: ConfigDict, corpus: Corpus | Sources) -> Stream:
    """Returns the rows that a config asks for. Raises ValueError if its mixture does not fit the corpus."""
    skip = config.data.on_corrupt == "skip"
    mixture = from_config(config.data.mixture.to_dict())
    return Stream(corpus, mixture, config.data.seq_len, config.seed, skip_damaged=skip, without=removed_from(corpus))


def missing_shards(corpus: Corpus | Sources, config: ConfigDict) -> list[str]:
    """Returns the shards of a corpus that are missing or do not have their size, each as a line, if the run is to go on without them.

    Raises:
        ValueError: If there are any and `data.on_corrupt` is `stop`.
    """
    faults = [fault for source in sources_of(corpus).values() for fault in source.faults()]
    if faults and config.data.on_corrupt == "stop":
        more = f", and {len(faults) - 1:,} more shards" if len(faults) > 1 else ""
        raise ValueError(f"{faults[0]}{more}; copy the corpus again, or prepare it again")
    return faults


def experiment_of(config: ConfigDict) -> Experiment:
    """Returns the plain frozen values that `train`, `model` and `data` take, of a config whose mesh and vocabulary are resolved."""
    return Experiment(
        seed=config.seed,
        corpus=config.data.corpus,
        seq_len=config.data.seq_len,
        workers=config.data.workers,
        mixture=from_config(config.data.mixture.to_dict()),
        model=ModelConfig(**config.model),
        optim=OptimConfig(**config.optim),
        mesh=(config.mesh.data, config.mesh.fsdp, config.mesh.tensor),
        steps=config.train.steps,
        batch_size=config.train.batch_size,
        grad_accum=config.train.grad_accum,
        init_from=config.train.init_from,
        init_optimizer=config.train.init_optimizer,
        on_not_finite=config.train.on_not_finite,
        on_spike=config.train.on_spike,
        check_every=config.train.check_every,
        checkpoint_every=config.checkpoint.every,
        checkpoints_kept=config.checkpoint.keep,
        eval_every=config.eval.every,
        held_out_bytes=config.eval.held_out_bytes,
    )


def changed(folder: Path, config: ConfigDict) -> Iterator[str]:
    """Yields a line for each field that has changed since a run began, and one for what that does to its learning rate."""
    from varietas.train.optimizer import schedule_change

    for change in changes(folder, config.to_dict(), base_fields()):
        yield f"changed since the run began: {change}"
        done = max(saved_steps(folder), default=0)
        if change.field == "train.steps" and (effect := schedule_change(experiment_of(config).optim, change.old, change.new, done)):
            yield effect
