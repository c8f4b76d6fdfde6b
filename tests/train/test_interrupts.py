"""A signal ends training within seconds, whatever the loop is waiting for, and the last step is saved."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import varietas
from varietas.train import loop, program
from varietas.train.inference import score
from varietas.train.interrupts import SIGNALS, Interrupts, interruptible

LONG = 300.0  # seconds that a wait would take if it were not interrupted; a busy machine may take a minute for the steps before it


class Stall:
    """Something that takes long, and a signal that comes meanwhile."""

    def __init__(self) -> None:
        self.sent = 0.0
        self.over = threading.Event()

    def begin(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.sent = time.monotonic()
        threading.Timer(0.3, os.kill, (os.getpid(), number)).start()
        self.over.wait(LONG)

    def was_cut_short(self) -> bool:
        return 0 < time.monotonic() - self.sent < LONG / 2


@pytest.fixture
def stall() -> Iterator[Stall]:
    stall = Stall()
    yield stall
    stall.over.set()  # it may still be going on in another thread


@pytest.fixture
def run(tmp_path: Path, corpus_folder: Path) -> varietas.Run:
    return varietas.Run("tiny", {"train.steps": 6, "checkpoint.every": 4, "eval.every": 3}, folder=tmp_path / "run")


def steps(run: varietas.Run) -> tuple[list[int], list[int]]:
    """Returns the steps in the metrics, and the steps that have a checkpoint."""
    saved = sorted(int(path.name) for path in (run.folder / "checkpoints").iterdir() if path.name.isdigit())
    return [record["step"] for record in run.metrics], saved


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_ends_an_evaluation(run: varietas.Run, number: signal.Signals, stall: Stall, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(score, "score", lambda *_: stall.begin(number))
        assert not run.train() and stall.was_cut_short()
    assert steps(run) == ([0, 1, 2], [3])
    assert not (run.folder / "evaluations").exists()
    assert run.train() and steps(run)[0] == list(range(6))  # the same call continues the run


def test_a_signal_ends_the_wait_for_a_batch(run: varietas.Run, stall: Stall, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = loop.batches

    def stalled(*args: Any) -> Iterator[Any]:
        """Simulates a file system that hangs after two batches."""
        rows = usual(*args)
        yield next(rows)
        yield next(rows)
        stall.begin()

    monkeypatch.setattr(loop, "batches", stalled)
    assert not run.train() and stall.was_cut_short()
    assert steps(run) == ([0, 1], [2])


def test_a_signal_during_a_save_lets_it_finish(run: varietas.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """No step is saved twice."""
    usual, saved = loop.Checkpoints.save, list[int]()

    def save(self: Any, state: Any, meta: Any) -> Any:
        saved.append(int(state.step))
        if len(saved) == 1:
            signal.raise_signal(signal.SIGTERM)
        return usual(self, state, meta)

    monkeypatch.setattr(loop.Checkpoints, "save", save)
    assert not run.train()
    assert saved == [4] and steps(run) == ([0, 1, 2, 3], [4])


@pytest.mark.parametrize("what", ["trace_step", "initial_state", "baselines"])
def test_a_signal_before_the_first_step_ends_the_run(run: varietas.Run, what: str, stall: Stall, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever takes long there, also in C++, where Python's signal handlers do not run. A run that has not begun leaves no folder."""
    module = {"trace_step": program, "initial_state": loop, "baselines": score}[what]
    with monkeypatch.context() as patch:
        patch.setattr(module, what, lambda *_: stall.begin(signal.SIGINT))
        assert not run.train() and stall.was_cut_short()
    assert run.folder.exists() == (what != "trace_step") and not (run.folder / ".lock").exists() and run.metrics == []


def test_a_signal_while_the_handlers_are_installed_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, before = signal.signal, [signal.getsignal(number) for number in SIGNALS]
    sent: list[int] = []

    def install(number: int, handler: Any) -> Any:
        result = usual(number, handler)
        if not sent:
            sent.append(number)
            signal.raise_signal(number)
        return result

    monkeypatch.setattr(signal, "signal", install)
    with interruptible() as interrupts:
        assert interrupts.came and interrupts.wait(lambda: 1) is None
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_signal_at_any_line_of_a_wait_ends_it_or_comes_after_it() -> None:
    """No line lets the exception out that ends the wait, not even those of `finally`."""
    codes, found = (Interrupts.wait.__code__, Interrupts._wait.__code__), list[int | None]()
    for moment in range(1, 20):
        interrupts, lines = Interrupts(), 0

        def trace(frame: FrameType, event: str, _: Any, interrupts: Interrupts = interrupts, moment: int = moment) -> Any:
            nonlocal lines
            if frame.f_code not in codes:
                return None
            lines += event == "line"
            if lines == moment and not interrupts.came:
                interrupts.note()
            return trace

        sys.settrace(trace)
        try:
            found.append(interrupts.wait(lambda: 1))
        finally:
            sys.settrace(None)
    assert found[0] is None and found[-1] == 1 and set(found) == {1, None}
    assert lines < 19


def test_only_a_second_ctrl_c_stops_at_once(request: pytest.FixtureRequest) -> None:
    """Slurm may send SIGUSR1 and then SIGTERM while the run saves."""
    request.addfinalizer(partial(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT)))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts in the background ignore Ctrl-C
    with interruptible() as interrupts:
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.raise_signal(number)
            assert interrupts.came and interrupts.wait(lambda: 1) is None
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_the_usual_handlers_are_restored_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with interruptible():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_no_signal_is_noted_off_the_main_thread() -> None:
    """A notebook may train in another thread, where Python does not allow signal handlers."""
    found: list[Interrupts] = []

    def work() -> None:
        with interruptible() as interrupts:
            found.append(interrupts)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found and not found[0].came
