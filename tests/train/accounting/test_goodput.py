"""What became of each second of a run's life, from attempts.jsonl as runs of all fates leave it."""

import json
from pathlib import Path
from typing import Any

import pytest

from varietas.train.accounting.goodput import ABSENT, FILE, KINDS, LOST, Account, read_account

BEGAN = 1_795_800_000.0


def attempt(began: float, *lines: tuple[int | None, dict[str, float]], **more: Any) -> list[dict[str, Any]]:
    """The lines of an attempt that began so many seconds after BEGAN: step, and seconds of each kind until then."""
    records = [{"step": step, "doing": "step", "seconds": seconds, **more} for step, seconds in lines]
    return [{"began": BEGAN + began, "host": "n1", "job": "7"} | records[0], *records[1:]]


def written(run: Path, *attempts: list[dict[str, Any]], torn: str = "") -> Account:
    text = "".join(json.dumps(record) + "\n" for attempt in attempts for record in attempt)
    (run / FILE).write_text(text + torn)
    found = read_account(run)
    assert found
    return found


def killed(began: float) -> list[dict[str, Any]]:
    """An attempt from step 0 that saved after steps 10 and 20 and was killed after step 27."""
    start = {"init": 5.0, "compile": 3.0}
    return attempt(
        began,
        (None, start),
        (0, start | {"state": 2.0}),
        (1, start | {"state": 2.0, "step": 1.0, "data": 0.5}),
        (10, start | {"state": 2.0, "step": 10.0, "data": 0.5}),
        (10, start | {"state": 2.0, "step": 10.0, "data": 0.5, "checkpoint": 1.0}),
        (20, start | {"state": 2.0, "step": 20.0, "data": 0.5, "checkpoint": 1.0}),
        (20, start | {"state": 2.0, "step": 20.0, "data": 0.5, "checkpoint": 2.0}),
        (27, start | {"state": 2.0, "step": 27.0, "data": 0.75, "checkpoint": 2.0}),
    )


def resumed(began: float, step: int) -> list[dict[str, Any]]:
    """An attempt that goes on from a step and does ten more."""
    start = {"init": 4.0, "compile": 1.0}
    return attempt(
        began,
        (None, start),
        (step, start | {"state": 3.0}),
        (step + 1, start | {"state": 3.0, "step": 1.0}),
        (step + 10, start | {"state": 3.0, "step": 10.0}),
        (step + 10, start | {"state": 3.0, "step": 10.0, "checkpoint": 1.0}),
    )


def test_a_run_that_was_never_interrupted(tmp_path: Path) -> None:
    found = written(tmp_path, killed(0))
    assert found.life == pytest.approx(39.75) and found.goodput == pytest.approx(27 / 39.75)
    assert (found.restarts, found.seconds[LOST], found.seconds[ABSENT]) == (0, 0.0, 0.0)
    assert found.seconds_to_step == pytest.approx(11.5)  # 5 + 3 + 2 + 1 + 0.5
    assert (found.attempts[0].first, found.attempts[0].last, found.attempts[0].host, found.attempts[0].job) == (0, 27, "n1", "7")


def test_what_came_after_the_checkpoint_is_lost_when_a_run_goes_on_from_it(tmp_path: Path) -> None:
    found = written(tmp_path, killed(0), resumed(100, 20))
    assert found.lost == (pytest.approx(7.25), 0.0)  # seven steps, and a quarter of a second for their data
    assert found.seconds[LOST] == pytest.approx(7.25) and found.seconds["step"] == pytest.approx(20 + 10)
    assert found.seconds["checkpoint"] == pytest.approx(3.0)  # saving the checkpoint that it went on from was not in vain
    assert found.seconds[ABSENT] == pytest.approx(100 - 39.75) and found.seconds_to_step == pytest.approx(9.0)
    assert found.life == pytest.approx(sum(found.seconds.values())) == pytest.approx(100 + 19)
    assert set(found.seconds) == {*KINDS, LOST, ABSENT} and found.goodput == pytest.approx(30 / 119)


def test_a_checkpoint_that_was_damaged_costs_more(tmp_path: Path) -> None:
    found = written(tmp_path, killed(0), resumed(100, 10))
    assert found.lost[0] == pytest.approx(18.25)  # 17 steps, their data, and the checkpoint that was damaged


def test_an_attempt_that_a_later_one_makes_vain_is_lost_from_its_first_step(tmp_path: Path) -> None:
    found = written(tmp_path, killed(0), resumed(100, 20), resumed(200, 10))
    assert found.lost == (pytest.approx(18.25), pytest.approx(11.0), 0.0)
    assert found.seconds["init"] == pytest.approx(13.0)  # that it started is no work that could be lost
    assert found.life == pytest.approx(219)


def test_attempts_without_a_step_lose_nothing(tmp_path: Path) -> None:
    found = written(tmp_path, killed(0), attempt(50, (None, {"init": 5.0})), attempt(60, (None, {"init": 6.0})))
    assert found.lost == (0.0, 0.0, 0.0) and found.seconds_to_step is None and found.seconds["init"] == pytest.approx(16.0)


def test_a_run_that_goes_back_without_a_restart_loses_work_too(tmp_path: Path) -> None:
    lines = [(0, {"init": 1.0}), (10, {"init": 1.0, "step": 10.0}), (15, {"init": 1.0, "step": 15.0}), (10, {"init": 1.0, "step": 15.5})]
    found = written(tmp_path, attempt(0, *lines, (20, {"init": 1.0, "step": 25.5})))
    assert found.seconds[LOST] == pytest.approx(5.5) and found.seconds["step"] == pytest.approx(20.0)


def test_a_clock_that_was_set_back_gives_no_negative_time(tmp_path: Path) -> None:
    found = written(tmp_path, killed(0), resumed(-1000, 20))
    assert found.seconds[ABSENT] == 0.0 and min(found.seconds.values()) >= 0 and found.life == pytest.approx(39.75 + 19)


@pytest.mark.parametrize("torn", ['{"step": 30, "seco', "[1, 2]\n", '{"step": 30, "doing": "step"}\n', 'nds": {"step": 99.0}}\n', "\0\0\0"])
def test_a_line_that_was_cut_short_is_left_out(tmp_path: Path, torn: str) -> None:
    assert written(tmp_path, killed(0), torn=torn) == written(tmp_path, killed(0))
    between = written(tmp_path, killed(0), torn=torn + "\n" + "".join(json.dumps(line) + "\n" for line in resumed(100, 20)))
    assert between == written(tmp_path, killed(0), resumed(100, 20))


def test_no_file_no_account(tmp_path: Path) -> None:
    assert read_account(tmp_path) is None
    (tmp_path / FILE).write_text("nothing of ours\n")
    assert read_account(tmp_path) is None


@pytest.mark.parametrize(
    ("first", "second", "kwh", "source", "estimated"),
    [
        ({}, {}, None, "", False),
        ({"NVML": 3.6e6}, {"NVML": 1.8e6, "RAPL": 1.8e6}, 2.0, "measured: GPUs (NVML), processors (RAPL)", False),
        ({"estimate": 3.6e6}, {"estimate": 0.0}, 1.0, "estimated from the power of the machine", True),
        ({"pm_counters": 2.7e6}, {"estimate": 0.9e6}, 1.0, "measured: nodes (pm_counters); 25% of it estimated from the power", True),
    ],
)
def test_energy_of_all_attempts_with_its_source(
    tmp_path: Path, first: dict[str, float], second: dict[str, float], kwh: float | None, source: str, estimated: bool
) -> None:
    attempts = (attempt(time, (0, {"init": 1.0}), joules=joules) for time, joules in ((0, first), (10, second)))
    found = written(tmp_path, *attempts)
    assert (found.kwh, found.energy_is_estimated) == (kwh and pytest.approx(kwh), estimated)
    assert found.energy_source.startswith(source) and bool(found.energy_source) == bool(source)
