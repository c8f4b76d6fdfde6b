"""A run that is killed, told to stop and finished accounts for every second of its life, as a watch beside it measures them."""

import signal
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import several

from varietas.train.accounting.attempt import WRITTEN_EVERY
from varietas.train.accounting.goodput import Account, read_account
from varietas.train.run_folder.folder import saved_steps
from varietas.train.run_folder.records import last_records

pytestmark = pytest.mark.heavy("several processes")

TINY = ("train", "--config", "tiny", "--cpu_devices", "2", "--config.checkpoint.every=40", "--config.eval.every=80", several.SAME_PROGRAM)
STARTING, ENDING = 1.0, 8.0  # seconds, at most, until the kernel knows a process, and from its account's end to its own
PAUSE = 2.0  # seconds between an end and the next start


def trained(run: Path, sent: signal.Signals | None, ready: Callable[[], bool], cwd: Path) -> tuple[float, float]:
    """Trains until `ready`, then sends a signal; without one to the end. Returns when the process began and ended, or was killed."""
    begun = time.time()
    process = several.start(1, *TINY, "--run", run, "--config.train.steps=120", cwd=cwd)
    if sent:
        process.until(ready)
        process.processes[0].send_signal(sent)
    ended = time.time()
    (said,) = process.wait()
    assert said.status == {None: 0, signal.SIGKILL: -9, signal.SIGTERM: 3}[sent], said
    return begun, ended if sent == signal.SIGKILL else time.time()


def accounted(run: Path) -> Account:
    found = read_account(run)
    assert found
    return found


def test_a_run_that_is_killed_and_resumed_accounts_for_every_second(tmp_path: Path, corpus_folder: Path) -> None:
    run = tmp_path / "run"

    def has_done(steps: int) -> bool:
        return bool((found := last_records(run / "metrics.jsonl", 1)) and found[-1]["step"] >= steps)

    times = [trained(run, signal.SIGKILL, lambda: 40 in saved_steps(run) and has_done(50), tmp_path)]
    killed = accounted(run)
    saved = next(line for line in reversed(killed.attempts[0].lines) if line.step == 40)
    since_checkpoint = times[0][1] - killed.attempts[0].began - sum(saved.seconds.values())
    time.sleep(PAUSE)
    times.append(trained(run, signal.SIGTERM, lambda: has_done(85), tmp_path))
    time.sleep(PAUSE)
    times.append(trained(run, None, lambda: True, tmp_path))
    found = accounted(run)

    # In sum, and each piece
    life = times[-1][1] - times[0][0]
    assert sum(found.seconds.values()) == pytest.approx(found.life) and min(found.seconds.values()) >= 0
    assert life - STARTING - ENDING <= found.life <= life
    away = sum(after[0] - before[1] for before, after in pairwise(times))
    assert away - 0.1 <= found.seconds["not_running"] <= away + 2 * STARTING + WRITTEN_EVERY + ENDING + 0.5
    for one, (begun, ended) in zip(found.attempts, times, strict=True):
        assert begun - 0.1 <= one.began <= begun + STARTING and one.seconds <= ended - begun + 0.1

    # What the kill has cost, and nothing else has
    assert found.lost[1:] == (0.0, 0.0) and killed.seconds["lost"] == 0.0
    assert since_checkpoint - WRITTEN_EVERY - 1.5 <= found.lost[0] <= since_checkpoint + 0.1
    assert [one.first for one in found.attempts[:2]] == [40 * (n > 0) for n in range(2)] and found.attempts[2].last == 120
    assert found.attempts[1].last == found.attempts[2].first
    assert all(found.seconds[kind] > 0 for kind in ("init", "compile", "state", "step", "checkpoint", "evaluation"))
    for one in found.attempts:
        assert one.seconds_to_step and one.seconds_to_step > one.lines[0].seconds["init"] + one.lines[0].seconds["compile"]
    assert found.energy_is_estimated or found.kwh  # this machine may have a counter
