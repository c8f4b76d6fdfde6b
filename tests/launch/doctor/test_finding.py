"""Findings of many processes become one table."""

from varietas.launch.doctor.finding import BROKEN, OK, SLOW, Finding, at_least, joined


def test_what_is_equal_is_one_line_and_processes_that_are_slow_are_named() -> None:
    processes = {
        f"process {n} on nid{n:06}": [
            Finding("packages", OK, "jax 1"),
            Finding("clock", OK, f"12:0{n}", own=True),
            Finding("ports", SLOW if n in (3, 5) else OK, "slow" if n in (3, 5) else "fast", "go" if n in (3, 5) else "", own=True),
        ]
        for n in range(8)
    }
    packages, clock, well, slow = joined(processes)
    assert packages == Finding("packages", OK, "jax 1") and clock.said == "12:00"
    assert (well.state, well.said) == (OK, "fast")
    assert (slow.state, slow.todo) == (SLOW, "go")
    assert slow.said == "slow (process 3 on nid000003, process 5 on nid000005; 2 of 8)"


def test_a_process_that_is_slow_beside_the_others_is_named_although_it_is_well_by_itself() -> None:
    """It has 82 % of the median; healthy nodes differ by a few percent."""
    speeds = {"a": 100.0, "b": 103.0, "c": 80.0, "d": 97.0, "e": 98.0}
    well, slow = joined({where: [Finding("products", OK, f"{speed:.0f} TFLOP/s", figure=speed)] for where, speed in speeds.items()})
    assert (well.state, well.said) == (OK, "97 TFLOP/s (the least of 4, d)")
    assert (slow.state, slow.said) == (SLOW, "80 TFLOP/s; 82% of the median of 5 processes (c; 1 of 5)")
    assert slow.todo.startswith("take another node")


def test_a_process_that_says_something_else_than_the_others_is_named() -> None:
    said = {"a": "driver 580", "b": "driver 580", "c": "driver 570"}
    well, other = joined({where: [Finding("driver", OK, text)] for where, text in said.items()})
    assert well == Finding("driver", OK, "driver 580")
    assert (other.state, other.said, other.todo) == (SLOW, "driver 570 (c; 1 of 3)", "make it as elsewhere: driver 580")


def test_broken_comes_before_slow_and_a_thing_that_one_process_alone_looked_at_counts() -> None:
    processes = {"a": [Finding("x", SLOW, "s")], "b": [Finding("x", BROKEN, "b"), Finding("y", SLOW, "y")]}
    assert [(f.name, f.state, f.said) for f in joined(processes)] == [
        ("x", BROKEN, "b (b; 1 of 2)"), ("x", SLOW, "s (a; 1 of 2)"), ("y", SLOW, "y (b; 1 of 1)"),
    ]  # fmt: skip


def test_many_processes_with_the_same_fault_are_not_all_listed() -> None:
    (line,) = joined({f"p{n}": [Finding("x", BROKEN, f"{n}", "go", figure=float(n))] for n in range(1000)})
    assert line.said == "0 (p0, p1, p2, p3, p4, p5, p6, p7, …; 1,000 of 1,000)"


def test_a_single_process_is_not_named() -> None:
    assert joined({"this process": [Finding("x", SLOW, "s", "t")]}) == [Finding("x", SLOW, "s", "t")]


def test_at_least() -> None:
    assert at_least("x", 2, 2, "two", "more").state == OK and not at_least("x", 2, 2, "two", "more").todo
    assert at_least("x", 1, 2, "one", "more") == Finding("x", SLOW, "one", "more", figure=1)
