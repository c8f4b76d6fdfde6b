"""Slurm's commands: give it a job, which jobs there are, and how one ended."""

import getpass
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 30  # for an answer of the controller
COLUMNS = "%A|%K|%T|%r|%S|%M|%D|%o"  # job, index in its array, state, reason, start, elapsed, nodes, script with arguments

# Why a job waits, in the words of its user; other reasons are shown as Slurm gives them.
REASONS = {
    "Priority": "other jobs are before it",
    "Resources": "it is next, when nodes become free",
    "Dependency": "it waits for the job before it",
    "DependencyNeverSatisfied": "the job before it ended in a way that rules it out: scancel it",
    "BeginTime": "Slurm waits some minutes before it starts a job again",
    "JobHeldUser": "it is held: scontrol release",
    "JobHeldAdmin": "the site holds it: ask the help desk",
    "launch failed requeued held": "a node could not start it, so Slurm holds it: scontrol release",
    "ReqNodeNotAvail": "nodes are down or kept free for a maintenance",
    "ReservedMaintenance": "a maintenance begins before it would end; a shorter --time may still fit",
    "PartitionTimeLimit": "its time limit is above that of the partition: it will never start",
    "PartitionNodeLimit": "it wants more nodes than the partition allows: it will never start",
    "InvalidAccount": "its account is not valid: it will never start",
    "InvalidQOS": "its quality of service is not valid: it will never start",
    "AssocGrpCPUMinutesLimit": "the budget of the account is used up",
    "AssocGrpGRESMinutes": "the budget of the account is used up",
    "AssocGrpBillingMinutes": "the budget of the account is used up",
    "QOSMaxJobsPerUserLimit": "you have as many running jobs as the site allows",
    "QOSMaxNodePerUserLimit": "you use as many nodes as the site allows",
}


@dataclass(frozen=True)
class Queued:
    """A job in the queue."""

    job: str
    index: int | None  # in its array; None: no array
    state: str  # RUNNING, PENDING, …
    reason: str  # why it waits
    start: str  # when it began, or is expected to; "" if that is not known
    elapsed: str
    nodes: int
    script: Path

    @property
    def waits(self) -> str:
        """Why the job waits, in words."""
        return next((words for name, words in REASONS.items() if self.reason.split("(")[0].split(",")[0] == name), self.reason)


def here() -> bool:
    """Whether this machine has Slurm's commands."""
    return shutil.which("sbatch") is not None and shutil.which("squeue") is not None


def queued() -> list[Queued]:
    """Returns the user's jobs in the queue; none where there is no Slurm.

    Raises:
        ChildProcessError: If Slurm does not answer.
    """
    if not here():
        return []
    answer = _ask(["squeue", "--noheader", "--array", "--user", getpass.getuser(), "--format", COLUMNS])
    return [job for line in answer.splitlines() if (job := _parsed(line))]


def _parsed(line: str) -> Queued | None:
    parts = line.split("|", COLUMNS.count("|"))
    if len(parts) <= COLUMNS.count("|") or not parts[7].startswith("/"):  # an interactive job has no script
        return None
    job, index, state, reason, start, elapsed, nodes, command = (part.strip() for part in parts)
    script = Path(command.rsplit(".sh", 1)[0] + ".sh")  # without arguments
    known = int(index) if index.isdigit() else None
    return Queued(job, known, state, reason, start.replace("N/A", ""), elapsed, int(nodes) if nodes.isdigit() else 0, script)


def submit(script: Path) -> str:
    """Gives a script to sbatch and returns the number of the job.

    Raises:
        ValueError: If sbatch refuses it.
    """
    done = subprocess.run(["sbatch", "--parsable", str(script)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = " ".join(done.stderr.split()).removeprefix("sbatch: error: ")
        raise ValueError(f"sbatch refuses {script}: {said}")
    return done.stdout.strip().split(";")[0]


def ending(job: str) -> str:
    """Returns how Slurm says that a job ended, such as NODE_FAIL or TIMEOUT; "" if it does not know."""
    for command in (
        ["scontrol", "show", "job", job],
        ["sacct", "--noheader", "--allocations", "--parsable2", "--format=JobIDRaw,State", "--jobs", job],
    ):
        try:
            answer = _ask(command)
        except ChildProcessError:
            continue
        if command[0] == "scontrol":  # the number of an array is that of one of its jobs too
            records = [record for record in answer.split("\n\n") if record.lstrip().startswith(f"JobId={job} ")]
            states = [part.removeprefix("JobState=") for record in records for part in record.split() if part.startswith("JobState=")]
        else:
            states = [line.removeprefix(f"{job}|").split()[0] for line in answer.splitlines() if line.startswith(f"{job}|")]
        if states and states[0] not in ("RUNNING", "PENDING", "COMPLETING"):
            return states[0]
    return ""


def _ask(command: Sequence[str]) -> str:
    """Returns what a command of Slurm prints."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ChildProcessError(f"{command[0]} does not answer ({error})") from None
    if done.returncode != 0:
        said = next(iter(done.stderr.strip().splitlines()), f"exit status {done.returncode}").removeprefix(f"{command[0]}: error: ")
        raise ChildProcessError(f"{command[0]} does not answer ({said[:200]})")
    return done.stdout
