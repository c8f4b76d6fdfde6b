"""Digests of rows: computed by hand from their definition, the same however rows are read, and changed by any change."""

from hashlib import sha256

import numpy as np
import pytest

from varietas.data.corpus.removals import Removed
from varietas.data.corpus.sources import Sources
from varietas.data.ledger.merkle import root
from varietas.data.stream.loader import DIGESTS, batches
from varietas.data.stream.mixture import Mixture
from varietas.data.stream.row_digests import row_digests
from varietas.data.stream.stream import Stream

L, B = 64, 12


@pytest.fixture(scope="module")
def stream(two_sources: Sources) -> Stream:
    return Stream(two_sources, Mixture(), L, 5, 150)


def by_definition(stream: Stream, row: int, gone: frozenset[int] = frozenset()) -> bytes:
    rows = stream.rows(row, row + 1)
    pieces = [p for p in stream.documents(row, row + 1) if p.document not in gone]
    texts = [f"{p.source}\t{p.language}\t{p.document}\t{p.begin}\t{p.size}".encode() for p in pieces]
    content = sha256(b"".join(rows[name].astype("<i4").tobytes() for name in ("tokens", "segments", "languages"))).digest()
    return sha256(root(texts) + content).digest()


def test_digests_are_those_of_the_definition(stream: Stream) -> None:
    """Also of rows at the end of a block, which have padding."""
    found = row_digests(stream, 100, stream.rows(100, 200))
    assert found.shape == (100, 32) and found.dtype == np.uint8
    assert [row.tobytes() for row in found] == [by_definition(stream, row) for row in range(100, 200)]
    assert (stream.rows(149, 150)["segments"][0, -1] == 0) or (stream.rows(100, 200)["segments"] == 0).any()


def test_hosts_and_workers_do_not_matter(stream: Stream) -> None:
    whole = np.concatenate([batch[DIGESTS] for batch in batches(stream, B, 3, 9)])
    hosts = [list(batches(stream, B, 3, 9, parts, n)) for parts, n in ((((0, 4), (8, 10)), 0), (((4, 8), (10, 12)), 1))]
    found = [(one[DIGESTS], other[DIGESTS]) for one, other in zip(*hosts, strict=True)]
    of_steps = [np.concatenate([one[:4], other[:4], one[4:], other[4:]]) for one, other in found]
    assert (np.concatenate(of_steps) == whole).all()
    assert (whole == row_digests(stream, 3 * B, stream.rows(3 * B, 9 * B))).all()


@pytest.mark.parametrize("name", ["tokens", "segments", "languages"])
def test_any_change_of_a_row_changes_its_digest_alone(stream: Stream, name: str) -> None:
    rows = stream.rows(0, 20)
    before = row_digests(stream, 0, rows)
    rows[name] = rows[name].copy()
    rows[name][7, 31] += 1
    assert np.flatnonzero((row_digests(stream, 0, rows) != before).any(1)).tolist() == [7]


def test_a_removed_document_is_not_among_the_pieces(two_sources: Sources) -> None:
    gone = {(name, code): np.array([11]) for name, source in two_sources.corpora.items() for code in source.languages}
    stream = Stream(two_sources, Mixture(), L, 5, 150, without=Removed(gone))
    row = next(piece.row for piece in stream.documents(0, 1000) if piece.document == 11)
    assert row_digests(stream, row, stream.rows(row, row + 1))[0].tobytes() == by_definition(stream, row, frozenset([11]))
