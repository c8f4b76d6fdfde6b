"""The node under the program: memory, limits, clock, names and ports, what Slurm gave. Imports no jax."""

import contextlib
import os
import resource
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from varietas.configs.machines.base import Machine
from varietas.launch.doctor.finding import BROKEN, OK, SLOW, Finding, at_least
from varietas.launch.slurm.job import processes
from varietas.train.memory import host_free

SHM = Path("/dev/shm")
LEAST_SHM = 1 << 30  # bytes: NCCL and RCCL take some tens of MB for each pair of devices, workers of the loader more
LEAST_FILES = 4096  # open files: a large corpus has hundreds of shards, and each connection between processes takes one
LEAST_MEMORY = 4 << 30  # bytes that are free
CLOCK_SECONDS = 2.0  # by which the clock may differ from that of a file server
GIB = 1 << 30


def node(folder: Path, machine: Machine | None) -> list[Finding]:
    """Returns findings on this node.

    Args:
        folder: A folder on the file system of the run, whose clock is compared.
        machine: The machine that this should be a node of.
    """
    return [
        _memory(),
        _shared_memory(),
        _open_files(),
        *_locked_memory(machine),
        _clock(folder),
        _host(),
        _port(),
        *_slurm(machine),
        *_settings(machine),
    ]


def _memory() -> Finding:
    free, where = host_free()
    return at_least(
        "memory",
        free,
        LEAST_MEMORY,
        f"{free / GIB:,.0f} GiB free in {where}",
        "end other programs, or ask Slurm for more: --mem=0 gives all memory of a node",
    )


def _shared_memory() -> Finding:
    if not SHM.is_dir():
        return Finding("/dev/shm", BROKEN, "there is none", "mount it: `--bind /dev/shm` of Apptainer")
    stats = os.statvfs(SHM)
    free = stats.f_bavail * stats.f_frsize
    return at_least(
        "/dev/shm",
        free,
        LEAST_SHM,
        f"{free / GIB:,.1f} GiB free",
        "remove old files there, or give the container more (Docker: --shm-size=16g)",
    )


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return Finding("open files", OK, "no limit")
    return at_least("open files", soft, LEAST_FILES, f"at most {soft:,}", f"ulimit -n {min(hard, 65536) if hard > 0 else 65536}")


def _locked_memory(machine: Machine | None) -> list[Finding]:
    """Network adapters register memory for direct access, which counts as locked."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if machine is None or machine.platform not in ("cuda", "rocm"):
        return []
    if soft == resource.RLIM_INFINITY:
        return [Finding("locked memory", OK, "no limit")]
    said = f"at most {soft / 2**20:,.0f} MiB, so the network may fall back to copies"
    return [Finding("locked memory", SLOW, said, "ulimit -l unlimited; where that is refused, ask the help desk")]


def _clock(folder: Path) -> Finding:
    """The clock runs, is not years off, and agrees with that of the file system, which is a server's where the folder is shared."""
    begun, steady = time.time(), time.monotonic()
    time.sleep(0.1)
    jump = (time.time() - begun) - (time.monotonic() - steady)
    probe = folder / f".varietas-clock-{socket.gethostname()}-{os.getpid()}"
    off = 0.0
    with contextlib.suppress(OSError):  # `disk` says that nothing may be written there
        probe.write_bytes(b"")
        off = probe.stat().st_mtime - time.time()
        probe.unlink()
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if abs(jump) > 0.05 or abs(off) > CLOCK_SECONDS or time.gmtime().tm_year < 2026:
        said = f"{now}; it jumped by {jump:+.2f} s in 0.1 s" if abs(jump) > 0.05 else f"{now}; the file system's clock is {off:+.1f} s off"
        return Finding("clock", BROKEN, said, "ask the help desk whether NTP runs; logs and locks will show wrong times")
    return Finding("clock", OK, now, own=True)


def _host() -> Finding:
    """Other processes reach this host by its name."""
    name = socket.gethostname()
    try:
        addresses = sorted({str(info[4][0]) for info in socket.getaddrinfo(name, None, socket.AF_INET)})
    except OSError as error:
        return Finding("host name", BROKEN, f"{name} has no address ({error})", "add it to /etc/hosts, or ask the help desk")
    said = f"{name} is {', '.join(addresses)}"
    if all(address.startswith("127.") for address in addresses) and int(os.environ.get("SLURM_JOB_NUM_NODES", "1")) > 1:
        return Finding(
            "host name", BROKEN, f"{said}, which other nodes cannot reach", "give `train` an address that they can: --coordinator HOST:PORT"
        )
    return Finding("host name", OK, said, own=True)


def _port() -> Finding:
    """Processes meet at a port of the first of them."""
    name = socket.gethostname()
    try:
        with socket.create_server(("", 0)) as server, socket.create_connection((name, server.getsockname()[1]), timeout=5):
            return Finding("ports", OK, f"a connection to {name}:{server.getsockname()[1]} works", own=True)
    except OSError as error:
        return Finding(
            "ports", BROKEN, f"no connection to {name} ({error})", "see `host name`; a firewall on the node may also be the cause"
        )


def _slurm(machine: Machine | None, environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """What Slurm gave, against what a job of the machine asks for."""
    job = environment.get("SLURM_JOB_ID")
    if not job:
        return []
    if "SLURM_PROCID" not in environment or environment.get("SLURM_STEP_ID") in (None, "batch", "4294967291"):
        return [Finding("Slurm", SLOW, f"job {job}, but not under srun: one process of it is looked at", "srun varietas doctor")]
    nodes, tasks = int(environment.get("SLURM_JOB_NUM_NODES", "1")), int(environment.get("SLURM_NTASKS", "1"))
    cores = len(os.sched_getaffinity(0))
    said = f"job {job}, {nodes:,} nodes, {tasks:,} processes, {cores} cores for this one"
    if machine is None:
        return [Finding("Slurm", OK, said)]
    if tasks != (wanted := nodes * processes(machine)):
        return [Finding("Slurm", BROKEN, f"{said}; {machine.name} wants {wanted:,} processes", f"--ntasks-per-node={processes(machine)}")]
    if cores < (wanted := machine.cores // processes(machine)) // 2:
        todo = f"srun --cpus-per-task={wanted}: since Slurm 22.05 srun does not take it from sbatch"
        return [Finding("Slurm", SLOW, f"{said} instead of {wanted}", todo)]
    return [Finding("Slurm", OK, said)]


def _settings(machine: Machine | None, environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """Environment variables that the machine's jobs set."""
    if machine is None or not machine.environment:
        return []
    wanted = {setting.name: setting.value.replace("${USER}", environment.get("USER", "")) for setting in machine.environment}
    # What a value adds to one that is there already ("${XLA_FLAGS:-} --flag") counts word by word.
    differ = [
        name for name, value in wanted.items() if not set(value.split()) - {f"${{{name}:-}}"} <= set(environment.get(name, "").split())
    ]
    if not differ:
        return [Finding("settings", OK, f"the {len(wanted)} of {machine.name}")]
    said = f"not as {machine.name}'s jobs set them: {', '.join(differ)}"
    return [Finding("settings", SLOW, said, "; ".join(f'export {name}="{wanted[name]}"' for name in differ))]
