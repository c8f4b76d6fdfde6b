"""Scripts for every machine: what someone who knows the machine looks for, and shellcheck."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import varietas
from varietas.data.files import write_json
from varietas.launch.cli import main
from varietas.launch.plan.machines import load_machine, machine_names
from varietas.launch.slurm.job import Job, container, settings
from varietas.launch.slurm.partitions import choose
from varietas.launch.slurm.script import lead, render, render_doctor
from varietas.launch.slurm.sweep import points

SLURM_MACHINES = [name for name in machine_names() if load_machine(name).slurm]
RUN = Path("/scratch/project x/runs/euro")


def job(name: str, nodes: int = 2, sweeps: tuple[str, ...] = (), image: str = "/scratch/v.sif") -> Job:
    machine = load_machine(name)
    queue, seconds = choose(machine, nodes, None, None, None)
    runs = points(RUN, sweeps)
    python = container(machine, Path(image), [RUN, RUN.parent, Path("/scratch/corpus")]) if image else ("/venv/bin/python",)
    return Job(
        RUN / "jobs" / "train.sh",
        machine,
        nodes,
        queue,
        seconds,
        "project_465000001",
        runs,
        (305_000,) * len(runs),
        python,
        ("--config", "eurollm_9b", "--config.data.mixture.weights=ces_Latn:2, mlt_Latn:1"),
        settings(Path("/scratch/cache"), None, bool(image)),
        "varietas submit",
    )


def script(name: str, nodes: int = 2, sweeps: tuple[str, ...] = (), image: str = "/scratch/v.sif") -> str:
    return render(job(name, nodes, sweeps, image))


def directives(text: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH ")]


@pytest.mark.parametrize("name", SLURM_MACHINES)
def test_shellcheck_finds_nothing(name: str, tmp_path: Path) -> None:
    for number, text in enumerate(
        (
            script(name),
            script(name, image=""),
            script(name, sweeps=("seed=1,2,3", "optim.peak_lr=1e-4,2e-4")),
            render_doctor(job(name), name, [RUN]),
        )
    ):
        (tmp_path / f"{number}.sh").write_text(text)
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") or "shellcheck"
    done = subprocess.run([shellcheck, "--severity=style", *tmp_path.glob("*.sh")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", SLURM_MACHINES)
def test_what_every_script_asks_for(name: str) -> None:
    text, machine = script(name), load_machine(name)
    asked = directives(text)
    assert {"--nodes=2", f"--ntasks-per-node={machine.devices_per_node}", "--account=project_465000001", "--open-mode=append"} <= set(asked)
    assert {"--requeue", "--exclusive", f"--signal=USR1@{300}"} <= set(asked)
    assert any(re.fullmatch(rf"--(gres=gpu:|gpus-per-node=){machine.devices_per_node}", option) for option in asked)
    for setting in machine.environment:
        line = next(i for i, found in enumerate(text.splitlines()) if found.startswith(f"export {setting.name}="))
        assert setting.reason[1:] in text.splitlines()[line - 1]  # the reason stands above it


def test_lumi() -> None:
    """What LUMI's guides ask for: a GCD and its seven cores for each process, Slingshot, the container's view of the node."""
    text = script("lumi", 16)
    assert {"--partition=standard-g", "--gpus-per-node=8", "--cpus-per-task=7"} <= set(directives(text))
    assert "--cpu-bind=mask_cpu:0x00fe000000000000,0xfe00000000000000," in text
    assert "export NCCL_SOCKET_IFNAME=hsn0,hsn1,hsn2,hsn3\n" in text and "module load lumi-aif-singularity-bindings\n" in text
    assert 'export MIOPEN_USER_DB_PATH="/tmp/miopen-config-${USER}"\n' in text  # expanded on the node
    assert "singularity exec --rocm --bind '/scratch/corpus,/scratch/project x/runs' /scratch/v.sif python -m varietas.launch train" in text


def test_leonardo_and_marenostrum() -> None:
    assert {"--qos=normal", "--gres=gpu:4", "--cpus-per-task=8"} <= set(directives(script("leonardo")))
    assert {"--partition=acc", "--qos=acc_ehpc", "--cpus-per-task=20"} <= set(directives(script("mn5")))
    assert "singularity exec --nv" in script("mn5") and "module load singularity" in script("mn5")
    assert "apptainer exec --nv" in script("jupiter")


def test_the_command_keeps_its_arguments() -> None:
    text = script("leonardo", image="")
    command = text[text.index("srun --cpus") : text.index("\nstatus=$?")].replace("\\\n", " ")
    words = shlex.split(command)
    assert words[-7:] == [
        "-m", "varietas.launch", "train", "--run", "$run", "--config", "eurollm_9b", "--config.data.mixture.weights=ces_Latn:2, mlt_Latn:1",
    ][-7:]  # fmt: skip
    assert words[words.index("-m") - 1] == "/venv/bin/python"


def test_a_run_that_has_begun_is_submitted_again(tmp_path: Path, corpus_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For more steps, or from the weights of another run that has gone on since: what follows from the run's folder is asked there."""
    first, run = (varietas.Run("tiny", {"train.steps": 2}, folder=tmp_path / name) for name in ("first", "run"))
    for each in (first, run):
        each.folder.mkdir()
        write_json(each.folder / "config.json", each.config.to_dict())
        (each.folder / "metrics.jsonl").write_text('{"step": 0}\n')
    command = ["submit", "--machine", "leonardo", "--nodes", "1", "--account", "x", "--dry_run", "--config", "tiny"]
    assert main([*command, "--run", str(run.folder), "--config.train.steps=9", "--config.mesh.data=4"]) == 0
    assert "steps=9" in capsys.readouterr().out
    (first.folder / "checkpoints" / "2" / "params").mkdir(parents=True)
    more = ["--run", str(tmp_path / "new"), f"--config.train.init_from={first.folder}", "--config.model.d_ff=100"]
    assert main([*command, *more]) == 2
    assert "first@2 has 192; leave it out" in capsys.readouterr().err


def test_what_does_not_fit_is_refused_before_it_is_submitted(
    tmp_path: Path, corpus_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["submit", "--machine", "lumi", "--nodes", "1", "--account", "x", "--dry_run", "--run", str(tmp_path / "run"), "--config"]
    assert main([*command, "eurollm_9b"]) == 2
    assert re.search(
        r"eurollm_9b on 1 nodes of lumi does not fit: it needs [\d,.]+ of [\d,.]+ GiB a device; varietas plan", capsys.readouterr().err
    )
    assert main([*command, "tiny"]) == 0


@pytest.mark.parametrize(
    ("starts", "step", "counted"), [([0], 0, 1), ([0, 0, 0], 0, 3), ([0, 100], 100, 1), ([0, 100, 100], 100, 2), ([100, 0], 0, 1)]
)
def test_only_starts_that_a_job_before_has_not_got_beyond_are_counted(starts: list[int], step: int, counted: int, tmp_path: Path) -> None:
    """The first start at a step is that of a job after one that has come so far."""
    history = tmp_path / "history"
    history.write_text("t submit 1\n" + "".join(f"t start 1 {start}\n" for start in starts))
    (line,) = (line for line in script("leonardo").splitlines() if line.startswith("starts="))
    program = f'step={step}; history={history}; {line}; echo "$starts"'
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) == counted


def test_a_sweep_is_a_job_array_with_a_folder_for_each_run() -> None:
    text = script("leonardo", sweeps=("optim.peak_lr=1e-4,3e-4",))
    assert "--array=0-1" in directives(text)
    assert "  1) run='/scratch/project x/runs/euro/peak_lr=3e-4' steps=305000 point=(--config.optim.peak_lr=3e-4) ;;\n" in text
    assert '--run "$run"' in text and '"${point[@]}"' in text and 'array=(--array="$SLURM_ARRAY_TASK_ID")' in text


@pytest.mark.parametrize(("minutes", "seconds"), [(2, 60), (10, 60), (20, 120), (50, 300), (1440, 300)])
def test_the_signal_leaves_most_of_the_time_to_training(minutes: int, seconds: int) -> None:
    assert lead(60 * minutes) == seconds


def test_the_doctor_gets_the_same_nodes_and_environment_and_no_chain() -> None:
    text = render_doctor(job("lumi", 2), "lumi", [RUN, Path("/scratch/corpus")])
    assert {"--job-name=doctor", "--nodes=2", "--gpus-per-node=8"} <= set(directives(text)) and "sbatch" not in text
    assert "export HSA_ENABLE_SDMA=0\n" in text and "--cpu-bind=mask_cpu:" in text
    assert "varietas.launch doctor \\\n  --machine lumi --folder '/scratch/project x/runs/euro' /scratch/corpus\n" in text
