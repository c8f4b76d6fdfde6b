"""Experts beside a plain loop over tokens and experts, and beside transformers' blocks with the same weights."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from varietas.launch.config import load_config
from varietas.model.config import ModelConfig
from varietas.model.moe.experts import Experts

B, L, D, E, X, A = 4, 10, 12, 8, 10, 3
CFG = replace(
    ModelConfig(**load_config("tiny").model),
    d_model=D,
    d_expert=X,
    n_experts=E,
    n_experts_per_token=A,
    feed_forward="experts",
    init_std=0.7,
)
WEIGHTS = ("router_DE", "gate_EDX", "up_EDX", "down_EXD")


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


TOKENS = draw(B, L, D)


def made(cfg: ModelConfig = CFG, **others: np.ndarray) -> tuple[Experts, dict[str, np.ndarray]]:
    """Returns experts and their weights. `others` replace some."""
    experts = Experts(cfg, nnx.Rngs(0))
    for name, value in others.items():
        getattr(experts, name)[...] = jnp.asarray(value)
    return experts, {name: np.asarray(getattr(experts, name)[...], np.float64) for name in WEIGHTS}


def plain(weights: dict[str, np.ndarray], cfg: ModelConfig = CFG) -> np.ndarray:
    """Computes each expert of each token by itself, in double precision."""
    x = TOKENS.reshape(-1, D).astype(np.float64)
    logits = x @ weights["router_DE"]
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) if cfg.router_scores == "softmax" else 1 / (1 + np.exp(-logits))
    out = np.zeros_like(x)
    for t, chosen in enumerate(np.argsort(-scores, axis=1)[:, :A]):
        share = scores[t, chosen].sum() if cfg.router_normalise else 1.0
        for e in chosen:
            gate = x[t] @ weights["gate_EDX"][e]
            hidden = gate / (1 + np.exp(-gate)) * (x[t] @ weights["up_EDX"][e])
            out[t] += scores[t, e] / share * (hidden @ weights["down_EXD"][e])
    return out.reshape(B, L, D)


@pytest.mark.parametrize("crowded", [False, True], ids=["spread", "all tokens at the same experts"])
@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
@pytest.mark.parametrize("normalise", [True, False])
def test_every_token_reaches_its_experts(scores: str, normalise: bool, crowded: bool) -> None:
    cfg = replace(CFG, router_scores=scores, router_normalise=normalise)
    crowd = np.linalg.pinv(TOKENS.reshape(-1, D)) @ np.where(np.isin(np.arange(E), (1, 4, 7)), 9.0, 0.0)[None].repeat(B * L, 0)
    experts, weights = made(cfg, **({"router_DE": crowd + 0.01 * draw(D, E)} if crowded else {}))
    found = nnx.jit(lambda experts, x: experts(x))(experts, TOKENS)
    np.testing.assert_allclose(found, plain(weights, cfg), rtol=0, atol=1e-5 * np.abs(found).max())


def test_gradients_are_those_of_a_sum_over_all_experts() -> None:
    """With a weight of 0 for those that a token does not have."""
    experts, _ = made(replace(CFG, router_scores="sigmoid"))
    graph, params, rest = nnx.split(experts, nnx.Param, ...)

    def grouped(x: Any, params: Any) -> Any:
        return jnp.sum(jnp.sin(nnx.merge(graph, params, rest)(x)))

    def dense(x: Any, w: Any) -> Any:
        scores = jax.nn.sigmoid(x @ w["router_DE"])
        kept = jnp.where(scores >= jnp.sort(scores, -1)[..., -A, None], scores, 0.0)
        weights = kept / kept.sum(-1, keepdims=True)
        hidden = jax.nn.silu(jnp.einsum("BLD,EDX->BLEX", x, w["gate_EDX"])) * jnp.einsum("BLD,EDX->BLEX", x, w["up_EDX"])
        return jnp.sum(jnp.sin(jnp.einsum("BLEX,EXD,BLE->BLD", hidden, w["down_EXD"], weights)))

    found_x, found = jax.jit(jax.grad(grouped, (0, 1)))(TOKENS, params)
    expected_x, expected = jax.grad(dense, (0, 1))(TOKENS, {name: getattr(experts, name)[...] for name in WEIGHTS})
    np.testing.assert_allclose(found_x, expected_x, rtol=0, atol=2e-5 * np.abs(expected_x).max())
    for name in WEIGHTS:
        np.testing.assert_allclose(found[name][...], expected[name], rtol=0, atol=2e-5 * np.abs(expected[name]).max(), err_msg=name)


@pytest.mark.heavy("torch")
@pytest.mark.parametrize("normalise", [True, False])
def test_the_block_of_qwen3_moe(normalise: bool) -> None:
    from transformers import Qwen3MoeConfig
    from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeSparseMoeBlock

    shape = {"hidden_size": D, "moe_intermediate_size": X, "num_experts": E, "num_experts_per_tok": A}
    ours, weights = made(replace(CFG, router_normalise=normalise))
    _compare(ours, loaded(Qwen3MoeSparseMoeBlock(Qwen3MoeConfig(**shape, norm_topk_prob=normalise)), weights))


@pytest.mark.heavy("torch")
@pytest.mark.parametrize("groups", [(1, 1), (4, 2)])
def test_the_block_of_deepseek_v3(groups: tuple[int, int]) -> None:
    import torch
    from transformers import DeepseekV3Config
    from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE

    shape = {"hidden_size": D, "moe_intermediate_size": X, "n_routed_experts": E, "num_experts_per_tok": A, "n_shared_experts": 2}
    theirs = DeepseekV3MoE(DeepseekV3Config(**shape, n_group=groups[0], topk_group=groups[1], routed_scaling_factor=2.5))
    cfg = replace(
        CFG, n_shared_experts=2, router_scores="sigmoid", router_bias=True, router_scale=2.5, router_groups=groups[0],
        router_groups_per_token=groups[1],
    )  # fmt: skip
    bias = draw(E, seed=3)
    ours, weights = made(cfg, router_bias_E=bias)
    loaded(theirs, weights)
    theirs.gate.e_score_correction_bias.copy_(torch.from_numpy(bias))
    with torch.no_grad():
        for name in ("gate", "up", "down"):
            matrix = getattr(ours.shared, f"{name}_{'FD' if name == 'down' else 'DF'}")[...]
            getattr(theirs.shared_experts, f"{name}_proj").weight.copy_(torch.from_numpy(np.array(matrix.T)))
    _compare(ours, theirs)


def loaded(block: Any, weights: dict[str, np.ndarray]) -> Any:
    """Gives a block of transformers these weights, and returns it."""
    import torch

    gate_up = np.concatenate([weights["gate_EDX"], weights["up_EDX"]], 2).swapaxes(1, 2)
    with torch.no_grad():
        block.gate.weight.copy_(torch.from_numpy(weights["router_DE"].T))
        block.experts.gate_up_proj.copy_(torch.from_numpy(gate_up))
        block.experts.down_proj.copy_(torch.from_numpy(weights["down_EXD"].swapaxes(1, 2)))
    return block


def _compare(ours: Experts, theirs: Any) -> None:
    import torch

    found = ours(jnp.asarray(TOKENS))
    with torch.no_grad():
        expected = theirs(torch.from_numpy(TOKENS)).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
