"""Bytes that a device holds in a training step, by formula.

Memory is fullest either in the loss, when the activations of all layers are kept and a chunk of logits is in memory, or in the backward
pass of a layer, when the gradients of all layers are being collected. docs/plan.md compares these formulas with XLA's own figures.
Dimension letters are those of model/sharding.py; T is the tokens that a device works on at once, and N, K, F and V are divided by the size
of `tensor`.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from varietas.launch.plan.job import Job
from varietas.model.flops import Matrix, elements_of_layers, layer_kinds

WIDE = 4  # bytes of float32: parameters, gradients, moments of the optimiser
GAPS = 0.3  # arrays of the two moments have different sizes, so one leaves gaps in the memory of the other: fitted to compiled programs
BLOCKS, SMALLEST_BLOCK, KEYS_AT_ONCE = 8, 64, 2048  # of attention in blocks (model/attention/blockwise.py)


class Hidden(NamedTuple):
    """What a feed-forward part holds of its width, in elements for each token and column, unless it is said otherwise.

    Experts hold the same of their width, for each of the experts of a token.
    """

    products: int  # outputs of its products into that width
    saved: float  # kept for the backward pass, if nothing is recomputed
    masks: int  # kept besides, in bytes
    full: int  # recomputed at a time with model.remat=full
    dots: int  # the same with model.remat=dots


# By `model.feed_forward`. What is saved is what jax.ad_checkpoint lists of model/feed_forward.py. The rest is fitted to compiled programs:
# the derivative of xielu needs its square and its exponential too.
HIDDEN = {"swiglu": Hidden(2, 6, 0, 3, 1), "xielu": Hidden(1, 6, 1, 3, 3), "experts": Hidden(2, 6, 0, 3, 1)}


@dataclass(frozen=True)
class Memory:
    """Bytes of one device at the fullest moment of a step."""

    parameters: float
    optimizer: float  # two moments for each parameter, or one with Muon
    gradients: float  # of all layers, and the sum over the parts of a batch if there are several
    activations: float  # kept for the backward pass
    temporaries: float

    @property
    def total(self) -> float:
        """All of them together."""
        return self.parameters + self.optimizer + self.gradients + self.activations + self.temporaries


class Sizes(NamedTuple):
    """Numbers of elements of a device: what its model is made of."""

    T: int
    D: int
    NH: int
    KH: int
    F: int  # of the layers of which there are most; for a mixture of experts the width of all experts of a token together
    V: int
    A: int  # experts of a token; 0 if there are none
    layer: int  # elements of the matrices of a layer that are gathered at a time: those of a device's `tensor` part
    largest: int  # elements of the largest of them
    layers: int  # elements of all layers
    active: float  # those of them that a token is multiplied with


def on_device(matrix: Matrix, tensor: int) -> int:
    """Returns the elements of a matrix that a device multiplies with, of which it keeps the part of `fsdp`."""
    return matrix.elements // (tensor if matrix.split else 1)


def sizes(job: Job) -> Sizes:
    """Returns the sizes of a job on one device."""
    m, t = job.model, job.mesh[2]
    NH, KH, V = m.n_heads * m.key_dim // t, m.n_kv_heads * m.key_dim // t, m.vocab_size // t
    matrices = layer_kinds(m)[-1][1]
    A = m.n_experts_per_token if m.n_expert_layers else 0
    F = A * m.d_expert + m.n_shared_experts * m.d_expert // t if A else m.d_ff // t
    return Sizes(
        job.rows * job.seq_len, m.d_model, NH, KH, F, V, A,
        layer=sum(on_device(matrix, t) for matrix in matrices),
        largest=matrices[-1].elements // t,
        layers=sum(n * on_device(matrix, t) for n, of_layer in layer_kinds(m) for matrix in of_layer),
        active=elements_of_layers(m, active=True) / t,
    )  # fmt: skip


def sharded_parameters(job: Job) -> tuple[float, float]:
    """Returns the parameters of a device: those of the layers' matrices, and the rest. Vectors are not split over fsdp."""
    m, s, (_, fsdp, _) = job.model, sizes(job), job.mesh
    of_layer = (
        2 * s.D
        + (m.q_rank + m.kv_rank if m.kv_rank else 2 * m.head_dim * m.qk_norm)
        + (s.NH + 2 * s.KH) * m.qkv_bias
        + 2 * (m.feed_forward == "xielu")
    )
    vectors = m.n_layers * of_layer + s.D + m.n_expert_layers * m.n_experts * m.router_bias
    tables = s.D * s.V * (1 if m.tied_embeddings else 2)
    return s.layers / fsdp, tables / fsdp + vectors


def adapters(job: Job) -> tuple[float, float]:
    """Returns the parameters of the adapters of a device: those that fsdp splits, and the others.

    All linear layers are taken to have one: `model.lora_on` is not read. Of the two sides of a matrix, one is split over fsdp and the other
    over tensor. Experts are split over tensor, and their width is not.
    """
    m, (_, fsdp, tensor) = job.model, job.mesh
    split_over_fsdp, others = 0.0, 0.0
    for n, of_layer in layer_kinds(m) if m.lora_rank else ():
        for matrix in of_layer:
            if (matrix.rows, matrix.columns) == (m.d_model, m.n_experts) and m.n_expert_layers:  # a router
                continue
            over_fsdp, other = (matrix.columns, matrix.rows) if matrix.columns == m.d_model else (matrix.rows, matrix.columns)
            times = n * m.lora_rank * (matrix.n / tensor if matrix.n > 1 else 1)
            split_over_fsdp += times * over_fsdp / fsdp
            others += times * other / (1 if matrix.n > 1 or not matrix.split else tensor)
    return split_over_fsdp, others


def whole_layers(job: Job, n_layers: int) -> int:
    """Returns the layers whose matrices Muon makes orthogonal on one device, which needs them whole; 0 with AdamW.

    Args:
        job: The job.
        n_layers: How many layers have such matrices.
    """
    return math.ceil(n_layers / (job.mesh[1] * job.mesh[2])) if job.optim.name == "muon" else 0


def narrow(job: Job) -> int:
    """Returns the bytes of an element of the compute dtype."""
    return 2 if job.model.dtype == "bfloat16" else WIDE


def saved_per_token(job: Job) -> float:
    """Returns the bytes that one layer keeps for the backward pass, for each token (REMAT in model/decoder.py)."""
    s, e, hidden = sizes(job), narrow(job), HIDDEN[job.model.feed_forward]
    if job.model.remat == "full":
        return e * s.D
    scores = WIDE * job.model.n_experts * (s.A > 0)
    products = e * (s.NH + 2 * s.KH + s.D + hidden.products * s.F) + scores  # queries, keys, values, output of attention, gate and up
    if job.model.remat == "dots":
        return e * s.D + products
    # Everything that the derivatives name: both norms in float32 with their squares' means applied, rotated heads, the parts of the gate
    experts = e * s.A * s.D + 3 * scores  # of each token once for each of its experts
    return 4 * WIDE * s.D + e * (2 * s.D + 2 * s.NH + 2 * s.KH + hidden.saved * s.F) + hidden.masks * s.F + experts


def memory(job: Job, platform: str) -> Memory:
    """Returns what a device holds when its memory is fullest.

    Args:
        job: The job.
        platform: cuda, rocm, tpu or cpu: it decides how attention is computed.
    """
    m, s, e, (_, fsdp, _) = job.model, sizes(job), narrow(job), job.mesh
    (layers, rest), of_adapters = sharded_parameters(job), sum(adapters(job))
    params = WIDE * (layers + rest + of_adapters)
    if m.lora_rank:
        layers, rest = of_adapters, 0.0  # what is trained
    saved = m.n_layers * s.T * saved_per_token(job)
    sums = WIDE * (layers + rest) if job.grad_accum > 1 else 0.0
    if job.grad_accum > 1 and not m.lora_rank and scattered_once(job, platform):
        sums += WIDE * s.D * s.V * (1 - 1 / fsdp)
    cast = e if fsdp > 1 or e != WIDE else 0  # weights are gathered or cast before use
    table = 0 if m.lora_rank else s.D * s.V  # what of the output matrix has a gradient
    head = s.D * s.V * cast + table * WIDE  # the whole output matrix and its whole gradient
    chunk = min(m.loss_chunk, job.seq_len)
    logits = job.rows * chunk * s.V * (WIDE + e)
    loss = head + logits + 6 * e * s.T * s.D
    grads = WIDE * layers
    backward = grads + WIDE * table / fsdp + layer_work(job, platform)
    held = grads if backward > loss else 0
    temporaries = max(loss, backward) - held + GAPS * min(loss, backward) + 5 * WIDE * job.rows * job.seq_len
    moments = WIDE * ((1 if job.optim.name == "muon" else 2) * layers + 2 * rest)
    return Memory(params, moments, sums + held, saved, temporaries)


def scattered_once(job: Job, platform: str) -> bool:
    """Returns whether XLA sums the gradient of the output matrix over all parts of a batch before it scatters it, and so keeps it whole.

    XLA's TPU compiler does where fsdp is the only axis.
    """
    return platform == "tpu" and job.mesh[1] > 1 and job.mesh[0] == job.mesh[2] == 1


def layer_work(job: Job, platform: str) -> float:
    """Returns the bytes that the backward pass of one layer needs beside what is kept.

    That is what it recomputes, gradients of activations, weights on their way, and the gradients of weights. It needs most either in the
    feed-forward part or in attention.
    """
    m, s, e, hidden = job.model, sizes(job), narrow(job), HIDDEN[job.model.feed_forward]
    inputs = {"full": 2 * s.D + 3 * s.NH + 4 * s.KH, "dots": 2 * s.D + 2 * s.NH + s.KH, "none": 0}[m.remat]  # of what comes after attention
    feed_forward = 6 * s.D + 4 * s.F + {"full": hidden.full, "dots": hidden.dots, "none": 0}[m.remat] * s.F
    feed_forward += s.A * s.D  # tokens sorted by expert
    attention = 6 * s.D + 4 * s.NH + 4 * s.KH
    work = max(e * s.T * feed_forward, e * s.T * attention + scores(job, platform))
    wide = 0 if m.lora_rank else WIDE  # of a gradient
    weights: float = (e + wide) * s.largest  # of the largest matrix, cast, and its gradient
    if job.mesh[1] > 1:  # of four matrices on their way, and three gradients: exchanges overlap with products
        weights = (4 * e + 3 * wide) * s.largest
    if s.A and job.mesh[1] > 1:  # all matrices of the experts, their gradients, and copies in other orders: fitted to compiled programs
        weights = (3 * e + 4 * wide) * s.layer
    if job.mesh[0] > 1:
        weights += 2 * wide * s.layer / job.mesh[1]  # gradients of a layer, combined for their sum over replicas
    return e * s.T * inputs + work + weights


def block_size(length: int) -> int:
    """Returns the queries of a block of attention, in rows of this length."""
    return min(max(SMALLEST_BLOCK, math.ceil(length / BLOCKS)), length)


def window(job: Job) -> int:
    """Returns the most tokens that a token attends to."""
    return min(job.model.sliding_window or job.seq_len, job.seq_len)


def scores(job: Job, platform: str) -> float:
    """Returns the bytes of attention's own arrays: the mask of cuDNN, or the scores of a block and the gradients of heads in float32."""
    m, s, L = job.model, sizes(job), job.seq_len
    if job.attention(platform) == "cudnn":
        return narrow(job) * job.rows * L * L
    block = block_size(L)
    of_block = 3 * WIDE * job.rows * (m.n_heads // job.mesh[2]) * block * min(L, KEYS_AT_ONCE, block + window(job) - 1)
    return of_block + WIDE * s.T * 2 * (s.NH + s.KH)
