"""Rows that loaders of others read one by one are those that our own loader reads, from any thread or process."""

import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from varietas.data.corpus.removals import Removed
from varietas.data.corpus.sources import Sources
from varietas.data.stream import training_rows
from varietas.data.stream.context import context_of, open_stream
from varietas.data.stream.loader import batches
from varietas.data.stream.mixture import Mixture
from varietas.data.stream.stream import Stream
from varietas.data.stream.training_rows import Row, TrainingRows

B, L, N = 8, 64, 200


@pytest.fixture(scope="module")
def stream(two_sources: Sources) -> Stream:
    """Its rows lie in several blocks, have removed documents, and groups of rows end beyond the last."""
    gone = Removed({("web", "ces_Latn"): np.array([3, 5, 120]), ("wiki", "mlt_Latn"): np.arange(20)})
    return Stream(two_sources, Mixture(0.3), L, seed=5, block_rows=63, without=gone)


@pytest.fixture(scope="module")
def expected(stream: Stream) -> list[Row]:
    rows = [{name: values[at] for name, values in batch.items()} for batch in batches(stream, B, 0, N // B) for at in range(B)]
    return [{"digest": row.pop("digests"), "row": np.array(number), **row} for number, row in enumerate(rows)]


def same(one: Row, other: Row) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one
    )


def test_rows_are_those_of_our_loader(stream: Stream, expected: list[Row]) -> None:
    rows = TrainingRows(stream, N)
    assert len(rows) == N and all(map(same, rows, expected))
    assert sum((row["segments"] == 0).any() for row in expected) > 20, "removed documents leave padding"


@pytest.mark.parametrize("indices", [range(7, 90), range(3, N, 17), [199, 0, 62, 63, 0, 64], []], ids=str)
def test_a_batch_of_any_rows_is_read_together(
    stream: Stream, expected: list[Row], indices: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = list[int]()
    read = Stream._read
    monkeypatch.setattr(Stream, "_read", lambda self, pieces: calls.append(len(pieces.row)) or read(self, pieces))
    found = TrainingRows(stream, N).__getitems__(indices)
    assert len(found) == len(indices) and all(same(row, expected[index]) for row, index in zip(found, indices, strict=True))
    assert len(calls) == bool(indices)


def test_rows_that_are_asked_for_one_by_one_are_read_in_groups(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_rows, "TOKENS_TOGETHER", 32 * L + 1)
    calls = list[int]()
    read = Stream.rows_at
    monkeypatch.setattr(Stream, "rows_at", lambda self, numbers: calls.append(len(numbers)) or read(self, numbers))
    rows = TrainingRows(stream, N)
    for index in [*range(N), 150, 0]:
        rows[index]
    assert calls == [32] * 6 + [8]


def test_threads_and_copies_read_the_same(stream: Stream, expected: list[Row]) -> None:
    rows: TrainingRows = pickle.loads(pickle.dumps(TrainingRows(stream, N)))
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(same, pool.map(rows.__getitem__, range(N)), expected))


def test_other_rows_are_no_rows(stream: Stream) -> None:
    rows = TrainingRows(stream, 3)
    for index in (-1, 3):
        with pytest.raises(IndexError, match=f"row {index} of 3"):
            rows[index]
        with pytest.raises(IndexError, match=f"row {index} of 3"):
            rows.__getitems__([0, index])


def test_forked_workers_open_the_corpus_themselves_and_nothing_heavy_is_imported(corpus_folder: Path) -> None:
    """PyTorch's DataLoader forks. A child that shared open files with its parent would move the parent's place in them."""
    program = f"""if True:
        import json, multiprocessing, os, sys
        import varietas.data
        rooms = [name for name in sys.modules if name.startswith("varietas.data.")]
        from varietas.data import TrainingRows, open_stream
        rows = TrainingRows(open_stream({str(corpus_folder)!r}, {L}, 3, {{"alpha": 0.3}}), 400)
        rows[0]
        def files(): return {{path for n in os.listdir("/proc/self/fd") if (path := f"/proc/self/fd/{{n}}") and os.path.exists(path)
            and "array_record" in os.readlink(path)}}
        mine = len(files())
        def read(begin):
            found = [row["digest"].tobytes().hex() for row in rows.__getitems__(range(begin, begin + 100))]
            return found, len(files())
        with multiprocessing.get_context("fork").Pool(2) as pool:
            found = pool.map(read, range(0, 400, 100), chunksize=1)
        heavy = [name for name in ("jax", "torch", "grain", "pyarrow", "cryptography") if name in sys.modules]
        print(json.dumps([rooms, heavy, mine, [n for _, n in found], sum((part for part, _ in found), [])]))
    """
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert said.returncode == 0, said.stderr
    rooms, heavy, mine, of_workers, digests = json.loads(said.stdout)
    assert rooms == heavy == []
    assert mine > 0 and all(n > mine for n in of_workers), "each worker has files of its own beside those that it inherits"
    stream = open_stream(corpus_folder, L, 3, {"alpha": 0.3})
    assert digests == [digest.tobytes().hex() for batch in batches(stream, 100, 0, 4) for digest in batch["digests"]]


def test_a_mixture_has_the_same_context_however_its_numbers_are_written(corpus_folder: Path) -> None:
    context = context_of(open_stream(corpus_folder, L, 0, {"alpha": 1, "max_epochs": 4, "budget": 1000.0}), B)
    assert json.dumps(context["mixture"]) == json.dumps(
        {"alpha": 1.0, "weights": "", "strategy": "alpha", "max_epochs": 4.0, "budget": 1000, "sources": "", "where": "", "phases": []}
    )
    with pytest.raises(ValueError, match=r"data.mixture has an unknown field alfa; did you mean alpha\?"):
        open_stream(corpus_folder, L, 0, {"alfa": 0.5})
