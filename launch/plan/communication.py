"""What devices send to each other in a training step, by formula, and how long that takes.

Every exchange of the compiled step has a row here, with its kind, its mesh axis and its bytes; docs/plan.md compares them with the
collectives of compiled programs. Bytes are those that one device of a ring of n sends: (n - 1) / n of the array for all-gather,
reduce-scatter and all-to-all, twice that for all-reduce.
"""

import math
from dataclasses import dataclass

from varietas.configs.machines.base import Machine
from varietas.launch.plan.job import Job
from varietas.launch.plan.memory import WIDE, adapters, narrow, on_device, scattered_once, sizes, whole_layers
from varietas.model.flops import layer_kinds

LINK_SHARE = 0.8  # of a link's bandwidth that large exchanges reach; NCCL's own tests reach 0.75 to 0.9 of it
# The share of the bytes that compiled programs send while products are computed, with the flags of the machine files: means of
# tests/launch/plan/compiled.json. For AMD's GPUs, which XLA does not compile for here: what NVIDIA's have with the same flag.
HIDDEN = {
    "cuda": {"gather weights": 0.85, "scatter gradients": 0.68, "sum activations": 0.4},
    "rocm": {"gather weights": 0.26, "scatter gradients": 0.38, "sum activations": 0.4},
    "tpu": {"gather weights": 0.97, "scatter gradients": 0.95, "sum activations": 0.25},
}
REPLICAS_HIDDEN = 0.6  # of "sum gradients" on GPUs where parameters are not split; where they are, nothing of it


@dataclass(frozen=True)
class Exchange:
    """An exchange of arrays between devices of one mesh axis.

    Attributes:
        what: What it is for.
        kind: all-gather, all-reduce, reduce-scatter or all-to-all.
        axis: data, fsdp, tensor, or batch for data and fsdp together.
        group: Devices that take part.
        bytes: That one device sends each time.
        times: In one step.
    """

    what: str
    kind: str
    axis: str
    group: int
    bytes: float
    times: int

    @property
    def sent(self) -> float:
        """Bytes that one device sends in a step."""
        return self.bytes * self.times


@dataclass(frozen=True)
class Cost:
    """The time of an exchange.

    Attributes:
        exchange: The exchange.
        link: within a node, or between nodes.
        seconds: Of all its times in a step.
        hidden: Those that may pass while products are computed.
    """

    exchange: Exchange
    link: str
    seconds: float
    hidden: float


def exchanges(job: Job, platform: str) -> list[Exchange]:
    """Returns the exchanges of a step, without those of a group of one device.

    Args:
        job: The job.
        platform: cuda, rocm, tpu or cpu. On a TPU, XLA gathers the output matrix once in a step, elsewhere once for each part of a batch.
    """
    m, s, e, (data, fsdp, tensor) = job.model, sizes(job), narrow(job), job.mesh
    parts, activation = job.grad_accum, e * s.T * s.D
    matrices = [(n, on_device(matrix, tensor), matrix.n == 1 and matrix.split) for n, of_layer in layer_kinds(m) for matrix in of_layer]
    table, chunks = s.D * s.V, math.ceil(job.seq_len / min(m.loss_chunk, job.seq_len))
    sums_of_activations = 4 + (1 if m.remat == "full" else 0)  # after attention and feed-forward, in both passes, and when recomputed
    norms = WIDE * (2 * s.D + (2 * m.head_dim if m.qk_norm else 0))
    found = []

    def add(what: str, kind: str, axis: str, size: float, times: int) -> None:
        n = {"data": data, "fsdp": fsdp, "tensor": tensor, "batch": data * fsdp}[axis]
        if n > 1:
            found.append(Exchange(what, kind, axis, n, (2 if kind == "all-reduce" else 1) * size * (n - 1) / n, times))

    for n, size, _ in matrices:
        add("gather weights", "all-gather", "fsdp", e * size, 2 * n * parts)
    if m.lora_rank:  # nothing else has a gradient
        add("gather adapters", "all-gather", "fsdp", e * adapters(job)[0] * fsdp / m.n_layers, 2 * m.n_layers * parts)
        add("sum gradients of adapters", "all-reduce", "batch", WIDE * sum(adapters(job)) / m.n_layers, m.n_layers * parts)
    else:
        for n, size, _ in matrices:
            add("scatter gradients", "reduce-scatter", "fsdp", WIDE * size, n * parts)
        for n, of_layer in layer_kinds(m):
            elements = sum(on_device(matrix, tensor) for matrix in of_layer)
            add("sum gradients", "all-reduce", "data", WIDE * elements / fsdp, n * parts)
        add("scatter output gradient", "reduce-scatter", "fsdp", WIDE * table, 1 if scattered_once(job, platform) else parts)
        add("sum gradients of embeddings", "all-reduce", "data", WIDE * table / fsdp, 2)  # of input and output, also where these are tied
        add("sum gradients of norms", "all-reduce", "batch", norms, m.n_layers * parts)
    add("gather output matrix", "all-gather", "fsdp", e * table, 1 if platform == "tpu" else parts)
    add("exchange embeddings", "all-to-all", "fsdp", activation, (1 if m.lora_rank else 2) * parts)
    add("sum activations", "all-reduce", "tensor", activation, sums_of_activations * m.n_layers * parts)
    add("sum embeddings", "all-reduce", "tensor", activation, parts)
    add("sum activations of loss", "all-reduce", "tensor", activation / chunks, chunks * parts)
    for n, size, whole in matrices if job.optim.name == "muon" and not m.lora_rank else ():
        for axis in ("fsdp", "tensor") if whole else ("fsdp",):  # each device keeps its own experts
            add("exchange momenta", "all-to-all", axis, WIDE * size * (tensor if whole else 1) * whole_layers(job, n), 2)  # there and back
    return found


def cost(exchange: Exchange, job: Job, machine: Machine) -> Cost:
    """Returns how long an exchange takes.

    A group within a node uses the links of the node. Devices of a group that are on the same node share what they send to the next node,
    so each byte leaves the node once, over the adapters of all of them.
    """
    inner = {"data": job.mesh[1] * job.mesh[2], "fsdp": job.mesh[2], "tensor": 1, "batch": job.mesh[2]}[exchange.axis]
    n = exchange.group
    here = max(1, min(n, machine.devices_per_node // inner))  # devices of the group on one node
    nodes = math.ceil(n / here)
    within, between = machine.within, machine.between
    bandwidth = within.bandwidth if nodes == 1 else min(within.bandwidth, here * between.bandwidth)
    hops = math.ceil(math.log2(nodes)), math.ceil(math.log2(here))  # all-reduce of many is a tree
    if exchange.kind != "all-reduce":
        hops = nodes - 1, (here - 1) * nodes
    latency = hops[0] * between.latency + hops[1] * within.latency
    seconds = exchange.times * (exchange.bytes / (LINK_SHARE * bandwidth) + (2 if exchange.kind == "all-reduce" else 1) * latency)
    share = HIDDEN.get(machine.platform, {}).get(exchange.what, 0.0)
    if exchange.what == "sum gradients" and job.mesh[1] == 1 and machine.platform == "cuda":
        share = REPLICAS_HIDDEN
    return Cost(exchange, "within" if nodes == 1 else "between", seconds, share * seconds)
