"""datatrove's executors do the same work: Ray on this machine, Slurm through commands that stand in for its own."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from varietas.data import tokenizer
from varietas.data.clean import Cleaning
from varietas.data.documents import Document
from varietas.data.engine import local, ray, slurm
from varietas.data.plan import working_folder
from varietas.data.prepare import prepare

# sbatch runs the array at once, one job after the other; with "lost" in its name a job never runs.
SBATCH = """#!{python}
import os, re, subprocess, sys
script = sys.stdin.read() if sys.argv[-1].startswith("-") else open(sys.argv[-1]).read()
last = int(re.search(r"--array=0-(\\d+)", script)[1])
for number in range(last + 1):
    if "partition=lost" not in script:
        subprocess.run(["bash", "-c", script.replace("srun  -l -n 1 ", "")], env=dict(os.environ, RUN_OFFSET="0",
            SLURM_ARRAY_TASK_ID=str(number), SLURM_ARRAY_JOB_ID="7", SLURM_JOB_ID="7", SLURM_NODELIST="n1"), stdout=sys.stderr)
print("Submitted batch job 7")
"""
TEXTS = [Document(str(i), "ces_Latn", f"Věta {i} a ještě {i * i}. ") for i in range(40)]


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for number in range(3):
        lines = "".join(f'{{"lang":"cs","text":"{document.text}{number}"}}\n' for document in TEXTS)
        (tmp_path / f"{number}.jsonl").write_text(lines + "{broken\n")
    return [str(tmp_path / f"{number}.jsonl") for number in range(3)]


@pytest.fixture(scope="module")
def model() -> bytes:
    return tokenizer.train(lambda: TEXTS, 300)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = {"sbatch": SBATCH.format(python=sys.executable), "squeue": "#!/bin/sh\n", "scontrol": "#!/bin/sh\necho n1\n"}
    for name, content in commands.items():
        file = tmp_path / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_workers_end_with_who_started_them() -> None:
    """After kill -9 too: what waits for the output of the command would wait for them."""
    program = """if True:
        import time
        from varietas.data.engine import local
        local(2, lambda stage, tasks: lambda task: print("done", task, flush=True))("parts", [0.0, 600.0, 601.0], time.sleep)
    """
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as command:
        assert command.stdout is not None and command.stdout.readline() == b"done 0.0\n"
        command.kill()
        assert command.communicate(timeout=60) == (b"", None)


def test_slurm_makes_the_same_corpus(stand_in: None, files: list[str], model: bytes, tmp_path: Path) -> None:
    prepare(files, model, tmp_path / "here", Cleaning(), local(1))
    run = slurm(2, {"partition": "small"}, working_folder(tmp_path / "there") / "jobs")
    assert prepare(files, model, tmp_path / "there", Cleaning(), run)["documents"] == 120
    assert content(tmp_path / "there") == content(tmp_path / "here")


def test_what_a_job_says_comes_back(stand_in: None, files: list[str], model: bytes, tmp_path: Path) -> None:
    run = slurm(2, {"partition": "small"}, working_folder(tmp_path / "c") / "jobs")
    with pytest.raises(ValueError, match=r"0\.jsonl: 1 records cannot be read, 0 may \(line 41: invalid JSON\)"):
        prepare(files, model, tmp_path / "c", Cleaning(), run, max_rejects=0)


def test_jobs_that_are_lost_are_told(stand_in: None, files: list[str], model: bytes, tmp_path: Path) -> None:
    with pytest.raises(ChildProcessError, match="3 tasks of stage 'parts' were not done"):
        prepare(files, model, tmp_path / "c", Cleaning(), slurm(2, {"partition": "lost"}, working_folder(tmp_path / "c") / "jobs"))
    prepare(files, model, tmp_path / "c", Cleaning(), local(1))


def test_slurm_needs_a_partition(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--slurm partition=NAME"):
        slurm(2, {}, tmp_path)


@pytest.mark.slow
def test_ray_makes_the_same_corpus(files: list[str], model: bytes, tmp_path: Path) -> None:
    import ray as cluster

    prepare(files, model, tmp_path / "here", Cleaning(), local(1))
    try:
        prepare(files, model, tmp_path / "there", Cleaning(), ray(2, working_folder(tmp_path / "there") / "jobs"))
    finally:
        cluster.shutdown()
    assert content(tmp_path / "there") == content(tmp_path / "here")
