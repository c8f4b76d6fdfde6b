"""Feed-forward parts of a layer. A part is made from (cfg, rngs) and maps (B, L, D) to (B, L, D)."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from varietas.model.config import ModelConfig
from varietas.model.initial import initializers
from varietas.model.linear.product import product
from varietas.model.sharding import constrain


class SwiGLU(nnx.Module):
    """The gated feed-forward part down(silu(gate(x)) * up(x)) (Shazeer, 2020)."""

    def __init__(self, cfg: ModelConfig, rngs: nnx.Rngs):
        D, F = cfg.d_model, cfg.d_ff
        init, init_out = initializers(cfg)
        self.gate_DF = nnx.Param(init(rngs.params(), (D, F)))
        self.up_DF = nnx.Param(init(rngs.params(), (D, F)))
        self.down_FD = nnx.Param(init_out(rngs.params(), (F, D)))

    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        gate_BLF = constrain(product("BLD,DF->BLF", x_BLD, self.gate_DF[...]), "BLF")
        up_BLF = constrain(product("BLD,DF->BLF", x_BLD, self.up_DF[...]), "BLF")
        return product("BLF,FD->BLD", jax.nn.silu(gate_BLF) * up_BLF, self.down_FD[...])


class XIELU(nnx.Module):
    """The part down(xielu(up(x))) without a gate, with a learned activation in each layer (Huang and Schlag, 2024).

    xielu(x) is αp x² + x/2 for x > 0, and αn (exp(min(x, -1e-6)) - 1) - αn x + x/2 else, where αp = softplus(alpha_p) and
    αn = 1/2 + softplus(alpha_n). Both begin at 0.8.
    """

    def __init__(self, cfg: ModelConfig, rngs: nnx.Rngs):
        D, F = cfg.d_model, cfg.d_ff
        init, init_out = initializers(cfg)
        self.up_DF = nnx.Param(init(rngs.params(), (D, F)))
        self.down_FD = nnx.Param(init_out(rngs.params(), (F, D)))
        self.alpha_p_1 = nnx.Param(jnp.full(1, math.log(math.expm1(0.8)), jnp.float32))
        self.alpha_n_1 = nnx.Param(jnp.full(1, math.log(math.expm1(0.8 - 0.5)), jnp.float32))

    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        up_BLF = constrain(product("BLD,DF->BLF", x_BLD, self.up_DF[...]), "BLF")
        alpha_p, alpha_n = (jax.nn.softplus(alpha[...]).astype(up_BLF.dtype) for alpha in (self.alpha_p_1, self.alpha_n_1))
        alpha_n = alpha_n + 0.5
        positive, negative = alpha_p * up_BLF**2, alpha_n * (jnp.expm1(jnp.minimum(up_BLF, -1e-6)) - up_BLF)
        return product("BLF,FD->BLD", jnp.where(up_BLF > 0, positive, negative) + 0.5 * up_BLF, self.down_FD[...])
