"""Ends a training in which nothing happens any more, and says which process is to blame. jax would wait for ever.

A thread of each process gives a sign of life every few seconds: what the process does, and how long it has done nothing new. Process 0
reads the signs of all, and the others read that of process 0. There are two faults:

- A process gives no sign any more, while it should train: it is stopped, or its node or the network is lost.
- The processes live, but do nothing new: a device, a file system or the network hangs.

Time is counted in ticks of the thread. So no time passes while a process is stopped that goes on later, as Slurm does with the processes
of a job that it suspends, or when the clock jumps.
"""

import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial

from varietas.launch.distributed.ending import lose
from varietas.launch.distributed.environment import Process

TICK = 5.0  # seconds between two signs
SILENT_AFTER = 60.0  # seconds without a sign, or without an answer of the service, after which a process counts as lost
SIGNS = "varietas/signs/"
NAMED = 3  # processes that a message names


@dataclass(frozen=True)
class Sign:
    """What a process says of itself, and what an observer adds.

    Attributes:
        name: The process.
        number: Counts its signs.
        step: The number of steps done; -1 if it does what may take as long as it likes.
        what: What it does.
        still: Seconds in which it has done nothing new.
        old: Seconds since its newest sign was seen first.
    """

    name: str
    number: int
    step: int
    what: str
    still: float
    old: float = 0.0


@contextmanager
def watched(process: Process | None, stuck_after: float) -> Iterator[None]:
    """Watches the training in this block. If it does not go on, all processes end with INTERRUPTED.

    Args:
        process: Which of several processes this is; None if it is the only one.
        stuck_after: Seconds without anything new after which a training is stuck; 0 for never.
    """
    from varietas.train.processes import stepping

    over = threading.Event()
    threading.Thread(target=_watch, args=(process, stuck_after, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()
        stepping.set()


def _watch(process: Process | None, stuck_after: float, over: threading.Event) -> None:
    from varietas.train.processes import beside, doing, stepping

    silent_after = min(SILENT_AFTER, stuck_after or SILENT_AFTER)
    tick = min(TICK, silent_after / 4)
    name, first = str(process or f"this process on {socket.gethostname()}"), process is None or process.index == 0
    last, still, before, signs = doing(), 0.0, time.monotonic(), dict[int, Sign]()
    for number in itertools.count():
        stepping.wait(tick)  # the first step is told at once: who is stopped before its next sign would not be missed
        stepping.clear()
        if over.is_set():
            return
        now = time.monotonic()
        passed, before = min(now - before, 2 * tick), now
        current = doing()
        still, last = (still + passed if current is last else 0.0), current
        own = Sign(name, number, current.step, current.what, still) if current else Sign(name, number, -1, "not in a step", still)
        if process is None:
            signs = {0: own}
        else:
            try:
                found = beside(partial(_exchange, process, own), silent_after)
            except TimeoutError:
                lose(f"the node of process 0 does not answer for {silent_after:.0f} s: it is lost, or the network")
            except Exception:
                return  # jax has lost the service, and ends this process
            signs = {index: _aged(sign, signs.get(index), passed) for index, sign in found.items()}
        if not over.is_set() and (verdict := judge(signs, stuck_after if first else 0, silent_after)):
            lose(verdict)


def _exchange(process: Process, own: Sign) -> dict[int, Sign]:
    """Gives a sign, and returns those that this process watches."""
    from varietas.train.processes import service

    service().key_value_set(f"{SIGNS}{process.index}/sign", json.dumps(asdict(own)), allow_overwrite=True)
    found = service().key_value_dir_get(SIGNS if process.index == 0 else f"{SIGNS}0/")
    return {int(key.split("/")[-2]): Sign(**json.loads(sign)) for key, sign in found}


def _aged(sign: Sign, known: Sign | None, passed: float) -> Sign:
    return replace(sign, old=known.old + passed) if known and known.number == sign.number else sign


def judge(signs: Mapping[int, Sign], stuck_after: float, silent_after: float) -> str:
    """Returns what keeps a training from going on; "" if nothing does.

    Args:
        signs: The newest sign of each process.
        stuck_after: Seconds without anything new after which a training is stuck; 0 for never.
        silent_after: Seconds after which a process that gives no sign is lost.
    """
    from varietas.train.processes import OTHERS

    training = [sign for sign in signs.values() if sign.step >= 0]
    if silent := [sign for sign in training if sign.old >= silent_after]:
        return f"no sign of life for {silent[0].old:,.0f} s from {_listed(silent)}: stopped, or its node or the network is lost"
    still = max((sign.still for sign in training), default=0.0)
    if not stuck_after or still < stuck_after:
        return ""
    busy = [sign for sign in signs.values() if sign.what != OTHERS] or training
    least = min(sign.step for sign in busy)
    return f"stuck for {still:,.0f} s (train.stuck_after={stuck_after}): {_listed([sign for sign in busy if sign.step == least])}"


def _listed(signs: list[Sign]) -> str:
    names = [f"{sign.name} ({f'after step {sign.step:,}, ' if sign.step >= 0 else ''}{sign.what})" for sign in signs[:NAMED]]
    return ", ".join(names) + (f" and {len(signs) - NAMED} more" if len(signs) > NAMED else "")
