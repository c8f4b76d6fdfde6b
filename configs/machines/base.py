"""What a machine file describes: devices, links, power, and how jobs are submitted. A machine file sets MACHINE to a `Machine`.

Figures without a source are of the makers' data sheets. (m) marks a figure from memory that was not looked up, (e) an estimate.
Sources that several files cite:

- OWID: national grid of 2023, in g of CO2 per kWh produced, Our World in Data as copied in mlco2/codecarbon's global_energy_mix.json.
  It is the grid where the machine stands; contracts of the site, such as LUMI's for hydropower, do not count.
- TOP500: power of the Linpack run in the TOP500 list divided by the nodes of the machine.
- autoexp: OpenEuroLLM's oellm-autoexp, its config/slurm and its reports.
"""

from dataclasses import dataclass
from functools import partial

# Who makes the devices of a platform, and the packages with which jax uses them.
MAKERS = {"cuda": "NVIDIA", "rocm": "AMD", "tpu": "Google TPU"}
PLUGINS = {
    "cuda": ("jax-cuda13-plugin", "jax-cuda12-plugin"),
    "rocm": ("jax-rocm10-plugin", "jax-rocm7-plugin"),
    "tpu": ("libtpu",),
}

# Steps of a ring in NCCL's own model of its Simple protocol, in seconds: hwLat in src/graph/tuning.cc
NVLINK_LATENCY, NETWORK_LATENCY = 3.4e-6, 14e-6


@dataclass(frozen=True)
class Link:
    """What connects devices."""

    bandwidth: float  # bytes per second that one device sends, at the same time as it receives as much
    latency: float  # seconds for one step of a ring


@dataclass(frozen=True)
class Setting:
    """An environment variable of a job, and why it is set: the reason stands beside it in the job's script."""

    name: str
    value: str  # the shell of the job expands variables in it
    reason: str


XLA_MEMORY = Setting("XLA_CLIENT_MEM_FRACTION", "0.92", "XLA takes 0.75 by default; NCCL or RCCL needs a little beside it")
# Without these flags, the compiled step of an A100 waits for every exchange. With them, 0.77 of the bytes of gathers and 0.61 of those of
# reduce-scatters are on their way while products are computed, as on an H100, where XLA does so by itself (`varietas plan --compile`).
XLA_OVERLAP = Setting(
    "XLA_FLAGS",
    "${XLA_FLAGS:-} --xla_gpu_enable_latency_hiding_scheduler=true --xla_gpu_enable_analytical_latency_estimator=true",
    "an A100 computes while arrays are on their way only if XLA is told to arrange that",
)


@dataclass(frozen=True)
class Queue:
    """Where a job waits: a partition, with a quality of service where the site has several."""

    partition: str
    time_limit: str  # longest job, as sbatch --time takes it
    max_nodes: int  # of one job
    qos: str = ""


@dataclass(frozen=True)
class Slurm:
    """How the site runs jobs."""

    queues: tuple[Queue, ...]  # a job goes to the first that allows its nodes and its time
    account: str = ""  # what accounts look like; "": the site has default accounts
    devices: str = "--gpus-per-node"  # the option of sbatch that asks for the devices of a node; "": none
    options: tuple[str, ...] = ()  # further options of sbatch
    srun: tuple[str, ...] = ()  # further options of srun
    modules: tuple[str, ...] = ()  # arguments of `module` before a job begins, such as "load singularity"


@dataclass(frozen=True)
class Machine:
    """A machine, or the part of it that has one kind of device. A device is what jax counts as one."""

    name: str
    place: str  # site, town and country
    device: str
    platform: str  # cuda, rocm, tpu or cpu
    nodes: int
    devices_per_node: int
    memory: int  # bytes of a device
    peak: float  # dense bfloat16 FLOP/s of a device
    attainable: float  # share of `peak` that matrix products of a training step reach; docs/plan.md says how it was found
    memory_bandwidth: float  # bytes per second between a device and its memory
    within: Link  # between devices of a node
    between: Link  # between nodes
    power: float  # W of a node in training
    pue: float  # power of the site divided by the power of its nodes
    carbon: float  # g of CO2 per kWh
    cores: int  # of a node, for jobs
    node_memory: int  # bytes of a node, for jobs
    compiler: str = ""  # target of the compilers behind `varietas plan --compile`; "": there is none
    container: str = ""  # apptainer or singularity; "": none
    slurm: Slurm | None = None
    environment: tuple[Setting, ...] = ()  # for every job


def memory_of(size: int) -> int:
    """Returns the bytes that a driver offers of a GPU that is sold with `size` GB.

    Drivers keep up to 2 %: they offer 42,298,507,264 of 40 GB (A100), 85,198,045,184 of 80 GB (A100) and 84,978,434,048 (H100).
    """
    return int(0.98 * size * 2**30)


# GPUs of several machines. NVLink 3 has 12 links of 25 GB/s, NVLink 4 has 18. docs/plan.md says how `attainable` was found.
a100 = partial(Machine, platform="cuda", compiler="a100", peak=312e12, attainable=0.6, within=Link(300e9, NVLINK_LATENCY))
a100_40 = partial(
    a100, device="NVIDIA A100 SXM4 40 GB", memory=memory_of(40), memory_bandwidth=1.555e12, environment=(XLA_MEMORY, XLA_OVERLAP)
)
h100 = partial(Machine, platform="cuda", compiler="h100", peak=989e12, attainable=0.52, within=Link(450e9, NVLINK_LATENCY))
