"""The training step: state and batch in, state and metrics out; sharded, donated, compiled before step 0."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from varietas.model.config import ModelConfig
from varietas.model.decoder import Build, Decoder, Params, bind, graph_and_shapes, init_params
from varietas.model.loss import cross_entropy
from varietas.model.sharding import batch_sharding, param_shardings, replicated
from varietas.train.experiment import OptimConfig
from varietas.train.optimizer import learning_rate, make_optimizer

BATCH_FIELDS = ("tokens", "segments", "positions", "languages")
# So that what is sent is sent while products are computed (docs/scale.md shows how much). GPU: XLA would join a layer's gradients into one
# reduce-scatter at the layer's end, when nothing is left to compute. TPU: SparseCores send, where there are any, as in MaxText's recipes;
# gathers fused with products hide a little more, but on all but v5e XLA warns that they may give wrong results.
COMPILER_OPTIONS = {
    "gpu": {"xla_gpu_reduce_scatter_combine_threshold_bytes": 0, "xla_gpu_all_gather_combine_threshold_bytes": 0},
    "tpu": {
        "xla_enable_async_all_gather": True,
        "xla_tpu_prefer_async_allgather_to_allreduce": True,  # XLA would use twice the bytes where fsdp is the whole mesh
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
    """What a step changes. `step` (int32 scalar) is the number of steps done."""

    step: Any
    params: Params
    optimizer: Any


Batch = dict[str, jax.Array]  # BATCH_FIELDS, each int32 (B, L)
Metrics = dict[str, jax.Array]
StepFn = Callable[[State, Batch], tuple[State, Metrics]]


def next_tokens(batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
    """targets, mask and target languages, each (B, L): a token's target is the next one if that is of the same segment."""
    targets, languages = (jnp.roll(batch[name], -1, axis=1) for name in ("tokens", "languages"))
    segments = batch["segments"]
    mask = (segments > 0) & (segments == jnp.roll(segments, -1, axis=1))
    return targets, mask.at[:, -1].set(False).astype(jnp.float32), languages


def make_step(model: ModelConfig, optim: OptimConfig, steps: int, n_languages: int, grad_accum: int = 1, build: Build = Decoder) -> StepFn:
    """The step as a pure function, for jit.

    Metrics, all float32: loss (mean nll a target, nats), grad_norm (before clipping), learning_rate, and for each language
    (n_languages,): nll (sum), targets, tokens. The sums come out of the same forward pass as the loss.
    """
    graph, _ = graph_and_shapes(model, build)
    optimizer, rate = make_optimizer(optim, steps), learning_rate(optim, steps)

    def objective(params: Params, batch: Batch, total: jax.Array) -> tuple[jax.Array, Metrics]:
        decoder = bind(graph, params)
        targets, mask, languages = next_tokens(batch)
        hidden = decoder(batch["tokens"], batch["segments"], batch["positions"])
        loss, nll = cross_entropy(hidden, decoder.head_DV, targets, mask / total, optim.z_loss, model.loss_chunk)
        of_target = jax.nn.one_hot(languages, n_languages)
        of_token = jax.nn.one_hot(batch["languages"], n_languages)
        return loss, {
            "nll": _by_language(nll * mask, of_target),
            "targets": _by_language(mask, of_target),
            "tokens": _by_language((batch["segments"] > 0).astype(jnp.float32), of_token),
        }

    gradient = jax.grad(objective, has_aux=True)

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        total = jnp.maximum(next_tokens(batch)[1].sum(), 1.0)
        if grad_accum == 1:
            grads, sums = gradient(state.params, batch, total)
        else:
            # Every device splits its own rows, so no row moves; sums over parts weigh as one large batch.
            parts = jax.tree.map(lambda x: jnp.swapaxes(x.reshape(-1, grad_accum, x.shape[1]), 0, 1), batch)

            def add(carry: Any, part: Batch) -> tuple[Any, None]:
                return jax.tree.map(jnp.add, carry, gradient(state.params, part, total)), None

            shapes = jax.eval_shape(gradient, state.params, jax.tree.map(lambda x: x[0], parts), total)
            zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
            (grads, sums), _ = jax.lax.scan(add, zeros, parts)
        updates, optimizer_state = optimizer.update(grads, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {
            "loss": sums["nll"].sum() / total,
            "grad_norm": optax.tree.norm(grads),
            "learning_rate": rate(state.step),
            **sums,
        }
        return State(state.step + 1, params, optimizer_state), metrics

    return step


def _by_language(x_BL: jax.Array, of_BLn: jax.Array) -> jax.Array:
    return jnp.einsum("BL,BLn->n", x_BL, of_BLn, precision=jax.lax.Precision.HIGHEST)  # a TPU's products would round x to bfloat16


def abstract_state(model: ModelConfig, optim: OptimConfig, mesh: Mesh, build: Build = Decoder) -> State:
    """Shapes, dtypes and shardings of the whole state; nothing is allocated. Raises ValueError if the mesh does not fit."""
    _, shapes = graph_and_shapes(model, build)
    optimizer = make_optimizer(optim, 1)
    shardings = param_shardings(shapes, mesh)

    def with_sharding(x: Any, sharding: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

    return State(
        step=jax.ShapeDtypeStruct((), jnp.int32, sharding=replicated(mesh)),
        params=jax.tree.map(with_sharding, shapes, shardings),
        optimizer=optax.tree_map_params(
            optimizer,
            with_sharding,
            jax.eval_shape(optimizer.init, shapes),
            shardings,
            transform_non_params=lambda x: with_sharding(x, replicated(mesh)),
        ),
    )


def init_state(model: ModelConfig, optim: OptimConfig, mesh: Mesh, seed: int, build: Build = Decoder) -> State:
    """A fresh state; every array is born with its sharding, and the same numbers on any mesh."""

    def init() -> State:
        params = init_params(model, seed, build)
        return State(jnp.int32(0), params, make_optimizer(optim, 1).init(params))

    shardings = jax.tree.map(lambda x: x.sharding, abstract_state(model, optim, mesh, build))
    return jax.block_until_ready(jax.jit(init, out_shardings=shardings)())


def fresh_params(model: ModelConfig, mesh: Mesh, seed: int, build: Build = Decoder) -> Params:
    """The parameters of a fresh state alone, without the optimiser's."""
    shardings = param_shardings(graph_and_shapes(model, build)[1], mesh)
    return jax.block_until_ready(jax.jit(lambda: init_params(model, seed, build), out_shardings=shardings)())


def compile_step(step: StepFn, state: State, batch_size: int, seq_len: int, mesh: Mesh) -> jax.stages.Compiled:
    """Compiles the step for this mesh from shapes alone; the state handed to it is donated."""
    rows = jax.ShapeDtypeStruct((batch_size, seq_len), jnp.int32, sharding=batch_sharding(mesh))
    batch = dict.fromkeys(BATCH_FIELDS, rows)
    shardings = jax.tree.map(lambda x: x.sharding, state)
    options: Any = COMPILER_OPTIONS.get(mesh.devices.flat[0].platform)
    with jax.set_mesh(mesh):
        lowered = jax.jit(step, donate_argnums=0, out_shardings=(shardings, replicated(mesh))).lower(state, batch)
        return lowered.compile(compiler_options=options)
