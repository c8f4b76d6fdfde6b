"""Rotary position embeddings (Su et al., 2021), and their scaling to longer contexts.

Dimension i of the first half of a head is rotated together with dimension i of the second half, which is the layout of Llama's weights on
disk. Pair i turns by `rope_theta ** (-2 i / H)` radians a token.
"""

import math

import jax
import jax.numpy as jnp

from varietas.model.config import ModelConfig


def rotate(x_BLNH: jax.Array, positions_BL: jax.Array, cfg: ModelConfig) -> jax.Array:
    """Rotates queries or keys by the angles of their positions, which are computed in float32.

    Args:
        x_BLNH: Queries or keys.
        positions_BL: Position of each token within its document, int32.
        cfg: The shape of the model, which says how fast each pair of dimensions turns.
    """
    angle = positions_BL[:, :, None, None].astype(jnp.float32) * frequencies(cfg)
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    if (factor := cfg.attention_factor) != 1.0:
        sin, cos = factor * sin, factor * cos
    return _turn(x_BLNH, sin, cos)


def frequencies(cfg: ModelConfig) -> jax.Array:
    """Returns the angle by which each pair of dimensions turns from one position to the next, in radians: float32 (H / 2,).

    "linear" divides all of them by `rope_factor` (Chen et al., 2023). "llama3" divides those that turn less than `rope_low_freq_factor`
    times within the original context, keeps those that turn more than `rope_high_freq_factor` times, and mixes both between (Llama Team,
    2024). "yarn" does the same with `rope_beta_slow` and `rope_beta_fast`, and mixes by the number of the dimension (Peng et al., 2023).
    """
    half = cfg.rope_dim // 2
    plain = cfg.rope_theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
    if cfg.rope_scaling == "none":
        return plain
    if cfg.rope_scaling == "linear":
        return plain / cfg.rope_factor
    if cfg.rope_scaling == "llama3":
        turns = cfg.rope_original_max_seq_len * plain / (2 * math.pi)
        kept = (turns - cfg.rope_low_freq_factor) / (cfg.rope_high_freq_factor - cfg.rope_low_freq_factor)
    else:
        first, last = (
            max(math.floor(_dimension(cfg, cfg.rope_beta_fast)), 0),
            min(math.ceil(_dimension(cfg, cfg.rope_beta_slow)), 2 * half - 1),
        )
        kept = 1 - (jnp.arange(half, dtype=jnp.float32) - first) / max(last - first, 0.001)
    kept = jnp.clip(kept, 0.0, 1.0)
    return kept * plain + (1 - kept) * plain / cfg.rope_factor


def _dimension(cfg: ModelConfig, turns: float) -> float:
    """Returns the (fractional) number of the pair of dimensions that turns this many times within the original context."""
    return cfg.rope_dim / 2 * math.log(cfg.rope_original_max_seq_len / (turns * 2 * math.pi)) / math.log(cfg.rope_theta)


@jax.custom_vjp
def _turn(x_BLNH: jax.Array, sin: jax.Array, cos: jax.Array) -> jax.Array:
    """Rotates the two halves of each head by angles with this sine and cosine."""
    first, second = jnp.split(x_BLNH.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], -1).astype(x_BLNH.dtype)


# The gradient is the inverse rotation. Automatic differentiation would pad each half with zeros and add the two.
_turn.defvjp(lambda x, sin, cos: (_turn(x, sin, cos), (sin, cos)), lambda saved, d: (_turn(d, -saved[0], saved[1]), None, None))
