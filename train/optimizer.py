"""AdamW (Loshchilov and Hutter, 2019) with clipping, on a warm-up and decay schedule."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from varietas.model.sharding import matrices
from varietas.train.experiment import OptimConfig


def learning_rate(cfg: OptimConfig, steps: int) -> optax.Schedule:
    """Learning rate of step s, counted from 0: linear warm-up, then by `schedule`.

    "cosine": half a cosine down to the final rate (Loshchilov and Hutter, 2017). "wsd": constant, then linear to the final rate
    over the last `decay_fraction` of all steps (warmup-stable-decay, Hu et al., 2024). "constant": no decay.
    """
    decay_steps = {"cosine": steps - cfg.warmup_steps, "wsd": round(cfg.decay_fraction * steps), "constant": 0}[cfg.schedule]

    def rate(step: jax.Array) -> jax.Array:
        warm = jnp.minimum(1.0, (step + 1) / max(1, cfg.warmup_steps))
        done = jnp.clip((step - (steps - decay_steps)) / max(1, decay_steps), 0.0, 1.0)
        left = 0.5 * (1 + jnp.cos(jnp.pi * done)) if cfg.schedule == "cosine" else 1 - done
        return cfg.peak_lr * warm * (cfg.final_lr_fraction + (1 - cfg.final_lr_fraction) * left)

    return rate


def make_optimizer(cfg: OptimConfig, steps: int) -> optax.GradientTransformation:
    """Clips the global gradient norm, then AdamW with decoupled decay of matrices only (no norms, no biases)."""
    return optax.chain(
        optax.stateless(lambda grads, _: _clipped(grads, cfg.clip_norm)),
        optax.adamw(learning_rate(cfg, steps), cfg.beta1, cfg.beta2, cfg.eps, weight_decay=cfg.weight_decay, mask=matrices),
    )


def _clipped(grads: Any, limit: float) -> Any:
    """As optax.clip_by_global_norm, but by one factor: its division of every gradient is a pass over memory of its own on a CPU."""
    factor = jnp.minimum(1.0, limit / optax.tree.norm(grads))
    return jax.tree.map(lambda grad: grad * factor.astype(grad.dtype), grads)
