"""Removes documents from a corpus: adds them to its list of removals, which is signed, and says which runs had read them before.

Nothing of the corpus itself changes: its shards and its commitment stay, and so do all rows of which no removed document is a part.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from varietas.data.audit.documents import described
from varietas.data.audit.find import Numbers, uses_of
from varietas.data.audit.spans import Span
from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.index import matching
from varietas.data.corpus.removals import ENVELOPE, FILE, KEY, KIND, identity, removed_from
from varietas.data.corpus.sources import Sources
from varietas.data.files import locked, write_atomically, write_json
from varietas.data.ledger import signing
from varietas.data.ledger.log import Log

REQUESTS = "removal_requests.jsonl"  # ids, URLs and reasons, which are not


def with_id(*ids: str) -> Mapping[str, Callable[[pa.Array], pa.Array]]:
    """Returns the test of `chosen` for documents with one of these ids."""
    return {"id": partial(pc.is_in, value_set=pa.array(ids, pa.string()))}


def with_url(*urls: str) -> Mapping[str, Callable[[pa.Array], pa.Array]]:
    """Returns the test of `chosen` for documents with one of these URLs."""
    return {"url": partial(pc.is_in, value_set=pa.array(urls, pa.string()))}


def of_domain(domain: str) -> Mapping[str, Callable[[pa.Array], pa.Array]]:
    """Returns the test of `chosen` for documents of a domain and of those below it."""
    name = re.escape(domain.lower().strip(".").removeprefix("www."))
    pattern = rf"^[a-z][a-z0-9+.-]*://([^/?#]*[.@])?{name}\.?([:/?#]|$)"
    return {"url": partial(pc.match_substring_regex, pattern=pattern, ignore_case=True)}


def in_list(lines: Sequence[str]) -> list[str]:
    """Returns the ids and URLs in a list, one on each line. Empty lines and those that begin with `#` are comments."""
    return [text for line in lines if (text := line.strip()) and not text.startswith("#")]


def chosen(corpus: Corpus, tests: Mapping[str, Callable[[pa.Array], pa.Array]]) -> Numbers:
    """Returns the documents of a corpus that pass one of some tests, each of a column of the index.

    Raises:
        ValueError: If the index is damaged.
    """
    found: Numbers = {}
    for code in corpus.languages:
        parts = [matching(corpus, code, column, test) for column, test in tests.items()]
        if len(numbers := np.unique(np.concatenate(parts))):
            found["", code] = numbers
    return found


def remove(corpus: Corpus, documents: Numbers, reason: str, key: Ed25519PrivateKey) -> int:
    """Adds documents to the list of removals of a corpus, and signs the list.

    Args:
        corpus: The corpus.
        documents: Which documents. Those that are removed already stay as they are.
        reason: Why.
        key: Who signs.

    Returns:
        How many were added.

    Raises:
        ValueError: If another process removes documents at this moment.
        BrokenLog: If the list was changed.
    """
    with locked(corpus.path / f".{FILE}.lock", "removal"):
        before = removed_from(corpus).documents
        new = {place: np.setdiff1d(numbers, before.get(place, np.zeros(0, np.int64))) for place, numbers in documents.items()}
        places = [("", code, number) for (_, code), numbers in new.items() for number in numbers.tolist()]
        now = datetime.now(UTC).isoformat(timespec="seconds")
        said = [
            {"language": code, "document": number, "id": entry["id"], "url": entry["url"], "reason": reason, "removed": now}
            for (_, code, number), entry in zip(places, described(corpus, places), strict=True)
        ]
        with (corpus.path / REQUESTS).open("a", encoding="utf-8") as requests:  # of one that is here and not in the list, nothing follows
            requests.writelines(json.dumps(request, ensure_ascii=False) + "\n" for request in said)
        log = Log(corpus.path / FILE)
        head = log.append([{"language": code, "document": number, "removed": now} for _, code, number in places]) if places else log.head
        content = {"list": asdict(head), "corpus": identity(corpus), "signed": now}
        digest = hashlib.sha256((corpus.path / FILE).read_bytes()).hexdigest()
        write_json(corpus.path / ENVELOPE, signing.sign(signing.statement({FILE: digest}, KIND, content), key))
        write_atomically(corpus.path / KEY, signing.public_pem(key))
    return len(places)


def requests_of(corpus: Corpus) -> dict[tuple[str, int], dict[str, Any]]:
    """Returns what is known of each removed document beside its number (id, url, reason, removed), by language and number."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    if (corpus.path / REQUESTS).exists():
        for line in (corpus.path / REQUESTS).read_text("utf-8").splitlines():
            with contextlib.suppress(ValueError):  # unfinished, because the process was killed
                request = json.loads(line)
                found[request["language"], request["document"]] = request
    return found


def exposures(corpus: Corpus | Sources, spans: Sequence[Span], removed: Numbers) -> Iterator[dict[str, Any]]:
    """Yields for each removed document that a run has read: `corpus`, `language`, `document`, `pieces`, `tokens`, first and last `step`.

    Args:
        corpus: The corpus of the run.
        spans: Those of its ledger.
        removed: The removed documents, by what the run calls the corpora.

    Raises:
        ValueError: If the corpus is not the one that the run has read.
    """
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    for span, _, piece in uses_of(corpus, spans, removed):
        step = piece.row // span.batch_size
        place = (piece.source, piece.language, piece.document)
        new = {"corpus": piece.source, "language": piece.language, "document": piece.document, "pieces": 0, "tokens": 0, "first_step": step}
        record = found.setdefault(place, new)
        record |= {"pieces": record["pieces"] + 1, "tokens": record["tokens"] + piece.size, "last_step": step}
    yield from found.values()
