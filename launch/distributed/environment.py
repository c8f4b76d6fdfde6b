"""Which of several processes this is, as srun, mpirun or torchrun say in the environment, or flags. Imports no jax.

All processes of a run execute the same command. One process for each node is enough for jax; one for each GPU is as good. Who says it:

1. Flags. `--coordinator HOST:PORT --process I --processes N` beat the environment. Process 0 runs on HOST and listens at PORT.
2. torchrun (TORCHELASTIC_RUN_ID): RANK, WORLD_SIZE, MASTER_ADDR. Its own store listens at MASTER_PORT, so process 0 takes the next port.
3. Open MPI (OMPI_COMM_WORLD_SIZE). Process 0 is expected on this node if all processes are, otherwise on MASTER_ADDR if that is set, or
   else on the host of mpirun, where mpirun places it unless told otherwise.
4. srun (SLURM_STEP_NUM_TASKS). Process 0 is on the first node of the step. SLURM_NTASKS does not count: a batch script or the shell of
   salloc has it too, but is a single process.
5. RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, as scripts of your own may set them.

Launchers start each other: torchrun and mpirun may run inside of srun, so they come before it. Ports that no launcher names follow from the
number of the job, so that jobs on one node do not meet, and lie above those that Linux gives to programs.
"""

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

PORTS = range(61440, 65536)
LOCAL = ("localhost", "127.0.0.1", "::1")

Environment = Mapping[str, str]


@dataclass(frozen=True)
class Process:
    """One of the processes that train together."""

    index: int
    count: int
    coordinator: str  # HOST:PORT, where process 0 listens
    local_index: int = 0  # among the processes of this node
    local_count: int = 1  # processes of this node

    def __str__(self) -> str:
        return f"process {self.index} on {socket.gethostname()}"


def find(
    environment: Environment, coordinator: str | None = None, process: int | None = None, processes: int | None = None
) -> Process | None:
    """Returns which process this is, or None if it is the only one.

    Args:
        environment: The environment variables.
        coordinator: The value of --coordinator.
        process: The value of --process.
        processes: The value of --processes.

    Raises:
        ValueError: If what is given is incomplete or contradicts itself.
    """
    flags = {"--coordinator": coordinator, "--process": process, "--processes": processes}
    if given := [name for name, value in flags.items() if value is not None]:
        if lacking := [name for name in flags if name not in given]:
            raise ValueError(f"{given[0]} is given without {' and '.join(lacking)}; give each process all three, or none of them")
        return _of_flags(str(coordinator), int(process or 0), int(processes or 0))
    if environment.get("TORCHELASTIC_RUN_ID"):
        return _torch(environment)
    if "OMPI_COMM_WORLD_SIZE" in environment:
        return _open_mpi(environment)
    return _srun(environment) or _torch(environment)


def _of_flags(coordinator: str, process: int, processes: int) -> Process | None:
    host, port = _split(coordinator, "--coordinator")
    _check(process, processes, "--process", "--processes")
    on_one_node = host in LOCAL
    found = Process(process, processes, f"{host}:{port}", process if on_one_node else 0, processes if on_one_node else 1)
    return found if processes > 1 else None


def _torch(environment: Environment) -> Process | None:
    """Reads the variables of torchrun, which scripts also set by themselves."""
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    if "RANK" not in environment and "WORLD_SIZE" not in environment:
        return None  # scripts set MASTER_ADDR for others
    if environment.get("WORLD_SIZE") == "1":
        return None
    if lacking := [name for name in names if not environment.get(name)]:
        there = next(name for name in names if name in environment)
        raise ValueError(
            f"{there}={environment[there]} is set in the environment, but {' and '.join(lacking)} {'are' if len(lacking) > 1 else 'is'} "
            f"not; set all of {', '.join(names)}, or unset {there}"
        )
    index, count = _number(environment, "RANK"), _number(environment, "WORLD_SIZE")
    _check(index, count, "RANK", "WORLD_SIZE")
    host, port = environment["MASTER_ADDR"], _number(environment, "MASTER_PORT")
    if environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        port += 1 if port < 65535 else -1
    _split(f"{host}:{port}", "MASTER_ADDR and MASTER_PORT")
    local_index = _number(environment, "LOCAL_RANK", index if host in LOCAL else 0)
    local_count = _number(environment, "LOCAL_WORLD_SIZE", count if host in LOCAL else local_index + 1)
    _check(local_index, local_count, "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    return Process(index, count, f"{host}:{port}", local_index, local_count)


def _open_mpi(environment: Environment) -> Process | None:
    count = _number(environment, "OMPI_COMM_WORLD_SIZE")
    if count == 1:
        return None
    index = _number(environment, "OMPI_COMM_WORLD_RANK")
    local_index, local_count = (_number(environment, f"OMPI_COMM_WORLD_LOCAL_{name}") for name in ("RANK", "SIZE"))
    _check(index, count, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")
    _check_agreement(environment, index, count, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")
    launcher = re.match(r"prterun-(.+)-(\d+)@", environment.get("PMIX_NAMESPACE", ""))  # Open MPI 5: host and process id of mpirun
    uri = re.match(r"(\d+)\.\d+;tcp6?://\[?([^,:\]]+)", environment.get("OMPI_MCA_orte_hnp_uri", ""))  # 4: job << 12 and its addresses
    host, job = (launcher[1], int(launcher[2])) if launcher else (uri[2], int(uri[1]) >> 12) if uri else ("", 0)
    port = _number(environment, "MASTER_PORT") if environment.get("MASTER_PORT") else PORTS[job % len(PORTS)]
    host = "127.0.0.1" if local_count == count else environment.get("MASTER_ADDR") or host
    if not host:
        raise ValueError(
            f"OMPI_COMM_WORLD_SIZE={count}, but nothing says where process 0 runs; give mpirun -x MASTER_ADDR=HOST -x MASTER_PORT=PORT"
        )
    return Process(index, count, f"{host}:{port}", local_index, local_count)


def _srun(environment: Environment) -> Process | None:
    count = _number(environment, "SLURM_STEP_NUM_TASKS", 1)
    if count == 1:
        return None
    index, local_index, node, job = (_number(environment, f"SLURM_{name}") for name in ("PROCID", "LOCALID", "NODEID", "JOB_ID"))
    _check(index, count, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS")
    _check_agreement(environment, index, count, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS")
    nodes, tasks = (environment.get(f"SLURM_STEP_{name}", "") for name in ("NODELIST", "TASKS_PER_NODE"))
    local_counts = [int(n) for n, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", tasks) for _ in range(int(times or 1))]  # "4(x2),3"
    if not nodes or node >= len(local_counts):
        name = "SLURM_STEP_TASKS_PER_NODE" if nodes else "SLURM_STEP_NODELIST"
        raise ValueError(f"SLURM_STEP_NUM_TASKS={count}, but {name} does not fit; start the processes with srun, or give --coordinator")
    step = _number(environment, "SLURM_STEP_ID", 0)
    return Process(index, count, f"{first_host(nodes)}:{PORTS[(job + 997 * step) % len(PORTS)]}", local_index, local_counts[node])


def first_host(nodes: str) -> str:
    """Returns the first host of Slurm's list: "lrdn[0012-0014,0020],gpu7" -> "lrdn0012"."""
    first = re.match(r"(?:\[[^]]*]|[^,\[])*", nodes)
    return re.sub(r"\[([^],-]+)[^]]*]", r"\1", first[0] if first else "")


def forgotten(environment: Environment) -> str | None:
    """Returns a warning for a process that trains alone although its Slurm job has several tasks: srun was forgotten."""
    tasks = environment.get("SLURM_NTASKS", "1")
    if tasks == "1" or "SLURM_STEP_ID" in environment or "SLURM_PROCID" not in environment:
        return None
    return f"the Slurm job has {tasks} tasks, but this process is alone: it was not started with srun"


def devices(process: Process, environment: Environment, gpus: int) -> list[int] | None:
    """Returns which of the GPUs that it sees a process takes; None for all of them.

    The processes of a node share its GPUs evenly. A process that Slurm has given GPUs of its own sees only those, and takes all.

    Args:
        process: The process.
        environment: Its environment variables.
        gpus: GPUs of the node; 0 for none.

    Raises:
        ValueError: If the GPUs do not divide over the processes.
    """
    visible = next(
        (environment[name] for name in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES") if name in environment), None
    )
    n = process.local_count
    if visible is not None:
        gpus = len([gpu for gpu in visible.split(",") if gpu.strip()])
        if gpus < n or environment.get("SLURM_GPUS_PER_TASK"):
            return None
    if n == 1 or gpus == 0:
        return None
    if gpus % n:
        raise ValueError(
            f"{n} processes on {socket.gethostname()} cannot share its {gpus} GPUs evenly; start one for each GPU, or one for the node"
        )
    each = gpus // n
    return list(range(process.local_index * each, (process.local_index + 1) * each))


def _check(index: int, count: int, index_name: str, count_name: str) -> None:
    if count < 1 or not 0 <= index < count:
        raise ValueError(f"{index_name}={index} must be a number from 0 to {count_name} - 1, and {count_name} is {count}")


def _check_agreement(environment: Environment, index: int, count: int, index_name: str, count_name: str) -> None:
    """Scripts derive RANK and WORLD_SIZE from the variables of the launcher. If they differ, one of the two is not meant."""
    for name, value, other in (("RANK", index, index_name), ("WORLD_SIZE", count, count_name)):
        if environment.get(name) not in (None, "", str(value)):
            raise ValueError(f"{name}={environment[name]} contradicts {other}={value}; unset {name}, or give --coordinator")


def _number(environment: Environment, name: str, default: int | None = None) -> int:
    text = environment.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isdecimal():
        raise ValueError(
            f"{name} {'is not set' if text is None else f'is {text!r}'} in the environment, expected a number; or give --coordinator"
        )
    return int(text)


def _split(address: str, name: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{name} {address}: expected HOST:PORT with a port from 1 to 65535")
    return host, int(port)
