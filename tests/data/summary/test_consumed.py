"""What was consumed of each document, compared with a count of all pieces in the rows."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from varietas.data.corpus.removals import Removed
from varietas.data.corpus.sources import Sources, sources_of
from varietas.data.stream.mixture import Mixture, Phase
from varietas.data.stream.stream import Stream
from varietas.data.summary.consumed import consumed, read_by

L = 64
PHASES = (
    Phase("broad", 20_000, 10_000, Mixture(weights="ces_Latn:1, fin_Latn:3")),
    Phase("best", 50_000, 0, Mixture(weights="ces_Latn:1", where="quality >= 0.5", sources="wiki:3")),
)
MIXTURES = {
    "plain": Mixture(0.5),
    "rare and repeated": Mixture(weights="ces_Latn:1, mlt_Latn:20"),
    "phases, sources and filters": Mixture(weights="ces_Latn:3, fin_Latn:1", phases=PHASES),
    "one filter": Mixture(0.3, where="quality >= 0.4"),
}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VARIETAS_CACHE", str(tmp_path))


def counted(stream: Stream, n_rows: int) -> Counter[tuple[str, str, int]]:
    found: Counter[tuple[str, str, int]] = Counter()
    for piece in stream.documents(0, n_rows):
        found[piece.source, piece.language, piece.document] += piece.size
    return found


@pytest.mark.parametrize("name", MIXTURES)
@pytest.mark.parametrize("block_rows", [63, 2048])
def test_every_document_counts_as_in_the_rows(two_sources: Sources, name: str, block_rows: int) -> None:
    stream = Stream(two_sources, MIXTURES[name], L, 3, block_rows)
    for n_rows in (0, 1, 62, 63, 64, 313, 500, 783, 1250):
        wanted, found = counted(stream, n_rows), consumed(stream, n_rows)
        n = 0
        for source, corpus in sources_of(two_sources).items():
            for code in corpus.languages:
                tokens = found.tokens(source, code, 0, corpus.documents(code))
                n += np.count_nonzero(tokens)
                assert all(count == wanted[source, code, document] for document, count in enumerate(tokens.tolist())), (n_rows, code)
        assert n == len(wanted)


def test_ranges_of_documents_are_parts_of_the_whole(two_sources: Sources) -> None:
    found = consumed(Stream(two_sources, MIXTURES["phases, sources and filters"], L, 3, 63), 1111)
    whole = found.tokens("web", "ces_Latn", 0, 300)
    for begin, end in ((0, 1), (17, 18), (250, 300), (100, 200), (40, 40)):
        assert np.array_equal(found.tokens("web", "ces_Latn", begin, end), whole[begin:end])
    assert found.tokens("web", "deu_Latn", 0, 5).tolist() == [0] * 5


def test_removed_documents_count_until_they_were_removed(two_sources: Sources) -> None:
    """A run reads 400 rows, then 500 without two documents, then 600 without four."""
    lists = [
        {},
        {("web", "ces_Latn"): [3, 77]},
        {("web", "ces_Latn"): [3, 77, 78], ("wiki", "mlt_Latn"): [0]},
    ]
    bounds, wanted = [0, 400, 900, 1500], Counter[tuple[str, str, int]]()
    spans, n_gone = [], 0
    for gone, begin, end in zip(lists, bounds, bounds[1:], strict=False):
        removed = Removed({part: np.array(numbers) for part, numbers in gone.items()})
        spans.append((Stream(two_sources, MIXTURES["plain"], L, 3, 63, without=removed), begin, end))
        for piece in spans[0][0].documents(begin, end):
            if piece.document in gone.get((piece.source, piece.language), []):
                n_gone += piece.size
            else:
                wanted[piece.source, piece.language, piece.document] += piece.size
    found = read_by(spans)
    assert n_gone > 100
    for source, code in found.parts:
        n = two_sources.corpora[source].documents(code)
        tokens = found.tokens(source, code, 0, n)
        assert tokens.tolist() == [wanted[source, code, document] for document in range(n)]
        assert np.array_equal(found.tokens(source, code, 40, 57), tokens[40:57])


@pytest.mark.parametrize("epochs", [0.2, 1.0, 2.7])
def test_many_groups(epochs: float) -> None:
    """Thirty thousand documents are thirty groups."""
    rng = np.random.default_rng(1)
    of = {"ces_Latn": rng.integers(2, 300, 30_000).astype(np.uint32), "mlt_Latn": rng.integers(2, 90, 2500).astype(np.uint32)}
    corpus = SimpleNamespace(
        languages=tuple(of), lengths=of.get, tokens=lambda code: int(of[code].sum()), documents=lambda code: len(of[code]), pad_id=0
    )
    stream = Stream(corpus, Mixture(0.5), 512, 5, 100)  # type: ignore[arg-type]
    n_rows = int(epochs * sum(int(lengths.sum()) for lengths in of.values()) / 512)
    wanted, found = counted(stream, n_rows), consumed(stream, n_rows)
    for code, lengths in of.items():
        tokens = np.concatenate([found.tokens("", code, k, min(k + 997, len(lengths))) for k in range(0, len(lengths), 997)])
        assert tokens.tolist() == [wanted["", code, document] for document in range(len(lengths))]
