"""Starts several processes of one command on this machine, as a launcher would, and collects what each says."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / ".pkg"
LONGEST = 600.0  # seconds, on a machine that does much else
# XLA compiles a training step of `tiny` in a fifth of the time. Tests inherit this from conftest.py. Those of test_cli.py and
# test_package.py take it out, so that what a user has is tested too.
QUICK = {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
}
# Other schedules depend on train.steps and are compiled into the step: each number of steps would be a program of its own.
SAME_PROGRAM = "--config.optim.schedule=constant"


@dataclass(frozen=True)
class Said:
    """How a process ended."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Several:
    """Processes that run at the same time."""

    processes: list[subprocess.Popen[str]]

    def wait(self) -> list[Said]:
        """Returns how each process ended."""
        try:
            with ThreadPoolExecutor(len(self.processes)) as readers:  # together: one that says more than a pipe holds would wait for ever
                said = list(readers.map(lambda process: process.communicate(timeout=LONGEST), self.processes))
        finally:
            for process in self.processes:
                process.kill()
        return [Said(process.returncode, *texts) for process, texts in zip(self.processes, said, strict=True)]

    def until(self, ready: Callable[[], bool]) -> None:
        """Waits for something that the processes do."""
        end = time.monotonic() + LONGEST
        while not ready():
            assert all(process.poll() is None for process in self.processes), self.wait()
            assert time.monotonic() < end
            time.sleep(0.05)


def environment(**more: str) -> dict[str, str]:
    """The environment of a process: on the CPU, without pytest's eight devices."""
    return {**os.environ, "PYTHONPATH": str(PACKAGE), "JAX_PLATFORMS": "cpu", **more}


def free_port() -> int:
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def srun(n: int) -> list[dict[str, str]]:
    """The variables by which srun tells n processes on this machine which they are."""
    job = {"SLURM_JOB_ID": str(free_port()), "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "localhost", "SLURM_NODEID": "0"}
    step = {**job, "SLURM_STEP_NUM_TASKS": str(n), "SLURM_STEP_TASKS_PER_NODE": str(n)}
    return [{**step, "SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)} for i in range(n)]


def start(
    n: int,
    *arguments: str | Path,
    cwd: Path,
    environments: Sequence[Mapping[str, str]] | None = None,
    program: Sequence[str] = ("-m", "varietas.launch"),
) -> Several:
    """Starts `varietas ARGUMENTS` in n processes.

    Args:
        n: How many; 1 for a process that is alone.
        arguments: The command line without the program.
        cwd: Where they run.
        environments: Variables of each process, which say which it is; by default flags do.
        program: What python runs instead of the command line.
    """
    address = f"127.0.0.1:{free_port()}"
    processes = []
    for i in range(n):
        flags = ["--coordinator", address, "--process", str(i), "--processes", str(n)] if n > 1 and environments is None else []
        command = [sys.executable, *program, *map(str, arguments), *flags]
        own = environment(**(environments[i] if environments else {}))
        processes.append(subprocess.Popen(command, cwd=cwd, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    return Several(processes)


def run(n: int, *arguments: str | Path, cwd: Path, environments: Sequence[Mapping[str, str]] | None = None) -> list[Said]:
    """Does the same, waits, and expects that all succeed."""
    said = start(n, *arguments, cwd=cwd, environments=environments).wait()
    assert all(one.status == 0 for one in said), said
    return said


IN_TURN = """
import json, sys
from varietas.launch.cli import main
for command in json.loads(sys.argv[1]):
    if status := main(command):
        sys.exit(status)
    print(end="\f", flush=True)
"""


def run_in_turn(n: int, commands: Sequence[Sequence[str | Path]], cwd: Path) -> list[list[str]]:
    """Runs commands one after the other in the same n processes, which start only once, as srun starts them.

    Returns:
        What each process prints in each command; an empty list for one that prints nothing at all. Nothing may go to standard error,
        where mistakes and warnings go.
    """
    text = json.dumps([[str(argument) for argument in command] for command in commands])
    said = start(n, text, cwd=cwd, environments=srun(n) if n > 1 else None, program=("-c", IN_TURN)).wait()
    assert all(one.status == 0 and not one.err for one in said), said
    return [one.out.split("\f")[:-1] for one in said]
