"""What each process says and with which status it ends. The processes are threads here; test_several_processes.py starts real ones."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_service import FakeService

from varietas.launch.distributed import ending
from varietas.launch.distributed.ending import BROKEN, INTERRUPTED, KEY, finish, leave, lose
from varietas.launch.distributed.environment import Process
from varietas.train import processes
from varietas.train.run_folder.lock import held

FIRST, SECOND = (Process(n, 2, "host:1") for n in range(2))


class Ended(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    fake = FakeService(2)
    monkeypatch.setattr(processes, "service", lambda: fake)
    for name in ("GRACE", "LONGEST"):
        monkeypatch.setattr(ending, name, 0.3)
    yield fake
    fake.lost = False


def end(process: Process | None, monkeypatch: pytest.MonkeyPatch, work: Callable[[], Any]) -> int | None:
    """Does the work as this process. Returns the status with which it ends; None if it does not."""

    def leave_at_once(status: int) -> None:
        raise Ended(status)

    thread = threading.Thread()
    thread.start()
    monkeypatch.setattr(ending.os, "_exit", leave_at_once)
    monkeypatch.setattr(ending, "_ending", threading.RLock())
    monkeypatch.setattr(ending, "_watched", [(process, thread)] if process else [])
    try:
        work()
    except Ended as ended:
        return int(str(ended))
    return None


def test_a_failure_is_told_and_ends_the_others_with_its_status(
    service: FakeService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end(SECOND, monkeypatch, lambda: leave(SECOND, "the disk is full", 2)) == 2
    assert capsys.readouterr().err == f"varietas: {SECOND}: the disk is full\n"
    assert end(FIRST, monkeypatch, lambda: ending._wait_for_failure(FIRST)) == 2
    assert capsys.readouterr().err == f"varietas: {FIRST} ends, because {SECOND} has failed: the disk is full\n"


def test_a_mistake_of_all_is_said_once(service: FakeService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert [end(process, monkeypatch, lambda p=process: leave(p, "no such file", 2)) for process in (FIRST, SECOND)] == [2, 2]  # type: ignore[misc]
    assert capsys.readouterr().err == "varietas: no such file\n"


def test_a_connection_that_breaks_is_not_the_cause(
    service: FakeService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever broke it has time to say why. What is said first counts."""
    threading.Timer(0.3, lambda: end_of_first("stuck")).start()

    def end_of_first(what: str) -> None:
        service.key_value_set(KEY, json.dumps({"what": what, "message": "", "status": INTERRUPTED, "grace": 0}))

    assert end(SECOND, monkeypatch, lambda: leave(SECOND, f"{BROKEN} (Gloo)", INTERRUPTED)) == INTERRUPTED
    assert json.loads(service.keys[KEY])["what"] == "stuck"


@pytest.mark.parametrize("process", [FIRST, SECOND, None])
def test_a_lost_process_ends_all_with_the_status_that_continues(
    service: FakeService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], process: Process | None
) -> None:
    assert end(process, monkeypatch, lambda: lose("process 7 has died")) == INTERRUPTED
    assert capsys.readouterr().err == f"varietas: {f'{process} ends, because ' if process is SECOND else ''}process 7 has died\n"
    if process:
        assert end(SECOND, monkeypatch, lambda: lose("it is stuck")) == INTERRUPTED
        assert capsys.readouterr().err == f"varietas: {SECOND} ends, because process 7 has died\n"


def test_a_service_that_does_not_answer_holds_nobody(
    service: FakeService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    service.lost = True
    assert end(SECOND, monkeypatch, lambda: lose("process 0 has died")) == INTERRUPTED
    assert "process 0 has died" in capsys.readouterr().err


def test_a_process_that_is_ended_gives_the_lock_of_its_run_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the next one would wait for minutes if it is on another node."""
    with held(tmp_path):
        assert end(None, monkeypatch, lambda: lose("stuck")) == INTERRUPTED
        assert not (tmp_path / ".lock").exists()


def test_a_connection_that_closes_is_a_death_only_if_nothing_was_said(
    service: FakeService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for told, status in ((None, INTERRUPTED), ({"what": "a mistake"}, None), ({}, None)):
        service.keys.clear()
        if told is not None:
            service.key_value_set(KEY, json.dumps(told))
        ours, its = socket.socketpair()
        its.close()
        with ours:
            assert end(FIRST, monkeypatch, lambda peers={ours: "process 1 on b"}: ending._wait_for_death(peers)) == status  # type: ignore[misc]
        assert capsys.readouterr().err == ("varietas: process 1 on b has died\n" if status else "")


def test_at_the_end_all_wait_for_each_other(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    """Process 0 says that this is the end, so that a connection that closes then is no death."""
    threads = [threading.Thread(target=service.wait_at_barrier, args=("", 10_000)) for _ in range(2)]
    threads[0].start()
    assert end(FIRST, monkeypatch, finish) is None
    threads[0].join()
    assert json.loads(service.keys[KEY]) == {}
    service.keys.clear()
    threads[1].start()
    assert end(SECOND, monkeypatch, finish) is None
    assert KEY not in service.keys
    assert end(None, monkeypatch, finish) is None
