"""corrupt.jsonl: the documents that a run left out because their bytes are damaged (`data.on_corrupt=skip`), each once.

Process 0 alone writes it, whoever reads the rows: it learns of damage from the tokens that all devices together counted in a step, which
are then fewer than its rows have.
"""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from varietas.data.corpus.shards import DamagedDocument
from varietas.data.corpus.sources import sources_of
from varietas.data.files import write_atomically
from varietas.data.stream.pieces import Piece
from varietas.data.stream.stream import Stream

FILE = "corrupt.jsonl"

Document = tuple[str, str, int]  # source, language, number within them


class CorruptLog:
    """Finds and records the damaged documents of a run.

    Args:
        run: The run's folder.
        stream: The rows of the run, which skip damaged documents.
        batch_size: Rows of a step.
        say: Shows a line to the user.
    """

    def __init__(self, run: Path, stream: Stream, batch_size: int, say: Callable[[str], None]):
        self._path, self._stream, self._batch_size, self._say = run / FILE, stream, batch_size, say
        before = read_corrupt(run)
        self._known: set[Document] = {(record["source"], record["language"], record["document"]) for record in before}
        removed = stream.without.documents.items()
        self._known |= {(*place, number) for place, numbers in removed for number in numbers.tolist()}
        if before:  # the last line may be unfinished
            write_atomically(self._path, "".join(map(_line, before)).encode())
        self._said = False

    def look(self, step: int, tokens: np.ndarray) -> None:
        """Records the damaged documents of a step that are not known yet.

        Args:
            step: The step.
            tokens: How many tokens of each language of the corpus the devices counted in it, int64.

        Raises:
            OSError: If a disk fails.
        """
        if int(tokens.sum()) == self._batch_size * self._stream.seq_len:
            return
        pieces = list(self._stream.documents(step * self._batch_size, (step + 1) * self._batch_size))
        lacking: Counter[str] = Counter(dict(zip(self._stream.corpus.languages, (-tokens).tolist(), strict=True)))
        unknown: dict[Document, Piece] = {}
        for piece in pieces:
            document = piece.source, piece.language, piece.document
            if document not in self._known:
                lacking[piece.language] += piece.size
                unknown.setdefault(document, piece)
        found = self._damaged([piece for piece in unknown.values() if lacking[piece.language] > 0])
        if not found:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(_line({"step": step, **record}) for record in found)
            file.flush()
            os.fsync(file.fileno())
        self._known |= {(record["source"], record["language"], record["document"]) for record in found}
        if not self._said:
            first = found[0]
            what = f"document {first['document']} of {first['language']} in {first['file']}"
            self._say(f"step {step}: {what} is damaged ({first['why']}) and left out; {FILE} in the run's folder lists all that are")
        self._said = True

    def _damaged(self, pieces: Sequence[Piece]) -> list[dict[str, Any]]:
        """Returns a record for each of these documents that is damaged."""
        found = []
        for name, source in sources_of(self._stream.corpus).items():
            mine = [piece for piece in pieces if piece.source == name]
            languages = np.array([source.languages.index(piece.language) for piece in mine], np.int64)
            documents = np.array([piece.document for piece in mine], np.int64)
            for at, ids in enumerate(source.read(languages, documents, skip=True)):
                if len(ids) == 0:
                    try:
                        source.read(languages[at : at + 1], documents[at : at + 1])
                    except DamagedDocument as error:
                        piece, file = mine[at], str(error.file)
                        lost = int(source.lengths(piece.language)[piece.document])
                        place = {"row": piece.row, "source": name, "language": piece.language, "document": piece.document}
                        found.append({**place, "tokens": lost, "file": file, "why": error.why})
        return sorted(found, key=lambda record: record["row"])


def read_corrupt(run: Path) -> list[dict[str, Any]]:
    """Reads corrupt.jsonl: step, row, source, language, document, tokens, file and why of each document, as they were found."""
    records = []
    if (run / FILE).exists():
        for line in (run / FILE).read_text("utf-8", "replace").splitlines():
            with contextlib.suppress(ValueError):  # unfinished, because the process was killed
                records.append(json.loads(line))
    return records


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"
