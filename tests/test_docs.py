"""The commands and the Python of the README run as they are printed, one after the other, on text like that of a user."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

pytestmark = pytest.mark.heavy("docs")

REPO = Path(__file__).parents[1]
README = (REPO / "README.md").read_text("utf-8")
# Added to `train` and `mixture`: 480 steps of 4,096 tokens, and the compilation of all layers, would take minutes.
SHORT = ["--config.train.steps=4", "--config.train.batch_size=4", "--config.model.n_layers=1"]


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def blocks(text: str, language: str = "") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_commands_from_text_to_a_report_run(tmp_path: Path, corpus_folder: Path) -> None:
    from varietas.data.text.embedded import training_documents

    (tmp_path / "texts").mkdir()
    for code in ("ces_Latn", "fin_Latn", "ell_Grek"):
        records = [json.dumps({"text": d.text, "lang": d.lang}, ensure_ascii=False) for d in training_documents() if d.lang == code]
        (tmp_path / "texts" / f"{code}.jsonl.zst").write_bytes(zstandard.compress("\n".join(records).encode()))
    (tmp_path / "chats").mkdir()
    for file in ("chats/1.jsonl", "held_out.jsonl"):
        turns = [{"role": "user", "content": "Kolik je 1 + 1?"}, {"role": "assistant", "content": "Dvě."}]
        (tmp_path / file).write_text(f"{json.dumps({'messages': turns, 'lang': 'ces_Latn'})}\n" * 40)
    (tmp_path / "pairs").mkdir()
    pair = {"prompt": "Kolik je 1 + 1?", "chosen": "Dvě.", "rejected": "Tři.", "lang": "ces_Latn"}
    (tmp_path / "pairs" / "1.jsonl").write_text(f"{json.dumps(pair)}\n" * 40)
    verbs = []
    for line in "".join(blocks(section("Training on your own text"))).replace("\\\n", " ").splitlines():
        program, verb, *arguments = shlex.split(line.replace("32000", "3000"))  # so many pieces would take minutes
        assert program == "varietas"
        command = [sys.executable, "-m", "varietas.launch", verb, *arguments, *(SHORT if verb in ("train", "mixture") else [])]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{line}: {done.stderr}"
        verbs.append(verb)
    assert verbs == ["tokenizer", "prepare", "mixture", "train", "evaluate", "generate", "report", "export", "export", "release"] + [
        "prepare", "train", "generate", "evaluate", "export", "train", "export", "prepare", "train"
    ]  # fmt: skip
    assert (tmp_path / "runs" / "mine" / "report.html").stat().st_size > 10_000


def test_the_python_trains_and_plots(tmp_path: Path, corpus_folder: Path) -> None:
    (code,) = blocks(section("In Python"), "python")
    hidden = {**os.environ, "MPLBACKEND": "agg"}  # no window
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=hidden, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "runs" / "tiny" / "metrics.jsonl").read_text().splitlines()) == 50


def test_configs_that_are_named_exist() -> None:
    from varietas.launch.config import config_names

    named = {name for block in blocks(README) for name in re.findall(r"--config (\w+)(?!\w*\.py)\b", block)}
    assert named and named <= {*config_names(), "my_experiment"}


def test_the_commands_of_a_first_allocation(tmp_path: Path, corpus_folder: Path) -> None:
    """Those that need no allocation run; the others are at least understood. Folders of LUMI become folders here."""
    page = (REPO / "docs" / "first_allocation.md").read_text("utf-8")
    commands = [line for block in blocks(page) for line in block.splitlines() if line.startswith("varietas ")]
    (tmp_path / "varietas.sif").touch()
    (tmp_path / "runs").mkdir()
    replaced = {
        "/scratch/project_465000001/corpus": corpus_folder,
        "/scratch/project_465000001": tmp_path,
        "/projappl/project_465000001": tmp_path,
    }
    verbs = []
    for line in commands:
        for there, here in replaced.items():
            line = line.replace(there, str(here))
        _, verb, *arguments = shlex.split(line)
        more = ["--dry_run"] if verb == "submit" and "--dry_run" not in arguments else []
        command = [sys.executable, "-m", "varietas.launch", verb, *arguments, *more]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{line}: {done.stderr}"
        assert verb != "submit" or "#SBATCH --account=project_465000001" in done.stdout
        verbs.append(verb)
    assert verbs == ["plan", "submit", "submit", "status"]


def test_the_commands_for_an_auditor(tmp_path: Path, corpus_folder: Path) -> None:
    """On the text that the page makes; each command does what the page says before and after it."""
    said, page = dict[str, str](), (REPO / "docs" / "audit.md").read_text("utf-8")
    (code,) = blocks(page, "python")
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=600)
    for line in "".join(blocks(page.replace(f"```python\n{code}```\n", ""))).splitlines():
        _, *arguments = shlex.split(line)
        paths = [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.glob("texts/*.jsonl"))]
        command = [part for argument in arguments for part in (paths if argument == "texts/*.jsonl" else [argument])]
        program = [sys.executable, "-m", "varietas.launch"]
        done = subprocess.run([*program, *command], cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{line}: {done.stdout} {done.stderr}"
        said[line] = said.get(line, "") + done.stdout
    assert "No document of" in said["varietas audit find --run runs/a --text letter.txt"]
    assert "of ces_Latn is in the corpus: id ces-7" in said["varietas audit check proof.json --key runs/a/ledger/key.pub"]
    assert "".join(said.values()).count("everything that was checked agrees") == 3
    verbs = {line.split()[2] for line in said if line.startswith("varietas audit ")}
    assert verbs == {"documents", "find", "verify", "prove", "check", "seal", "remove", "exposure", "summary", "croissant"}
