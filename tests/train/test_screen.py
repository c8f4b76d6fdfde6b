"""Progress is a line every ten seconds where there is no terminal, and a bar where there is one."""

import io
from typing import Any

from rich.console import Console

from varietas.train.screen import LINE_EVERY, Screen


def record(step: int) -> dict[str, Any]:
    return {"step": step, "loss": 5.0 - step / 10, "tokens_per_second": 1234.4}


def test_lines_come_every_ten_seconds_and_at_the_end() -> None:
    console = Console(file=io.StringIO(), width=120)
    with Screen(console, start=2, steps=10) as screen:
        for step, now in ((2, 100.0), (3, 101.0), (4, 102.0), (5, 100.0 + LINE_EVERY), (6, 112.0), (9, 113.0)):
            screen.show(record(step), now)
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "step      3/10  loss 4.800  1,234 tokens/s  …",
        "step      6/10  loss 4.500  1,234 tokens/s  13 s left",  # three steps took ten seconds, four are left
        "step     10/10  loss 4.100  1,234 tokens/s  0 s left",
    ]


def test_a_terminal_shows_a_bar_with_the_newest_step() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    with Screen(console, start=2, steps=10) as screen:
        screen.show(record(2), 100.0)
        screen.show(record(3), 100.1)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "training" in shown and " 4/10 loss 4.700  1,234 tokens/s" in shown and "s left" not in shown
