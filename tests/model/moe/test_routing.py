"""The choice of experts, the losses of the router and its bias, beside sums over tokens written out."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from varietas.launch.config import load_config
from varietas.model.config import ModelConfig
from varietas.model.moe.routing import Routed, assigned, loads_by_language, route, routing, with_balanced_bias

B, L, E, A = 5, 8, 8, 3
CFG = replace(ModelConfig(**load_config("tiny").model), feed_forward="experts", n_experts=E, n_experts_per_token=A, router_scores="sigmoid")
NO_BIAS = jnp.zeros(E)


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


LOPSIDED = jnp.asarray(draw(B, L, E) + np.linspace(3, 0, E), jnp.float32)  # tokens prefer the first experts by far
EVERYONE = jnp.ones((B, L), bool)


def of_layer(logits: jax.Array, mask: Any = EVERYONE, cfg: ModelConfig = CFG) -> dict[str, jax.Array]:
    """Returns what `routing` says of a layer whose router has these logits."""

    class Layer(nnx.Module):
        def __init__(self) -> None:
            _, experts, scores = route(logits, NO_BIAS, cfg)
            self.routed = Routed({"logits_BLE": logits, "scores_BLE": scores, "experts_BLA": experts})

    return routing(Layer(), jnp.asarray(mask))


def test_a_token_chooses_within_the_best_groups() -> None:
    logits = jnp.array([[[5, -9, 3, 3, 2, 2, 0, 0]]], jnp.float32)  # the sums of two scores are highest in the second and third group
    cfg = replace(CFG, n_experts_per_token=2, router_groups=4, router_groups_per_token=2)
    assert sorted(np.asarray(route(logits, NO_BIAS, cfg)[1]).ravel().tolist()) == [2, 3]


def test_a_bias_changes_the_choice_and_not_the_weights() -> None:
    logits, cfg = jnp.asarray(draw(B, L, E)), replace(CFG, router_normalise=False)
    bias = NO_BIAS.at[5].set(10.0)
    weights, experts, scores = route(logits, bias, cfg)
    assert (np.asarray(experts) == 5).any(2).all()
    np.testing.assert_array_equal(weights, np.take_along_axis(np.asarray(scores), np.asarray(experts), 2))
    assert not jax.grad(lambda b: route(logits, b, CFG)[0].sum())(bias).any()


def test_the_bias_of_a_busy_expert_falls_until_all_are_alike() -> None:
    params = {"layers": {"feed_forward": {"router_bias_E": jnp.zeros((1, E)), "router_DE": jnp.ones((1, 2, E))}}}
    logits = jnp.asarray(draw(1, 400, E) + np.linspace(3, 0, E), jnp.float32)

    @jax.jit
    def loads(params: Any) -> jax.Array:
        return assigned(route(logits, params["layers"]["feed_forward"]["router_bias_E"][0], CFG)[1], E).sum((0, 1))

    before = loads(params)
    assert before.sum() == 400 * A and before.max() / before.mean() > 2
    for _ in range(400):
        params = with_balanced_bias(params, loads(params)[None], 0.005)
    after = loads(params)
    assert after.max() / after.mean() < 1.1
    assert (params["layers"]["feed_forward"]["router_DE"] == 1).all()


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_balance_and_z_are_means_over_the_tokens_that_are_no_padding(scores: str) -> None:
    logits, cfg = draw(B, L, E).astype(np.float64), replace(CFG, router_scores=scores)
    mask = np.arange(B * L).reshape(B, L) % 5 > 0
    found = of_layer(jnp.asarray(logits, jnp.float32), mask, cfg)
    odds = np.exp(logits[mask]) if scores == "softmax" else 1 / (1 + np.exp(-logits[mask]))
    probabilities = odds / odds.sum(1, keepdims=True)
    shares = [(np.argsort(-odds, axis=1)[:, :A] == e).any(1).mean() for e in range(E)]
    assert float(found["balance"]) == pytest.approx(E * sum(share * probabilities[:, e].mean() for e, share in enumerate(shares)), rel=1e-5)
    assert float(found["z"]) == pytest.approx((np.log(np.exp(logits[mask]).sum(1)) ** 2).mean(), rel=1e-5)


def test_the_balance_loss_pushes_scores_from_busy_experts_to_others() -> None:
    def balance(logits: jax.Array) -> jax.Array:
        return of_layer(logits, cfg=replace(CFG, router_scores="softmax"))["balance"]

    assert balance(LOPSIDED) > balance(LOPSIDED - 30.0 * jax.grad(balance)(LOPSIDED)) >= A - 1e-5
    assert balance(jnp.zeros((B, L, E))) == pytest.approx(A)


def test_loads_are_counted_by_language() -> None:
    rng = np.random.default_rng(0)
    experts = np.stack([[rng.permuted(np.arange(E))[:A] for _ in range(L)] for _ in range(2 * B)]).reshape(2, B, L, A)
    languages, real = rng.integers(0, 3, (B, L)), rng.random((B, L)) < 0.8
    expected = np.zeros((2, 3, E))
    for layer in range(2):
        for row in range(B):
            for place in range(L):
                if real[row, place]:
                    expected[layer, languages[row, place], experts[layer, row, place]] += 1
    one_hot = jax.nn.one_hot(languages, 3) * real[..., None]
    np.testing.assert_array_equal(loads_by_language(jnp.asarray(experts), one_hot, E), expected)
