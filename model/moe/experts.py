"""A mixture of experts as the feed-forward part of a layer: each token goes through a few of many experts, and all through the shared ones.

Every token reaches all of its experts, however many tokens an expert has. T are the tokens of a device, A the chosen experts of a token, P
the pairs of both, X the width of an expert.
"""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from varietas.model.config import ModelConfig
from varietas.model.feed_forward import SwiGLU
from varietas.model.initial import initializers
from varietas.model.linear.lora import whole
from varietas.model.linear.product import product
from varietas.model.moe.grouped import grouped_product
from varietas.model.moe.routing import Routed, route
from varietas.model.sharding import as_varying, constrain, each_device, first_here, sum_over


class Experts(nnx.Module):
    """The weighted sum of the chosen experts and of the shared ones (Dai et al., 2024). An expert is down(silu(gate(x)) * up(x)).

    It leaves the scores and the choice of each token in a variable `routed`.
    """

    def __init__(self, cfg: ModelConfig, rngs: nnx.Rngs):
        D, E, X = cfg.d_model, cfg.n_experts, cfg.d_expert
        init, init_out = initializers(cfg)
        self.router_DE = nnx.Param(init(rngs.params(), (D, E)))
        self.gate_EDX = nnx.Param(init(rngs.params(), (E, D, X)))
        self.up_EDX = nnx.Param(init(rngs.params(), (E, D, X)))
        self.down_EXD = nnx.Param(init_out(rngs.params(), (E, X, D)))
        if cfg.router_bias:
            self.router_bias_E = nnx.Param(jnp.zeros(E, jnp.float32))
        self.shared = SwiGLU(replace(cfg, d_ff=cfg.n_shared_experts * X), rngs) if cfg.n_shared_experts else None
        self.cfg = cfg

    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        cfg = self.cfg
        # The router is computed in float32, as in Fedus et al. (2021): a small error would send a token to another expert.
        logits_BLE = constrain(product("BLD,DE->BLE", x_BLD.astype(jnp.float32), self.router_DE[...]), "BL")
        bias_E = self.router_bias_E[...] if cfg.router_bias else jnp.zeros(cfg.n_experts, jnp.float32)
        choose = each_device(partial(route, cfg=cfg), ["BL"], ["E"], ("BL", "BL", "BL"))
        weights_BLA, experts_BLA, scores_BLE = choose(logits_BLE, bias_E)
        self.routed = Routed({"logits_BLE": logits_BLE, "scores_BLE": scores_BLE, "experts_BLA": experts_BLA})
        mixed = each_device(partial(mix, n_experts=cfg.n_experts), ["BLD", "BL", "BL"], ["EDX", "EDX", "EXD"], "BLD")
        out_BLD = mixed(x_BLD, weights_BLA, experts_BLA, *(whole(w[...]) for w in (self.gate_EDX, self.up_EDX, self.down_EXD)))
        return out_BLD if self.shared is None else out_BLD + self.shared(x_BLD)


def mix(
    x_BLD: jax.Array,
    weights_BLA: jax.Array,
    experts_BLA: jax.Array,
    gate_EDX: jax.Array,
    up_EDX: jax.Array,
    down_EXD: jax.Array,
    n_experts: int,
) -> jax.Array:
    """Returns the weighted sums over the chosen experts of each token, (B, L, D). Call it within `each_device`.

    Args:
        x_BLD: The tokens.
        weights_BLA: The weight of each chosen expert of a token.
        experts_BLA: Their numbers.
        gate_EDX: The first matrices of the experts of this device.
        up_EDX: The second ones.
        down_EXD: The last ones.
        n_experts: The number of experts of all devices.
    """
    x_TD, experts_TA = as_varying(x_BLD, "E").reshape(-1, x_BLD.shape[-1]), experts_BLA.reshape(-1, experts_BLA.shape[-1])
    A, own = experts_TA.shape[1], len(gate_EDX)
    place = (experts_TA.reshape(-1) - first_here("E", own)) % n_experts  # below `own`: an expert of this device
    order, sizes_E = as_varying(jnp.argsort(place)), jnp.bincount(place, length=own)  # jax forgets that the order varies
    rows_PD = jnp.repeat(x_TD, A, axis=0).at[order].get(unique_indices=True)  # unique: the gradient is a sum in a fixed order
    weights_P1 = weights_BLA.reshape(-1, 1).astype(x_BLD.dtype).at[order].get(unique_indices=True)
    gate_PX, up_PX = (grouped_product("EDX", rows_PD, w, sizes_E) for w in (gate_EDX, up_EDX))
    # Weighted before the last product, whose result is then not needed for the gradient of the weights.
    out_PD = grouped_product("EXD", jax.nn.silu(gate_PX) * up_PX * weights_P1, down_EXD, sizes_E)
    out_TAD = jnp.zeros_like(out_PD).at[order].set(out_PD, unique_indices=True).reshape(*experts_TA.shape, -1)
    return sum_over(out_TAD.sum(1).reshape(x_BLD.shape), "E")
