"""Files of a checkpoint are known by their SHA-256, wherever the checkpoint and the ledger move together."""

import subprocess
from pathlib import Path

import pytest

from varietas.data.ledger.checkpoint_files import digests_of, faults_of


def test_files_are_told_apart_and_missed(tmp_path: Path) -> None:
    run, ledger = tmp_path / "run", tmp_path / "run" / "ledger"
    (run / "5" / "ranks").mkdir(parents=True)
    for name in ("5/model.pt", "5/ranks/0.pt", "5/ranks/1.pt"):
        (run / name).write_bytes(name.encode() * 999)
    found = digests_of([run / "5" / "ranks", run / "5" / "model.pt"], ledger)
    ledger.mkdir()
    said = subprocess.run(["sha256sum", *found], cwd=ledger, capture_output=True, text=True, check=True)
    assert said.stdout == "".join(f"{digest}  {name}\n" for name, digest in found.items()) and len(found) == 3

    moved = run.rename(tmp_path / "moved")
    assert not list(faults_of(found, moved / "ledger"))
    (moved / "5" / "ranks" / "0.pt").unlink()
    (moved / "5" / "model.pt").write_bytes(b"swapped")
    assert list(faults_of(found, moved / "ledger")) == [
        f"{moved}/ledger/../5/model.pt is not the file that the ledger has",
        f"{moved}/ledger/../5/ranks/0.pt is missing",
    ]
    for path in ("5/model.pt", "5/ranks/1.pt"):
        (moved / path).unlink()
    assert not list(faults_of(found, moved / "ledger")), "a checkpoint that was deleted is no fault"


def test_a_checkpoint_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"a checkpoint of no files: {tmp_path}; name its files or its folder"):
        digests_of([tmp_path], tmp_path)
    with pytest.raises(FileNotFoundError):
        digests_of([tmp_path / "model.pt"], tmp_path)
