"""Root mean square normalisation (Zhang and Sennrich, 2019), computed in float32."""

import jax
import jax.numpy as jnp
from flax import nnx


class RMSNorm(nnx.Module):
    """x / sqrt(mean(x²) + eps) * scale over the last dimension, whose letter is `dim`. The result has the dtype of x."""

    def __init__(self, width: int, dim: str, eps: float):
        self.dim, self.eps = dim, eps
        setattr(self, f"scale_{dim}", nnx.Param(jnp.ones(width, jnp.float32)))

    def __call__(self, x: jax.Array) -> jax.Array:
        wide = x.astype(jnp.float32)
        scaled = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + self.eps)
        return (scaled * getattr(self, f"scale_{self.dim}")).astype(x.dtype)
