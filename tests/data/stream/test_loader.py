"""Batches hold the stream's rows, from any step, for any host, and whether a thread or processes read them."""

import multiprocessing
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from varietas.data.corpus.corpus import Corpus
from varietas.data.stream import loader
from varietas.data.stream.loader import batches
from varietas.data.stream.mixture import Mixture
from varietas.data.stream.stream import Stream

B, L = 8, 64


@pytest.fixture(scope="module")
def stream(corpus_folder: Path) -> Stream:
    return Stream(Corpus(corpus_folder), Mixture(0.3), L, seed=5, block_rows=63)  # batches lie in several blocks


@pytest.mark.parametrize("workers", [0, 2])
def test_each_host_reads_its_parts_of_the_same_batches(stream: Stream, workers: int) -> None:
    """The first host reads ahead with a thread and the second with `workers`, which makes no difference."""
    first, second = ((0, 2), (6, 7)), ((2, 6), (7, 8))
    hosts = [list(batches(stream, B, 17, 29, parts, n)) for parts, n in ((first, 0), (second, workers))]
    expected = stream.rows(17 * B, 29 * B)
    assert [len(host) for host in hosts] == [12, 12]
    for name in ("tokens", "segments", "positions", "languages"):
        for parts, host in zip((first, second), hosts, strict=True):
            of_the_host = [row for begin, end in parts for row in range(begin, end)]
            whole = expected[name].reshape(12, B, -1)[:, of_the_host]
            assert all(np.array_equal(batch[name], rows) and batch[name].dtype == np.int32 for batch, rows in zip(host, whole, strict=True))


@pytest.mark.parametrize(("tokens", "steps"), [(7 * 3 * L, 7), (8 * 3 * L - 1, 7), (1, 1)])
def test_a_group_has_as_many_steps_as_its_tokens_allow(stream: Stream, tokens: int, steps: int) -> None:
    """This host reads three of the eight rows of a step."""
    groups = loader.Groups(stream, B, start=2, stop=23, parts=((5, 8),), tokens_at_once=tokens)
    assert groups.size == steps and len(groups) == 21 // steps
    assert groups[len(groups) - 1]["tokens"].shape == (3 * steps, L)


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (9, 9), (9, 3)])
def test_no_steps_give_no_batches(stream: Stream, start: int, stop: int) -> None:
    assert list(batches(stream, B, start, stop)) == []


@pytest.mark.parametrize("steps_at_once", [1, 5, 64])
def test_reading_can_stop_after_any_step_and_go_on(stream: Stream, steps_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches do not depend on where reading begins, nor on how many steps are read at once."""
    monkeypatch.setattr(loader, "TOKENS_AT_ONCE", steps_at_once * B * L)
    whole = [batch["tokens"] for batch in batches(stream, B, 0, 12)]
    assert np.array_equal(np.concatenate(whole), stream.rows(0, 12 * B)["tokens"])
    for stop in (1, 5, 11):
        parts = [*batches(stream, B, 0, stop), *batches(stream, B, stop, 12)]
        assert all(np.array_equal(part["tokens"], batch) for part, batch in zip(parts, whole, strict=True))


def test_workers_keep_to_the_shared_memory_there_is(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers often have 64 MB of it, and a process that writes beyond is killed by SIGBUS."""
    there_is = 8_000_000
    monkeypatch.setattr(loader.shutil, "disk_usage", lambda _: SimpleNamespace(free=there_is))
    before, most = in_shared_memory(), 0
    for n, _ in enumerate(batches(stream, B, 0, 100_000, workers=2)):
        if n % 8 == 0:  # all memory maps of this process are read for it
            most = max(most, in_shared_memory() - before)
        if n == 4000:
            break
    assert 1_000_000 < most <= there_is
    with pytest.raises(ValueError, match=r"data.workers=2 needs 16 MB of shared memory .* has 8 MB .*; set data.workers=0"):
        loader.tokens_of_a_worker(2, 64_000)


def shared_memory(process: int) -> set[Path]:
    """Returns the files of shared memory that a process has mapped and that are still there."""
    mapped = re.findall(r"/dev/shm/psm_\w+", Path(f"/proc/{process}/maps").read_text())
    return {path for path in map(Path, mapped) if path.exists()}


def in_shared_memory() -> int:
    total = 0
    for file in shared_memory(os.getpid()):
        with suppress(FileNotFoundError):  # it was just removed
            total += file.stat().st_size
    return total


def test_workers_end_with_a_run_that_is_killed(stream: Stream) -> None:
    """After kill -9, which the README invites, they would go on reading and keep their shared memory."""
    program = f"""if True:
        from varietas.data.stream.loader import batches
        from varietas.data.stream.mixture import Mixture
        from varietas.data.stream.stream import Stream
        from varietas.data.corpus.corpus import Corpus
        if __name__ == "__main__":
            rows = batches(Stream(Corpus({str(stream.corpus.path)!r}), Mixture(0.3), {L}, 5), {B}, 0, 10**6, workers=2)
            next(rows)
            print("reading", flush=True)
            for _ in rows: pass
    """
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None and process.stdout.readline() == b"reading\n"
        children = subprocess.run(["ps", "--ppid", str(process.pid), "-o", "pid="], capture_output=True, text=True).stdout.split()
        assert len(children) >= 2
        mapped = shared_memory(process.pid)
        assert mapped
        process.kill()
    end = time.monotonic() + 120  # on a busy machine; otherwise a second
    while any(Path(f"/proc/{child}/cmdline").exists() and Path(f"/proc/{child}/cmdline").read_bytes() for child in children):
        assert time.monotonic() < end, "workers outlive their parent"
        time.sleep(0.1)
    while any(path.exists() for path in mapped):
        assert time.monotonic() < end, "shared memory stays"
        time.sleep(0.1)


def test_a_worker_that_is_killed_is_told(stream: Stream) -> None:
    rows = batches(stream, B, 0, 10**6, workers=1)
    next(rows)
    (worker,) = multiprocessing.active_children()
    worker.kill()
    with pytest.raises(ChildProcessError, match=r"data\.workers=1 ended with exit status -9, probably for lack of memory"):
        for _ in rows:
            pass
