"""AdamW (Loshchilov and Hutter, 2019), or Muon (Jordan et al., 2024) and AdamW, with gradient clipping and a learning rate schedule.

Muon steps along its momentum made orthogonal: all singular values of an update are about 1. The scale is that of Liu et al. (2025): an
update is multiplied by 0.2 √max(rows, columns), so its root mean square is that of AdamW's, whose learning rate and decay then serve.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from varietas.model.sharding import STACKS, dims_of, matrices, on_whole_matrices, sides
from varietas.train.experiment import OptimConfig

T = TypeVar("T")  # a tree

MOMENTUM = 0.95  # of Muon (Jordan et al., 2024)
LIKE_ADAMW = 0.2  # root mean square of AdamW's updates, as Liu et al. (2025) found it


def learning_rate(cfg: OptimConfig, steps: int) -> Callable[[ArrayLike], jax.Array]:
    """Returns a function from the number of a step, from 0, to its learning rate.

    A linear warm-up is followed by the schedule. "cosine" follows half a cosine down to the final rate (Loshchilov and Hutter, 2017). "wsd"
    stays constant, then falls linearly to the final rate over the last `decay_fraction` of all steps, at least one (warmup-stable-decay, Hu
    et al., 2024). "constant" has no decay. The last step of warm-up has the peak rate, and the last step of all has the final rate.
    """
    decay_steps = {"cosine": steps - cfg.warmup_steps, "wsd": max(1, round(cfg.decay_fraction * steps)), "constant": 0}[cfg.schedule]

    def rate(step: ArrayLike) -> jax.Array:
        n = jnp.asarray(step, jnp.int32) + 1  # steps done at the end of this one
        warm = jnp.minimum(1.0, jnp.float32(n) / max(1, cfg.warmup_steps))
        done = jnp.clip(jnp.float32(n - (steps - decay_steps)) / decay_steps, 0.0, 1.0) if decay_steps > 0 else jnp.float32(0)
        left = 0.5 * (1 + jnp.cos(jnp.pi * done)) if cfg.schedule == "cosine" else 1 - done
        return cfg.peak_lr * warm * (cfg.final_lr_fraction + (1 - cfg.final_lr_fraction) * left)

    return rate


def warm_up_warning(cfg: OptimConfig, steps: int) -> str:
    """Returns a sentence to print if the warm-up takes all steps of a run; otherwise an empty text."""
    if cfg.warmup_steps < steps:
        return ""
    return f"all {steps:,} steps are warm-up (optim.warmup_steps={cfg.warmup_steps}); set a lower optim.warmup_steps, such as {steps // 10}"


def schedule_change(cfg: OptimConfig, old_steps: int, new_steps: int, done: int) -> str:
    """Describes how another number of steps changes the learning rate of a run.

    Args:
        cfg: The config of the optimiser.
        old_steps: The number of all steps so far.
        new_steps: The new number of all steps.
        done: The number of steps done.

    Returns:
        A sentence to print; empty if the learning rate of the next step stays the same.
    """
    old, new = (float(learning_rate(cfg, steps)(jnp.int32(done))) for steps in (old_steps, new_steps))
    if old == new or done >= new_steps:
        return ""
    before = f"{old:.3g}" if done < old_steps else f"its final value {old:.3g}"
    return (
        f"the {cfg.schedule} schedule now ends at step {new_steps:,}: the learning rate of the next step is {new:.3g} instead of {before}"
        + ("; the README explains under 'Training longer' how to extend a run without such a jump" if new > old else "")
    )


def make_optimizer(cfg: OptimConfig, steps: int) -> optax.GradientTransformation:
    """Returns the optimiser that `cfg` names, preceded by clipping of the global gradient norm.

    Weight decay applies to matrices only, not to norms or biases. Muon has the matrices of layers, and AdamW everything else.

    Args:
        cfg: The config of the optimiser.
        steps: The number of all steps, for the schedule.
    """
    rate = learning_rate(cfg, steps)
    adamw = optax.adamw(rate, cfg.beta1, cfg.beta2, cfg.eps, weight_decay=cfg.weight_decay, mask=matrices)
    clip = optax.stateless(lambda grads, _: _clipped(grads, cfg.clip_norm))
    if cfg.name == "adamw":
        return optax.chain(clip, adamw)
    muon = optax.chain(
        optax.trace(MOMENTUM, nesterov=True),
        optax.stateless(lambda momentum, _: jax.tree_util.tree_map_with_path(_orthogonal, momentum)),
        optax.add_decayed_weights(cfg.weight_decay),
        optax.scale_by_learning_rate(lambda step: cfg.muon_lr_ratio * rate(step)),
    )
    return optax.chain(clip, optax.partition({"adamw": adamw, "muon": muon}, _optimizer_of))


def with_schedule_at(state: T, step: int) -> T:
    """Returns the state of an optimiser whose learning rate is that of this step. The moments and their counts stay."""

    def at_step(part: Any) -> object:
        return part._replace(count=jax.device_put(np.int32(step), part.count.sharding)) if _is_schedule(part) else part

    return cast(T, jax.tree.map(at_step, state, is_leaf=_is_schedule))


def _is_schedule(part: Any) -> bool:
    return isinstance(part, optax.ScaleByScheduleState)


def _optimizer_of(params: Any) -> Any:
    """Returns a tree with the name of the optimiser of each parameter."""
    in_layers = jax.tree_util.tree_map_with_path(lambda path, _: path[0].key in STACKS, params)
    return jax.tree.map(lambda inside, matrix: "muon" if inside and matrix else "adamw", in_layers, matrices(params))


def _orthogonal(path: tuple[Any, ...], x: jax.Array) -> jax.Array:
    """Makes the matrix of every layer orthogonal, and gives it the scale of AdamW's updates. The heads of a layer are one matrix."""
    dims = dims_of(tuple(str(part.key) for part in path))
    axes = optax.contrib.MuonDimensionNumbers(*sides(dims))
    newton_schulz = optax.contrib.scale_by_muon(beta=0.0, nesterov=False, weight_dimension_numbers=axes)  # no momentum of its own

    def orthogonal(whole: jax.Array) -> jax.Array:
        return cast(jax.Array, newton_schulz.update(whole, newton_schulz.init(whole))[0])

    scale = LIKE_ADAMW * math.sqrt(max(math.prod(x.shape[axis] for axis in side) for side in sides(dims)))
    return scale * on_whole_matrices(orthogonal, x, dims)


def _clipped(grads: Any, limit: float) -> Any:
    """Clips like optax.clip_by_global_norm, but with a single factor. optax divides every gradient, which on a CPU is one more pass over
    memory.
    """
    factor = jnp.minimum(1.0, limit / optax.tree.norm(grads))
    return jax.tree.map(lambda grad: grad * factor.astype(grad.dtype), grads)
