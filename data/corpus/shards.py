"""A shard of a corpus: an ArrayRecord file with a document in each record, and what of it is missing or damaged.

ArrayRecord keeps a 64-bit checksum of each record, so a damaged document is noticed, and those around it can still be read. A disk that
fails is no damage: what cannot be read now may be readable later.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from varietas.data.chat.marks import without_marks

BLOCK = 1 << 16  # bytes; ArrayRecord fills the last block of a file
DISK = re.compile(r"\w+\(\) failed: ")  # begins ArrayRecord's message about an error of the operating system
ADVICE = "restore the file from a copy, or prepare the corpus again"


class DamagedDocument(ValueError):
    """A document whose bytes are damaged or missing.

    Args:
        file: The shard that holds it.
        code: Its language.
        document: Its number within the language.
        why: What is wrong.
    """

    def __init__(self, file: Path, code: str, document: int, why: str):
        super().__init__(file, code, document, why)  # so that it can be pickled
        self.file, self.code, self.document, self.why = file, code, document, why

    def __str__(self) -> str:
        return f"{self.file}: document {self.document} of {self.code} is damaged ({self.why}); {ADVICE}"


def fault(file: Path, size: int | None) -> str:
    """Returns what is wrong with the file of a shard as far as its size tells, or "".

    Args:
        file: The file.
        size: Its bytes; None if the corpus was prepared before manifests had them.

    Raises:
        OSError: If the operating system does not tell.
    """
    try:
        found = os.stat(file).st_size
    except FileNotFoundError:
        return "no such file"
    if size is not None and found != size:
        return f"it has {found:,} bytes, expected {size:,}"
    return "" if found and found % BLOCK == 0 else f"it has {found:,} bytes, expected a multiple of {BLOCK:,}"


class Shard:
    """A shard that is open for reading.

    Args:
        file: Its file.
        documents: The number of documents that it should hold.
        size: The bytes that it should have; None if that is not known.
        dtype: Of token ids.
        vocab_size: The number of token ids.
        marked: Whether ids have marks, as those of conversations have.

    Raises:
        OSError: If the disk fails.
    """

    def __init__(self, file: Path, documents: int, size: int | None, dtype: np.dtype, vocab_size: int, marked: bool = False):
        from array_record.python.array_record_module import ArrayRecordReader

        self._file, self._dtype, self._vocab_size, self._marked = file, dtype, vocab_size, marked
        self._reader: Any = None
        self._fault = fault(file, size)
        if not self._fault:
            self._reader = ArrayRecordReader(str(file))
            if (found := self._reader.num_records()) != documents:
                first = self._attempt([0])  # says why, if the index of the file is damaged
                self._fault = first if isinstance(first, str) else f"it holds {found:,} documents, expected {documents:,}"

    def close(self) -> None:
        """Closes the file."""
        if self._reader:
            self._reader.close()

    def read(self, records: np.ndarray, lengths: np.ndarray) -> Sequence[np.ndarray | str]:
        """Reads documents.

        Args:
            records: The place of each document in the shard, (n,).
            lengths: The tokens that each should have, (n,).

        Returns:
            The token ids of each document, or what is wrong with it.

        Raises:
            OSError: If the disk fails.
        """
        if self._fault:
            return [self._fault] * len(records)
        texts = self._attempt(records.tolist())
        expected = (lengths.astype(np.int64) * self._dtype.itemsize).tolist()
        if not isinstance(texts, str) and [len(text) for text in texts] == expected and self._are_ids(b"".join(texts)):
            return [np.frombuffer(text, self._dtype) for text in texts]
        return [self._one(record, size) for record, size in zip(records.tolist(), expected, strict=True)]

    def _one(self, record: int, size: int) -> np.ndarray | str:
        text = self._attempt([record])
        if isinstance(text, str):
            return text
        if len(text[0]) != size:
            return f"it has {len(text[0]):,} bytes, expected {size:,}"
        return np.frombuffer(text[0], self._dtype) if self._are_ids(text[0]) else f"it has token ids beyond {self._vocab_size - 1:,}"

    def _are_ids(self, text: bytes) -> bool:
        ids = np.frombuffer(text, self._dtype)
        return not text or int((without_marks(ids) if self._marked else ids).max()) < self._vocab_size

    def _attempt(self, records: list[int]) -> list[bytes] | str:
        """Returns the bytes of records, or why one of them cannot be read."""
        try:
            return self._reader.read(records)
        except RuntimeError as error:
            why = " ".join(str(error).split())
            if DISK.match(why):
                raise OSError(f"{self._file}: {why.split(';')[0]}") from None
            return why.split(";")[0][:200]
