"""The documents of a step: what each is, which of its tokens are there, and where they stand."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from varietas.data.corpus.commitment import leaves
from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.index import entries
from varietas.data.corpus.sources import Sources, sources_of
from varietas.data.stream.stream import Stream
from varietas.data.tokenizer.model import load

Place = tuple[str, str, int]  # source ("" if there is only one), language, number within them

FIELDS = ("id", "source", "url", "license")  # of the index


def documents_of(stream: Stream, start: int, stop: int) -> list[dict[str, Any]]:
    """Returns what rows `start` to `stop` hold, in the order of their tokens, as JSON can hold it.

    Each piece has `stream_row` (the number of its row), `place` (its first token in the row), `begin` and `tokens` (its first token in the
    document, and how many they are), `epoch`, `corpus` (its name, if there are several), `language`, `document` (its number within them),
    and what the index says: `id`, `source`, `url`, `license`.

    Args:
        stream: The rows.
        start: First row.
        stop: Row after the last.

    Raises:
        ValueError: If the index of the corpus is damaged.
    """
    pieces = stream.pieces(start, stop)
    columns = pieces.place.tolist(), stream.are_gone(pieces).tolist()
    found = [(piece, place) for piece, place, lost in zip(stream.named(pieces), *columns, strict=True) if not lost]
    known = described(stream.corpus, [(piece.source, piece.language, piece.document) for piece, _ in found])
    return [
        {
            "stream_row": piece.row,
            "place": place,
            "begin": piece.begin,
            "tokens": piece.size,
            "epoch": piece.epoch,
            **({"corpus": piece.source} if piece.source else {}),
            "language": piece.language,
            "document": piece.document,
            **entry,
        }
        for (piece, place), entry in zip(found, known, strict=True)
    ]


def described(corpus: Corpus | Sources, documents: Sequence[Place]) -> list[dict[str, Any]]:
    """Returns what the index says of each of these documents: the values of FIELDS by name.

    In the public part of a corpus, a document of a sealed source has its two commitments instead of an id and a URL.

    Raises:
        ValueError: If the index of the corpus is damaged.
    """
    out: list[dict[str, Any]] = [{}] * len(documents)
    for name, source in sources_of(corpus).items():
        for code in source.languages:
            mine = [at for at, (own, language, _) in enumerate(documents) if (own, language) == (name, code)]
            if mine:
                numbers = np.array([documents[at][2] for at in mine])
                for at, entry in zip(mine, entries(source, code, numbers, FIELDS), strict=True):
                    out[at] = _committed(source, code, documents[at][2], entry) if entry["source"] in source.sealed else entry
    return out


def _committed(corpus: Corpus, code: str, number: int, entry: dict[str, Any]) -> dict[str, Any]:
    leaf = leaves(corpus, code)[number].tobytes().hex()
    half = len(leaf) // 2
    return {**entry, "text_commitment": leaf[:half], "entry_commitment": leaf[half:]}


def texts_of(stream: Stream, documents: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yields the text of the tokens of each piece that `documents_of` returned.

    Raises:
        DamagedDocument: If a document is damaged.
        ValueError: If the corpus has no tokens, as the public part of a sealed one.
    """
    processor = load(stream.corpus.tokenizer)
    for row in {entry["stream_row"]: None for entry in documents}:
        tokens = stream.rows(row, row + 1)["tokens"][0]
        for entry in documents:
            if entry["stream_row"] == row:
                yield processor.decode(tokens[entry["place"] : entry["place"] + entry["tokens"]].tolist())
