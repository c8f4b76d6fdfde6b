"""Processes meet, or each of them says in one line what keeps them apart."""

import signal
import socket
import threading
import time

import pytest

from varietas.launch.distributed import meeting
from varietas.launch.distributed.environment import Process
from varietas.launch.distributed.meeting import interrupts_later, meet


@pytest.fixture
def port() -> int:
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def say(processes: list[Process], patience: float) -> list[str]:
    """Lets these processes meet, each in a thread. Returns what each is told; "" if they meet."""
    said = [""] * len(processes)

    def one(n: int) -> None:
        try:
            meet(processes[n], patience)
        except ValueError as error:
            said[n] = str(error)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(len(processes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def test_ctrl_c_waits_until_the_others_can_be_told() -> None:
    done = list[int]()

    def connects() -> None:
        with interrupts_later():
            signal.raise_signal(signal.SIGINT)
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        connects()
    assert done and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_they_meet_in_any_order_and_again(port: int) -> None:
    own = [Process(n, 4, f"127.0.0.1:{port}") for n in range(4)]
    assert say(own, 20) == say(own[::-1], 20) == [""] * 4


def test_what_connects_by_accident_is_ignored(port: int) -> None:
    own = [Process(n, 2, f"127.0.0.1:{port}") for n in range(2)]
    listening = threading.Thread(target=meet, args=(own[0], 20))
    listening.start()
    for text in (b"GET / HTTP/1.1\n", b"[]\n", b""):
        for _ in range(50):
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                    connection.sendall(text)
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
    meet(own[1], 20)
    listening.join()


def test_nobody_is_there(port: int) -> None:
    begun = time.monotonic()
    with pytest.raises(
        ValueError, match=rf"process 1 on \S+ has not reached process 0 at 127.0.0.1:{port} for \d s \(Connection refused\)"
    ):
        meet(Process(1, 2, f"127.0.0.1:{port}"), 1)
    with pytest.raises(ValueError, match=r"process 0 at no-host.invalid:5 for \d+ s"):
        meet(Process(1, 2, "no-host.invalid:5"), 1)
    assert time.monotonic() - begun < 30


def test_one_is_lacking(port: int) -> None:
    said = say([Process(n, 4, f"127.0.0.1:{port}") for n in (0, 2)], 1)
    assert said[0] == said[1] and "for 2 processes: 1, 3; see what they print" in said[0]


def test_the_port_is_taken() -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ValueError, match=rf"cannot listen at port {port} \(Address already in use\); name another port"):
            meet(Process(0, 2, f"127.0.0.1:{port}"), 1)


@pytest.mark.parametrize(
    ("others", "wanted"),
    [
        ([Process(1, 3, ""), Process(1, 3, "")], "two processes have the number 1"),
        ([Process(1, 2, "")], "is one of 3 processes, but process 1 on"),
    ],
)
def test_they_do_not_belong_together(port: int, others: list[Process], wanted: str) -> None:
    address = f"127.0.0.1:{port}"
    said = say([Process(0, 3, address), *(Process(p.index, p.count, address) for p in others)], 20)
    assert wanted in said[0] and len(set(said)) == 1


def test_versions_differ(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = meeting._hello
    monkeypatch.setattr(meeting, "_hello", lambda p: {**usual(p), "versions": f"varietas {p.index}"})
    said = say([Process(n, 2, f"127.0.0.1:{port}") for n in range(2)], 20)
    assert "has varietas 0, but" in said[0] and said[0] == said[1]
