"""What `status` says of runs in every state, from their folders and from a queue that the tests fill."""

import json
import os
import subprocess
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from varietas.launch.cli import main
from varietas.launch.slurm import commands
from varietas.launch.slurm.commands import Queued, queued
from varietas.launch.slurm.progress import progress, runs_in
from varietas.train.run_folder.lock import held

STEPS, TOKENS, SPEED = 100, 1000, 500.0


@pytest.fixture(autouse=True)
def no_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "ending", lambda job: "")


def make(run: Path, done: int, saved: int | None, age: float = 0.0, history: str = "", submitted: bool = True) -> Path:
    """A run that has done some steps, the last of them `age` seconds ago."""
    (run / "jobs").mkdir(parents=True)
    (run / "config.json").write_text(json.dumps({"train": {"steps": STEPS}}))
    records = [{"step": n, "loss": 5.0 - n / 100, "tokens": TOKENS, "tokens_per_second": SPEED} for n in range(done)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    os.utime(run / "metrics.jsonl", (time.time() - age,) * 2)
    if saved is not None:
        (run / "checkpoints" / str(saved)).mkdir(parents=True)
        (run / "checkpoints" / str(saved) / "saved").touch()
    if submitted:
        (run / "jobs" / "job.json").write_text(json.dumps({"script": str(run / "jobs" / "train.sh"), "index": None, "steps": STEPS}))
    lines = [f"2026-11-27T09:00:{i:02}Z {line}\n" for i, line in enumerate(history.split("; ")) if line]
    (run / "jobs" / "history").write_text("".join(lines))
    return run


def job(run: Path, number: str, state: str = "RUNNING", reason: str = "None", start: str = "") -> Queued:
    return Queued(number, None, state, reason, start, "10:00", 2, run / "jobs" / "train.sh")


def test_a_run_that_trains(tmp_path: Path) -> None:
    run = make(tmp_path / "a", 40, 30, history="submit 7; start 7 0; next 7 8; end 7 3; start 8 20; next 8 9")
    found = progress(run, [job(run, "8"), job(run, "9", "PENDING", "Dependency"), job(tmp_path / "b", "3")])
    assert (found.state, found.step, found.steps, found.jobs, found.restarts) == ("running", 40, STEPS, ("8", "9"), 1)
    assert found.loss == pytest.approx(4.61) and found.tokens_per_second == SPEED
    assert found.seconds_left == pytest.approx(60 * TOKENS / SPEED) and found.well and not found.last_words


def test_a_run_that_hangs(tmp_path: Path) -> None:
    run = make(tmp_path / "a", 40, 30, age=1800)
    assert progress(run, [job(run, "8")]).note == "job 8: no step for 30 minutes, where a step takes 2.0 s"


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("Priority", "job 8: other jobs are before it; expected to start 2026-11-28 06:00:00"),
        ("(ReqNodeNotAvail, UnavailableNodes:n[1-9])", "job 8: nodes are down or kept free for a maintenance; expected"),
        ("launch failed requeued held", "job 8: a node could not start it, so Slurm holds it: scontrol release; expected"),
        ("SomethingNew", "job 8: SomethingNew; expected"),
    ],
)
def test_a_run_that_waits_says_why(tmp_path: Path, reason: str, says: str) -> None:
    run = make(tmp_path / "a", 0, None)
    found = progress(run, [job(run, "8", "PENDING", reason.strip("()"), "2026-11-28T06:00:00")])
    assert found.state == "waiting" and found.note.startswith(says) and found.well


@pytest.mark.parametrize(
    ("history", "ending", "state", "says"),
    [
        ("", "", "missing", "it was submitted and is not in the queue: sbatch {script}"),
        ("start 7 0; next 7 8; end 7 3", "", "missing", "should be running and is not: job 7 ended with status 3; sbatch {script}"),
        ("start 7 0; next 7 8", "NODE_FAIL", "missing", "should be running and is not: job 7 was killed (NODE_FAIL); sbatch {script}"),
        ("start 7 0; end 7 1; start 8 0; stop 8 job 7 was cancelled", "", "stopped", "job 7 was cancelled; to continue: sbatch {script}"),
        ("start 7 0; end 7 143", "CANCELLED", "stopped", "job 7 was cancelled; to continue: sbatch {script}"),
        ("start 7 0; end 7 2; stop 7 a mistake that the log names", "", "died", "a mistake that the log names; to continue: sbatch"),
        ("start 7 0; stop 7 3 jobs in a row did not get beyond step 0", "", "died", "3 jobs in a row did not get beyond step 0"),
    ],
)
def test_a_run_that_is_not_in_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, history: str, ending: str, state: str, says: str
) -> None:
    monkeypatch.setattr(commands, "ending", lambda job: ending)
    run = make(tmp_path / "a", 40, 30, history=history)
    found = progress(run, [])
    assert found.state == state and says.format(script=run / "jobs" / "train.sh") in found.note
    assert found.well == (state == "stopped")


def test_the_last_words_of_a_job_that_died(tmp_path: Path) -> None:
    run = make(tmp_path / "a", 40, 30, history="submit 7; start 7 0; next 7 8; end 7 1")
    lines = [
        "srun: error: task 2",
        "first",
        "",
        "Traceback",
        "  in step",
        "srun: error: task 3",
        "RuntimeError: NCCL",
        "varietas: job 7 ended with status 1",
    ]
    (run / "jobs" / "7.log").write_text("\n".join(lines))
    found = progress(run, [job(run, "8", "PENDING", "Dependency")])
    assert found.last_words == ("Traceback", "  in step", "RuntimeError: NCCL", "srun: error: task 3")
    assert found.note.startswith("job 7 ended with status 1; job 8: it waits for the job before it")
    assert progress(run, [job(run, "8")]).last_words == ()  # it goes on


def test_a_finished_run(tmp_path: Path) -> None:
    assert progress(make(tmp_path / "a", STEPS, STEPS), []).state == "finished"


@pytest.mark.parametrize(("done", "saved", "age", "state"), [(40, 40, 5, "stopped"), (40, 30, 5, "died"), (0, None, 5, "new")])
def test_runs_without_slurm(tmp_path: Path, done: int, saved: int | None, age: float, state: str) -> None:
    assert progress(make(tmp_path / "a", done, saved, age, submitted=False), []).state == state


def test_a_run_without_slurm_that_trains_holds_its_lock(tmp_path: Path) -> None:
    run = make(tmp_path / "a", 40, 30, 1800, submitted=False)
    with held(run):
        assert progress(run, []).note == ""  # it has just begun
        holder = json.loads((run / ".lock").read_text())
        began = datetime.fromisoformat(holder["since"]) - timedelta(hours=1)
        (run / ".lock").write_text(json.dumps({**holder, "since": began.isoformat()}))
        found = progress(run, [])
        assert (found.state, found.note) == ("running", "no step for 30 minutes, where a step takes 2.0 s")
        (run / ".lock").write_text(json.dumps(holder))
    assert progress(run, []).state == "died"


def test_runs_are_found_below_a_folder(tmp_path: Path) -> None:
    for name in ("a", "sweep/peak_lr=1", "sweep/peak_lr=2"):
        make(tmp_path / name, 1, None)
    (tmp_path / "sweep" / "jobs").mkdir()
    (tmp_path / "release").mkdir()  # of a model, by `export`
    (tmp_path / "release" / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    assert [str(run.relative_to(tmp_path)) for run in runs_in(tmp_path)] == ["a", "sweep/peak_lr=1", "sweep/peak_lr=2"]
    assert list(runs_in(tmp_path / "a")) == [tmp_path / "a"]


def test_the_table_and_the_json(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "here", lambda: False)
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "runs" / "good", STEPS, STEPS, submitted=False)
    assert main(["status"]) == 0
    make(tmp_path / "runs" / "bad", 40, 30, 300, submitted=False)
    assert main(["status"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["runs/bad", "died", "40", "100", "4.610", "500"] for line in lines)
    assert "runs/bad: its last checkpoint is of step 30, from which the same command continues" in lines
    assert main(["status", "--json", "runs/bad"]) == 1
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["run"], shown["state"], shown["step"], shown["well"]) == (str(tmp_path / "runs/bad"), "died", 40, False)


def test_where_the_time_and_the_energy_went(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "here", lambda: False)
    run = make(tmp_path / "a", STEPS, STEPS, submitted=False)
    first = [{"began": 1e9, "seconds": {"init": 20.0}, "step": None}, {"seconds": {"init": 20.0, "step": 40.0}, "step": 20}]
    killed = {"seconds": {"init": 20.0, "step": 60.0}, "step": 30, "joules": {"NVML": 1.8e6}}
    then = [{"began": 1e9 + 90, "seconds": {"init": 20.0}, "step": 20}, {"seconds": {"init": 20.0, "step": 70.0}, "step": 40}]
    (run / "attempts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (*first, killed, *then)))
    assert main(["status", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[-3:] == ["restarts", "goodput", "kWh"] and lines[1].split()[-3:] == ["1", "61%", "0.5"]
    assert lines[2] == "of 3 min: training steps 61.1%, starting up 22.2%, work that was lost 11.1%, not running 5.6%"
    assert lines[3:] == ["from its last restart to the next step: 1 min 30 s", "energy: 0.5 kWh, measured: GPUs (NVML)"]
    make(tmp_path / "b", 40, 40, submitted=False)
    assert main(["status", "--json", str(tmp_path)]) == 0
    with_account, without = json.loads(capsys.readouterr().out)
    assert (with_account["goodput"], with_account["kwh"], with_account["seconds_to_next_step"]) == (pytest.approx(110 / 180), 0.5, 90.0)
    assert with_account["seconds"]["not_running"] == 10.0 and with_account["restarts"] == 1 and "goodput" not in without


def test_what_squeue_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = (
        "12|3|RUNNING|None|2026-11-27T09:11:52|0:18|16|/scratch/my runs/a/jobs/train.sh 11\n"
        "13|N/A|PENDING|Priority|N/A|0:00|16|/scratch/b/jobs/train.sh\n"
        "14|N/A|RUNNING|None|2026-11-27T09:11:52|0:18|1|bash\n"
    )
    monkeypatch.setattr(commands, "here", lambda: True)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, printed, ""))
    first, second = queued()
    assert (first.job, first.index, first.nodes, str(first.script)) == ("12", 3, 16, "/scratch/my runs/a/jobs/train.sh")
    assert (second.index, second.start, second.waits) == (None, "", "other jobs are before it")


def test_a_controller_that_does_not_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "here", lambda: True)
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, "", "slurm_load_jobs error: timed out")
    )
    with held(make(tmp_path / "a", 40, 30)):
        assert main(["status", str(tmp_path)]) == 0  # its lock says that it trains
    assert "squeue does not answer (slurm_load_jobs error: timed out)" in capsys.readouterr().err


def test_a_damaged_run_does_not_hide_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "good", 40, 40, submitted=False)
    make(tmp_path / "bad", 1, None)
    (tmp_path / "bad" / "config.json").write_text("{bad")
    make(tmp_path / "odd", 40, 40)
    (tmp_path / "odd" / "jobs" / "job.json").write_text('{"a": 1}')
    assert main(["status", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "good" in told and "unreadable" in told and "config.json is not valid JSON" in told and "odd" in told


def test_an_empty_folder_is_no_checkpoint(tmp_path: Path) -> None:
    run = make(tmp_path / "a", 40, 40, submitted=False)
    (run / "checkpoints" / str(STEPS)).mkdir()
    assert progress(run, []).state == "stopped"


def test_one_run_of_a_sweep_is_submitted_again_alone(tmp_path: Path) -> None:
    run = make(tmp_path / "a", 0, None)
    script = run / "jobs" / "train.sh"
    (run / "jobs" / "job.json").write_text(json.dumps({"script": str(script), "index": 1, "steps": STEPS}))
    assert progress(run, []).note == f"it was submitted and is not in the queue: sbatch --array=1 {script}"  # options before the script
