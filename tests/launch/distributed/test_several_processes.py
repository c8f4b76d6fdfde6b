"""Several processes train as one: the same losses and parameters, one of them writes, and none outlives another."""

import json
import re
import signal
import time
from pathlib import Path

import pytest
import several

pytestmark = pytest.mark.heavy("several processes")

TINY = ("train", "--config", "tiny", "--config.mesh.data=2", "--config.mesh.fsdp=1", several.SAME_PROGRAM)


def losses(run: Path) -> list[tuple[int, float]]:
    return [(record["step"], record["loss"]) for record in map(json.loads, (run / "metrics.jsonl").read_text().splitlines())]


def test_two_processes_train_as_one_and_one_goes_on_with_their_run(tmp_path: Path, corpus_folder: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    first, second = several.run(2, *TINY, "--run", two, "--cpu_devices", "1", "--config.train.steps=6", cwd=tmp_path)
    assert second.out == "" and "SHA-256 of the parameters" in first.out
    several.run(1, *TINY, "--run", one, "--cpu_devices", "2", "--config.train.steps=6", cwd=tmp_path)
    assert losses(two) == losses(one) and [step for step, _ in losses(two)] == list(range(6))
    lines = [json.loads(line) for line in (two / "attempts.jsonl").read_text().splitlines()]
    assert lines[0]["processes"] == 2 and lines[-1]["step"] == 6
    if joules := lines[-1]["joules"].get("estimate"):  # unless this machine has a counter; each process has half of its 100 W
        assert joules == pytest.approx(100 * (sum(lines[-1]["seconds"].values()) - lines[0]["seconds"]["init"]), rel=0.3)
    digests = [several.run(1, "digest", "--run", run, "--cpu_devices", "1", cwd=tmp_path)[0].out for run in (one, two)]
    assert digests[0] == digests[1] and digests[0].strip() in first.out
    # Longer: two processes go on with the run of one, and one with the run of two.
    several.run(2, *TINY, "--run", one, "--cpu_devices", "1", "--config.train.steps=9", cwd=tmp_path)
    several.run(1, *TINY, "--run", two, "--cpu_devices", "2", "--config.train.steps=9", cwd=tmp_path)
    assert losses(two) == losses(one) and [step for step, _ in losses(two)] == list(range(9))
    assert (two / "ledger" / "steps.jsonl").read_bytes() == (one / "ledger" / "steps.jsonl").read_bytes()
    for run in (one, two):
        checkpoints = [json.loads(line)["step"] for line in (run / "ledger" / "checkpoints.jsonl").read_text().splitlines()]
        assert checkpoints == [6, 9] and not list((run / "ledger").rglob("*.npz"))


def test_a_signal_to_one_process_saves_the_same_step_in_all_and_a_killed_one_ends_the_others(tmp_path: Path, corpus_folder: Path) -> None:
    run = tmp_path / "run"
    arguments = (*TINY, "--run", run, "--cpu_devices", "1", "--config.train.steps=100000")

    def trains(steps: int) -> bool:
        return (run / "metrics.jsonl").exists() and (run / "metrics.jsonl").read_text().count("\n") > steps

    both = several.start(2, *arguments, cwd=tmp_path)
    both.until(lambda: trains(3))
    both.processes[1].send_signal(signal.SIGTERM)
    first, second = both.wait()
    assert (first.status, second.status) == (3, 3)
    saved = int(re.search(r"stopped after step ([\d,]+)", first.out)[1].replace(",", ""))  # type: ignore[index]
    assert (run / "checkpoints" / str(saved)).is_dir() and losses(run)[-1][0] == saved - 1

    both = several.start(2, *arguments, cwd=tmp_path)
    both.until(lambda: trains(saved + 3))
    killed = time.monotonic()
    both.processes[1].kill()
    first, _ = both.wait()
    assert first.status == 3 and re.search(r"^varietas: process 1 on \S+ has died$", first.err, re.MULTILINE)
    assert time.monotonic() - killed < 30
