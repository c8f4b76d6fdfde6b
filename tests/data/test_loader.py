"""Batches are the stream's rows, from any step, for any host, by a thread or by processes."""

from pathlib import Path

import numpy as np
import pytest

from varietas.data import loader
from varietas.data.corpus import Corpus
from varietas.data.loader import batches
from varietas.data.mixture import Mixture
from varietas.data.stream import Stream

B, L = 8, 64


@pytest.fixture(scope="module")
def stream(corpus_folder: Path) -> Stream:
    return Stream(Corpus(corpus_folder), Mixture(0.3), L, seed=5, block_rows=63)  # several blocks are crossed


@pytest.mark.parametrize("workers", [0, 2])
def test_two_hosts_that_start_later_see_the_halves_of_the_same_batches(stream: Stream, workers: int) -> None:
    """The second host reads ahead with `workers`, the first with a thread: no matter."""
    hosts = [list(batches(stream, B, 17, 29, local, n)) for local, n in (((0, 5), 0), ((5, 8), workers))]
    expected = stream.rows(17 * B, 29 * B)
    assert [len(host) for host in hosts] == [12, 12]
    for name in ("tokens", "segments", "positions", "languages"):
        together = np.concatenate([np.concatenate(parts) for parts in zip(*([b[name] for b in host] for host in hosts), strict=True)])
        assert together.dtype == np.int32 and np.array_equal(together, expected[name])


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (9, 9), (9, 3)])
def test_no_steps_no_batches(stream: Stream, start: int, stop: int) -> None:
    assert list(batches(stream, B, start, stop)) == []


@pytest.mark.parametrize("steps_at_once", [1, 5, 64])
def test_steps_follow_each_other_without_a_seam(stream: Stream, steps_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopping after any step and starting again gives what was to come."""
    monkeypatch.setattr(loader, "TOKENS_AT_ONCE", steps_at_once * B * L)
    whole = [batch["tokens"] for batch in batches(stream, B, 0, 12)]
    assert np.array_equal(np.concatenate(whole), stream.rows(0, 12 * B)["tokens"])
    for stop in (1, 5, 11):
        parts = [*batches(stream, B, 0, stop), *batches(stream, B, stop, 12)]
        assert all(np.array_equal(part["tokens"], batch) for part, batch in zip(parts, whole, strict=True))
