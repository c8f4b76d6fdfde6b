"""Which evaluation items a run has read, found in the text of all documents that it has read up to a step.

Documents are decoded and searched in tasks of DOCUMENTS documents, which an engine divides over processes. Of each item the MOST documents
that have most of it are kept, so memory depends on the items alone. A document counts as read if any of its tokens were.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from varietas.data.audit.documents import described
from varietas.data.audit.find import uses_of
from varietas.data.audit.items import Item, Sought, search, sought
from varietas.data.audit.spans import Span
from varietas.data.chat.marks import without_marks
from varietas.data.clean import words
from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.sources import Sources, open_corpus, sources_of
from varietas.data.files import write_json
from varietas.data.prepare.engine import Engine
from varietas.data.summary.consumed import read_by
from varietas.data.tokenizer.model import load

DOCUMENTS = 1 << 14  # of a task
TOKENS = 1 << 20  # decoded at a time
MOST = 10  # documents that are named for an item
NEAR = 0.7  # share of an item's sequences of 13 words from which it counts as read; of 8-grams in Chowdhery et al., 2022, section 8
WHOLE, NEARLY, PART, NONE, SHORT = "whole", "nearly", "part", "none", "short"  # how much of an item was read; SHORT: it cannot be told


@dataclass(frozen=True)
class Place:
    """A document that has something of an item."""

    corpus: str  # "" if there is only one
    language: str
    document: int
    share: float  # of the item's sequences of 13 words; 1 if all of it stands there
    id: str = ""
    url: str = ""
    pieces: int = 0  # how often a piece of the document was read
    first_step: int = -1
    last_step: int = -1


@dataclass(frozen=True)
class Reading:
    """What a run has read of an item."""

    item: Item
    kind: str  # WHOLE, NEARLY, PART, NONE or SHORT
    share: float  # of its sequences of 13 words that are in documents which were read
    n_documents: int
    places: tuple[Place, ...]  # at most MOST documents, those with the largest share first


def readings(corpus: Corpus | Sources, spans: Sequence[Span], items: Sequence[Item], engine: Engine) -> list[Reading]:
    """Returns what a run has read of each item.

    Args:
        corpus: The corpus of the run, with its text.
        spans: Those of its ledger, from `spans.up_to`.
        items: The evaluation items.
        engine: Does the tasks (data/prepare/engine.py).

    Raises:
        ValueError: If the corpus is not the one that the run has read, or only its public part.
        DamagedDocument: If a document is damaged.
    """
    wanted = sought(items)
    work = Path(tempfile.mkdtemp(prefix="varietas-contamination-"))
    try:
        np.savez(work / "sought.npz", **{field.name: getattr(wanted, field.name) for field in fields(Sought)})
        write_json(work / "plan.json", {"corpus": str(corpus.path)})
        tasks = _tasks(corpus, spans, work)
        engine("documents", tasks, partial(do_task, work))
        return _joined(corpus, spans, items, wanted, [work / "found" / f"{task}.npz" for task in tasks])
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _tasks(corpus: Corpus | Sources, spans: Sequence[Span], work: Path) -> list[str]:
    """Writes which documents each task searches, those that were read, and returns the tasks."""
    read = read_by((span.stream(corpus), span.first * span.batch_size, span.stop * span.batch_size) for span in spans)
    tasks = []
    for name in ("read", "found"):
        (work / name).mkdir()
    names = list(sources_of(corpus))
    for source, code in read.parts:
        n = sources_of(corpus)[source].documents(code)
        for begin in range(0, n, DOCUMENTS):
            numbers = begin + np.flatnonzero(read.tokens(source, code, begin, min(n, begin + DOCUMENTS)))
            if len(numbers):
                tasks.append(f"{names.index(source)}-{code}-{begin // DOCUMENTS}")
                np.save(work / "read" / f"{tasks[-1]}.npy", numbers)
    return tasks


@lru_cache(maxsize=1)
def _opened(work: Path) -> tuple[dict[str, Corpus], Sought]:
    plan = json.loads((work / "plan.json").read_text("utf-8"))
    with np.load(work / "sought.npz") as arrays:
        return sources_of(open_corpus(plan["corpus"])), Sought(**{name: arrays[name] for name in arrays})


def do_task(work: Path, task: str) -> None:
    """Does a task: searches documents of a language in a source, and writes what they have of items."""
    (sources, wanted), (number, code, _) = _opened(work), task.split("-")
    corpus = list(sources.values())[int(number)]
    documents = np.load(work / "read" / f"{task}.npy")
    processor, language = load(corpus.tokenizer), corpus.languages.index(code)
    ends = np.flatnonzero(np.diff(np.cumsum(corpus.lengths(code)[documents], dtype=np.int64) // TOKENS)) + 1
    grams, rows, n_found = [np.zeros(0, np.int64)], [np.zeros((0, 4))], np.zeros(len(wanted.totals), np.int64)
    for part in np.split(documents, ends):
        found = corpus.read(np.full(len(part), language), part, skip=True)
        texts = [processor.decode((without_marks(ids) if corpus.is_chat else ids).tolist()) for ids in found]
        hits = search(words.split(texts), wanted)
        grams.append(hits.grams)
        whole = np.stack([hits.whole_document, wanted.item_of_text[hits.whole_text], hits.whole_text], axis=1)
        both = np.unique(np.concatenate([np.stack([hits.document, hits.item], axis=1), whole[:, :2]]), axis=0)
        np.add.at(n_found, both[:, 1], 1)
        shares = hits.shared / wanted.totals[hits.item]
        rows.append(np.stack([part[hits.document], hits.item, shares, np.full(len(shares), -1)], axis=1))
        rows.append(np.stack([part[whole[:, 0]], whole[:, 1], np.ones(len(whole)), whole[:, 2]], axis=1))
    np.savez(work / "found" / f"{task}.npz", grams=np.unique(np.concatenate(grams)), rows=_most(np.concatenate(rows)), n_found=n_found)


def _most(rows: np.ndarray) -> np.ndarray:
    """Returns those rows of (document, item, share, text or -1) whose share is among the MOST largest of their item and text."""
    rows = rows[np.lexsort((rows[:, 0], -rows[:, 2], rows[:, 3], rows[:, 1]))]
    first = np.flatnonzero(np.any(np.diff(rows[:, [1, 3]], axis=0, prepend=-2), axis=1))
    rank = np.arange(len(rows)) - np.repeat(first, np.diff(np.append(first, len(rows))))
    return rows[rank < MOST]


def _joined(corpus: Corpus | Sources, spans: Sequence[Span], items: Sequence[Item], wanted: Sought, files: Sequence[Path]) -> list[Reading]:
    """Joins what the tasks have found, and adds what the index says of the documents, and when they were read."""
    seen, n_found = np.zeros(len(wanted.grams), bool), np.zeros(len(items), np.int64)
    whole_texts: list[set[int]] = [set() for _ in items]
    shares: list[dict[tuple[str, str, int], float]] = [{} for _ in items]
    names = list(sources_of(corpus))
    for file in files:
        source, code, _ = file.stem.split("-")
        with np.load(file) as found:
            seen[found["grams"]] = True
            n_found += found["n_found"]
            for number, item, share, text in found["rows"].tolist():
                of, place = int(item), (names[int(source)], code, int(number))
                shares[of][place] = max(share, shares[of].get(place, 0.0))
                if text >= 0:
                    whole_texts[of].add(int(text))
    best = [sorted(of.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST] for of in shares]
    places = _places(corpus, spans, {place for of in best for place, _ in of})
    covered = np.bincount(wanted.items_of, seen[_gram_of_pair(wanted)], len(items))
    n_texts = np.bincount(wanted.item_of_text, minlength=len(items))
    out = []
    for number, item in enumerate(items):
        share = covered[number] / wanted.totals[number] if wanted.totals[number] else 0.0
        kind = _kind(n_texts[number], len(whole_texts[number]), share)
        found_at = tuple(replace(places[place], share=round(value, 4)) for place, value in best[number])
        out.append(Reading(item, kind, round(float(share), 4), int(n_found[number]), found_at))
    return out


def _gram_of_pair(wanted: Sought) -> np.ndarray:
    """Returns the gram of each entry of `Sought.items_of`."""
    return np.repeat(np.arange(len(wanted.grams)), np.diff(wanted.starts))


def _kind(texts: int, whole: int, share: float) -> str:
    """Returns how much of an item was read, from how many texts it has, how many of these were read whole, and the share of its grams."""
    if not texts:
        return SHORT
    if whole == texts:
        return WHOLE
    return NEARLY if share >= NEAR else PART if share > 0 or whole else NONE


def _places(corpus: Corpus | Sources, spans: Sequence[Span], documents: set[tuple[str, str, int]]) -> dict[tuple[str, str, int], Place]:
    """Returns what is known of documents: what the index says, and when they were read."""
    listed = sorted(documents)
    numbers: dict[tuple[str, str], list[int]] = {}
    for source, code, number in listed:
        numbers.setdefault((source, code), []).append(number)
    steps: dict[tuple[str, str, int], list[int]] = {}
    for span, _, piece in uses_of(corpus, spans, {part: np.array(mine) for part, mine in numbers.items()}):
        steps.setdefault((piece.source, piece.language, piece.document), []).append(piece.row // span.batch_size)
    return {
        place: Place(*place, 0.0, known["id"] or "", known["url"] or "", len(read), min(read, default=-1), max(read, default=-1))
        for place, known in zip(listed, described(corpus, listed), strict=True)
        for read in [steps.get(place, [])]
    }


def as_json(reading: Reading) -> dict[str, Any]:
    """Returns a reading as JSON can hold it, without the texts of its item."""
    return {"item": reading.item.name, "language": reading.item.lang} | {k: v for k, v in asdict(reading).items() if k != "item"}
