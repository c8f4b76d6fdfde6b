"""Who keeps a training from going on. test_faults.py stops and hangs real processes."""

import json
import threading
import time
from dataclasses import replace

import pytest
from fake_service import FakeService

from varietas.launch.distributed import watchdog
from varietas.launch.distributed.environment import Process
from varietas.launch.distributed.watchdog import Sign, judge, watched
from varietas.train import processes
from varietas.train.processes import OTHERS, do, rest


def sign(n: int, step: int = 12, what: str = OTHERS, still: float = 0, old: float = 0) -> Sign:
    return Sign(f"process {n} on gpu{n}", 7, step, what, still, old)


def judged(*signs: Sign, stuck_after: float = 1800) -> str:
    return judge(dict(enumerate(signs)), stuck_after, 60)


def test_a_training_that_goes_on_has_no_culprit() -> None:
    assert judged(sign(0, still=1799), sign(1, what="waits for a batch", still=1799, old=59)) == ""
    assert judged(sign(0, still=1e6), sign(1, still=1e6), stuck_after=0) == ""
    assert judged() == ""


def test_what_may_take_long_counts_neither_as_stuck_nor_as_lost() -> None:
    assert judged(sign(0, step=-1, what="not in a step", still=1e6, old=1e6), sign(1, step=-1, still=1e6, old=1e6)) == ""


def test_who_does_not_come_is_named() -> None:
    assert judged(sign(0, still=1800), sign(1, what="waits for a batch", still=1790), sign(2, still=1780)) == (
        "stuck for 1,800 s (train.stuck_after=1800): process 1 on gpu1 (after step 12, waits for a batch)"
    )


def test_who_is_a_step_behind_is_named() -> None:
    found = judged(sign(0, 13, "computes a step", 2000), sign(1, 13, "computes a step", 2000), sign(2, 12, "computes a step", 2000))
    assert found.endswith("): process 2 on gpu2 (after step 12, computes a step)")


def test_who_is_outside_of_the_steps_is_named() -> None:
    assert judged(sign(0, still=1800), sign(1, step=-1, what="not in a step")).endswith("): process 1 on gpu1 (not in a step)")


def test_few_of_many_are_named() -> None:
    found = judged(*(sign(n, what="computes a step", still=1800) for n in range(64)))
    assert "process 2 on gpu2" in found and "process 3 on" not in found and found.endswith(" and 61 more")


def test_who_gives_no_sign_is_lost_even_where_nobody_is_stuck() -> None:
    assert judged(sign(0), sign(1, what="computes a step", old=61), stuck_after=0) == (
        "no sign of life for 61 s from process 1 on gpu1 (after step 12, computes a step): stopped, or its node or the network is lost"
    )


class Ended(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was said at the end of this process. Ticks are short."""
    said = list[str]()

    def lose(what: str) -> None:
        said.append(what)
        raise Ended

    monkeypatch.setattr(watchdog, "lose", lose)
    monkeypatch.setattr(watchdog, "TICK", 0.02)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    return said


def until(said: list[str], seconds: float = 20.0) -> str:
    pause = threading.Event()
    for _ in range(round(seconds / 0.02)):
        if said:
            return said[0]
        pause.wait(0.02)
    return ""


def test_a_process_alone_ends_if_it_does_nothing_new(ends: list[str]) -> None:
    with watched(None, 0.4):
        for n in range(30):
            do("computes a step", n)
            threading.Event().wait(0.02)
        assert not ends
        assert until(ends).startswith("stuck for ") and "(after step 29, computes a step)" in ends[0]
    rest()


def test_nothing_ends_a_process_that_rests_or_whose_training_is_over(ends: list[str]) -> None:
    with watched(None, 0.2):
        rest()
        assert until(ends, 0.6) == ""
        do("computes a step", 3)
    assert until(ends, 0.6) == ""
    with watched(None, 0):
        assert until(ends, 0.6) == ""
    rest()


@pytest.mark.parametrize("index", [0, 1])
def test_a_process_that_gives_no_sign_is_lost(ends: list[str], monkeypatch: pytest.MonkeyPatch, index: int) -> None:
    """Process 0 watches the others, and they watch process 0."""
    service, other = FakeService(2), sign(1 - index)
    monkeypatch.setattr(processes, "service", lambda: service)

    def give(number: int) -> None:
        text = watchdog.json.dumps(watchdog.asdict(replace(other, number=number)))
        service.key_value_set(f"{watchdog.SIGNS}{1 - index}/sign", text, allow_overwrite=True)

    with watched(Process(index, 2, "host:1"), 0.6):
        for number in range(30):
            give(number)
            do("computes a step", number)
            threading.Event().wait(0.05)
        assert not ends
        assert f"from process {1 - index} on gpu{1 - index} (after step 12" in until(ends)
    rest()


def test_the_first_step_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is stopped right after it would otherwise count as one that may take as long as it likes."""
    service = FakeService(2)
    monkeypatch.setattr(processes, "service", lambda: service)
    key = f"{watchdog.SIGNS}1/sign"
    rest()
    with watched(Process(1, 2, "host:1"), 1800):
        for n in range(3):
            do("computes a step", n)
            for _ in range(100):
                if json.loads(service.keys.get(key, '{"step": -1}'))["step"] == n:
                    break
                threading.Event().wait(0.02)
            else:
                pytest.fail(f"step {n} was not told within 2 s")
            rest()
            time.sleep(0.05)


def test_a_service_that_does_not_answer_is_the_end(ends: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    service = FakeService(2)
    monkeypatch.setattr(processes, "service", lambda: service)
    with watched(Process(1, 2, "host:1"), 0.4):
        assert until(ends, 0.3) == ""
        service.lost = True
        assert "the node of process 0 does not answer" in until(ends)
    service.lost = False
