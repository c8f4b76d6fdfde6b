"""The Apptainer definitions: what they copy and install exists, and their scripts are sound. Apptainer itself is not on our machines."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
DEFINITIONS = sorted((REPO / "launch" / "containers").glob("*.def"))


def sections(file: Path) -> dict[str, str]:
    """The sections of a definition by name; "" is its header."""
    parts = re.split(r"^%(\w+)\n", file.read_text("utf-8"), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def test_there_is_one_for_each_maker() -> None:
    assert [file.name for file in DEFINITIONS] == ["nvidia.def", "rocm.def"]


@pytest.mark.parametrize("file", DEFINITIONS, ids=lambda file: file.stem)
def test_what_is_copied_is_here_and_is_all_that_pip_needs(file: Path, tmp_path: Path) -> None:
    copied = [line.split() for line in sections(file)["files"].splitlines() if line.strip()]
    assert all((REPO / source).exists() and target == f"/opt/source/{source}" for source, target in copied)
    folders = {path.name for path in (REPO / ".pkg" / "varietas").iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders <= {source for source, _ in copied}
    assert {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"} <= {source for source, _ in copied}


@pytest.mark.parametrize("file", DEFINITIONS, ids=lambda file: file.stem)
def test_the_extra_exists_and_every_parameter_has_a_value(file: Path) -> None:
    found = sections(file)
    arguments = dict(line.strip().split("=", 1) for line in found["arguments"].splitlines() if line.strip())
    assert set(re.findall(r"{{ (\w+) }}", file.read_text("utf-8"))) == set(arguments)
    extra = re.search(r'"\.\[(.+?)\]"', found["post"])
    assert extra is not None
    extras = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert arguments.get("EXTRA", extra[1]) in extras


@pytest.mark.parametrize("file", DEFINITIONS, ids=lambda file: file.stem)
@pytest.mark.parametrize("section", ["post", "environment", "test", "runscript"])
def test_shellcheck_finds_nothing(file: Path, section: str, tmp_path: Path) -> None:
    (tmp_path / "script.sh").write_text("#!/bin/sh\n" + sections(file)[section].replace("{{ EXTRA }}", "cuda"))
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") or "shellcheck"
    done = subprocess.run([shellcheck, tmp_path / "script.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", DEFINITIONS, ids=lambda file: file.stem)
def test_the_program_of_its_test_runs(file: Path) -> None:
    program = re.search(r"python -c '(.+)'", sections(file)["test"])
    assert program is not None
    command = [sys.executable, "-c", program[1].replace("import jax_plugins, ", "import ")]  # no plugin is installed here
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(REPO / ".pkg")}, check=False)
    assert done.returncode == 0, done.stderr
