"""Which steps have read a document. The documents are found in the index of the corpus, their rows by `data/stream/uses.py`."""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from varietas.data.audit.spans import Span
from varietas.data.clean.cleaning import Cleaning, clean
from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.index import matching
from varietas.data.corpus.sources import Sources, sources_of
from varietas.data.stream.context import CHANGES
from varietas.data.stream.pieces import Piece
from varietas.data.stream.stream import Stream
from varietas.data.stream.uses import uses
from varietas.data.text.documents import Document, NotADocument

Numbers = dict[tuple[str, str], np.ndarray]  # source, language -> numbers of documents, ascending


def documents_with(corpus: Corpus | Sources, by: str, value: str) -> Numbers:
    """Returns the documents of a corpus that are asked for. Of sealed sources (`not_searched`), none are found but by their source.

    Args:
        corpus: The corpus.
        by: id, url, source or text.
        value: The id, the beginning of the URL, the source, or the text itself.

    Raises:
        ValueError: If the index of the corpus is damaged.
    """
    found: Numbers = {}
    for name, part in sources_of(corpus).items():
        for code in part.languages:
            if by == "text":
                digests = pa.array(digests_of(value, part.manifest.get("cleaning", {}), [code]), pa.binary(32))
                numbers = matching(part, code, "digest", partial(pc.is_in, value_set=digests))
            elif by == "url":
                numbers = matching(part, code, by, partial(pc.starts_with, pattern=value))
            else:
                numbers = matching(part, code, by, partial(pc.equal, value))
            if len(numbers):
                found[name, code] = numbers
    return found


def digests_of(text: str, cleaning: Mapping[str, Any], languages: Sequence[str]) -> list[bytes]:
    """Returns the digests that a text may have in a corpus: as it is, without blanks around it, and as `prepare` has cleaned it.

    Args:
        text: The text.
        cleaning: The steps of cleaning that change a text (context.CHANGES), as the corpus was prepared with them.
        languages: Those of the corpus: some steps depend on the language.
    """
    plain = [text, text.strip(), text.replace("\r\n", "\n"), text.replace("\r\n", "\n").strip()]
    texts = list(plain)
    steps = Cleaning(**{name: value for name, value in cleaning.items() if name in CHANGES})
    if steps != Cleaning():
        for code in languages:
            with contextlib.suppress(NotADocument):
                texts += [clean(Document("", code, each), steps, Counter()).text for each in dict.fromkeys(plain)]
    return [hashlib.sha256(each.encode()).digest() for each in dict.fromkeys(texts)]


def not_searched(corpus: Corpus | Sources, by: str) -> list[str]:
    """Returns the sources of which this is the public part, which does not tell what is asked for."""
    return [name for part in sources_of(corpus).values() for name in part.sealed] if by != "source" else []


def uses_of(corpus: Corpus | Sources, spans: Sequence[Span], sought: Numbers) -> Iterator[tuple[Span, Stream, Piece]]:
    """Yields each use of documents in the steps of a ledger, in the order of the rows, with the span and its rows.

    Args:
        corpus: The corpus of the run.
        spans: Those of its ledger.
        sought: The documents.

    Raises:
        ValueError: If the corpus is not the one that the run has read.
    """
    for span in spans:
        stream, size = span.stream(corpus), span.batch_size
        for piece in uses(stream, sought, span.first * size, span.stop * size):
            yield span, stream, piece


def use(span: Span, piece: Piece, left_out: Mapping[int, str]) -> dict[str, Any]:
    """Returns a use as JSON can hold it. `left_out` says which steps did not change the model, and why."""
    step, row = divmod(piece.row, span.batch_size)
    return {
        "step": step,
        "row": row,
        "stream_row": piece.row,
        **({"corpus": piece.source} if piece.source else {}),
        "language": piece.language,
        "document": piece.document,
        "begin": piece.begin,
        "tokens": piece.size,
        "epoch": piece.epoch,
        **({"left_out": left_out[step]} if step in left_out else {}),
    }
