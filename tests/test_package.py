"""The package from outside the clone: the wheel in a fresh environment."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import several

REPO = Path(__file__).parents[1]


def test_the_wheel_trains_from_another_directory(tmp_path: Path, corpus_folder: Path) -> None:
    """A fresh environment that borrows this one's libraries, so that nothing is downloaded, but not this one's varietas."""
    source = tmp_path / "source"  # a build leaves files behind, which the next one would take
    for folder in (".pkg", "configs", "data", "launch", "model", "train"):
        shutil.copytree(REPO / folder, source / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for file in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(REPO / file, source)
    without = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # pip would find this varietas there
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    subprocess.run(build, check=True, capture_output=True, text=True, env=without)
    wheel = next(tmp_path.glob("varietas-*.whl"))
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python)]  # a pip of its own would take seconds to install
    install = [*pip, "install", "--quiet", "--no-deps", "--disable-pip-version-check", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, text=True, env=without)
    environment = {name: value for name, value in os.environ.items() if name not in several.QUICK}
    environment["PYTHONPATH"] = sysconfig.get_paths()["purelib"]
    command = [str(tmp_path / "venv" / "bin" / "varietas"), "train", "--config", "tiny", "--run", "run", "--config.train.steps=2"]
    out = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert "2 steps done" in out.stdout
    where = subprocess.run(
        [str(python), "-c", "import varietas.data as d; print(d.__file__)"], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert str(tmp_path / "venv") in where.stdout


def test_constraints_name_every_dependency() -> None:
    """`pip install --constraint` makes the same environment again only if each direct dependency has an exact version."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in (REPO / "constraints.txt").read_text().splitlines() if "==" in line}
    assert {re.split(r"[<>=\[]", name)[0].lower().replace("_", "-") for name in wanted} <= pinned
