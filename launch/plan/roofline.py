"""The time of a training step by a roofline: products at a share of the peak, the rest at the speed of memory, exchanges over their links.

Matrix products run at `Machine.attainable` of the peak. Norms, rotations, gates, casts, the loss and the optimiser move bytes between a
device and its memory; they run between the products, so the two times add up. Exchanges that the compiler can overlap with products cost
nothing as long as the products last; the others are added. docs/plan.md says where each figure comes from and compares the result with
published runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from varietas.configs.machines.base import Machine
from varietas.launch.plan.communication import Cost, cost, exchanges
from varietas.launch.plan.job import Job
from varietas.launch.plan.memory import HIDDEN, WIDE, adapters, block_size, narrow, sharded_parameters, sizes, whole_layers, window
from varietas.model.flops import layer_kinds, newton_schulz_flops, train_flops_per_token

MEMORY_SHARE = 0.8  # of the memory bandwidth that element-wise kernels reach
FLASH_SHARE = 0.65  # speed of cuDNN's attention beside that of other products: FlashAttention-3 reaches 0.6 to 0.7 of it in training
WIDE_SHARE = {"cuda": 0.5, "rocm": 0.25, "tpu": 1.0, "cpu": 1.0}  # of the peak in bfloat16 that products of float32 have: TF32 on NVIDIA
BLOCKS_SHARE = 0.8  # speed of the products of attention in blocks, whose scores go through memory as well


@dataclass(frozen=True)
class Step:
    """The time of a step, in seconds, on one device; all devices work alike.

    Attributes:
        products: Matrix products, recomputed ones included.
        memory: Work that waits for memory.
        hidden: Communication while products are computed.
        exposed: Communication that products wait for.
        costs: Each exchange.
        model_flops: FLOP of the model for one device, without recomputation.
    """

    products: float
    memory: float
    hidden: float
    exposed: float
    costs: Sequence[Cost]
    model_flops: float

    @property
    def seconds(self) -> float:
        """The time of the step."""
        return self.products + self.memory + self.exposed

    def mfu(self, machine: Machine) -> float:
        """Returns the share of the peak that the model's FLOP are of (model FLOP/s utilisation)."""
        return self.model_flops / self.seconds / machine.peak


def step_time(job: Job, machine: Machine) -> Step:
    """Returns the time of a step of a job on a machine."""
    costs = [cost(exchange, job, machine) for exchange in exchanges(job, machine.platform)]
    products, memory = product_seconds(job, machine), memory_bytes(job, machine.platform) / (MEMORY_SHARE * machine.memory_bandwidth)
    overlapped = sum(one.hidden for one in costs)
    hidden = min(overlapped, products + memory)
    exposed = sum(one.seconds for one in costs) - hidden
    model_flops = train_flops_per_token(job.model, job.seq_len, job.optim.dpo_beta > 0) * job.tokens / job.devices
    return Step(products, memory, hidden, exposed, costs, model_flops)


def product_seconds(job: Job, machine: Machine) -> float:
    """Returns the time of all matrix products of a device in a step."""
    m, s = job.model, sizes(job)
    recomputed = s.active - m.n_layers * s.D * s.F if m.remat == "full" else 0  # the last product of a layer is not needed again
    times, reference = 2 if m.lora_rank else 3, job.optim.dpo_beta > 0  # the products of adapters themselves are left out
    dense = (times + reference) * s.active + recomputed + (times + 2 * reference) * s.D * s.V  # preferences take the logits twice
    # Scores and sums: two products forward, five backward, since the scores are computed again; half of them are masked
    passes = (2 if m.remat == "none" else 4) + 5 + 2 * reference
    blockwise = job.attention(machine.platform) == "blocks"
    core = m.n_layers * passes * s.NH * (multiplied(job) if blockwise else attended(job))
    share = BLOCKS_SHARE if blockwise else FLASH_SHARE
    muon = sum(whole_layers(job, n) * sum(map(newton_schulz_flops, of_layer)) for n, of_layer in layer_kinds(m))
    muon_as_fast = muon / WIDE_SHARE[machine.platform]
    return (2 * s.T * job.grad_accum * (dense + core / share) + muon_as_fast) / (machine.peak * machine.attainable)


def attended(job: Job) -> float:
    """Returns the keys that a query attends to, on average: half of its row, or with a sliding window at most that."""
    return window(job) - window(job) ** 2 / (2 * job.seq_len)


def multiplied(job: Job) -> float:
    """Returns the keys that attention in blocks multiplies a query with, on average: all that any query of its block attends to."""
    size = block_size(job.seq_len)
    return mean(min(begin + size, job.seq_len, size + window(job) - 1) for begin in range(0, job.seq_len, size))


def memory_bytes(job: Job, platform: str) -> float:
    """Returns the bytes that a device reads and writes in a step outside of matrix products."""
    m, s, e = job.model, sizes(job), narrow(job)
    layers, rest = sharded_parameters(job)
    # Forward: two norms and two sums with the residual (8 D), rotations (2 N + 2 K), the gate (3 F: two read, one written; 2 F where one is
    # read); backward: about twice that
    layer = e * (8 * s.D + 2 * s.NH + 2 * s.KH + (HIDDEN[m.feed_forward].products + 1) * s.F)
    layer += e * 6 * s.A * s.D  # rows are sorted by expert and back again, then weighted: each read and written
    passes = 3 if m.remat == "none" else 4
    logits = (4 * WIDE + 2 * e) * s.V  # written, read for the maximum, the sum and the gradient, in float32; then read for two products
    scores = 0.0
    if job.attention(platform) == "blocks":  # written and read in float32, and the weights in the compute dtype, in each pass
        scores = m.n_heads / job.mesh[2] * attended(job) * (2 * WIDE + 2 * e)
    tokens = s.T * job.grad_accum * (m.n_layers * passes * (layer + scores) + logits)
    # Weights are read, cast, gathered and read for each product; their gradients are written, summed over devices and stored
    with_gradient, trained = (0, sum(adapters(job))) if m.lora_rank else (s.layers, layers + rest)
    weights = job.grad_accum * (2 * s.layers * 2 * e + with_gradient * 2 * WIDE)
    sums = 3 * job.grad_accum if job.grad_accum > 1 else 0  # gradients of the parts of a batch
    optimizer = WIDE * (8 + sums) * trained
    return tokens + weights + optimizer
