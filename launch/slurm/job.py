"""A job of a machine: what it asks Slurm for, its environment with the reason of each setting, and how it starts its processes."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from varietas.configs.machines.base import Machine, Queue, Setting
from varietas.launch.slurm.partitions import time_of
from varietas.launch.slurm.sweep import Point


@dataclass(frozen=True)
class Job:
    """What a script is made from."""

    file: Path  # the script itself
    machine: Machine
    nodes: int
    queue: Queue
    seconds: int  # time limit
    account: str  # "": the default account
    points: tuple[Point, ...]  # one, or those of a sweep
    steps: tuple[int, ...]  # of each point
    python: tuple[str, ...]  # the command that runs Python, perhaps in a container
    arguments: tuple[str, ...]  # of `varietas train`, without --run and the overrides of a point
    environment: tuple[Setting, ...]  # besides those of the machine
    command: str  # how this script was made


def processes(machine: Machine) -> int:
    """Returns the processes of a node: one for each GPU, since memory and cores are then near to it; otherwise one."""
    return machine.devices_per_node if machine.platform in ("cuda", "rocm") else 1


def directives(job: Job, name: str, *more: str) -> list[str]:
    """Returns the lines that tell sbatch what a job asks for.

    Args:
        job: The job.
        name: Its name in the queue.
        more: Further options.
    """
    machine, slurm, n = job.machine, job.machine.slurm, processes(job.machine)
    assert slurm is not None  # partitions.choose has checked it
    options = [
        f"--job-name={''.join(c if c.isalnum() or c in '-_.=' else '_' for c in name)}",
        *([f"--account={job.account}"] if job.account else []),
        f"--partition={job.queue.partition}",
        *([f"--qos={job.queue.qos}"] if job.queue.qos else []),
        f"--nodes={job.nodes}",
        f"--ntasks-per-node={n}",
        f"--cpus-per-task={machine.cores // n}",
        *([_devices(slurm.devices, machine.devices_per_node)] if machine.platform in ("cuda", "rocm") and slurm.devices else []),
        "--exclusive",
        "--mem=0",  # all memory of the node
        f"--time={time_of(job.seconds)}",
        *more,
        "--open-mode=append",
        f"--output={shlex.quote(str(job.file.parent).replace('%', '%%') + '/%j.log')}",
        *slurm.options,
    ]
    return [f"#SBATCH {option}" for option in options]


def _devices(option: str, n: int) -> str:
    return f"{option}:{n}" if option.startswith("--gres=") else f"{option}={n}"


def setup(job: Job) -> list[str]:
    """Returns the lines that load modules and set environment variables, each with its reason."""
    slurm = job.machine.slurm
    lines = [f"module {arguments}" for arguments in slurm.modules] if slurm else []
    for setting in (*job.machine.environment, *job.environment):
        lines += [f"# {setting.reason[0].upper() + setting.reason[1:]}.", f"export {setting.name}={_value(setting.value)}"]
    return ["# ---- The machine", *lines, "", "set -u"]


def _value(text: str) -> str:
    """Quotes a value in which variables are to be expanded, if there are any."""
    return f'"{text}"' if "$" in text else shlex.quote(text)


def start(job: Job, options: Sequence[str], verb: str, arguments: str) -> list[str]:
    """Returns the lines that start a verb on all processes of a job, and keep the status.

    Args:
        job: The job.
        options: Further options of srun.
        verb: The verb.
        arguments: Its arguments, as the shell reads them.
    """
    slurm, machine = job.machine.slurm, job.machine
    assert slurm is not None
    first = f"srun --cpus-per-task={machine.cores // processes(machine)}"  # since Slurm 22.05 srun does not take it from sbatch
    parts = [first, *map(shlex.quote, (*slurm.srun, *options)), shlex.join((*job.python, "-m", "varietas.launch", verb)), arguments]
    return [*(f"{'  ' * (number > 0)}{part} \\" for number, part in enumerate(parts[:-1])), f"  {parts[-1]}", "status=$?"]


def settings(cache: Path, code: Path | None, in_container: bool) -> tuple[Setting, ...]:
    """Returns the environment variables that do not depend on the machine.

    Args:
        cache: The folder for compiled programs.
        code: The folder in which Python finds the checkout that `submit` ran from; None if Varietas is installed.
        in_container: Whether Python runs in a container.
    """
    found = [
        Setting("PYTHONUNBUFFERED", "1", "the log shows lines as they are printed"),
        Setting("VARIETAS_CACHE", str(cache), "compiled programs: the next job does not compile them again"),
        Setting("HF_HUB_OFFLINE", "1", "nodes have no internet: whatever would be fetched fails at once instead of hanging"),
    ]
    if code:
        found.append(Setting("PYTHONPATH", str(code), "the code that checked this job, instead of what is installed"))
    if in_container:
        found.append(Setting("PYTHONNOUSERSITE", "1", "packages in ~/.local must not take the place of those in the container"))
    return tuple(found)


def container(machine: Machine, image: Path, folders: Sequence[Path]) -> tuple[str, ...]:
    """Returns the command that runs Python in a container which sees these folders."""
    alone = sorted({folder for folder in folders if not any(other in folder.parents for other in folders)})
    devices = {"cuda": ("--nv",), "rocm": ("--rocm",)}.get(machine.platform, ())
    return (machine.container or "apptainer", "exec", *devices, "--bind", ",".join(map(str, alone)), str(image), "python")
