"""The programs of docs/other_trainers.md run as they are printed. Their ledgers are that of our own trainer, and auditors read them so."""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import varietas
from varietas.data.ledger.log import lines
from varietas.data.ledger.statement import signed_of
from varietas.data.ledger.steps import CHECKPOINTS, STEPS

PAGE = (Path(__file__).parents[1] / "docs" / "other_trainers.md").read_text("utf-8")
TORCHRUN = ["-m", "torch.distributed.run"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, corpus_folder: Path) -> Iterator[Path]:
    """A folder with the corpus where the page has it, and a run of our own trainer in runs/ours."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "corpora").mkdir()
    (folder / "corpora" / "mine").symlink_to(corpus_folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIETAS_KEY", str(folder / "own.key"))
        patch.chdir(folder)
        assert varietas.Run("tiny", {"train.steps": 10, "checkpoint.every": 5}, folder=folder / "runs" / "ours").train()
        yield folder


def block(language: str, begin: str) -> str:
    """Returns the code of the page that begins so."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return next(text for of, text in blocks if of == language and text.startswith(begin))


def start(place: Path, name: str) -> None:
    """Runs a program of the page with the command that the page has for it."""
    (place / name).write_text(block("python", f"# {name}\n"))
    command = next(line for line in PAGE.splitlines() if line.startswith(("python ", "torchrun ")) and line.endswith(name))
    program, *arguments = shlex.split(command)
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    started = [sys.executable, *(TORCHRUN if program == "torchrun" else []), *arguments]
    done = subprocess.run(started, cwd=place, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr


def audit(line: str) -> tuple[int, str]:
    """Returns the status and the output of a command of `varietas audit`."""
    _, _, verb, *arguments = shlex.split(line)
    parser, module, console = argparse.ArgumentParser(), import_module(f"varietas.launch.audit.{verb}"), Console(width=300, record=True)
    module.add_flags(parser)
    return module.run(parser.parse_args(arguments), console), console.export_text()


def told(line: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    audit(f"{line} --json")
    return json.loads(capsys.readouterr().out)


def is_audited_like_ours(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Compares a ledger with that of our run, and returns the id of a document in it."""
    assert (Path("runs") / name / STEPS).read_bytes() == Path("runs/ours/ledger", STEPS).read_bytes()
    signed, ours = signed_of(Path("runs") / name), signed_of(Path("runs/ours/ledger"))
    assert signed["logs"][STEPS] == ours["logs"][STEPS] and (signed["steps"], ours["steps"]) == (10, 10)
    verified = told(f"varietas audit verify --run runs/{name} --corpus corpora/mine", capsys)
    assert verified["valid"] and "steps 0 to 9 of 0 to 9 computed again" in verified["checked"][0]
    documents = told(f"varietas audit documents --run runs/{name} --corpus corpora/mine --step 3 --row 0", capsys)["documents"]
    asked = f"--id {documents[0]['id']}"
    found = told(f"varietas audit find --run runs/{name} --corpus corpora/mine {asked}", capsys)
    assert found == told(f"varietas audit find --run runs/ours {asked}", capsys)
    assert next((use["step"], use["row"]) for use in found["uses"] if use["step"] == 3) == (3, 0)
    return documents[0]["id"]


def test_grain(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start(place, "train_grain.py")
    is_audited_like_ours("grain", capsys)


@pytest.mark.heavy("torch")
def test_torch_on_two_processes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start(place, "train_torch.py")
    name = is_audited_like_ours("torch", capsys)
    for line in block("", "varietas audit").splitlines():
        status, output = audit(line.replace("ID", name))
        assert status == 0, f"{line}: {output}"
        assert "FAULT" not in output


@pytest.mark.heavy("torch")
def test_torch_that_is_interrupted_has_one_unbroken_ledger(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It was killed before its second checkpoint was whole, but after the ledger was written."""
    run = place / "runs" / "torch"
    if not run.exists():
        start(place, "train_torch.py")
    (run / "checkpoints" / "10.pt").unlink()
    start(place, "train_torch.py")
    is_audited_like_ours("torch", capsys)
    records = [line.record for line in lines(run / CHECKPOINTS)]
    assert [record["step"] for record in records] == [5, 10]
    said = subprocess.run(["bash", "-c", block("", "cd runs/torch")], cwd=place, capture_output=True, text=True, check=True).stdout
    assert dict(reversed(line.split("  ")) for line in said.splitlines()) == records[0]["files"] | records[1]["files"]

    (run / "checkpoints" / "5.pt").write_bytes((run / "checkpoints" / "10.pt").read_bytes())
    status, output = audit("varietas audit verify --run runs/torch --corpus corpora/mine")
    assert status == 1 and re.search(r"FAULT checkpoint 5: .*5\.pt is not the file that the ledger has", output)
    assert "checkpoint 10: its files are those that the ledger has" in output
