"""The last records of metrics.jsonl, read from its end."""

import json
from pathlib import Path

import pytest

from varietas.train.run_folder import records
from varietas.train.run_folder.records import last_records, readable


@pytest.mark.parametrize("n_records", [0, 1, 7, 400])
@pytest.mark.parametrize("cut", [b"", b'{"step": 40', b"\n\n"])
def test_the_last_records_are_those_of_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_records: int, cut: bytes) -> None:
    """Also if they do not fit into the part that is read first, and if the last line is cut short."""
    monkeypatch.setattr(records, "TAIL", 256)
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b"".join(json.dumps({"step": n, "loss": 1 / (n + 1)}).encode() + b"\n" for n in range(n_records)) + cut)
    assert last_records(file, 10)[-9:] == readable(file)[-9:]
    assert len(last_records(file, 10)) == min(10, n_records)


def test_no_file(tmp_path: Path) -> None:
    assert last_records(tmp_path / "metrics.jsonl", 10) == []
