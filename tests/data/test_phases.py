"""Strategies, sources, filters and phases of a mixture: shares by hand and by other means, rows that can be computed alone."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from varietas.data import tokenizer
from varietas.data.blocks import blocks
from varietas.data.corpus import Corpus
from varietas.data.documents import Document
from varietas.data.mixture import Mixture, Phase, course, from_config, stratum_shares, unimax
from varietas.data.prepare import prepare_documents
from varietas.data.sources import Sources, open_corpus, selected, strata_of
from varietas.data.stream import Stream

L, BLOCK = 64, 63
PHASES = (
    Phase("broad", 20_000, 10_000, Mixture(weights="ces_Latn:1, fin_Latn:3")),
    Phase("best", 50_000, 0, Mixture(weights="ces_Latn:1", where="quality >= 0.5", sources="wiki:3")),
)
MIXTURE = Mixture(weights="ces_Latn:3, fin_Latn:1", phases=PHASES)


def documents(source: str, n: int, codes: tuple[str, ...]) -> list[Document]:
    """Every fifth has no quality; the others have 0.0, 0.1 … 0.9 in turn."""
    return [
        Document(
            f"{source}{i}", code, f"{source} {code} {i} " + "slovo " * (1 + i % 23),
            signals={"quality": i % 10 / 10, "registers": {"IN": i % 3 / 2}, "robots": i % 2 == 0, "filter": "keep"} if i % 5 else {},
        )
        for i in range(n)
        for code in codes
    ]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    web, wiki = documents("web", 300, ("ces_Latn", "fin_Latn")), documents("wiki", 60, ("ces_Latn", "mlt_Latn"))
    model = tokenizer.train(lambda: web + wiki, 330)
    prepare_documents(web, model, folder / "web")
    prepare_documents(wiki, model, folder / "wiki")
    prepare_documents(web[:50], tokenizer.train(lambda: web, 320), folder / "foreign")
    return folder


@pytest.fixture(scope="module")
def corpus(folder: Path) -> Corpus | Sources:
    return open_corpus(f"{folder / 'web'},{folder / 'wiki'}")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VARIETAS_CACHE", str(tmp_path))


def test_unimax_by_hand() -> None:
    """1,000 over 10, 100 and 10,000 tokens, twice each at the most: 20, 200 and the rest."""
    assert unimax(np.array([100.0, 10.0, 10_000.0]), 1000, 2).tolist() == [200, 20, 780]
    assert unimax(np.array([100.0, 100.0]), 60, 4).tolist() == [30, 30]
    assert unimax(np.array([1.0, 2.0]), 1000, 4).tolist() == [4, 8]


@pytest.mark.parametrize("seed", range(5))
def test_unimax_is_the_level_that_fills_the_budget(seed: int) -> None:
    """min(level, cap × n) with the level found by bisection."""
    tokens = np.random.default_rng(seed).lognormal(10, 3, 24)
    budget = tokens.sum() / 3
    low, high = 0.0, budget
    for _ in range(200):
        level = (low + high) / 2
        low, high = (level, high) if np.minimum(level, 4 * tokens).sum() < budget else (low, level)
    np.testing.assert_allclose(unimax(tokens, budget, 4), np.minimum(low, 4 * tokens), rtol=1e-9)


def test_sources_split_a_languages_share_by_weight_times_tokens(corpus: Sources) -> None:
    mixture = Mixture(weights="ces_Latn:1, mlt_Latn:1", sources="wiki:3")
    strata = strata_of(corpus, mixture)
    tokens = np.array([corpus.corpora[s.source].tokens(s.code) for s in strata])
    share = {(s.source, s.code): p for s, p in zip(strata, stratum_shares(mixture, strata, tokens), strict=True)}
    web, wiki = (corpus.corpora[name].tokens("ces_Latn") for name in ("web", "wiki"))
    assert share["web", "fin_Latn"] == 0 and share["wiki", "mlt_Latn"] == 0.5
    assert share["wiki", "ces_Latn"] == pytest.approx(0.5 * 3 * wiki / (web + 3 * wiki))
    assert sum(share.values()) == pytest.approx(1)


def test_what_is_taken_is_the_integral_of_the_shares(corpus: Sources) -> None:
    strata = strata_of(corpus, MIXTURE)
    whole = course(MIXTURE, strata, np.arange(1, len(strata) + 1))
    at = np.arange(80_000) + 0.5
    for k in range(len(strata)):
        ramp = np.clip((at - 20_000) / 10_000, 0, 1)
        share = np.where(at < 50_000, whole.end[0, k] * (1 - ramp) + whole.end[1, k] * ramp, whole.end[2, k])
        summed = np.concatenate([[0], np.cumsum(share)])
        for tokens in (0, 1, 19_999, 20_000, 25_000, 30_000, 49_999, 50_001, 80_000):
            assert whole.taken(tokens, k) == pytest.approx(summed[tokens], abs=1e-6)


def test_rows_keep_to_the_course_and_can_be_computed_alone(corpus: Sources) -> None:
    stream = Stream(corpus, MIXTURE, L, 0, BLOCK)
    n = 80_000 // L
    rows = stream.rows(0, n)
    cut = blocks(BLOCK, PHASES, L, len(stream.strata))
    for b in range(cut.number(n)):
        seen = np.zeros(len(stream.strata))
        begin, end = cut.rows(b)
        for piece in stream.documents(begin, end):
            candidates = [k for k, s in enumerate(stream.strata) if (s.source, s.code) == (piece.source, piece.language)]
            seen[candidates[0]] += piece.size
        wanted = np.array([stream.taken(end * L, k) - stream.taken(begin * L, k) for k in range(len(seen))])
        for source, code in {(s.source, s.code) for s in stream.strata}:
            members = [k for k, s in enumerate(stream.strata) if (s.source, s.code) == (source, code)]
            assert abs(seen[members].sum() - wanted[members].sum()) <= len(members)
    for start in (0, 5, 300, 312, 700, n - 9):
        fresh = pickle.loads(pickle.dumps(stream)).rows(start, start + 9)
        assert all(np.array_equal(fresh[name], values[start : start + 9]) for name, values in rows.items())


@pytest.mark.parametrize("block_rows", [BLOCK, 2048])
def test_phases_are_kept_apart_to_the_row(block_rows: int, corpus: Sources) -> None:
    """Also where the whole run is shorter than a block."""
    stream = Stream(corpus, MIXTURE, L, 0, block_rows)

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


def test_phases_too_close_together_are_told(corpus: Sources) -> None:
    phases = (Phase("one", 20_000, 0, Mixture()), Phase("two", 20_020, 0, Mixture()))
    with pytest.raises(ValueError, match=r"phases.two begins 0 rows of 64 tokens after .* at least \d are needed"):
        Stream(corpus, Mixture(phases=phases), L, 0)


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        ("quality >= 0.5", lambda i: i % 5 and i % 10 >= 5),
        ("quality<0.25 and robots == true", lambda i: i % 5 and i % 10 < 3 and i % 2 == 0),
        ("robots != false", lambda i: not i % 5 or i % 2 == 0),
        ("registers.IN > 0.4", lambda i: i % 5 and i % 3 > 0),
        ("filter == keep", lambda i: i % 5),
        ("filter != keep", lambda i: not i % 5),
        ("quality > 5", lambda i: False),
    ],
)
def test_filters(where: str, holds: Any, folder: Path, tmp_path: Path) -> None:
    expected = [i for i in range(300) if holds(i)]
    for _ in range(2):  # found, then kept
        assert selected(Corpus(folder / "web"), "fin_Latn", where, tmp_path).tolist() == expected


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        (Mixture(where="qualty >= 0.5"), "no signal qualty; did you mean quality"),
        (Mixture(where="quality >= high"), "quality is of type float"),
        (Mixture(where="quality > 5"), "where= and sources= let through"),
        (Mixture(weights="ces_Latn:1", where="quality > 5"), "nothing of ces_Latn is left"),
        (Mixture(sources="wikki:2"), "the nearest is wiki"),
        (Mixture(weights="fin_Latn:1", sources="web:0"), "nothing of fin_Latn is left"),
    ],
)
def test_what_does_not_fit_is_told(mixture: Mixture, message: str, corpus: Sources) -> None:
    with pytest.raises(ValueError, match=message):
        Stream(corpus, mixture, L, 0, BLOCK)


def test_corpora_that_do_not_go_together(folder: Path) -> None:
    with pytest.raises(ValueError, match="another tokenizer"):
        open_corpus(f"{folder / 'web'},{folder / 'foreign'}")
    with pytest.raises(ValueError, match="same name"):
        open_corpus(f"{folder / 'web'},{folder / 'web'}")


FIELDS = {"alpha": 0.5, "weights": "", "strategy": "alpha", "max_epochs": 4.0, "budget": 0, "sources": "", "where": ""}


def test_phases_take_what_they_do_not_name_from_above() -> None:
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
        ({"phases": {"a": {"begin": 5, "ramp": 9}, "b": {"begin": 10}}}, "a is still on its way when b begins"),
        ({"phases": {"a": {"begin": 5, "alpha": 2.0}}}, "phases.a.alpha=2.0 must be from 0 to 1"),
        ({"strategy": "unimx"}, "did you mean unimax"),
        ({"max_epochs": 0.0}, "max_epochs=0.0 must be more than 0"),
        ({"sources": "wiki"}, "is not SOURCE:WEIGHT"),
    ],
)
def test_mistakes_in_a_config(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_config({**FIELDS, **change})


def test_wanted_shares_are_those_that_come(corpus: Sources) -> None:
    """Also where a phase begins in the middle of a block."""
    stream = Stream(corpus, MIXTURE, L, 0, BLOCK)
    for tokens in (BLOCK * L // 2 * 11, 80_000):
        n = tokens // L
        seen = np.bincount(stream.rows(0, n)["languages"].ravel(), minlength=len(corpus.languages)) / (n * L)
        np.testing.assert_allclose(stream.shares(tokens), seen, atol=0.01)
    assert stream.shares(80_000).sum() == pytest.approx(1)


def test_unimax_holds_for_every_source(corpus: Sources) -> None:
    """A source that is wanted twenty times as much as the other is not seen more often than a language may be."""
    mixture = Mixture(strategy="unimax", max_epochs=4.0, budget=10**9, sources="wiki:20")
    strata = strata_of(corpus, mixture)
    tokens = np.array([corpus.corpora[s.source].tokens(s.code) for s in strata])
    share = stratum_shares(mixture, strata, tokens)
    czech = [k for k, s in enumerate(strata) if s.code == "ces_Latn"]
    epochs = share / tokens
    (fin,) = (k for k, s in enumerate(strata) if s.code == "fin_Latn")
    most = max(czech, key=lambda k: epochs[k])
    assert strata[most].source == "wiki" and epochs[most] == pytest.approx(epochs[fin], rel=2e-3)  # both at the cap
