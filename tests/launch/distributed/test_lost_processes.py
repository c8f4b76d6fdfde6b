"""Faults of a machine while one or two processes train: each ends all of them with one line that says what it was."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import several

pytestmark = pytest.mark.heavy("several processes")

TWO = ("train", "--config", "tiny", "--config.mesh.data=2", "--config.mesh.fsdp=1", "--cpu_devices", "1", several.SAME_PROGRAM)
ALONE = ("train", "--config", "tiny", "--cpu_devices", "1")
FOREVER = ("--config.train.steps=100000", "--config.checkpoint.every=5")
SOON_STUCK = (*FOREVER, "--config.train.stuck_after=25")

# Hangs in C, where Python handles no signal, before the named process (or the only one) records step 2 or reads the third batch.
HANGS = """
import ctypes, sys
from varietas.launch.cli import main
from varietas.train import loop

usual_record, usual_sharded = loop.Recorder.record, loop.sharded

def record(self, step, metrics):
    if {device} and step == 2:
        ctypes.CDLL(None).sleep(1000)
    usual_record(self, step, metrics)

def sharded(*arguments):
    for n, batch in enumerate(usual_sharded(*arguments)):
        if not {device} and n == 2 and sys.argv[sys.argv.index("--process") + 1] == "1":
            ctypes.CDLL(None).sleep(1000)
        yield batch

loop.Recorder.record, loop.sharded = record, sharded
sys.exit(main(sys.argv[1:]))
"""


# In process 0, does something when jax is about to connect the processes; process 1 waits for that after some time.
CONNECTS = """
import jax, os, signal, sys, time
from varietas.launch.cli import main

usual = jax.distributed.initialize

def initialize(*arguments, **named):
    if sys.argv[sys.argv.index("--process") + 1] == "0":
        {does}
    usual(*arguments, **named)

jax.distributed.initialize = initialize
sys.exit(main(sys.argv[1:]))
"""

# Process 0 fails at step 3; process 1, which it tells, ends only after that many seconds.
FAILS = """
import sys
from varietas.launch.cli import main
from varietas.launch.distributed import ending
from varietas.train import loop

ending.GRACE = 10.0
usual = loop.Recorder.record

def record(self, step, metrics):
    if step == 3 and sys.argv[sys.argv.index("--process") + 1] == "0":
        raise ValueError("no step 3")
    usual(self, step, metrics)

loop.Recorder.record = record
sys.exit(main(sys.argv[1:]))
"""


def one_line(said: several.Said, wanted: str) -> None:
    """Expects that a process has said this, and nothing else, and asks to be started again."""
    assert said.status == 3 and len(said.err.splitlines()) == 1 and re.search(wanted, said.err), said


def test_a_device_that_hangs_ends_a_process_that_is_alone(tmp_path: Path, corpus_folder: Path) -> None:
    program = ("-c", HANGS.format(device=True))
    (said,) = several.start(1, *ALONE, "--run", tmp_path / "run", *SOON_STUCK, cwd=tmp_path, program=program).wait()
    one_line(said, r"^varietas: stuck for \d\d s \(train.stuck_after=25\): this process on \S+ \(after step 3, computes a step\)$")


def test_a_process_that_lives_but_hangs_is_named(tmp_path: Path, corpus_folder: Path) -> None:
    program = ("-c", HANGS.format(device=False))
    first, second = several.start(2, *TWO, "--run", tmp_path / "run", *SOON_STUCK, cwd=tmp_path, program=program).wait()
    wanted = r"stuck for \d\d s \(train.stuck_after=25\): process 1 on \S+ \(after step 2, waits for a batch\)$"
    one_line(first, "^varietas: " + wanted)
    one_line(second, r"^varietas: process 1 on \S+ ends, because " + wanted)


def test_a_process_0_that_is_stopped_is_named_and_ends_when_it_goes_on(tmp_path: Path, corpus_folder: Path) -> None:
    run = tmp_path / "run"
    both = several.start(2, *TWO, "--run", run, *SOON_STUCK, cwd=tmp_path)
    both.until(lambda: (run / "checkpoints" / "5").exists())
    both.processes[0].send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    both.processes[1].wait(120)
    assert time.monotonic() - stopped < 60
    both.processes[0].send_signal(signal.SIGCONT)
    first, second = both.wait()
    wanted = r"no sign of life for \d\d s from process 0 on \S+ \(after step \d+, .+\): stopped, or its node or the network is lost"
    one_line(second, r"^varietas: process 1 on \S+ ends, because " + wanted)
    assert first.status == 3 and re.search(wanted, first.err)


@pytest.mark.parametrize(
    ("does", "statuses", "says"),
    [
        ("signal.raise_signal(signal.SIGINT)", [130, 130], "ends, because process 0 on"),
        ("time.sleep(3); os._exit(7)", [7, 3], "process 0 at .* has died"),
    ],
)
def test_a_process_that_ends_while_jax_connects_ends_all(
    tmp_path: Path, corpus_folder: Path, does: str, statuses: list[int], says: str
) -> None:
    begun = time.monotonic()
    both = several.start(2, *TWO, "--run", tmp_path / "run", cwd=tmp_path, program=("-c", CONNECTS.format(does=does)))
    first, second = both.wait()
    assert [first.status, second.status] == statuses and first.err == "", (first, second)
    assert re.search(says, second.err) and time.monotonic() - begun < 60, second  # jax alone would wait for five minutes


def test_the_service_outlives_a_process_0_that_has_failed_as_long_as_another_lives(tmp_path: Path, corpus_folder: Path) -> None:
    first, second = several.start(2, *TWO, "--run", tmp_path / "run", *FOREVER, cwd=tmp_path, program=("-c", FAILS)).wait()
    assert (first.status, first.err, second.status) == (2, "varietas: no step 3\n", 2), (first, second)
    assert re.fullmatch(r"varietas: process 1 on \S+ ends, because process 0 on \S+ has failed\n", second.err), second  # jax would abort


def test_damaged_checkpoints_are_left_out_by_all_alike(tmp_path: Path, corpus_folder: Path) -> None:
    """A flipped bit, a missing file and an empty folder: the two processes go back to the same step."""
    run = tmp_path / "run"
    arguments = (*TWO, "--run", run, "--config.checkpoint.every=2", "--config.checkpoint.keep=9")
    several.run(2, *arguments, "--config.train.steps=8", cwd=tmp_path)
    before = (run / "metrics.jsonl").read_text().splitlines()
    flipped, missing, empty = (
        sorted((path for path in (run / "checkpoints" / step).rglob("*") if path.is_file()), key=lambda path: -path.stat().st_size)
        for step in ("8", "6", "4")
    )
    content = bytearray(flipped[0].read_bytes())
    content[len(content) // 2] ^= 4
    flipped[0].write_bytes(content)
    missing[0].unlink()
    for path in empty:
        path.unlink()
    first, second = several.run(2, *arguments, "--config.train.steps=9", cwd=tmp_path)
    assert "continuing after step 2\n" in first.out and "varietas:" not in second.err  # TensorStore may print more
    told = re.findall(r"^varietas: checkpoint (\d) of .* the damaged one is kept in .*damaged/\1$", first.err, re.MULTILINE)
    assert told == ["8", "6", "4"], first.err  # Orbax may print more about its reads
    losses = [[json.loads(line)["loss"] for line in lines] for lines in (before, (run / "metrics.jsonl").read_text().splitlines())]
    assert losses[1][:8] == losses[0] and len(losses[1]) == 9


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], capture_output=True, check=False).returncode:
        pytest.skip("not on this machine: only root may mount a file system")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_disk_that_is_full_ends_all_and_keeps_what_was_saved(tmp_path: Path, small_disk: Path, corpus_folder: Path) -> None:
    run = small_disk / "run"
    first, second = several.start(2, *TWO, "--run", run, *FOREVER, cwd=tmp_path).wait()
    assert (first.status, second.status) == (2, 2), (first, second)
    assert len(first.err.splitlines()) == 1 and "space" in first.err, first.err
    saved = [int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdigit()]
    assert saved
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    steps = f"--config.train.steps={max(saved) + 3}"
    said = several.start(2, *TWO, "--run", run, "--config.checkpoint.every=0", steps, cwd=tmp_path).wait()
    assert said[0].status == 0 and f"continuing after step {max(saved)}" in said[0].out, said
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    said = several.start(2, *TWO, "--run", run, *FOREVER, cwd=tmp_path).wait()
    assert [one.status for one in said] == [2, 2], said
    assert re.fullmatch(r"varietas: .*(may not be written to|[Rr]ead-only file system).*\n", said[0].err), said
