"""Reads tensorflow-datasets in ArrayRecord files without TensorFlow: `tfds:NAME/CONFIG:VERSION?split=train&data_dir=DIR`."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from varietas.data.text.documents import Document, MakeReject, NotADocument, Reject, from_record, utf8_in
from varietas.data.text.fields import Reading

SCHEME = "tfds:"


def size_and_stamp(file: str) -> tuple[int, str]:
    """Returns the size of a split in bytes, and a string that changes when the split does.

    Raises:
        ValueError: If the split cannot be opened.
        ModuleNotFoundError: If tensorflow-datasets is not installed.
    """
    source = _source(file)
    info = source.dataset_info
    split = info.splits[_options(file)["split"]]
    return int(split.num_bytes), f"{info.full_name} {split.num_examples} {split.num_bytes}"


def read_tfds(file: str, reading: Reading, reject: MakeReject, begin: int, end: float) -> Iterator[Document | Reject]:
    """Reads a split, or a part of it.

    An example belongs to the part in which it begins. To find where it begins, all examples are taken to have the same size.

    Args:
        file: The split, as `tfds:NAME…`.
        reading: How records become documents.
        reject: Makes the rejects of the split.
        begin: First byte of the part.
        end: Byte after the last of the part.

    Yields:
        A Document or a Reject for each example.

    Raises:
        ValueError: If the split cannot be opened.
        ModuleNotFoundError: If tensorflow-datasets is not installed.
    """
    source, (size, _) = _source(file), size_and_stamp(file)
    bytes_an_example = size / max(1, len(source))
    for number in range(len(source)):
        if begin <= number * bytes_an_example < end:
            example: Mapping[str, Any] = {}
            try:
                example = source[number]
                record = utf8_in(_plain(example))
                yield from_record(record, file, number + 1, reading.default_lang, reading.fields, reading.kind)
            except NotADocument as error:
                yield reject(number + 1, error, error.sample or str(example.get("text")))
            except RuntimeError as error:  # raised by ArrayRecord
                yield reject(number + 1, "damaged ArrayRecord", str(error))


def _options(file: str) -> dict[str, str]:
    return {"split": "train", **dict(parse_qsl(file.removeprefix(SCHEME).partition("?")[2]))}


def _source(file: str) -> Any:
    """Returns the random-access source of a split. Raises ModuleNotFoundError without the package, ValueError if there is no such split."""
    try:
        import tensorflow_datasets as tfds
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"--input {file} needs {error.name}; run: pip install 'varietas[tfds]'") from None
    options = _options(file)
    if unknown := options.keys() - {"split", "data_dir"}:
        raise ValueError(f"--input {file}: unknown option {min(unknown)}; the options are split and data_dir")
    try:
        return tfds.data_source(file.removeprefix(SCHEME).partition("?")[0], split=options["split"], data_dir=options.get("data_dir"))
    except Exception as error:  # the package raises no more specific error
        raise ValueError(
            f"--input {file} cannot be opened ({' '.join(str(error).split())[:200]});"
            " prepare it with tensorflow-datasets in the format array_record first"
        ) from None


def _plain(value: Any) -> Any:
    """Returns a value with NumPy numbers and arrays as numbers and lists of Python, also in nested features."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
