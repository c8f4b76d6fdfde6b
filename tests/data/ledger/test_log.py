"""Logs: every change of a line is found, and what a killed process has left is mended."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from varietas.data.ledger.log import BrokenLog, Head, Log, head_of, lines
from varietas.data.ledger.merkle import root

RECORDS = [{"step": n, "rows": f"{n:064x}"} for n in range(20)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    log = Log(tmp_path / "ledger" / "log.jsonl")
    log.append(RECORDS[:7])
    log.append(RECORDS[7:])
    return tmp_path / "ledger" / "log.jsonl"


def test_each_line_holds_the_root_of_the_lines_before(file: Path) -> None:
    texts = file.read_bytes().splitlines()
    assert [json.loads(text) for text in texts] == [{**record, "before": root(texts[:n]).hex()} for n, record in enumerate(RECORDS)]
    assert json.loads(texts[0])["before"] == sha256(b"").hexdigest()
    assert head_of(file) == Head(20, root(texts).hex()) and head_of(file, 5) == Head(5, root(texts[:5]).hex())
    assert [line.text for line in lines(file)] == texts


def test_changes_are_found(file: Path) -> None:
    texts = file.read_bytes().splitlines(keepends=True)
    changed = texts[9].replace(b"0009", b"0008")
    cases = {
        "line 11 .step 10.": [*texts[:9], changed, *texts[10:]],  # an edited line
        "line 10 .step 10.": [*texts[:9], *texts[10:]],  # a removed one
        "line 10 .step 10. was": [*texts[:9], texts[10], texts[9], *texts[11:]],  # another order
        "line 11 .step 9.": [*texts[:10], texts[9], *texts[10:]],  # an added one
    }
    for where, content in cases.items():
        file.write_bytes(b"".join(content))
        with pytest.raises(BrokenLog, match=where):
            list(lines(file))
        with pytest.raises(BrokenLog, match=where):
            Log(file)
    file.write_bytes(b"".join(texts[:15]))
    with pytest.raises(BrokenLog, match="has 15 lines where 20 were written"):
        head_of(file, 20)
    file.write_bytes(b"".join(texts)[:-3])
    with pytest.raises(BrokenLog, match="line 20 has no end"):
        list(lines(file))
    file.write_bytes(b"no ledger\n")
    with pytest.raises(BrokenLog, match="line 1 is not a line of a ledger"):
        list(lines(file))
    with pytest.raises(ValueError, match="is missing"):
        list(lines(file.with_name("other")))


@pytest.mark.parametrize("lost", [0, 1, 30, 400])
def test_a_log_goes_on_where_it_was_cut(file: Path, lost: int) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) - lost])
    log = Log(file, lambda record: record["step"] < 15)
    assert log.head.size == 15 and log.last["step"] == 14
    assert log.append(RECORDS[15:]) == head_of(file)
    assert file.read_bytes() == whole
