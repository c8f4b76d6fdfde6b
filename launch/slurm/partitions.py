"""Which partition of a machine takes a job, and Slurm's way of writing times."""

import re

from varietas.configs.machines.base import Machine, Queue
from varietas.data.hints import nearest

USUAL_SECONDS = 24 * 3600  # time of a job if none is given: longer ones wait longer
TIME = re.compile(r"(?:(?P<days>\d+)-(?P<hours>\d+)(?::(?P<minutes>\d+))?(?::(?P<seconds>\d+))?|(?P<parts>\d+(?::\d+){0,2}))")


def seconds_of(time: str) -> int:
    """Parses a time as sbatch takes it: minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS. Returns seconds.

    Raises:
        ValueError: If it is none of these, or zero.
    """
    found = TIME.fullmatch(time.strip())
    if not found:
        raise ValueError(f"--time {time}: expected minutes, HH:MM:SS or D-HH:MM:SS, as in 24:00:00 or 1-00:00:00")
    if found["parts"]:
        parts = [int(part) for part in found["parts"].split(":")]
        hours, minutes, seconds = [0, *parts, 0] if len(parts) == 1 else [0, *parts] if len(parts) == 2 else parts
        total = 3600 * hours + 60 * minutes + seconds
    else:
        days, hours, minutes, seconds = (int(found[unit] or 0) for unit in ("days", "hours", "minutes", "seconds"))
        total = 86400 * days + 3600 * hours + 60 * minutes + seconds
    if not total:
        raise ValueError(f"--time {time} is no time at all; give the longest time that a job may take, as in 24:00:00")
    return total


def time_of(seconds: int) -> str:
    """Writes seconds the way sbatch takes them: 90000 becomes 1-01:00:00."""
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{clock}" if days else clock


def choose(machine: Machine, nodes: int, time: str | None, partition: str | None, qos: str | None) -> tuple[Queue, int]:
    """Chooses the queue of a job.

    Args:
        machine: The machine.
        nodes: The nodes of the job.
        time: Its time limit, as sbatch takes it; None for a day, or what the queue allows if that is less.
        partition: The partition; None for the first that allows the job.
        qos: The quality of service; None for the first that allows the job.

    Returns:
        The queue, and the time limit in seconds. A partition or quality of service that the machine's file does not know is passed on.

    Raises:
        ValueError: If the machine has no Slurm, or no queue allows the job.
    """
    if machine.slurm is None:
        raise ValueError(f"{machine.name} has no Slurm; start the run with `varietas train`, once for each process")
    if nodes > machine.nodes:
        raise ValueError(f"--nodes {nodes:,} is more than the {machine.nodes:,} nodes of {machine.name}")
    wanted = seconds_of(time) if time else None
    known = machine.slurm.queues
    named = [queue for queue in known if partition in (None, queue.partition) and qos in (None, queue.qos)]
    if not named:
        _check_spelling("--partition", partition, [queue.partition for queue in known])
        _check_spelling("--qos", qos, [queue.qos for queue in known if queue.qos])
        return Queue(partition or known[0].partition, "", nodes, qos or ""), wanted or USUAL_SECONDS
    for queue in named:
        if nodes <= queue.max_nodes and (wanted is None or wanted <= seconds_of(queue.time_limit)):
            return queue, wanted or min(USUAL_SECONDS, seconds_of(queue.time_limit))
    asked = f"{nodes:,} nodes" + (f" for {time_of(wanted)}" if wanted else "")
    allowed = "; ".join(f"{_name(queue)}: {queue.max_nodes:,} nodes, {queue.time_limit}" for queue in named)
    raise ValueError(
        f"no queue of {machine.name} takes a job of {asked} ({allowed}); give fewer --nodes or less --time: a run may have many jobs"
    )


def _name(queue: Queue) -> str:
    return f"{queue.partition} with {queue.qos}" if queue.qos else queue.partition


def _check_spelling(flag: str, given: str | None, known: list[str]) -> None:
    """Raises ValueError if a name is almost one that is known. Any other name may be one that the machine's file does not have."""
    if given and given not in known and (near := nearest(given, known, 0.8)):
        raise ValueError(f"{flag} {given}: did you mean {near}?")
