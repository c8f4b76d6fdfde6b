"""Where a corpus differs from its commitment: which document, and which part of it; or which root."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from varietas.data.corpus import commitment as commit
from varietas.data.corpus.corpus import COMMITMENT, SHARD_DOCUMENTS, Corpus
from varietas.data.corpus.index import index_path
from varietas.data.corpus.proofs import ENTRY_DIFFERS, secret_of
from varietas.data.corpus.sorted_tree import SortedTree, holds, open_sorted
from varietas.data.ledger.merkle import HASH, root

LISTED = 20  # documents of a shard, at most


def of_roots(corpus: Corpus) -> Iterator[str]:
    """Yields how the roots and counts of a commitment contradict each other, the manifest or the lengths. No document is read.

    Raises:
        ValueError: If the corpus has no commitment, or a file of it is missing or does not have its size.
    """
    content, file = corpus.commitment, corpus.path / COMMITMENT / "commitment.json"
    for code in sorted({*corpus.languages, *content["languages"]}):
        here = corpus.documents(code) if code in corpus.languages else 0
        there = content["languages"].get(code, {"documents": 0})["documents"]
        if here != there:
            yield f"{corpus.path}: it has {here:,} documents of {code}, and committed to {there:,}"
            continue
        names = list(content["languages"][code]["sources"])
        for source, found in commit.roots_by_source(commit.tree_table(corpus, code), names).items():
            for name, value in found.items():
                if (said := content["languages"][code]["sources"][source][name]) != value:
                    yield f"{file}: {name} of {code}, source {source!r}, is {said}, and {value} by {code}.trees"
    if (found_root := commit.root_of_sources(content["languages"]).hex()) != content["root"]:
        yield f"{file}: the root is {content['root']}, and {found_root} by the roots of languages and sources"
    if not corpus.sealed:
        yield from _of_sorted(open_sorted(corpus), content["sorted"]["root"], f"{corpus.path / COMMITMENT}")


def _of_sorted(tree: SortedTree, top: str, folder: str) -> Iterator[str]:
    if (found := root(tree.leaves()).hex()) != top:
        yield f"{folder}/buckets.bin: it has the root {found}, and commitment.json {top}"
    ends = [0, *tree.buckets["end"].tolist()]
    for number, (begin, end) in enumerate(pairwise(ends)):
        keys = tree.records["key"][begin:end].tolist()
        if root(keys) != tree.buckets["root"][number].tobytes():
            yield f"{folder}/sorted.bin: the keys of bucket {number:,} are not those of buckets.bin"
        elif any(a > b for a, b in pairwise(keys)) or any(tree.bucket(key)[0] != number for key in (*keys[:1], *keys[-1:])):
            yield f"{folder}/sorted.bin: the keys of bucket {number:,} are not in order"


def of_shard(corpus: Corpus, code: str, shard: int) -> Iterator[str]:
    """Yields which documents of a shard differ from the commitment, and in what. The whole shard is read.

    Args:
        corpus: A corpus with a commitment and its secret.
        code: The language.
        shard: The number of the shard.

    Raises:
        ValueError: If the corpus has no commitment or no secret, or if the index is damaged.
    """
    first = shard * SHARD_DOCUMENTS
    span = slice(first, first + SHARD_DOCUMENTS)
    index = index_path(corpus, code, shard)
    found = commit.committed(secret_of(corpus), code, first, index, corpus.shard(code, shard), corpus.lengths(code)[span])
    said = np.asarray(commit.leaves(corpus, code)[span])
    if len(said) != len(found.leaves):
        yield f"{index}: it has {len(found.leaves):,} documents, and the corpus committed to {len(said):,}"
        return
    faults = sorted(_of_documents(corpus, code, first, found, said).items())
    for number, mine in faults[:LISTED]:
        yield f"document {number:,} of {code}: {'; '.join(mine)}"
    if faults[LISTED:]:
        yield f"{index}: {len(faults) - LISTED:,} further documents differ"
    table, names = commit.tree_table(corpus, code), np.array(list(corpus.commitment["languages"][code]["sources"]), object)
    stored = {names[row["source"]]: (int(row["documents"]), row["root"].tobytes()) for row in table[table["shard"] == shard]}
    which = np.asarray(commit.source_numbers(corpus, code)[span])
    if len(unnamed := np.flatnonzero(which >= len(names))):
        yield f"{corpus.path / COMMITMENT}/{code}.sources: document {first + int(unnamed[0]):,} has no source of commitment.json"
        return
    members = {names[k]: np.flatnonzero(which == k) for k in np.unique(which).tolist()}
    roots = {name: (len(places), root(commit.leaves_of(first, places, said))) for name, places in members.items()}
    for name in sorted(stored.keys() | roots.keys()):
        if stored.get(name) != roots.get(name):
            yield f"{corpus.path / COMMITMENT}/{code}.leaves: shard {shard:,} of source {name!r} has another root than {code}.trees"
    other = np.flatnonzero(names[which] != np.array(found.sources, object)[found.source])
    if len(other):
        yield f"document {first + int(other[0]):,} of {code}: it was committed to under source {names[which[other[0]]]!r}, not its own"


def _of_documents(corpus: Corpus, code: str, first: int, found: commit.Committed, said: np.ndarray) -> dict[int, list[str]]:
    """Returns what differs in each document of a shard."""
    faults: dict[int, list[str]] = {number: [f"its tokens are damaged ({why})"] for number, why in found.damaged.items()}
    unknown = set(found.keys["number"][~holds(open_sorted(corpus), code, found.keys)].tolist())
    texts, entries = ((found.leaves[:, part] != said[:, part]).any(1) for part in (slice(HASH), slice(HASH, 2 * HASH)))
    for at in np.flatnonzero(texts | entries).tolist():
        mine = faults.setdefault(first + at, [])
        if texts[at] and first + at not in found.damaged:
            mine.append(f"{'the digest of its text is' if first + at in unknown else 'its tokens are'} not what was committed to")
        if entries[at]:
            mine.append(ENTRY_DIFFERS)
    for number in unknown - faults.keys():
        faults[number] = ["its text is not in the sorted tree"]
    return faults
