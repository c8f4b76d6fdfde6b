"""Rows that hold a document, against a scan of all rows; and a stream that is made again from what a ledger says of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from test_epochs import random_mixture

from varietas.data.corpus.removals import Removed
from varietas.data.corpus.sources import Sources, open_corpus
from varietas.data.stream.context import context_of, stream_in
from varietas.data.stream.mixture import Mixture
from varietas.data.stream.queue import Queue
from varietas.data.stream.stream import Stream
from varietas.data.stream.uses import uses

L, N_ROWS = 64, 4_000


@pytest.fixture(autouse=True)
def _cache_of_filters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VARIETAS_CACHE", str(tmp_path))


@pytest.mark.parametrize("seed", range(8))
def test_uses_are_those_of_a_scan(seed: int, two_sources: Sources) -> None:
    """Of a hundred documents, over phases, ramps, filters and many epochs, and from any row to any other."""
    rng = np.random.default_rng(seed)
    stream = Stream(two_sources, random_mixture(rng), L, seed, 150)
    sought = {place: np.sort(rng.choice(n, 20, replace=False)) for place, n in sizes(two_sources).items()}
    start, stop = sorted(rng.integers(0, N_ROWS, 2).tolist())
    for first, end in ((0, N_ROWS), (start, stop), (start, start)):
        scanned = [p for p in stream.documents(first, end) if p.document in sought[p.source, p.language]]
        assert list(uses(stream, sought, first, end)) == scanned
    assert list(uses(stream, {}, 0, N_ROWS)) == []


def test_uses_of_many_groups_of_documents(corpus_folder: Path) -> None:
    """Languages whose documents are divided into several groups, each of another order in every epoch."""
    stream = Stream(open_corpus(str(corpus_folder)), Mixture(0.3), 128, 3, 200)
    for index, queue in stream.queues.items():
        stream.queues[index] = Queue(queue.lengths, queue._key, 7)
    languages = stream.corpus.manifest["languages"]
    sought = {("", code): np.arange(0, language["documents"], 5) for code, language in languages.items()}
    scanned = [p for p in stream.documents(0, 20_000) if p.document % 5 == 0]
    assert list(uses(stream, sought, 0, 20_000)) == scanned and max(p.epoch for p in scanned) == 1


def test_a_removed_document_has_no_use_and_no_other_row_changes(two_sources: Sources) -> None:
    gone = {("web", "ces_Latn"): np.array([3, 17, 250]), ("wiki", "mlt_Latn"): np.array([0])}
    whole = Stream(two_sources, Mixture(), L, 1, 150)
    without = Stream(two_sources, Mixture(), L, 1, 150, without=Removed(gone))
    assert list(uses(without, gone, 0, 2_000)) == []
    held = {p.row for p in uses(whole, gone, 0, 2_000)}
    before, after = whole.rows(0, 2_000), without.rows(0, 2_000)
    same = (before["tokens"] == after["tokens"]).all(1) & (before["segments"] == after["segments"]).all(1)
    assert set(np.flatnonzero(~same).tolist()) == held and len(held) > 10
    lost = sum(p.size for p in uses(whole, gone, 0, 2_000))
    assert (before["segments"] > 0).sum() - (after["segments"] > 0).sum() == lost


@pytest.mark.parametrize("seed", range(4))
def test_a_stream_can_be_made_again_from_its_context(seed: int, two_sources: Sources) -> None:
    stream = Stream(two_sources, random_mixture(np.random.default_rng(seed)), L, seed, 150)
    context = json.loads(json.dumps(context_of(stream, 8)))
    again = stream_in(context, two_sources)
    assert context_of(again, 8) == context
    assert all((again.rows(700, 720)[name] == rows).all() for name, rows in stream.rows(700, 720).items())


def test_another_corpus_is_refused(two_sources: Sources, corpus_folder: Path) -> None:
    context = context_of(Stream(two_sources, Mixture(), L, 0), 8)
    with pytest.raises(ValueError, match="has read web, wiki; --corpus names one corpus"):
        stream_in(context, open_corpus(str(corpus_folder)))
    one = open_corpus(str(corpus_folder))
    known = context_of(Stream(one, Mixture(), L, 0), 8)
    known["corpora"][""]["digest"] = "0" * 64
    with pytest.raises(ValueError, match=r"its digest is .* but the run has read a corpus with 000000000000"):
        stream_in(known, one)


def sizes(corpus: Sources) -> dict[tuple[str, str], int]:
    return {(name, code): source.documents(code) for name, source in corpus.corpora.items() for code in source.languages}
