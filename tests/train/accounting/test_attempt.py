"""The account that a run keeps while it trains: its clock, its file, and what it says after any end."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest

from varietas.data.processes import began
from varietas.model.sharding import make_mesh
from varietas.train.accounting import attempt as attempts
from varietas.train.accounting import energy
from varietas.train.accounting.attempt import Attempt
from varietas.train.accounting.goodput import FILE, read_account
from varietas.train.interrupts import Interrupts
from varietas.train.loop import until_interrupted


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time.monotonic() says in the account; the thread that writes now and then is away."""
    now = [1000.0]
    monkeypatch.setattr(attempts.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(attempts, "WRITTEN_EVERY", 1e6)
    return now


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / FILE).read_text().splitlines()]


def test_every_second_is_of_one_kind(tmp_path: Path, clock: list[float]) -> None:
    one = Attempt(tmp_path, since=990.0)
    with one.spent("compile"):
        clock[0] += 3
        with one.spent("state"):  # within
            clock[0] += 4
        assert one.doing == "compile"
        clock[0] += 1

    def fail() -> None:
        with one.spent("evaluation"):
            clock[0] += 0.5
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert one.enter("data") == "init"
    clock[0] += 2
    one.enter("step", was="step")  # the devices were busy all the time
    clock[0] += 7
    assert {kind: seconds for kind, seconds in one.seconds().items() if seconds} == {
        "init": 10.0, "compile": 4.0, "state": 4.0, "evaluation": 0.5, "step": 9.0,
    }  # fmt: skip


def test_lines_of_checkpoints_stay_and_the_last_line_is_written_anew(tmp_path: Path, clock: list[float]) -> None:
    one = Attempt(tmp_path)
    with one.kept():
        one.reach(40)
        for kind in ("evaluation", "step"):  # a shorter line after a longer one
            one.enter(kind)
            one._write()
            assert lines(tmp_path)[-1]["doing"] == kind
        for step in range(41, 50):
            clock[0] += 1
            one.reach(step)
            one._write()
        one.record()
        clock[0] += 1
        one._write()
        assert lines(tmp_path)[-1]["seconds"] == {"step": 10.0} and [line["step"] for line in lines(tmp_path)] == [None, 40, 41, 49, 49]
        clock[0] += 1
        one._write()
        assert lines(tmp_path)[-1]["seconds"] == {"step": 11.0} and len(lines(tmp_path)) == 5
    with Attempt(tmp_path).kept():
        pass
    assert [("began" in line, line["step"]) for line in lines(tmp_path)] == [
        (True, None), (False, 40), (False, 41), (False, 49), (False, 49), (True, None), (False, None),
    ]  # fmt: skip
    found = read_account(tmp_path)
    assert found and found.restarts == 1 and found.attempts[0].seconds_to_step == pytest.approx(1.0)


def test_how_far_it_came_is_kept_before_it_goes_back(tmp_path: Path, clock: list[float]) -> None:
    one = Attempt(tmp_path)
    with one.kept():
        one.enter("step")
        for step in (0, 1, 2, 3, 4, 5, 2, 3, 4):  # saved after step 2
            one.reach(step)
            if step == 2:
                one.record()
            clock[0] += 1
    found = read_account(tmp_path)
    assert found and found.seconds["lost"] == pytest.approx(4.0) and found.seconds["step"] == pytest.approx(5.0)


def test_a_file_that_ends_in_the_middle_of_a_line_goes_on_in_a_new_one(tmp_path: Path, clock: list[float]) -> None:
    (tmp_path / FILE).write_text('{"began": 1.0, "seconds": {"init": 1.0}}\n{"step": 3, "sec')
    with Attempt(tmp_path).kept():
        clock[0] += 1
    found = read_account(tmp_path)
    assert found and [one.seconds for one in found.attempts] == [1.0, 1.0]


def test_the_clock_on_the_wall_may_jump(tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    one = Attempt(tmp_path)
    monkeypatch.setattr(attempts.time, "time", lambda: 0.0)
    with one.kept():
        clock[0] += 2
    found = read_account(tmp_path)
    assert found and found.life == pytest.approx(2.0) and found.attempts[0].began > 1e9


KILLED = """
import os, sys, time
from pathlib import Path
from varietas.train.accounting.attempt import Attempt
one = Attempt(Path(sys.argv[1]))
with one.kept():
    one.enter("data")
    time.sleep(2.3)
    os._exit(9)
"""


def test_hardly_anything_is_missing_after_a_kill(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, tmp_path], timeout=120).returncode == 9
    found = read_account(tmp_path)
    assert found and 1.2 < found.seconds["data"] < 2.4 and lines(tmp_path)[-1]["doing"] == "data"


def test_a_process_knows_how_old_it_is() -> None:
    code = "import time; time.sleep(0.5); from varietas.data.processes import began; print(time.monotonic() - began())"
    begun = time.monotonic()
    age = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert 0.5 <= age <= time.monotonic() - begun + 0.05
    assert began() < time.monotonic()


def test_energy_is_estimated_where_nothing_measures_it(tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "counters", lambda platform, devices: [])
    one = Attempt(tmp_path, watts=200.0)
    with one.kept():
        one.measure(make_mesh(1, 1, 1, devices=jax.devices()[:1]))
        clock[0] += 9
    found = read_account(tmp_path)
    assert found and found.joules == {"estimate": pytest.approx(1800.0)}


def test_energy_is_measured_with_the_devices_of_the_mesh(tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    asked, counted = list[tuple[str, list[int]]](), [5.0]

    def counters(platform: str, devices: list[int]) -> list[energy.Counter]:
        asked.append((platform, devices))
        return [energy.Counter("NVML", lambda: counted[0])]

    monkeypatch.setattr(attempts, "counters", counters)
    one = Attempt(tmp_path, watts=200.0)
    with one.kept():
        one.measure(make_mesh(2, 1, 1, devices=jax.devices()[:2]))
        counted[0] = 12.0
        # Another process on this host and one elsewhere, when all meet
        words: dict[int, Any] = {0: "", 1: {"host": "", "joules": {"NVML": 2.0}}, 2: {"host": "n2", "joules": {"NVML": 4.0}}}
        monkeypatch.setattr(attempts, "exchange", lambda own: {n: json.dumps(word) for n, word in words.items()} | {0: own})
        one.record()
        counted[0] = 19.0
        one._write()  # until they meet again, the others are taken to use energy as this process does
        assert lines(tmp_path)[-1]["joules"] == {"NVML": 26.0}
        words[2]["joules"]["NVML"] = 5.0
        one.record()
    assert asked == [("cpu", [0, 1])] and [line["joules"] for line in lines(tmp_path)] == [
        {}, {"NVML": 13.0}, {"NVML": 21.0}, {"NVML": 21.0},
    ]  # fmt: skip


def test_no_account_is_kept_of_what_never_got_its_folder(tmp_path: Path) -> None:
    one = Attempt(tmp_path / "run")
    one.reach(3)
    one.record()
    assert not (tmp_path / "run").exists() and os.listdir(tmp_path) == []


@pytest.mark.parametrize(("busy", "kind"), [(True, "step"), (False, "data")])
def test_only_what_the_devices_wait_for_is_waiting_for_data(tmp_path: Path, clock: list[float], busy: bool, kind: str) -> None:
    def read() -> Iterator[Any]:
        for batch in range(3):
            assert one.doing == "data"
            clock[0] += 2
            yield batch

    one = Attempt(tmp_path, since=clock[0])
    for _ in until_interrupted(read(), Interrupts(), one, lambda: busy):
        assert one.doing == "step"
        clock[0] += 5
    expected = {"data": 0.0, "step": 15.0}
    expected[kind] += 6.0
    assert {name: one.seconds()[name] for name in expected} == expected
