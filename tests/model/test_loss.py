"""Chunked cross-entropy and its hand-written gradient equal log_softmax and autograd of torch in float64."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.extend.core import jaxprs_in_params

from varietas.model.loss import cross_entropy

pytestmark = pytest.mark.heavy("torch")

B, L, D, V = 2, 24, 8, 31
Z_LOSS = 0.1


@pytest.fixture(scope="module")
def arrays() -> tuple[np.ndarray, ...]:
    """hidden, head, targets and weights. Some weights are zero, and all weights of one row."""
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.5, 2, (3, L)) * (rng.uniform(size=(3, L)) > 0.3)
    weights[2] = 0
    hidden, head = rng.standard_normal((3, L, D)), rng.standard_normal((D, V))
    return hidden.astype(np.float32), head.astype(np.float32), rng.integers(0, V, (3, L), np.int32), weights.astype(np.float32)


def reference(hidden: np.ndarray, head: np.ndarray, targets: np.ndarray, weights: np.ndarray, z_loss: float) -> tuple[np.ndarray, ...]:
    """Returns the sum, the nll of each token, and the gradients of the sum with respect to hidden and head, by torch in float64."""
    x, w = (torch.from_numpy(np.asarray(a, np.float64)).requires_grad_() for a in (hidden, head))
    logits = x @ w
    nll = -torch.log_softmax(logits, -1).gather(-1, torch.from_numpy(targets).long()[..., None])[..., 0]
    total = (torch.from_numpy(weights).double() * (nll + z_loss * torch.logsumexp(logits, -1) ** 2)).sum()
    total.backward()
    assert x.grad is not None
    assert w.grad is not None
    return tuple(a.detach().numpy() for a in (total, nll, x.grad, w.grad))


@partial(jax.jit, static_argnames="chunk")
def ours(
    hidden: jax.Array, head: jax.Array, targets: jax.Array, weights: jax.Array, chunk: int, scale: float = 1.0
) -> tuple[jax.Array, ...]:
    """Returns the same four arrays by Varietas, with the gradients of `scale` times the sum."""

    def scaled(hidden: jax.Array, head: jax.Array) -> tuple[jax.Array, Any]:
        total, nll = cross_entropy(hidden, head, targets, weights, Z_LOSS, chunk)
        return scale * total, (total, nll)

    gradients, out = jax.grad(scaled, argnums=(0, 1), has_aux=True)(hidden, head)
    return *out, *gradients


@pytest.mark.parametrize("chunk", [8, 24, 7, 1, 100], ids=["divides", "is the row", "does not divide", "one", "exceeds"])
def test_value_and_gradients_equal_those_of_torch(arrays: tuple[np.ndarray, ...], chunk: int) -> None:
    for found, expected in zip(ours(*arrays, chunk), reference(*arrays, Z_LOSS), strict=True):
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, expected, rtol=5e-6, atol=1e-5)  # float32 against float64; observed: a third of this


def test_the_values_are_the_same_without_a_gradient(arrays: tuple[np.ndarray, ...]) -> None:
    total, nll = jax.jit(cross_entropy, static_argnums=(4, 5))(*arrays, Z_LOSS, 7)
    expected = reference(*arrays, Z_LOSS)
    np.testing.assert_allclose(total, expected[0], rtol=1e-5)
    np.testing.assert_allclose(nll, expected[1], rtol=1e-5, atol=1e-5)


def test_a_token_with_weight_zero_has_no_gradient(arrays: tuple[np.ndarray, ...]) -> None:
    d_hidden = np.asarray(ours(*arrays, 7)[2])
    assert np.array_equal((d_hidden != 0).any(-1), arrays[3] != 0)
    nothing = ours(*arrays[:3], np.zeros_like(arrays[3]), 7)
    assert float(nothing[0]) == 0
    assert not np.asarray(nothing[2]).any()
    assert not np.asarray(nothing[3]).any()


def test_a_factor_on_the_loss_scales_its_gradient(arrays: tuple[np.ndarray, ...]) -> None:
    for found, expected in zip(ours(*arrays, 7, scale=3.0)[2:], reference(*arrays, Z_LOSS)[2:], strict=True):
        np.testing.assert_allclose(found, 3 * expected, rtol=5e-6, atol=3e-5)


def test_logits_of_bfloat16_weights_are_summed_in_float32(arrays: tuple[np.ndarray, ...]) -> None:
    half = tuple(jnp.asarray(x, jnp.bfloat16) for x in arrays[:2])
    total, nll, d_hidden, d_head = ours(*half, *arrays[2:], 8)
    expected = reference(*(np.asarray(x, np.float32) for x in half), *arrays[2:], Z_LOSS)
    assert (total.dtype, nll.dtype, d_hidden.dtype, d_head.dtype) == (jnp.float32, jnp.float32, jnp.bfloat16, jnp.bfloat16)
    np.testing.assert_allclose(total, expected[0], rtol=1e-5)
    np.testing.assert_allclose(nll, expected[1], rtol=1e-5, atol=1e-5)
    for found, gradient in zip((d_hidden, d_head), expected[2:], strict=True):  # three roundings to 8 bits
        np.testing.assert_allclose(np.asarray(found, np.float32), gradient, rtol=0, atol=3 * 2**-8 * np.abs(gradient).max())


def sizes(jaxpr: Any) -> Iterator[int]:
    """Yields the number of elements of every array that a program makes, including those in its loops."""
    for equation in jaxpr.eqns:
        yield from (variable.aval.size for variable in equation.outvars)
        for inner in jaxprs_in_params(equation.params):
            yield from sizes(inner)


def largest(loss: Any, length: int) -> int:
    """Returns the elements of the largest array in the program of a loss and its gradients."""
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((B, length, D), (D, V), (B, length))]
    targets = jax.ShapeDtypeStruct((B, length), jnp.int32)

    def total(hidden: jax.Array, head: jax.Array, weights: jax.Array, targets: jax.Array) -> jax.Array:
        return loss(hidden, head, targets, weights)

    return max(sizes(jax.make_jaxpr(jax.value_and_grad(total, argnums=(0, 1)))(*shapes, targets).jaxpr))


def test_only_one_chunk_of_logits_is_in_memory() -> None:
    def plain(hidden: jax.Array, head: jax.Array, targets: jax.Array, weights: jax.Array) -> jax.Array:
        log_p = jax.nn.log_softmax(hidden @ head)
        return -jnp.sum(weights * jnp.take_along_axis(log_p, targets[..., None], -1)[..., 0])

    length, chunk = 96, 32  # a chunk of logits is then larger than the hidden states (B, L, D) and the head
    assert largest(plain, length) == B * length * V
    assert largest(lambda *args: cross_entropy(*args, Z_LOSS, chunk)[0], length) == B * chunk * V
