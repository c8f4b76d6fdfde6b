"""What hangs is found too."""

import threading
import time

from varietas.launch.doctor.finding import BROKEN, OK, Finding
from varietas.launch.doctor.together import gather, hangs, within


def test_a_measurement_that_hangs_is_a_finding() -> None:
    never = threading.Event()

    def measure() -> list[Finding]:
        never.wait(60)
        return []

    begun = time.monotonic()
    (found,) = within("matrix products", measure, "another node", 0.1)
    assert time.monotonic() - begun < 30
    assert (found.name, found.state) == ("matrix products", BROKEN) and hangs([found])
    assert found.todo == "another node"
    never.set()


def test_a_measurement_that_ends_is_what_it_found_and_its_error_is_a_finding() -> None:
    assert within("x", lambda: [Finding("x", OK, "fine")]) == [Finding("x", OK, "fine")] and not hangs([Finding("x", OK, "fine")])
    (found,) = within("x", _fail)
    assert found.state == BROKEN and "no disk" in found.said and not hangs([found])


def test_one_process_has_its_own_findings() -> None:
    own = [Finding("x", OK, "fine")]
    assert gather("of each", own, {0: "nid1"}) == {"this process": own}


def _fail() -> list[Finding]:
    raise OSError("no disk")
