"""tensorflow-datasets as input, without TensorFlow: `tfds:NAME/CONFIG:VERSION?split=train&data_dir=DIR`, with ArrayRecord files."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from varietas.data.documents import Document, MakeReject, NotADocument, Reject, from_record, utf8_in

SCHEME = "tfds:"


def size_and_stamp(file: str) -> tuple[int, str]:
    """Bytes of a split, and what tells it from another of its name. Raises as `_source` does."""
    source = _source(file)
    info = source.dataset_info
    split = info.splits[_options(file)["split"]]
    return int(split.num_bytes), f"{info.full_name} {split.num_examples} {split.num_bytes}"


def read_tfds(file: str, lang: str, reject: MakeReject, begin: int, end: float) -> Iterator[Document | Reject]:
    """The examples of a split as records; of a part, those whose beginning lies in it, all taking equal parts of the split's bytes."""
    source, (size, _) = _source(file), size_and_stamp(file)
    bytes_an_example = size / max(1, len(source))
    for number in range(len(source)):
        if begin <= number * bytes_an_example < end:
            example: Mapping[str, Any] = {}
            try:
                example = source[number]
                yield from_record(utf8_in({name: _plain(value) for name, value in example.items()}), file, number + 1, lang)
            except NotADocument as error:
                yield reject(number + 1, str(error), str(example.get("text")))
            except RuntimeError as error:  # ArrayRecord's
                yield reject(number + 1, "damaged ArrayRecord", str(error))


def _options(file: str) -> dict[str, str]:
    return {"split": "train", **dict(parse_qsl(file.removeprefix(SCHEME).partition("?")[2]))}


def _source(file: str) -> Any:
    """The split's random access source. Raises ModuleNotFoundError without the package, ValueError if there is no such data."""
    try:
        import tensorflow_datasets as tfds
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"--input {file} needs {error.name}; run: pip install 'varietas[tfds]'") from None
    options = _options(file)
    if unknown := options.keys() - {"split", "data_dir"}:
        raise ValueError(f"--input {file}: unknown option {min(unknown)}; there are split and data_dir")
    try:
        return tfds.data_source(file.removeprefix(SCHEME).partition("?")[0], split=options["split"], data_dir=options.get("data_dir"))
    except Exception as error:  # the package raises nothing more special
        raise ValueError(
            f"--input {file} cannot be opened ({' '.join(str(error).split())[:200]});"
            " prepare it with tensorflow-datasets in the format array_record first"
        ) from None


def _plain(value: Any) -> Any:
    """numpy's numbers and arrays as Python's."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
