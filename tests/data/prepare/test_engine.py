"""All engines make the same corpus: Ray on this machine, and Slurm by commands that stand in for Slurm's own."""

import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from varietas.data.clean.cleaning import Cleaning
from varietas.data.prepare.engine import local, ray, slurm
from varietas.data.prepare.plan import working_folder
from varietas.data.prepare.prepare import prepare
from varietas.data.text.documents import Document
from varietas.data.tokenizer import training as tokenizer

# This sbatch runs the array at once, one job after the other. Jobs of the partition "lost" never run.
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


def take_secret(here: Path, there: Path) -> None:
    """Begins a corpus with the secret of another (data/corpus/commitment.py), so that whole folders can be compared."""
    working_folder(there).mkdir()
    shutil.copy(here / "commitment" / "secret", working_folder(there))


def test_workers_end_with_the_process_that_started_them() -> None:
    """Holds also after kill -9. Otherwise a program that reads the output of the command would wait for the workers."""
    program = """if True:
        import time
        from varietas.data.prepare.engine import local
        local(2, lambda stage, tasks: lambda task: print("done", task, flush=True))("parts", [0.0, 600.0, 601.0], time.sleep)
    """
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as command:
        assert command.stdout is not None and command.stdout.readline() == b"done 0.0\n"
        command.kill()
        assert command.communicate(timeout=60) == (b"", None)


@pytest.mark.heavy("datatrove")
def test_slurm_makes_the_same_corpus(stand_in: None, files: list[str], model: bytes, tmp_path: Path) -> None:
    prepare(files, model, tmp_path / "here", Cleaning(), local(1))
    take_secret(tmp_path / "here", tmp_path / "there")
    run = slurm(2, {"partition": "small"}, working_folder(tmp_path / "there") / "jobs")
    assert prepare(files, model, tmp_path / "there", Cleaning(), run)["documents"] == 120
    assert content(tmp_path / "there") == content(tmp_path / "here")


@pytest.mark.heavy("datatrove")
def test_errors_of_slurm_jobs_are_raised_here(stand_in: None, files: list[str], model: bytes, tmp_path: Path) -> None:
    run = slurm(2, {"partition": "small"}, working_folder(tmp_path / "c") / "jobs")
    with pytest.raises(ValueError, match=r"0\.jsonl: 1 records cannot be read, 0 allowed \(line 41: invalid JSON\)"):
        prepare(files, model, tmp_path / "c", Cleaning(), run, max_rejects=0)


@pytest.mark.heavy("datatrove")
def test_lost_slurm_jobs_are_reported(stand_in: None, files: list[str], model: bytes, tmp_path: Path) -> None:
    with pytest.raises(ChildProcessError, match="3 tasks of stage 'parts' were not done"):
        prepare(files, model, tmp_path / "c", Cleaning(), slurm(2, {"partition": "lost"}, working_folder(tmp_path / "c") / "jobs"))
    prepare(files, model, tmp_path / "c", Cleaning(), local(1))


@pytest.mark.heavy("datatrove")
def test_slurm_needs_a_partition(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--slurm partition=NAME"):
        slurm(2, {}, tmp_path)


@pytest.mark.heavy("ray")
def test_ray_makes_the_same_corpus(files: list[str], model: bytes, tmp_path: Path) -> None:
    import ray as cluster

    prepare(files, model, tmp_path / "here", Cleaning(), local(1))
    take_secret(tmp_path / "here", tmp_path / "there")
    try:
        prepare(files, model, tmp_path / "there", Cleaning(), ray(2, working_folder(tmp_path / "there") / "jobs"))
    finally:
        cluster.shutdown()
    assert content(tmp_path / "there") == content(tmp_path / "here")


@pytest.mark.heavy("slurm")
def test_a_real_slurm_makes_the_same_corpus(real_slurm: None, files: list[str], model: bytes, tmp_path: Path) -> None:
    """By the command line: one job array for each stage, on two nodes."""
    (tmp_path / "t.model").write_bytes(model)
    prepare(files, model, tmp_path / "here", Cleaning(), local(1))
    take_secret(tmp_path / "here", tmp_path / "there")
    command = [sys.executable, "-m", "varietas.launch", "prepare", "--input", *files, "--out", str(tmp_path / "there")]
    options = ["--tokenizer", str(tmp_path / "t.model"), "--engine", "slurm", "--slurm", "partition=small", "mem-per-cpu=500M", "time=10"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert content(tmp_path / "there") == content(tmp_path / "here")


@pytest.mark.heavy("slurm")
def test_a_job_that_cannot_start_or_is_cancelled_is_told_and_the_same_call_continues(
    real_slurm: None, files: list[str], model: bytes, tmp_path: Path
) -> None:
    work = working_folder(tmp_path / "c") / "jobs"

    def cancelled(stage: str, tasks: Sequence[str]) -> Callable[[str], None]:
        threading.Timer(2, subprocess.run, (["scancel", "--me"],)).start()
        return lambda task: None

    forever = slurm(2, {"partition": "small", "time": "2:00:00"}, work)  # its limit is an hour
    with pytest.raises(ValueError, match=r"will not start the job \(PartitionTimeLimit\); .* time=2:00:00"):
        prepare(files, model, tmp_path / "c", Cleaning(), forever)
    # Keeps the partition busy, so that our job waits until it is cancelled.
    busy = ["sbatch", "--array=0-3", "--partition=small", "--output=/dev/null", "--wrap", "sleep 60"]
    subprocess.run(busy, check=True, capture_output=True)
    options = {"partition": "small", "mem-per-cpu": "500M", "time": "10"}
    with pytest.raises(ChildProcessError, match="3 tasks of stage 'parts' were not done"):
        prepare(files, model, tmp_path / "c", Cleaning(), slurm(2, options, work, cancelled))
    manifest = prepare(files, model, tmp_path / "c", Cleaning(), slurm(2, options, work))
    assert manifest["documents"] == 120
