"""Feed-forward parts. A part takes (cfg, rngs) and maps (B, L, D) to (B, L, D)."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from varietas.model.config import ModelConfig
from varietas.model.sharding import constrain


class SwiGLU(nnx.Module):
    """down(silu(gate x) * up x) (Shazeer, 2020)."""

    def __init__(self, cfg: ModelConfig, rngs: nnx.Rngs):
        D, F = cfg.d_model, cfg.d_ff
        init = nnx.initializers.normal(cfg.init_std)
        self.gate_DF = nnx.Param(init(rngs.params(), (D, F)))
        self.up_DF = nnx.Param(init(rngs.params(), (D, F)))
        self.down_FD = nnx.Param(nnx.initializers.normal(cfg.init_std / math.sqrt(2 * cfg.n_layers))(rngs.params(), (F, D)))

    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        dtype = x_BLD.dtype
        gate_BLF = constrain(jnp.einsum("BLD,DF->BLF", x_BLD, self.gate_DF.astype(dtype)), "BLF")
        up_BLF = constrain(jnp.einsum("BLD,DF->BLF", x_BLD, self.up_DF.astype(dtype)), "BLF")
        return jnp.einsum("BLF,FD->BLD", jax.nn.silu(gate_BLF) * up_BLF, self.down_FD.astype(dtype))
