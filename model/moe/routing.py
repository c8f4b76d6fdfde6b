"""The router of a mixture of experts: which experts a token goes through, and what keeps all of them at work.

A are the chosen experts of a token.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from varietas.model.config import ModelConfig


class Routed(nnx.Intermediate[dict[str, jax.Array]]):
    """What a router found, by name. Experts leave `logits_BLE`, `scores_BLE` and `experts_BLA`, a decoder what `routing` returns."""


def pop_routed(module: nnx.Module) -> dict[str, jax.Array]:
    """Takes the variable `Routed` out of a module that has just been called. Empty if it has none."""
    found = [variable.get_value() for _, variable in nnx.to_flat_state(nnx.pop(module, Routed))]
    return found[0] if found else {}


def route(logits_BLE: jax.Array, bias_E: jax.Array, cfg: ModelConfig) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Chooses the experts of each token, as the fields `router_…` of the config say.

    If there are groups of experts, a token chooses from those with the highest sums of two scores (DeepSeek-AI, 2024).

    Args:
        logits_BLE: Outputs of the router, float32.
        bias_E: Added to the scores for the choice, not to the weights (Wang et al., 2024).
        cfg: The shape of the model.

    Returns:
        The weights and the numbers of the experts of each token, both (B, L, A), and the scores (B, L, E).
    """
    scores_BLE = jax.nn.softmax(logits_BLE) if cfg.router_scores == "softmax" else jax.nn.sigmoid(logits_BLE)
    ranked_BLE = jax.lax.stop_gradient(scores_BLE + bias_E)
    if cfg.router_groups_per_token < cfg.router_groups:
        by_group = ranked_BLE.reshape(*ranked_BLE.shape[:2], cfg.router_groups, -1)
        _, chosen = jax.lax.top_k(jax.lax.top_k(by_group, 2)[0].sum(-1), cfg.router_groups_per_token)
        allowed = jax.nn.one_hot(chosen, cfg.router_groups, dtype=bool).any(2)
        ranked_BLE = jnp.where(allowed[..., None], by_group, -jnp.inf).reshape(ranked_BLE.shape)
    _, experts_BLA = jax.lax.top_k(ranked_BLE, cfg.n_experts_per_token)
    weights_BLA = jnp.take_along_axis(scores_BLE, experts_BLA, axis=2)
    if cfg.router_normalise:
        weights_BLA /= weights_BLA.sum(2, keepdims=True) + 1e-20
    return cfg.router_scale * weights_BLA, experts_BLA, scores_BLE


def routing(layer: nnx.Module, mask_BL: jax.Array) -> dict[str, jax.Array]:
    """Takes from a layer what its router found, and returns what a training step needs of it. Empty if the layer has no experts.

    Args:
        layer: A layer that has just been called.
        mask_BL: Which tokens count: those that are not padding.

    Returns:
        `experts_BLA`: the experts of each token. `balance`: E Σ f p over the experts, for f the share of tokens that have an expert, and p
        the mean of its scores, which are divided by their sum (Fedus et al., 2021; DeepSeek-AI, 2024). It is the number of chosen experts
        if all are alike, and only the scores have a gradient. `z`: the mean of log(Z)² for Z = Σ exp(logits) (Zoph et al., 2022).
    """
    found = pop_routed(layer)
    if not found:
        return {}
    mask_BL1 = mask_BL[..., None].astype(jnp.float32)
    n_tokens = jnp.maximum(mask_BL1.sum(), 1.0)
    loads_E = (assigned(found["experts_BLA"], found["scores_BLE"].shape[-1]) * mask_BL1).sum((0, 1))
    scores_E = (mask_BL1 * found["scores_BLE"] / found["scores_BLE"].sum(-1, keepdims=True)).sum((0, 1))
    balance = len(loads_E) * jnp.sum(loads_E * scores_E) / n_tokens**2
    z = jnp.sum(mask_BL1[..., 0] * jax.nn.logsumexp(found["logits_BLE"], axis=-1) ** 2) / n_tokens
    return {"experts_BLA": found["experts_BLA"], "balance": balance, "z": z}


def loads_by_language(experts_RBLA: jax.Array, of_BLn: jax.Array, n_experts: int) -> jax.Array:
    """Returns how many tokens of each language each expert of each layer has, float32 (R, n, E). Languages are given one-hot."""

    def of_layer(experts_BLA: jax.Array) -> jax.Array:
        return jnp.einsum("BLn,BLE->nE", of_BLn, assigned(experts_BLA, n_experts), precision=jax.lax.Precision.HIGHEST)

    return jax.lax.map(of_layer, experts_RBLA)  # one layer at a time: (B, L, E) is large


def assigned(experts_BLA: jax.Array, n_experts: int) -> jax.Array:
    """Returns which experts each token has, float32 of 0 and 1, (B, L, E)."""
    return jax.nn.one_hot(experts_BLA, n_experts, dtype=jnp.float32).sum(2)


def with_balanced_bias(params: dict[str, Any], loads_RE: jax.Array, rate: float) -> dict[str, Any]:
    """Returns parameters in which the bias of an expert with more tokens than the mean is lower by `rate`, that of others higher.

    Args:
        params: Parameters of a decoder.
        loads_RE: How many tokens each expert of each layer had in a batch.
        rate: The step of the bias (Wang et al., 2024).
    """

    def one(path: tuple[Any, ...], x: jax.Array) -> jax.Array:
        if path[-1].key != "router_bias_E":
            return x
        return x + rate * jnp.sign(loads_RE.mean(1, keepdims=True) - loads_RE)

    return jax.tree_util.tree_map_with_path(one, params)
