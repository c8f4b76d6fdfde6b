"""From the flags of `submit` to a job that is checked, and from that to files in the run's folder."""

import argparse
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import varietas
from varietas.data.files import cache_folder, write_json
from varietas.launch.config import split_name, stem_of
from varietas.launch.plan.machines import load_machine
from varietas.launch.slurm.checks import Checked, checked, missing_parts
from varietas.launch.slurm.job import Job, container, processes, settings
from varietas.launch.slurm.partitions import choose, time_of
from varietas.launch.slurm.record import RECORD
from varietas.launch.slurm.script import render, render_doctor
from varietas.launch.slurm.sweep import points

FLAGS = ("config", "machine", "nodes", "run", "account", "time", "partition", "qos", "container")

DOCTOR_TIME = "15"  # minutes


@dataclass(frozen=True)
class Submission:
    """A job, with the config of each of its runs and what the nodes would lack."""

    job: Job
    runs: tuple[Checked, ...]
    missing: tuple[str, ...]


def prepare(args: argparse.Namespace) -> Submission:
    """Checks what `submit` was asked for. Nothing is written into the run's folder.

    Args:
        args: FLAGS, `overrides`, `sweep` and `doctor`.

    Raises:
        ValueError: If it cannot run like this.
    """
    machine = load_machine(args.machine)
    queue, seconds = choose(machine, args.nodes, args.time or (DOCTOR_TIME if args.doctor else None), args.partition, args.qos)
    config, argument = split_name(args.config)
    folder = (args.run or Path("runs") / stem_of(args.config)).absolute()
    runs = points(folder, args.sweep)
    found = tuple(checked(args.config, args.overrides, point, machine, args.nodes, not args.doctor) for point in runs)
    account = args.account or os.environ.get("SBATCH_ACCOUNT", "")
    image, code, cache = args.container and args.container.absolute(), _checkout(), cache_folder().absolute()
    folders = [folder, cache, *(path for one in found for path in one.inputs), *([code.parent] if code else [])]
    if config.endswith(".py"):
        config = str(Path(config).absolute())
        folders.append(Path(config).parent)
    corpus = found[0].config.data.corpus
    swept = any("train.init_from" in override for point in runs for override in point.overrides)
    first = "" if swept else found[0].config.train.init_from
    arguments = (
        "--config",
        f"{config}:{argument}" if argument else config,
        *args.overrides,
        *([f"--config.data.corpus={corpus}"] if corpus else []),
        *([f"--config.train.init_from={first}"] if first else []),
        *(["--cpu_devices", str(machine.devices_per_node)] if machine.platform == "cpu" else []),
    )
    job = Job(
        folder / "jobs" / ("doctor.sh" if args.doctor else "train.sh"),
        machine,
        args.nodes,
        queue,
        seconds,
        account,
        runs,
        tuple(one.config.train.steps for one in found),
        container(machine, image, folders) if image else (sys.executable,),
        arguments,
        settings(cache, code, image is not None),
        _command(args),
    )
    return Submission(job, found, tuple(missing_parts(machine, account, image, folders)))


def _command(args: argparse.Namespace) -> str:
    """Returns the command line that asks for the same."""
    flags = [part for name in FLAGS if (value := getattr(args, name)) is not None for part in (f"--{name}", str(value))]
    more = [*(["--doctor"] if args.doctor else []), *(["--sweep", *args.sweep] if args.sweep else [])]
    return shlex.join(["varietas", "submit", *flags, *args.overrides, *more])


def _checkout() -> Path | None:
    """Returns the folder in which Python finds this checkout; None if Varietas is installed."""
    folder = Path(str(varietas.__file__)).absolute().parent.parent
    return folder if folder.name == ".pkg" else None


def script_of(submission: Submission, args: argparse.Namespace) -> str:
    """Returns the script of a submission: one that trains, or with --doctor one that measures the nodes."""
    if not args.doctor:
        return render(submission.job)
    machine = str(Path(args.machine).absolute()) if args.machine.endswith(".py") else args.machine
    inputs = sorted({path for run in submission.runs for path in run.inputs})
    return render_doctor(submission.job, machine, [submission.job.file.parent.parent, *inputs])


def write_records(submission: Submission) -> None:
    """Writes into the folder of each run what `status` has to know of its job."""
    job = submission.job
    for number, (point, run) in enumerate(zip(job.points, submission.runs, strict=True)):
        record = {
            "script": str(job.file),
            "index": number if len(job.points) > 1 else None,
            "machine": job.machine.name,
            "nodes": job.nodes,
            "processes": job.nodes * processes(job.machine),
            "time_limit": time_of(job.seconds),
            "steps": run.config.train.steps,
        }
        write_json(point.run / "jobs" / RECORD, record)
