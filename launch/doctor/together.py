"""Findings that may never come: a device, a disk or a network that hangs is a finding too, and so is a process that does not answer.

The findings of several processes travel through jax's coordination service, which needs no device.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict

import jax

from varietas.launch.doctor.finding import BROKEN, Finding
from varietas.train.processes import beside, service

LONGEST = 300.0  # seconds that a measurement takes at most: compilers and networks take minutes to begin on large machines
PATIENCE = 2 * LONGEST  # seconds that process 0 waits for the others once it has its own findings
HANGS = "does not end within"  # is said of what hangs
ANOTHER = "take another node, and tell the help desk"

KEY = "varietas/doctor"


def within(name: str, measure: Callable[[], Iterable[Finding]], todo: str = ANOTHER, seconds: float = LONGEST) -> list[Finding]:
    """Returns what a measurement finds, or that it hangs or fails.

    One that hangs goes on in its own thread, which nothing can end but `os._exit`.

    Args:
        name: What is looked at.
        measure: The measurement.
        todo: The next step if it hangs.
        seconds: How long it may take.
    """
    try:
        return beside(lambda: list(measure()), seconds)
    except TimeoutError:
        return [Finding(name, BROKEN, f"{HANGS} {seconds:.0f} s", todo)]
    except Exception as error:  # of any driver or library: the other findings are worth the more
        return [Finding(name, BROKEN, f"fails: {' '.join(str(error).split())[:200] or type(error).__name__}", todo)]


def hangs(findings: Iterable[Finding]) -> bool:
    """Whether something hangs, so that a program cannot end in the usual way."""
    return any(finding.said.startswith(HANGS) for finding in findings)


def gather(what: str, own: list[Finding], places: Mapping[int, str], seconds: float = PATIENCE) -> dict[str, list[Finding]]:
    """Collects the findings of all processes in process 0.

    Args:
        what: A name for these findings, another one in each call.
        own: Those of this process.
        places: The host of each process.
        seconds: How long process 0 waits for the others.

    Returns:
        Findings by process and host; in other processes than process 0 only their own.
    """
    names = {index: f"process {index} on {host}" if len(places) > 1 else "this process" for index, host in places.items()}
    here, end = jax.process_index(), time.monotonic() + seconds
    if here > 0:
        service().key_value_set(f"{KEY}/{what}/{here}", json.dumps([asdict(finding) for finding in own]))
        return {names[here]: own}
    return {name: own if index == 0 else _of(f"{what}/{index}", max(1.0, end - time.monotonic())) for index, name in names.items()}


def _of(key: str, seconds: float) -> list[Finding]:
    try:
        text = service().blocking_key_value_get(f"{KEY}/{key}", round(seconds * 1000))
    except jax.errors.JaxRuntimeError:
        return [Finding("process", BROKEN, f"{HANGS} {PATIENCE:.0f} s", ANOTHER)]
    return [Finding(**finding) for finding in json.loads(text)]
