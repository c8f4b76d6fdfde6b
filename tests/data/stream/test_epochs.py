"""What a stream says of a run, against counts of the documents in its rows: tokens of each stratum, epochs and token frequencies."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from varietas.data.corpus.sources import Sources
from varietas.data.stream import stream as stream_module
from varietas.data.stream.mixture import Mixture, Phase
from varietas.data.stream.stream import Stream

L = 64
PASSES: dict[str, Callable[[int], bool]] = {  # whether document i of `two_sources` passes a filter
    "": lambda i: True,
    "quality >= 0.5": lambda i: i % 5 > 0 and i % 10 >= 5,
    "quality < 0.3": lambda i: i % 5 > 0 and i % 10 < 3,
    "robots == true": lambda i: i % 5 > 0 and i % 2 == 0,
}
FILTERS = tuple(PASSES)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VARIETAS_CACHE", str(tmp_path))


def random_mixture(rng: np.random.Generator) -> Mixture:
    """Returns a mixture with up to three phases, each with its own weights, filter and weights of sources."""

    def mixture() -> Mixture:
        weights = ("", "ces_Latn:3, fin_Latn:1", "ces_Latn:1", "mlt_Latn:1, ces_Latn:2")[rng.integers(4)]
        sources = ("", "wiki:5", "web:0.3")[rng.integers(3)]
        return Mixture(alpha=float(rng.uniform(0, 1)), weights=weights, sources=sources, where=FILTERS[rng.integers(len(FILTERS))])

    phases, begin = [], 0
    for number in range(rng.integers(0, 4)):
        begin += int(rng.integers(30_000, 60_000))
        phases.append(Phase(f"phase{number}", begin, int(rng.integers(0, 2)) * 20_000, mixture()))
        begin += phases[-1].ramp
    return replace(mixture(), phases=tuple(phases))


def tokens_read(stream: Stream, n_rows: int) -> dict[tuple[str, str], np.ndarray]:
    """Returns how many tokens of each document the rows hold, by source and language."""
    read = {(s.source, s.code): np.zeros(stream.corpus.corpora[s.source].documents(s.code)) for s in stream.strata}  # type: ignore[union-attr]
    for piece in stream.documents(0, n_rows):
        read[piece.source, piece.language][piece.document] += piece.size
    return read


@pytest.mark.parametrize("seed", range(12))
def test_epochs_are_those_of_the_documents_read_most_often(seed: int, two_sources: Sources) -> None:
    """Documents that pass the same filters are read equally often, to within what a begun epoch has reached."""
    rng = np.random.default_rng(seed)
    stream = Stream(two_sources, random_mixture(rng), L, seed, 150)
    n_rows = 6_000
    read, epochs = tokens_read(stream, n_rows), stream.epochs(n_rows * L)
    drawn = stream.taken(n_rows * L) > 0
    most_of_language = dict.fromkeys(two_sources.languages, 0.0)
    for k, stratum in enumerate(stream.strata):
        lengths = two_sources.corpora[stratum.source].lengths(stratum.code).astype(float)
        kinds: dict[tuple[bool, ...], list[int]] = {}
        for i in range(len(lengths)):
            if drawn[k] and PASSES[stratum.where](i):
                kinds.setdefault(tuple(PASSES[where](i) for where in FILTERS), []).append(i)
        passes = [read[stratum.source, stratum.code][kind].sum() / lengths[kind].sum() for kind in kinds.values()]
        most = max(passes, default=0.0)
        assert epochs[k] == pytest.approx(most, rel=0.02, abs=0.4)
        most_of_language[stratum.code] = max(most_of_language[stratum.code], most)
    assert stream.epochs_of_languages(n_rows * L) == pytest.approx(list(most_of_language.values()), rel=0.02, abs=0.4)
    assert max(most_of_language.values()) > 5


@pytest.mark.parametrize(("where", "kept"), [("", 1.0), ("quality >= 0.9", 0.1)])
def test_a_filter_multiplies_the_epochs(where: str, kept: float, two_sources: Sources) -> None:
    """A tenth of the documents has a quality of 0.9, so as many tokens are ten times as many epochs."""
    stream = Stream(two_sources, Mixture(weights="fin_Latn:1", where=where), L, 0)
    lengths = two_sources.corpora["web"].lengths("fin_Latn")
    chosen = lengths if not where else lengths[9::10]
    assert len(chosen) == kept * len(lengths)
    assert stream.epochs_of_languages(100 * L)[two_sources.languages.index("fin_Latn")] == pytest.approx(100 * L / chosen.sum(), rel=1e-3)


@pytest.mark.parametrize("block_rows", [100, 2048])
@pytest.mark.parametrize("seed", range(6))
def test_tokens_of_a_stratum_at_any_row_are_those_in_the_rows(seed: int, block_rows: int, two_sources: Sources) -> None:
    """The tolerance is a row of each block that has begun and ended, and five rows of the block that is being read.

    Filters would make strata share their documents; without them, each piece of a row belongs to one stratum.
    """
    mixture = random_mixture(np.random.default_rng(seed))
    phases = tuple(replace(phase, mixture=replace(phase.mixture, where="")) for phase in mixture.phases)
    stream = Stream(two_sources, replace(mixture, where="", phases=phases), L, seed, block_rows)
    n_rows = 4_000
    place = {(s.source, s.code): k for k, s in enumerate(stream.strata)}
    counted = np.zeros((n_rows + 1, len(stream.strata)))
    for piece in stream.documents(0, n_rows):
        counted[piece.row + 1, place[piece.source, piece.language]] += piece.size
    counted = counted.cumsum(0)
    for row in range(0, n_rows, 37):
        assert np.abs(stream.taken(row * L) - counted[row]).max() < 6 * L


def test_shares_of_rows_inside_a_block_are_those_of_its_phase(two_sources: Sources) -> None:
    """Each tenth of a phase holds the shares of that phase. A phase is one block here, and the mixture before it the opposite."""
    phases = (Phase("turned", 1000 * L, 0, Mixture(weights="ces_Latn:1, fin_Latn:9")),)
    stream = Stream(two_sources, Mixture(weights="ces_Latn:9, fin_Latn:1", phases=phases), L, 0, 1000)
    finnish = two_sources.languages.index("fin_Latn")
    for begin, wanted in [(0, 0.1), (1000, 0.9)]:
        for first, end in pairwise(range(begin, begin + 1001, 100)):
            rows = stream.rows(first, end)
            assert (rows["languages"][rows["segments"] > 0] == finnish).mean() == pytest.approx(wanted, abs=0.02)
            said = stream.taken(end * L) - stream.taken(first * L)
            of_language = sum(n for n, s in zip(said, stream.strata, strict=True) if s.code == "fin_Latn")
            assert of_language / (100 * L) == pytest.approx(wanted, abs=1e-3)
    assert stream.shares(0)[finnish] == pytest.approx(0.1)
    assert stream.shares(1500 * L)[finnish] == pytest.approx((1000 * 0.1 + 500 * 0.9) / 1500, abs=1e-3)


@pytest.mark.parametrize("where", FILTERS)
def test_unigrams_are_counted_over_the_documents_of_the_stratum(where: str, two_sources: Sources) -> None:
    stream = Stream(two_sources, Mixture(alpha=0.5, where=where), L, 0)
    for k, stratum in enumerate(stream.strata):
        source = two_sources.corpora[stratum.source]
        chosen = np.array([i for i in range(source.documents(stratum.code)) if PASSES[where](i)])
        texts = source.read(np.full(len(chosen), source.languages.index(stratum.code)), chosen)
        assert stream.unigrams(k).tolist() == np.bincount(np.concatenate(texts), minlength=two_sources.manifest["vocab_size"]).tolist()


def test_unigrams_of_a_large_stratum_are_counted_in_a_sample(two_sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(two_sources, Mixture(where="robots == true"), L, 0)
    whole = stream.unigrams(0)
    monkeypatch.setattr(stream_module, "COUNTED", int(stream.tokens[0]) // 2)
    sample = stream.unigrams(0)
    assert sample.sum() == int(stream.tokens[0]) // 2 and (sample <= whole).all()
    assert np.abs(sample / sample.sum() - whole / whole.sum()).max() < 0.03
