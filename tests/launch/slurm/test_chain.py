"""Runs as jobs of a real Slurm, with its signals and its queue. Most train nothing: a shell script stands in for training, to be quick."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import several

from varietas.launch.cli import main
from varietas.launch.slurm import commands
from varietas.launch.slurm.commands import Queued, queued
from varietas.launch.slurm.record import history

pytestmark = pytest.mark.heavy("Slurm")

MACHINE = """
from dataclasses import replace
from varietas.configs.machines.base import Queue, Slurm
from varietas.configs.machines.local import MACHINE as LOCAL
MACHINE = replace(LOCAL, name="here", nodes=2, devices_per_node=2, cores=2, slurm=Slurm(queues=(Queue("small", "1:00:00", 2),)))
"""
# Saves a step a second. At USR1 and TERM it ends as `train` does, with status 3. $1 is the run's folder.
STAND_IN = """#!/bin/bash
while [ "$1" != --run ]; do shift; done
mkdir -p "$2/checkpoints"
step=$(ls "$2/checkpoints" | sort -n | tail -n 1)
step=${step:-0}
trap 'echo saved step $step; exit 3' USR1 TERM
while [ "$step" -lt $STEPS ]; do
  sleep 0.5 & wait $!
  step=$((step + 1))
  mkdir "$2/checkpoints/.$step" && touch "$2/checkpoints/.$step/saved" && mv "$2/checkpoints/.$step" "$2/checkpoints/$step"
done
"""


@pytest.fixture
def here(real_slurm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the machine's file, in which the test works."""
    (tmp_path / "here.py").write_text(MACHINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    return tmp_path


def submit(run: Path, *more: str, program: str = "", steps: int = 20) -> Path:
    """Submits `tiny` on one node. Returns the script. With a program, that runs instead of training, and gets the steps as $STEPS."""
    command = ["submit", "--config", "tiny", "--machine", "here.py", "--nodes", "1", "--run", str(run), "--time", "10", *more]
    script = run / "jobs" / "train.sh"
    if not program:
        assert main(command) == 0
        return script
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "submit", lambda script: "0")
        assert main([*command, f"--config.train.steps={steps}"]) == 0
    file = run.parent / f"{run.name}.sh"
    file.write_text(program.replace("$STEPS", str(steps)))
    file.chmod(0o755)
    script.write_text(script.read_text().replace(f"{sys.executable} -m varietas.launch train", str(file)))
    sbatch(script)
    return script


def sbatch(*arguments: str | Path) -> None:
    subprocess.run(["sbatch", *arguments], check=True, capture_output=True)


def jobs(run: Path) -> list[Queued]:
    return [job for job in queued() if job.script == run / "jobs" / "train.sh"]


def cancel(run: Path) -> None:
    subprocess.run(["scancel", *{job.job for job in jobs(run)}], check=True)
    wait(lambda: not jobs(run))


def kill(job: str) -> None:
    """kill -9 of all that runs in a job, its shell too."""
    wanted = {f"SLURM_JOB_ID={job}".encode(), f"SLURM_CONF={os.environ['SLURM_CONF']}".encode()}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted <= set((process / "environ").read_bytes().split(b"\0")) and b"slurmstepd" not in (process / "comm").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)


def running(run: Path) -> str:
    return next(job.job for job in jobs(run) if job.state == "RUNNING")


def wait(until: Callable[[], bool], seconds: float = 400) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def events(run: Path) -> list[str]:
    return [event.name for event in history(run)]


def status_of(run: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    capsys.readouterr()
    main(["status", "--json", str(run)])
    (found,) = json.loads(capsys.readouterr().out)
    return found


def steps_recorded(run: Path) -> list[int]:
    file = run / "metrics.jsonl"
    return [json.loads(line)["step"] for line in file.read_text().splitlines() if line.endswith("}")] if file.exists() else []


def digest(run: Path) -> str:
    return json.loads((run / "environment.json").read_text())["parameter_digest"]["sha256"]


def test_a_run_over_several_jobs_ends_with_the_parameters_of_an_uninterrupted_one(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first job is told to save, as Slurm does before the time limit; the second is killed, as by a dead node; the third finishes."""
    run, steps = here / "chain", ["--config.train.steps=300", "--config.checkpoint.every=20"]
    submit(run, *steps)
    wait(lambda: len(steps_recorded(run)) > 10)
    first = status_of(run, capsys)
    assert (first["state"], first["steps"], first["restarts"]) == ("running", 300, 0)
    subprocess.run(["scancel", "--signal=USR1", running(run)], check=True)
    wait(lambda: events(run).count("start") == 2)
    saved = int(
        history(run)[-1].value if events(run)[-1] == "start" else next(e.value for e in reversed(history(run)) if e.name == "start")
    )
    assert 10 < saved < 300
    wait(lambda: len(steps_recorded(run)) > saved + 25)
    kill(running(run))
    wait(lambda: not jobs(run))
    ends = [event.value for event in history(run) if event.name == "end"]
    assert ends == ["3", "0"]  # the job that was killed said nothing
    assert events(run).count("start") == 3 and steps_recorded(run) == list(range(300))
    last = status_of(run, capsys)
    assert (last["state"], last["step"], last["restarts"]) == ("finished", 300, 2)

    command = [sys.executable, "-m", "varietas.launch", "train", "--config", "tiny", "--cpu_devices", "2", "--run", "quiet", *steps]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    assert digest(run) == digest(here / "quiet")


def test_a_run_on_two_nodes_goes_on_in_the_next_job_after_the_signal_before_the_limit(here: Path) -> None:
    """Slurm sends USR1 to every process; here scancel does. Both save the same step, and the next job ends with the same parameters."""
    run, steps = here / "two", ["--config.train.steps=40", "--config.checkpoint.every=20", several.SAME_PROGRAM]
    (here / "here.py").write_text(MACHINE.replace("devices_per_node=2", "devices_per_node=1"))
    submit(run, "--nodes", "2", *steps)
    wait(lambda: len(steps_recorded(run)) > 5)
    first = running(run)
    subprocess.run(["scancel", "--signal=USR1", first], check=True)
    wait(lambda: not jobs(run))
    ends = [(event.job == first, event.value) for event in history(run) if event.name == "end"]
    assert ends == [(True, "3"), (False, "0")] and steps_recorded(run) == list(range(40))
    log = (run / "jobs" / f"{first}.log").read_text()
    assert f"job {first} on n[1-2] from step 0" in log
    (stopped,) = re.findall(r"stopped after step (\d+)", log)  # process 0 alone says it
    assert 5 < int(stopped) < 40
    assert json.loads((run / "environment.json").read_text())["mesh"] == {"data": 2, "fsdp": 1, "tensor": 1}

    several.run(2, "train", "--config", "tiny", "--run", here / "quiet", "--cpu_devices", "1", *steps, cwd=here)
    assert digest(run) == digest(here / "quiet")


def test_slurms_own_signal_before_the_limit(here: Path) -> None:
    """A time limit of two minutes: after one, Slurm sends USR1, and the next job goes on."""
    run = here / "limit"
    submit(run, "--time", "2", program=STAND_IN, steps=500)
    wait(lambda: events(run).count("start") == 2)
    names = [(event.name, event.value) for event in history(run)]
    assert ("end", "3") in names and int(names[-1][1] or names[-2][1]) > 0
    cancel(run)


def test_a_mistake_ends_the_chain(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = here / "mistake"
    submit(run, program="#!/bin/sh\necho 'varietas: optim.peak_lr=0 must be more than 0' >&2\nexit 2\n")
    wait(lambda: not jobs(run))
    assert events(run) == ["submit", "start", "next", "end", "stop"]
    found = status_of(run, capsys)
    assert found["state"] == "died" and found["last_words"][0] == "varietas: optim.peak_lr=0 must be more than 0"  # type: ignore[index]


def test_jobs_that_get_no_further_end_the_chain(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = here / "loop"
    submit(run, program="#!/bin/sh\nexit 1\n")
    wait(lambda: not jobs(run))
    assert [event.value for event in history(run) if event.name == "end"] == ["1", "1", "1"]
    found = status_of(run, capsys)
    assert found["state"] == "died" and "3 jobs in a row did not get beyond step 0" in str(found["note"])
    sbatch(run / "jobs" / "train.sh")  # by hand: it may try again
    wait(lambda: events(run).count("end") > 3)
    cancel(run)


def test_a_job_that_is_cancelled_saves_and_ends_the_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = here / "cancelled"
    submit(run, program=STAND_IN)
    wait(lambda: (run / "checkpoints" / "2").exists())
    subprocess.run(["scancel", running(run)], check=True)
    wait(lambda: not jobs(run))
    assert "was cancelled" in history(run)[-1].value
    found = status_of(run, capsys)
    assert found["state"] == "stopped" and found["well"]
    sbatch(run / "jobs" / "train.sh")
    wait(lambda: not jobs(run))
    assert (run / "jobs" / "finished").exists() and events(run)[-1] == "end"


def test_the_next_job_is_there_whatever_kills_the_first(here: Path) -> None:
    """Its shell is killed too, so nothing of it could submit another."""
    run = here / "killed"
    submit(run, program=STAND_IN)
    wait(lambda: (run / "checkpoints" / "2").exists())
    kill(running(run))
    wait(lambda: (run / "jobs" / "finished").exists())
    assert events(run).count("start") == 2 and [event.value for event in history(run) if event.name == "end"] == ["0"]


def test_a_node_that_dies(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Slurm starts the same job again on another node. It queues no second successor."""
    run = here / "node"
    submit(run, program=STAND_IN, steps=60)
    wait(lambda: (run / "checkpoints" / "2").exists())
    first, successor = (next(job.job for job in jobs(run) if job.state == state) for state in ("RUNNING", "PENDING"))
    shown = subprocess.run(["squeue", "--noheader", "--jobs", first, "--format", "%N"], capture_output=True, text=True, check=True)
    down = ["scontrol", "update", f"nodename={shown.stdout.strip()}", "state=down", "reason=test"]  # it comes back by itself
    subprocess.run(down, check=True)
    wait(lambda: next(job.reason for job in jobs(run) if job.job == first) == "BeginTime")
    assert "Slurm waits some minutes" in str(status_of(run, capsys)["note"])
    time.sleep(10)  # until nothing of the job is left on the node that is said to be dead
    subprocess.run(["scontrol", "update", f"jobid={first}", "starttime=now"], check=True)
    wait(lambda: _released(first) and (run / "jobs" / "finished").exists())
    assert [event.job for event in history(run) if event.name == "start"] == [first, first]
    assert [event.value for event in history(run) if event.name == "next"] == [successor, successor]
    assert status_of(run, capsys)["state"] == "finished"


def _released(job: str) -> bool:
    """Lets a job go that Slurm holds since a node could not start it."""
    if any(other.job == job and other.reason.startswith("launch failed") for other in queued()):
        subprocess.run(["scontrol", "release", job], check=True)
    return True


def test_a_sweep(here: Path) -> None:
    folder = here / "sweep"
    submit(folder, "--sweep", "optim.peak_lr=1e-3,3e-3", "--config.train.steps=4")
    runs = [folder / "peak_lr=1e-3", folder / "peak_lr=3e-3"]
    wait(lambda: not jobs(folder), 400)
    assert [steps_recorded(run) for run in runs] == [list(range(4))] * 2 and digest(runs[0]) != digest(runs[1])
    assert [json.loads((run / "config.json").read_text())["optim"]["peak_lr"] for run in runs] == [1e-3, 3e-3]
    assert main(["status", str(folder)]) == 0


def test_one_run_of_a_sweep_that_is_cancelled_leaves_the_other_alone(here: Path) -> None:
    """One job of an array has the number of the array itself; it must not be taken for all of them."""
    folder = here / "sweep"
    submit(folder, "--sweep", "optim.peak_lr=1e-3,3e-3", program=STAND_IN, steps=24)
    runs = [folder / "peak_lr=1e-3", folder / "peak_lr=3e-3"]
    wait(lambda: all((run / "checkpoints" / "2").exists() for run in runs))
    array = min((job.job for job in jobs(folder) if job.state == "RUNNING"), key=int)
    subprocess.run(["scancel", f"{array}_0"], check=True)
    subprocess.run(["scancel", "--signal=USR1", f"{array}_1"], check=True)
    wait(lambda: not jobs(folder))
    assert "was cancelled" in history(runs[0])[-1].value and not (runs[0] / "jobs" / "finished").exists()
    assert (runs[1] / "jobs" / "finished").exists() and events(runs[1]).count("start") == 2


def test_a_second_submission_is_refused_and_a_run_that_waits_says_why(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [here / name for name in ("one", "two", "three")]  # the cluster has two nodes
    for run in runs:
        submit(run, program="#!/bin/bash\nsleep 600\n")
    wait(lambda: jobs(runs[2])[0].reason in ("Resources", "Priority"))
    found = status_of(runs[2], capsys)
    assert found["state"] == "waiting" and ("next, when nodes become free" in str(found["note"]) or "other jobs" in str(found["note"]))
    assert main(["submit", "--config", "tiny", "--machine", "here.py", "--nodes", "1", "--run", str(runs[0])]) == 2
    assert "is in the queue already, as job" in capsys.readouterr().err
    for run in runs:
        cancel(run)


def test_what_sbatch_refuses_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["submit", "--config", "tiny", "--machine", "here.py", "--nodes", "1", "--run", "no", "--partition", "elsewhere"]
    assert main(command) == 2
    assert "sbatch refuses" in (said := capsys.readouterr().err) and "invalid partition" in said
