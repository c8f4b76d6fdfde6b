"""A real Slurm on this machine: a controller and two nodes that are processes here. Needs root, and Debian's slurm-wlm and munge."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NODES = ("n1", "n2")
HOSTS = Path("/etc/hosts")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"

CONFIG = """
ClusterName=varietas
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobRequeue=1
KillWait=5
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=16000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=16000
PartitionName=small Nodes=n1,n2 Default=YES MaxTime=60 State=UP
"""


def missing() -> str:
    """Says what keeps this machine from running the cluster; "" if nothing."""
    if absent := [name for name in PROGRAMS if not shutil.which(name, path=PATH)]:
        return f"{', '.join(absent)} not installed (apt-get install slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "Slurm's daemons need root"


@contextmanager
def cluster(folder: Path) -> Iterator[Path]:
    """Starts the cluster, and ends it with all its jobs. Yields its slurm.conf, which commands find through SLURM_CONF."""
    folder.chmod(0o755)
    for name in ("state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir()
    config = folder / "slurm.conf"
    config.write_text(CONFIG.format(host=socket.gethostname(), folder=folder, ports=_free_ports(3)))
    hosts = HOSTS.read_text()
    HOSTS.write_text(hosts.rstrip("\n") + "\n" + "".join(f"127.0.0.1 {node}\n" for node in NODES))  # jax's coordinator is the first node
    environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(config)}
    daemons = [subprocess.Popen(_munge(folder), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]
    try:
        _until(lambda: (folder / "munge.socket").exists(), "munged")
        daemons.append(subprocess.Popen(["slurmctld", "-D", "-f", str(config)], env=environment, stderr=subprocess.DEVNULL))
        for node in NODES:
            command = ["slurmd", "-D", "-N", node, "-f", str(config)]
            daemons.append(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL))
        _until(lambda: _idle(environment) == len(NODES), "the nodes")
        yield config
    finally:
        subprocess.run(["scancel", "--state=RUNNING"], env=environment, check=False, capture_output=True)
        subprocess.run(["scancel", "--state=PENDING"], env=environment, check=False, capture_output=True)
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
        HOSTS.write_text(hosts)


def _munge(folder: Path) -> list[str]:
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    places = {"key-file": key, "socket": folder / "munge.socket", "pid-file": folder / "munged.pid", "log-file": folder / "munged.log"}
    options = [f"--{name}={path}" for name, path in {**places, "seed-file": folder / "munged.seed"}.items()]
    return ["munged", "--foreground", "--force", *options]


def _idle(environment: dict[str, str]) -> int:
    shown = subprocess.run(["sinfo", "--Node", "--noheader", "-o", "%T"], env=environment, capture_output=True, text=True, check=False)
    return shown.stdout.split().count("idle")


def _free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _until(ready: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come up within {seconds:.0f} s")
        time.sleep(0.2)
