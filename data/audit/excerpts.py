"""Excerpts of documents that a run has read, to see which of them a model can repeat: chosen by hash, each from one row of the run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from varietas.data.audit.find import uses_of
from varietas.data.audit.spans import Span
from varietas.data.chat.marks import without_marks
from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.index import entries
from varietas.data.corpus.sources import Sources, sources_of
from varietas.data.hashing import hash64
from varietas.data.stream.pieces import Piece
from varietas.data.summary.consumed import Read, read_by
from varietas.data.text.documents import Document
from varietas.data.tokenizer.model import Tokenizer

AT_ONCE = 1 << 20  # documents whose tokens read are in memory


@dataclass(frozen=True)
class Excerpt:
    """Consecutive tokens of a document."""

    corpus: str  # "" if there is only one
    language: str
    document: int
    begin: int  # the first token, counted in the document
    ids: tuple[int, ...]
    reads: int  # how often the run has read a piece that begins with it
    copies: int  # documents that this one stands for, as its collection or `prepare` says
    last_step: int


def excerpts(corpus: Corpus | Sources, spans: Sequence[Span], n_documents: int, size: int) -> list[Excerpt]:
    """Returns an excerpt of some documents of each language, of those that were read to the end.

    Which documents, and where in them, follows from hashes of their numbers. An excerpt is the beginning of a piece that a row of the run
    had, most often that of the document: there the model had exactly the same text before it as it has now.

    Args:
        corpus: The corpus of the run, with its text.
        spans: Those of its ledger, up to the step of the model.
        n_documents: How many documents of each language at most.
        size: Tokens of an excerpt.

    Raises:
        ValueError: If the corpus is not the one that the run has read, or only its public part.
        DamagedDocument: If a document is damaged.
    """
    read = read_by((span.stream(corpus), span.first * span.batch_size, span.stop * span.batch_size) for span in spans)
    chosen = _chosen(corpus, read, n_documents, size)
    pieces: dict[tuple[str, str, int], list[tuple[int, Piece]]] = {}
    for span, _, piece in uses_of(corpus, spans, chosen):
        if piece.size >= size:
            place = piece.source, piece.language, piece.document
            pieces.setdefault(place, []).append((piece.row // span.batch_size, piece))
    found = []
    for (source, code), numbers in chosen.items():
        one = sources_of(corpus)[source]
        texts = one.read(np.full(len(numbers), one.languages.index(code)), numbers)
        known = entries(one, code, numbers, ["cluster_size"])
        for number, text, entry in zip(numbers.tolist(), texts, known, strict=True):
            mine = pieces.get((source, code, number), [])
            if mine:
                _, piece = mine[int(hash64(number)[0] % np.uint64(len(mine)))]
                steps = [step for step, each in mine if each.begin == piece.begin]
                ids = (without_marks(text) if one.is_chat else text)[piece.begin : piece.begin + size]
                copies = entry["cluster_size"] or 1
                found.append(Excerpt(source, code, number, piece.begin, tuple(ids.tolist()), len(steps), copies, max(steps)))
    return found


def _chosen(corpus: Corpus | Sources, read: Read, n_documents: int, size: int) -> dict[tuple[str, str], np.ndarray]:
    """Returns the numbers of the documents of each source and language that have the least hashes, ascending, int64."""
    best: dict[str, list[tuple[int, str, int]]] = {}
    for source, code in read.parts:
        lengths = sources_of(corpus)[source].lengths(code)
        for begin in range(0, len(lengths), AT_ONCE):
            own = lengths[begin : begin + AT_ONCE].astype(np.int64)
            tokens = read.tokens(source, code, begin, begin + len(own))
            fits = begin + np.flatnonzero((own >= size) & (tokens >= own))
            hashes = hash64(1, fits)
            for at in np.argsort(hashes, kind="stable")[:n_documents].tolist():
                best.setdefault(code, []).append((int(hashes[at]), source, int(fits[at])))
    chosen: dict[tuple[str, str], list[int]] = {}
    for code, candidates in best.items():
        for _, source, number in sorted(candidates)[:n_documents]:
            chosen.setdefault((source, code), []).append(number)
    return {part: np.array(sorted(numbers), np.int64) for part, numbers in chosen.items()}


def unread_excerpts(documents: Iterable[Document], processor: Tokenizer, n_documents: int, size: int) -> list[tuple[str, list[int]]]:
    """Returns the language and the first tokens of the first held-out documents of each language that have so many."""
    found: dict[str, list[list[int]]] = {}
    for document in documents:
        if len(found.get(document.lang, ())) < n_documents:
            ids = [*processor.encode(document.text, add_bos=True), processor.eos_id()]
            if len(ids) >= size:
                found.setdefault(document.lang, []).append(ids[:size])
    return [(code, ids) for code, texts in found.items() for ids in texts]
