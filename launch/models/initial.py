"""The config of a run with all that follows from its corpus, from its folder, and from the model that `train.init_from` names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.sources import Sources
from varietas.data.stream.stream import Stream
from varietas.data.tokenizer.model import file_in, file_name, load, read
from varietas.launch.check import check
from varietas.launch.config import PREFIX, base_fields, load_config
from varietas.launch.resolve import absolute, check_objective, corpus_of, stream_of, with_budget, with_values, with_vocab_size
from varietas.train.release.incoming import read_release, same_ids, tokenizer_of
from varietas.train.run_folder.config import changes, read_config
from varietas.train.run_folder.folder import begun, check_data
from varietas.train.run_folder.origin import checkpoint_of, is_release

# Fields of `model`, or beginnings of them, that say how it is computed or trained, not what it is.
HOW = ("dtype", "remat", "attention", "loss_chunk", "lora_")
FREE = (
    "max_seq_len",
    "rope_",
    "sliding_window",
    "norm_eps",
    "init_std",
    "zero_out",
)  # fields, or beginnings of them, that leave the parameters alone


def resolved(config: ConfigDict, overrides: Mapping[str, Any] | Sequence[str], run: Path) -> tuple[ConfigDict, Stream]:
    """Resolves the config of a run but for its mesh, and checks it against the run's folder. Nothing is written.

    Args:
        config: A checked config.
        overrides: The fields that the user has set: by dotted names, or command line arguments.
        run: The folder of the run.

    Returns:
        The config, and the rows that the run reads.

    Raises:
        ValueError: If the corpus, the folder, the first parameters and the config do not fit together.
    """
    if config.data.corpus:
        config = with_values(config, {"data.corpus": absolute(config.data.corpus)})
    config = with_shape(config, overrides, run)
    config = with_vocab_size(config, corpus := corpus_of(config))
    check(config)
    check_tokenizer(config, corpus, run)
    check_objective(config, corpus)
    config = with_budget(config, run)
    stream = stream_of(config, corpus)
    changes(run, config.to_dict(), base_fields())
    check_data(run, corpus)
    return config, stream


def with_shape(config: ConfigDict, overrides: Mapping[str, Any] | Sequence[str], run: Path | None = None) -> ConfigDict:
    """Returns the config with an absolute `train.init_from`, which names a step, and with the shape of the model there.

    Args:
        config: The config.
        overrides: The fields that the user has set, which stay as they are: by dotted names, or command line arguments.
        run: The folder of the run, if it has one. Once the run has begun, it is asked instead: what it began with may be gone.

    Raises:
        ValueError: If it names something else than a run or a release, or a field that the user has set needs other parameters.
    """
    if not config.train.init_from:
        return config
    source = str(Path(config.train.init_from).expanduser().absolute())
    if run and begun(run):
        before = read_config(run)
        shape, first = before["model"], before["train"].get("init_from", "")
        source = first if first.rpartition("@")[0] == source else source  # the newest checkpoint may be another one by now
    elif is_release(Path(source)):
        shape = read_release(Path(source)).shape
        if config.train.init_optimizer:
            raise ValueError(f"train.init_optimizer=true: {source} has no state of an optimiser; leave it at false")
    else:
        source = str(checkpoint := checkpoint_of(source))
        shape = read_config(checkpoint.run)["model"]
    names = overrides if isinstance(overrides, Mapping) else [one.removeprefix(PREFIX).partition("=")[0] for one in overrides]
    known = load_config("base").model
    values: dict[str, Any] = {"train.init_from": source}
    for field, value in shape.items():
        given = f"model.{field}" in names
        if given and not field.startswith((*HOW, *FREE)) and config.model[field] != value:
            raise ValueError(f"model.{field}={config.model[field]!r}: train.init_from={source} has {value!r}; leave it out")
        if not given and field in known and not field.startswith(HOW):
            values[f"model.{field}"] = value
    return with_values(config, values)


def check_tokenizer(config: ConfigDict, corpus: Corpus | Sources, run: Path) -> None:
    """Checks that a run reads a corpus of the tokenizer that its first parameters were trained with.

    Raises:
        ValueError: If the corpus has another one.
    """
    if not config.train.init_from or begun(run):
        return
    source = Path(config.train.init_from)
    if is_release(source):
        content = tokenizer_of(read_release(source))
        file = source / file_name(content)
    else:
        file = file_in(checkpoint_of(str(source)).run)
        content = read(file)
    if not same_ids(load(corpus.tokenizer), load(content)):
        raise ValueError(
            f"data.corpus {corpus.path} was prepared with another tokenizer than that of train.init_from={source}; prepare it with "
            f"--tokenizer {file}"
        )
