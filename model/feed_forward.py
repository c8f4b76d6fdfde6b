"""Feed-forward parts. A part takes (cfg, rngs) and maps (B, L, D) to (B, L, D)."""

import math

import jax
from flax import nnx

from varietas.model.config import ModelConfig
from varietas.model.product import product
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
        gate_BLF = constrain(product("BLD,DF->BLF", x_BLD, self.gate_DF[...]), "BLF")
        up_BLF = constrain(product("BLD,DF->BLF", x_BLD, self.up_DF[...]), "BLF")
        return product("BLF,FD->BLD", jax.nn.silu(gate_BLF) * up_BLF, self.down_FD[...])
