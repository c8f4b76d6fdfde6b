"""removals.jsonl of a corpus: documents that no run may read any more, since somebody asked for it. A log (ledger/log.py).

Their tokens become padding, so all other rows stay what they were. A run reads the list when it starts or continues, and its ledger says
how long the list was then.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.sources import Sources, sources_of
from varietas.data.ledger.log import BrokenLog, Head, head_of, lines
from varietas.data.ledger.merkle import MerkleTree

FILE = "removals.jsonl"
ENVELOPE, KEY = "removals.dsse.json", "removals.pub"  # beside the list, and published with it
KIND = "urn:varietas:removals:v1"


@dataclass(frozen=True)
class Removed:
    """Documents that are not read, and the lists that name them."""

    documents: Mapping[tuple[str, str], np.ndarray] = field(default_factory=dict)  # source, language -> numbers, ascending
    lists: Mapping[str, dict[str, Any]] = field(default_factory=dict)  # source -> size and root of its list (log.Head)


def removed_from(corpus: Corpus | Sources, sizes: Mapping[str, int] | None = None) -> Removed:
    """Returns which documents of a corpus, or of several, are removed.

    Args:
        corpus: The corpus.
        sizes: How many lines of the list of each source count, by its name, for a run that began with a shorter list; None for all.

    Raises:
        BrokenLog: If a list is not the one that was signed, or is shorter than `sizes` says.
        ValueError: If a list names a document that the corpus does not have, or is not signed.
    """
    numbers, lists = dict[tuple[str, str], list[int]](), dict[str, dict[str, Any]]()
    for name, source in sources_of(corpus).items():
        file, size = source.path / FILE, None if sizes is None else sizes.get(name, 0)
        if any((source.path / each).exists() for each in (FILE, ENVELOPE, KEY)):
            check_list(source)
        elif not size:
            continue
        tree = MerkleTree()
        for line in lines(file, tree):
            if line.number == size:
                break
            code, number = line.record.get("language"), line.record.get("document")
            if code not in source.languages or not isinstance(number, int) or not 0 <= number < source.documents(code):
                raise ValueError(f"{file}: line {line.number + 1} names document {number} of {code}, which the corpus does not have")
            numbers.setdefault((name, code), []).append(number)
        if size is not None and tree.size < size:
            raise BrokenLog(f"{file} has {tree.size:,} lines, but it had {size:,} when the run read it; restore it from a copy")
        if tree.size:
            lists[name] = {"size": tree.size, "root": tree.root().hex()}
    return Removed({place: np.unique(found) for place, found in numbers.items()}, lists)


def check_list(corpus: Corpus) -> Head:
    """Checks that the list of removals of a corpus is the one that was signed, with the key beside it.

    Returns:
        What the list holds.

    Raises:
        ValueError: If the list, its signature or the key is missing, or the signature does not fit.
        BrokenLog: If the list was changed since it was signed.
    """
    from varietas.data.ledger import signing  # a corpus without removals does not need it

    file, envelope = corpus.path / FILE, corpus.path / ENVELOPE
    try:
        said = signing.verify(signing.read_envelope(envelope), signing.public_key(corpus.path / KEY), str(envelope))["predicate"]
    except FileNotFoundError as error:
        raise ValueError(f"{error.filename} is missing: the list of removals and its signature belong together; restore it") from None
    head = head_of(file)
    if Head(**said["list"]) != head or said["corpus"] != identity(corpus):
        raise BrokenLog(f"{file}: it is not the list that was signed on {said['signed']}; restore it from a copy")
    return head


def identity(corpus: Corpus) -> str:
    """Returns what tells a corpus from others, also in its public part."""
    return str(corpus.manifest.get("commitment", {}).get("root", corpus.digest))
