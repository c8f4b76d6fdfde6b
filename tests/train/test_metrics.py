"""metrics.jsonl has every step once, whatever a crash left."""

import json
from pathlib import Path

import pytest

from varietas.train.metrics import keep_before

LINES = [json.dumps({"step": n}) + "\n" for n in range(5)]


@pytest.mark.parametrize(
    ("written", "step", "kept"),
    [
        ("".join(LINES), 3, 3),
        ("".join(LINES), 9, 5),
        ("".join(LINES), 0, 0),
        ("".join(LINES)[:-1], 9, 4),  # the last line lacks its end: the next record would stand on it
        ("".join(LINES)[:-4], 9, 4),
        (LINES[0] + "\0\0\0\n" + LINES[1], 9, 1),  # what a file system leaves after a power cut
        ("", 1, 0),
    ],
)
def test_what_is_kept_on_a_restart(written: str, step: int, kept: int, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(written)
    keep_before(path, step)
    assert path.read_text() == "".join(LINES[:kept])


def test_no_file_is_no_error(tmp_path: Path) -> None:
    keep_before(tmp_path / "metrics.jsonl", 3)
    assert list(tmp_path.iterdir()) == []
