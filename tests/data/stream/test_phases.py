"""Strategies, sources, filters and phases of a mixture: shares checked by independent means, and rows that can be computed alone."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from varietas.data.corpus.index import selected
from varietas.data.corpus.sources import Sources, open_corpus
from varietas.data.prepare.prepare import prepare_documents
from varietas.data.stream.blocks import blocks
from varietas.data.stream.mixture import Mixture, Phase, from_config
from varietas.data.stream.shares import course, strata_of, stratum_shares
from varietas.data.stream.stream import Stream
from varietas.data.text.documents import Document
from varietas.data.tokenizer import training as tokenizer

L, BLOCK = 64, 63
PHASES = (
    Phase("broad", 20_000, 10_000, Mixture(weights="ces_Latn:1, fin_Latn:3")),
    Phase("best", 50_000, 0, Mixture(weights="ces_Latn:1", where="quality >= 0.5", sources="wiki:3")),
)
MIXTURE = Mixture(weights="ces_Latn:3, fin_Latn:1", phases=PHASES)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VARIETAS_CACHE", str(tmp_path))


def test_the_share_of_a_language_is_split_by_weight_times_tokens_of_a_source(two_sources: Sources) -> None:
    mixture = Mixture(weights="ces_Latn:1, mlt_Latn:1", sources="wiki:3")
    strata = strata_of(two_sources, mixture)
    tokens = np.array([two_sources.corpora[s.source].tokens(s.code) for s in strata])
    share = {(s.source, s.code): p for s, p in zip(strata, stratum_shares(mixture, strata, tokens), strict=True)}
    web, wiki = (two_sources.corpora[name].tokens("ces_Latn") for name in ("web", "wiki"))
    assert share["web", "fin_Latn"] == 0 and share["wiki", "mlt_Latn"] == 0.5
    assert share["wiki", "ces_Latn"] == pytest.approx(0.5 * 3 * wiki / (web + 3 * wiki))
    assert sum(share.values()) == pytest.approx(1)


def test_tokens_taken_are_the_integral_of_the_shares(two_sources: Sources) -> None:
    strata = strata_of(two_sources, MIXTURE)
    whole = course(MIXTURE, strata, np.arange(1, len(strata) + 1))
    at = np.arange(80_000) + 0.5
    for k in range(len(strata)):
        ramp = np.clip((at - 20_000) / 10_000, 0, 1)
        share = np.where(at < 50_000, whole.end[0, k] * (1 - ramp) + whole.end[1, k] * ramp, whole.end[2, k])
        summed = np.concatenate([[0], np.cumsum(share)])
        for tokens in (0, 1, 19_999, 20_000, 25_000, 30_000, 49_999, 50_001, 80_000):
            assert whole.taken(tokens)[k] == pytest.approx(summed[tokens], abs=1e-6)


def test_rows_follow_the_course_and_can_be_computed_alone(two_sources: Sources) -> None:
    stream = Stream(two_sources, MIXTURE, L, 0, BLOCK)
    n = 80_000 // L
    rows = stream.rows(0, n)
    cut = blocks(BLOCK, PHASES, L, len(stream.strata))
    for b in range(cut.number(n)):
        seen = np.zeros(len(stream.strata))
        begin, end = cut.rows(b)
        for piece in stream.documents(begin, end):
            candidates = [k for k, s in enumerate(stream.strata) if (s.source, s.code) == (piece.source, piece.language)]
            seen[candidates[0]] += piece.size
        wanted = stream.taken(end * L) - stream.taken(begin * L)
        for source, code in {(s.source, s.code) for s in stream.strata}:
            members = [k for k, s in enumerate(stream.strata) if (s.source, s.code) == (source, code)]
            assert abs(seen[members].sum() - wanted[members].sum()) <= len(members)
    for start in (0, 5, 300, 312, 700, n - 9):
        fresh = pickle.loads(pickle.dumps(stream)).rows(start, start + 9)
        assert all(np.array_equal(fresh[name], values[start : start + 9]) for name, values in rows.items())


@pytest.mark.parametrize("block_rows", [BLOCK, 2048])
def test_phases_begin_at_an_exact_row(block_rows: int, two_sources: Sources) -> None:
    """Holds also if the whole run is shorter than a block."""
    stream = Stream(two_sources, MIXTURE, L, 0, block_rows)

    def finnish(begin: int, end: int) -> float:
        pieces = list(stream.documents(begin, end))
        return sum(piece.size for piece in pieces if piece.language == "fin_Latn") / sum(piece.size for piece in pieces)

    ramp, steady, best = (-(-tokens // L) for tokens in (20_000, 30_000, 50_000))
    assert finnish(0, ramp) == pytest.approx(0.25, abs=0.01)
    assert finnish(ramp, (ramp + steady) // 2) == pytest.approx(0.375, abs=0.03)
    assert finnish((ramp + steady) // 2, steady) == pytest.approx(0.625, abs=0.03)
    assert finnish(steady, best) == pytest.approx(0.75, abs=0.01)
    late = list(stream.documents(best, best + 400))
    assert {piece.language for piece in late} == {"ces_Latn"} and {piece.source for piece in late} == {"web", "wiki"}
    assert all(piece.document % 5 and piece.document % 10 >= 5 for piece in late)
    assert {piece.document % 10 for piece in stream.documents(0, ramp) if piece.language == "ces_Latn"} == set(range(10))


def test_phases_too_close_together_are_refused(two_sources: Sources) -> None:
    phases = (Phase("one", 20_000, 0, Mixture()), Phase("two", 20_020, 0, Mixture()))
    with pytest.raises(ValueError, match=r"phases.two begins 0 rows of 64 tokens after .* at least \d are needed"):
        Stream(two_sources, Mixture(phases=phases), L, 0)


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        ("quality >= 0.5", lambda i: i % 5 and i % 10 >= 5),
        ("quality<0.25 and robots == true", lambda i: i % 5 and i % 10 < 3 and i % 2 == 0),
        ("robots != false", lambda i: not i % 5 or i % 2 == 0),
        ("registers.IN > 0.4", lambda i: i % 5 and i % 3 > 0),
        ("filter == keep", lambda i: i % 5),
        ("filter != keep", lambda i: not i % 5),
        ("timestamp >= 2020-01-01T12:00:00Z", lambda i: False),  # no document has one
        ("crawl != CC/MAIN:2020", lambda i: True),
        ("quality > 5", lambda i: False),
    ],
)
def test_filters_select_documents(where: str, holds: Any, two_sources: Sources, tmp_path: Path) -> None:
    expected = [i for i in range(300) if holds(i)]
    for _ in range(2):  # computed first, then read from the cache
        assert selected(two_sources.corpora["web"], "fin_Latn", where, tmp_path).tolist() == expected


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        (Mixture(where="qualty >= 0.5"), "no signal qualty; did you mean quality"),
        (Mixture(where="quality >= high"), "quality is of type float"),
        (Mixture(where="quality > 5"), "where= and sources= accept"),
        (Mixture(weights="ces_Latn:1", where="quality > 5"), "leave no text of ces_Latn"),
        (Mixture(sources="wikki:2"), "the nearest is wiki"),
        (Mixture(weights="fin_Latn:1", sources="web:0"), "leave no text of fin_Latn"),
        (Mixture(phases=(Phase("late", 9000, 0, Mixture(weights="swe:1")),)), "^data.mixture.phases.late.weights: .* no swe_Latn"),
        (Mixture(phases=(Phase("late", 9000, 0, Mixture(sources="wikki:1")),)), "^data.mixture.phases.late.sources: .* no wikki"),
    ],
)
def test_a_mixture_that_does_not_fit_the_corpus_is_refused(mixture: Mixture, message: str, two_sources: Sources) -> None:
    with pytest.raises(ValueError, match=message):
        Stream(two_sources, mixture, L, 0, BLOCK)


def test_corpora_that_cannot_be_combined_are_refused(two_sources: Sources, tmp_path: Path) -> None:
    web = two_sources.corpora["web"].path
    words = [Document("", "ces_Latn", f"slovo {i}") for i in range(50)]
    prepare_documents(words, tokenizer.train(lambda: words, 300), tmp_path / "foreign")
    with pytest.raises(ValueError, match="another tokenizer"):
        open_corpus(f"{web},{tmp_path / 'foreign'}")
    with pytest.raises(ValueError, match="same name"):
        open_corpus(f"{web},{web}")


FIELDS = {"alpha": 0.5, "weights": "", "strategy": "alpha", "max_epochs": 4.0, "budget": 0, "sources": "", "where": ""}


def test_phases_inherit_the_fields_that_they_do_not_name() -> None:
    phases = {"late": {"begin": 100, "ramp": 10, "alpha": 1.0}, "early": {"begin": 50}}
    mixture = from_config({**FIELDS, "sources": "wiki:2", "phases": phases})
    assert [phase.name for phase in mixture.phases] == ["early", "late"]
    assert [phase.mixture.alpha for phase in mixture.phases] == [0.5, 1.0]
    assert all(phase.mixture.sources == "wiki:2" for phase in mixture.phases)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phases": {"late": {"beginn": 5}}}, "phases.late has an unknown field beginn; did you mean begin"),
        ({"phases": {"late": {"ramp": 5}}}, "phases.late: begin=0"),
        ({"phases": {"a": {"begin": 5, "ramp": 9}, "b": {"begin": 10}}}, "the ramp of a has not ended when b begins"),
        ({"phases": {"a": {"begin": 5, "alpha": 2.0}}}, "phases.a.alpha=2.0 must be from 0 to 1"),
        ({"phases": {"a": {"begin": 5, "alpha": "x"}}}, "phases.a.alpha='x': expected a number"),
        ({"phases": {"a": {"begin": 5.5}}}, "phases.a.begin=5.5: expected a whole number"),
        ({"phases": {"a": {"begin": float("inf")}}}, "phases.a.begin=inf: expected a whole number"),
        ({"phases": {"a": {"begin": 5, "weights": ["ces"]}}}, r"phases.a.weights=\['ces'\]: expected text"),
        ({"phases": {"a": {"begin": 5, "weights": "ces"}}}, "phases.a.weights: 'ces' is not CODE:WEIGHT"),
        ({"phases": {"a": 5}}, "phases.a=5: expected fields, as in"),
        ({"strategy": "unimx"}, "did you mean unimax"),
        ({"max_epochs": 0.0}, "max_epochs=0.0 must be more than 0"),
        ({"budget": -1}, "budget=-1 must be more than"),
        ({"sources": "wiki"}, "is not SOURCE:WEIGHT"),
    ],
)
def test_mistakes_in_a_config_are_reported(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_config({**FIELDS, **change})


def test_rows_have_the_wanted_shares(two_sources: Sources) -> None:
    """Holds also if a phase begins in the middle of a block."""
    stream = Stream(two_sources, MIXTURE, L, 0, BLOCK)
    for tokens in (BLOCK * L // 2 * 11, 80_000):
        n = tokens // L
        seen = np.bincount(stream.rows(0, n)["languages"].ravel(), minlength=len(two_sources.languages)) / (n * L)
        np.testing.assert_allclose(stream.shares(tokens), seen, atol=0.01)
    assert stream.shares(80_000).sum() == pytest.approx(1)


def test_unimax_limits_every_source(two_sources: Sources) -> None:
    """A source with twenty times the weight of the other is not repeated more often than a language may be."""
    mixture = Mixture(strategy="unimax", max_epochs=4.0, budget=10**9, sources="wiki:20")
    strata = strata_of(two_sources, mixture)
    tokens = np.array([two_sources.corpora[s.source].tokens(s.code) for s in strata])
    share = stratum_shares(mixture, strata, tokens)
    czech = [k for k, s in enumerate(strata) if s.code == "ces_Latn"]
    epochs = share / tokens
    (fin,) = (k for k, s in enumerate(strata) if s.code == "fin_Latn")
    most = max(czech, key=lambda k: epochs[k])
    assert strata[most].source == "wiki" and epochs[most] == pytest.approx(epochs[fin], rel=2e-3)  # both at the limit


def test_sources_of_one_corpus_are_refused(two_sources: Sources) -> None:
    with pytest.raises(ValueError, match=r"data.mixture.sources='web:2': there is only one corpus"):
        Stream(two_sources.corpora["web"], Mixture(sources="web:2"), L, 0)
