"""The training step: a pure function from state and batch to a new state and metrics.

It is compiled before step 0, from shapes alone. The state is sharded over the mesh and donated to each step. A compiled step is guarded: if
its result is not to be used, it returns the state that it was given.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from varietas.model.config import ModelConfig
from varietas.model.decoder import Build, Decoder, Params, bind, graph_and_shapes, init_params
from varietas.model.linear.lora import applied, trained, with_trained, without_adapters
from varietas.model.loss import cross_entropy
from varietas.model.moe.routing import loads_by_language, pop_routed, with_balanced_bias
from varietas.model.preference import are_there, pairs
from varietas.model.sharding import batch_sharding, param_shardings, replicated
from varietas.train.experiment import OptimConfig
from varietas.train.optimizer import learning_rate, make_optimizer, with_schedule_at

BATCH_FIELDS = ("tokens", "segments", "positions", "languages")  # as `Stream.rows` returns them
# These options overlap communication with products (docs/scale.md shows how much). GPU: by default XLA combines the gradients of a layer
# into one reduce-scatter at the end of the layer, when nothing is left to compute. TPU: SparseCores, where present, do the communication,
# as in MaxText's recipes. All-gathers fused with products would overlap a little more, but XLA warns that they may give wrong results on
# every TPU but v5e.
COMPILER_OPTIONS = {
    "gpu": {"xla_gpu_reduce_scatter_combine_threshold_bytes": 0, "xla_gpu_all_gather_combine_threshold_bytes": 0},
    "tpu": {
        "xla_enable_async_all_gather": True,
        "xla_tpu_prefer_async_allgather_to_allreduce": True,  # if fsdp is the whole mesh, XLA would send twice the bytes
        "xla_tpu_enable_sparse_core_collective_offload_all_gather": True,
        "xla_tpu_enable_sparse_core_collective_offload_2d_all_gather": True,
        "xla_tpu_enable_sparse_core_collective_offload_3d_all_gather": True,
        "xla_tpu_enable_sparse_core_collective_offload_reduce_scatter": True,
        "xla_tpu_enable_sparse_core_collective_offload_nd_reduce_scatter": True,
        "xla_tpu_enable_sparse_core_collective_offload_all_reduce": True,
        "xla_tpu_use_tc_device_shape_on_sc": True,
        "xla_sc_disable_megacore_partitioning": True,
    },
}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """What a training step changes."""

    step: Any  # number of steps done, int32 scalar
    params: Params
    optimizer: Any  # state of the optimiser


Batch = dict[str, jax.Array]  # BATCH_FIELDS, each int32 (B, L)
Metrics = dict[str, jax.Array]
StepFn = Callable[[State, Batch], tuple[State, Metrics]]
GuardedStep = Callable[[State, Batch, Any, Any], tuple[State, Metrics]]


def next_tokens(batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns what each token has to predict: the next token, if that is in the same segment and is to be learned.

    Args:
        batch: A batch with the fields BATCH_FIELDS.

    Returns:
        Targets (int32), the mask of tokens that have a target (float32, 0 or 1) and the languages of the targets (int32, negative for
        those that are not to be learned), each (B, L).
    """
    targets, languages = (jnp.roll(batch[name], -1, axis=1) for name in ("tokens", "languages"))
    segments = batch["segments"]
    mask = (segments > 0) & (segments == jnp.roll(segments, -1, axis=1)) & (languages >= 0)
    return targets, mask.at[:, -1].set(False).astype(jnp.float32), languages


def in_parts(batch: Batch, n: int) -> Batch:
    """Splits a batch into n parts, (n, B / n, L). Every device splits its own rows, so no row moves: part k has rows k, k + n, k + 2n, …"""
    return jax.tree.map(lambda x: jnp.swapaxes(x.reshape(-1, n, x.shape[1]), 0, 1), batch)


def make_step(model: ModelConfig, optim: OptimConfig, steps: int, n_languages: int, grad_accum: int = 1, build: Build = Decoder) -> StepFn:
    """Returns the training step as a pure function, for jit.

    Its metrics are float32: `loss` (mean negative log-likelihood per target in nats), `grad_norm` (before clipping), `learning_rate`, and
    arrays (n_languages,) with the sum `nll` and the numbers `targets` and `tokens` of each language. The sums come from the same forward
    pass as the loss. A mixture of experts has `loads` too, (R, n_languages, E): the tokens of each expert.

    With `optim.dpo_beta`, a pair of conversations stands for a target, and its loss for the negative log-likelihood. There are `wins`,
    `chosen` and `rejected` then, (n_languages,): the pairs whose chosen side has the higher reward, and the sums of the rewards.

    Args:
        model: The shape of the model.
        optim: The config of the optimiser.
        steps: The number of all steps, for the learning rate schedule.
        n_languages: The number of languages of the corpus.
        grad_accum: Number of parts of a batch that are computed one after the other, to save memory.
        build: Makes the model.
    """
    graph, _ = graph_and_shapes(model, build)
    optimizer, rate = make_optimizer(optim, steps), learning_rate(optim, steps)

    def nats(hidden: jax.Array, head: jax.Array, targets: jax.Array) -> jax.Array:
        """Returns the nll of each target, which has no gradient."""
        hidden, head = jax.lax.stop_gradient((hidden, head))
        return cross_entropy(hidden, head, targets, jnp.zeros(targets.shape, jnp.float32), 0.0, model.loss_chunk)[1]

    def preferred(hidden: jax.Array, head: jax.Array, params: Params, batch: Batch, total: jax.Array) -> tuple[jax.Array, Metrics]:
        targets, mask, languages = next_tokens(batch)
        reference = bind(graph, without_adapters(params))
        of_reference = nats(reference(batch["tokens"], batch["segments"], batch["positions"]), reference.head_DV, targets)
        found = pairs(nats(hidden, head, targets), of_reference, mask, batch["segments"], languages, optim.dpo_beta)
        # The sum that this returns is not the loss of the pairs, but has its gradient.
        loss, _ = cross_entropy(hidden, head, targets, found.weights_BL / total, 0.0, model.loss_chunk)
        of_pair = jax.nn.one_hot(found.languages_BP, n_languages, dtype=jnp.float32)
        wins = (found.chosen_BP > found.rejected_BP).astype(jnp.float32)
        sums = {"nll": found.loss_BP, "targets": found.there_BP, "wins": wins, "chosen": found.chosen_BP, "rejected": found.rejected_BP}
        return loss, {name: _by_language(x_BP, of_pair) for name, x_BP in sums.items()}

    def count(mask: jax.Array, segments: jax.Array) -> jax.Array:
        return (are_there(mask, segments) if optim.dpo_beta else mask).sum()

    def objective(params: Params, batch: Batch, total: jax.Array) -> tuple[jax.Array, Metrics]:
        decoder = bind(graph, applied(params, model))
        targets, mask, languages = next_tokens(batch)
        hidden = decoder(batch["tokens"], batch["segments"], batch["positions"])
        if optim.dpo_beta:
            loss, sums = preferred(hidden, decoder.head_DV, params, batch, total)
        else:
            loss, nll = cross_entropy(hidden, decoder.head_DV, targets, mask / total, optim.z_loss, model.loss_chunk)
            of_target = jax.nn.one_hot(languages, n_languages, dtype=jnp.float32)
            sums = {"nll": _by_language(nll * mask, of_target), "targets": _by_language(mask, of_target)}
        of_token = jax.nn.one_hot(jnp.maximum(batch["languages"], ~batch["languages"]), n_languages, dtype=jnp.float32)
        real = (batch["segments"] > 0).astype(jnp.float32)
        sums["tokens"] = _by_language(real, of_token)
        if routing := pop_routed(decoder):
            of_router = optim.balance_loss * routing["balance"].mean() + optim.router_z_loss * routing["z"].mean()
            loss += of_router * sums["targets"].sum() / total
            sums["loads"] = loads_by_language(routing["experts_BLA"], of_token * real[..., None], model.n_experts)
        return loss, sums

    def of_trained(new: Params, params: Params, batch: Batch, total: jax.Array) -> tuple[jax.Array, Metrics]:
        return objective(with_trained(params, new), batch, total)

    gradient = jax.grad(of_trained, has_aux=True)

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        total, learned = jnp.maximum(count(next_tokens(batch)[1], batch["segments"]), 1.0), trained(state.params)
        if grad_accum == 1:
            grads, sums = gradient(learned, state.params, batch, total)
        else:
            # `total` is of the whole batch, so the parts add up to its gradient.
            parts = in_parts(batch, grad_accum)

            def add(carry: Any, part: Batch) -> tuple[Any, None]:
                return jax.tree.map(jnp.add, carry, gradient(learned, state.params, part, total)), None

            shapes = jax.eval_shape(gradient, learned, state.params, jax.tree.map(lambda x: x[0], parts), total)
            zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
            (grads, sums), _ = jax.lax.scan(add, zeros, parts)
        updates, optimizer_state = optimizer.update(grads, state.optimizer, learned)
        params = with_trained(state.params, cast(Params, optax.apply_updates(learned, updates)))
        if model.router_bias and "loads" in sums and not model.lora_rank:
            params = with_balanced_bias(params, sums["loads"].sum(1), optim.router_bias_rate)
        metrics = {
            "loss": sums["nll"].sum() / total,
            "grad_norm": optax.tree.norm(grads),
            "learning_rate": rate(state.step),
            **sums,
        }
        return State(state.step + 1, params, optimizer_state), metrics

    return step


def _by_language(x_BL: jax.Array, of_BLn: jax.Array) -> jax.Array:
    """Sums values by language, which is given one-hot."""
    return jnp.einsum("BL,BLn->n", x_BL, of_BLn, precision=jax.lax.Precision.HIGHEST)  # a TPU would otherwise round x to bfloat16


def guarded(plain: StepFn) -> GuardedStep:
    """Returns a step that takes two more scalars, its number (int32) and the highest loss that it may have (float32).

    It returns the state that it was given if the loss is higher, if the loss or the gradient norm is not finite, or if `state.step` is
    another number. So a step that was dispatched after one without effect has no effect either, and the number -1 computes the metrics
    alone. They say in `applied`, a boolean, whether the state has changed.
    """

    def step(state: State, batch: Batch, n: jax.Array, limit: jax.Array) -> tuple[State, Metrics]:
        new, metrics = plain(state, batch)
        loss, norm = metrics["loss"], metrics["grad_norm"]
        applied = (state.step == n) & (loss <= limit) & jnp.isfinite(loss) & jnp.isfinite(norm)
        return jax.tree.map(partial(jnp.where, applied), new, state), {**metrics, "applied": applied}

    return step


def passed_over(state: State, step: int) -> State:
    """Returns the same parameters and moments as if `step` steps were done: the learning rate follows its schedule."""
    return State(jax.device_put(np.int32(step), state.step.sharding), state.params, with_schedule_at(state.optimizer, step))


def abstract_state(model: ModelConfig, optim: OptimConfig, mesh: Mesh, build: Build = Decoder) -> State:
    """Returns the shapes, dtypes and shardings of the state as ShapeDtypeStructs. Nothing is allocated.

    Args:
        model: The shape of the model.
        optim: The config of the optimiser.
        mesh: The mesh to shard over.
        build: Makes the model.

    Raises:
        ValueError: If a parameter does not divide over the mesh.
    """
    _, shapes = graph_and_shapes(model, build)
    optimizer = make_optimizer(optim, 1)
    shardings = param_shardings(shapes, mesh)

    def with_sharding(x: Any, sharding: Any) -> jax.ShapeDtypeStruct | optax.MaskedNode:
        if isinstance(x, optax.MaskedNode):  # a parameter of the other optimiser
            return x
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

    return State(
        step=jax.ShapeDtypeStruct((), jnp.int32, sharding=replicated(mesh)),
        params=jax.tree.map(with_sharding, shapes, shardings),
        optimizer=optax.tree_map_params(
            optimizer,
            with_sharding,
            jax.eval_shape(optimizer.init, trained(shapes)),
            trained(shardings),
            transform_non_params=lambda x: with_sharding(x, replicated(mesh)),
            is_leaf=lambda x: isinstance(x, optax.MaskedNode),
        ),
    )


def init_state(model: ModelConfig, optim: OptimConfig, mesh: Mesh, seed: int, build: Build = Decoder) -> State:
    """Returns an initial state. Every array is created with its sharding, and has the same values on any mesh."""

    def init() -> State:
        params = init_params(model, seed, build)
        return State(jnp.int32(0), params, make_optimizer(optim, 1).init(trained(params)))

    shardings = jax.tree.map(lambda x: x.sharding, abstract_state(model, optim, mesh, build))
    return jax.block_until_ready(jax.jit(init, out_shardings=shardings)())


def fresh_params(model: ModelConfig, mesh: Mesh, seed: int, build: Build = Decoder) -> Params:
    """Returns the parameters of an initial state without the state of the optimiser."""
    shardings = param_shardings(graph_and_shapes(model, build)[1], mesh)
    return jax.block_until_ready(jax.jit(lambda: init_params(model, seed, build), out_shardings=shardings)())


def compile_step(step: StepFn, state: State, batch_size: int, seq_len: int, mesh: Mesh) -> jax.stages.Compiled:
    """Compiles a step for a mesh from shapes alone: `trace_step`, then `compile_traced`."""
    return compile_traced(trace_step(step, state, batch_size, seq_len, mesh), mesh)


def trace_step(step: StepFn, state: State, batch_size: int, seq_len: int, mesh: Mesh) -> jax.stages.Traced:
    """Traces a step, which is then `guarded` and donates its state.

    Args:
        step: From `make_step`.
        state: From `abstract_state`.
        batch_size: Rows of a global batch.
        seq_len: Tokens of a row.
        mesh: The mesh to run on.
    """
    rows = jax.ShapeDtypeStruct((batch_size, seq_len), jnp.int32, sharding=batch_sharding(mesh))
    batch = dict.fromkeys(BATCH_FIELDS, rows)
    n, limit = (jax.ShapeDtypeStruct((), dtype, sharding=replicated(mesh)) for dtype in (jnp.int32, jnp.float32))
    shardings = jax.tree.map(lambda x: x.sharding, state)
    with jax.set_mesh(mesh):
        return jax.jit(guarded(step), donate_argnums=0, out_shardings=(shardings, replicated(mesh))).trace(state, batch, n, limit)


def compile_traced(step: jax.stages.Traced, mesh: Mesh) -> jax.stages.Compiled:
    """Compiles a traced step for the devices of a mesh."""
    options: Any = COMPILER_OPTIONS.get(mesh.devices.flat[0].platform)
    with jax.set_mesh(mesh):
        return step.lower().compile(compiler_options=options)
