"""Words between processes, which are threads here, and what is said when one is lost."""

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import pytest
from fake_service import FakeService

from varietas.train import processes
from varietas.train.processes import OTHERS, ProcessLost, beside, broadcast, do, doing, exchange, is_first, rest

# What jax's service says, as jax 0.10.2 words it.
DEAD = (
    "INTERNAL: Barrier failed because: task is set to ERROR: UNAVAILABLE: Task 1 heartbeat timeout. This indicates that the remote task "
    "has failed, got preempted, or crashed unexpectedly. Check the task logs for an earlier error or scheduler events (e.g. preemption, "
    "eviction) to debug further. [type.googleapis.com/tensorflow.CoordinationServiceError='']. Barrier Id: x::0, Task: 1\n\n"
    "RPC: /xla.coordination.CoordinationService/Barrier [type.googleapis.com/tensorflow.CoordinationServiceError='']"
)
LATE = (
    "DEADLINE_EXCEEDED: Barrier timed out. Id: b::0. This usually happens because a task triggered the barrier too early or too slowly. "
    "Please look at the task logs (both timed out and first task) to debug further.\n# of tasks that reached the barrier: 1/3.\n"
    "The first task at the barrier: 1. Some timed out task names:\n0\n2\n\n\nRPC: /xla.coordination.CoordinationService/Barrier"
)
GONE = (
    "UNAVAILABLE: Failed to send RPC to coordination service. Either the leader task was preempted/died/restarted unexpectedly or this "
    'task is experiencing network issues.\n:UNKNOWN:Error received from peer  {grpc_status:14, grpc_message:"Socket closed"}'
)


class Each:
    """Counts for each thread by itself, as every process does."""

    def __init__(self) -> None:
        self._own = threading.local()

    def __next__(self) -> int:
        if not hasattr(self._own, "count"):
            self._own.count = itertools.count()
        return next(self._own.count)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> FakeService:
    """Three processes, whose service this is."""
    fake = FakeService(3)
    monkeypatch.setattr(processes, "service", lambda: fake)
    monkeypatch.setattr(processes, "_rounds", Each())
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    monkeypatch.setattr(jax, "process_index", lambda: int(threading.current_thread().name))
    return fake


def each(work: Callable[[int], Any]) -> list[Any]:
    """Lets every process do this, and returns the results."""
    results: list[Any] = [None] * 3

    def one(n: int) -> None:
        try:
            results[n] = work(n)
        except Exception as error:
            results[n] = error

    threads = [threading.Thread(target=one, args=(n,), name=str(n)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return results


def test_all_hear_the_same_words_round_by_round(service: FakeService) -> None:
    def rounds(n: int) -> list[dict[int, str]]:
        return [exchange(f"from {n}" if n else ""), exchange(), exchange("late" if n == 2 else "")]

    assert each(rounds) == [[{1: "from 1", 2: "from 2"}, {}, {2: "late"}]] * 3


def test_process_0_alone_finds_what_all_get(service: FakeService) -> None:
    asked = list[int]()

    def ask(n: int) -> tuple[bool, list[int]]:
        return is_first(), broadcast(lambda: asked.append(n) or [n, 7])  # type: ignore[func-returns-value]

    assert each(ask) == [(True, [0, 7]), (False, [0, 7]), (False, [0, 7])]
    assert asked == [0]


def test_one_process_talks_to_itself() -> None:
    assert exchange() == {} and exchange("x") == {0: "x"} and broadcast(lambda: {"a": 1}) == {"a": 1}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DEAD, "process 1 has died"),
        (LATE, "process 0, 2 has not come for 60 minutes"),
        (GONE, "process 0 has died, or the network does not reach it"),
        ("INTERNAL: something\nnew", "the processes have lost each other (INTERNAL: something new)"),
    ],
)
def test_what_is_said_when_a_process_is_lost(service: FakeService, monkeypatch: pytest.MonkeyPatch, error: str, said: str) -> None:
    def fail(*_: Any) -> None:
        raise jax.errors.JaxRuntimeError(error)

    monkeypatch.setattr(service, "wait_at_barrier", fail)
    found = each(lambda n: exchange("word"))
    assert [(type(one), str(one)) for one in found] == [(ProcessLost, said)] * 3


def test_a_process_that_exchanges_waits_for_the_others_and_then_does_what_it_did(service: FakeService) -> None:
    do("computes a step", 5)
    before, seen = doing(), list[str]()
    usual = service.wait_at_barrier

    def wait(*args: Any) -> None:
        now = doing()
        seen.append(now.what if now else "")
        usual(*args)

    service.wait_at_barrier = wait  # type: ignore[method-assign]
    with ThreadPoolExecutor(2) as pool:  # processes 1 and 2 only wait at the barrier
        others = [pool.submit(usual, "", 10_000) for _ in range(2)]
        threading.current_thread().name = "0"
        try:
            exchange()
        finally:
            threading.current_thread().name = "MainThread"
        assert [other.result() for other in others] == [None, None]
    assert seen == [OTHERS] and doing() is before
    rest()
    assert doing() is None


def test_work_beside_gives_its_result_its_error_or_up() -> None:
    assert beside(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        beside(lambda: 1 // 0)
    never = threading.Event()
    with pytest.raises(TimeoutError):
        beside(never.wait, 0.2)
    never.set()
