"""Attention against a plain masked softmax; nothing leaks between documents or backwards in time; the cache changes nothing."""

import math
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varietas.launch.settings import load_config
from varietas.model import blockwise
from varietas.model.attention import attend, on_nvidia
from varietas.model.config import ModelConfig
from varietas.model.decoder import Params, bind, empty_cache, graph_and_shapes, unstack

CFG = replace(ModelConfig(**load_config("tiny").model), vocab_size=128, n_kv_heads=2, qk_norm=True)
L = 130  # three blocks of queries


run_attend = jax.jit(partial(attend, implementation="blocks"))


def naive(xp: Any, q: Any, k: Any, v: Any, segments: Any) -> Any:
    """softmax(q kᵀ / √H) v with all scores at once, in numpy or jax.numpy (`xp`)."""
    k, v = (xp.repeat(x, q.shape[2] // x.shape[2], axis=2) for x in (k, v))
    scores = xp.einsum("binh,bjnh->bnij", q, k) / math.sqrt(q.shape[-1])
    place = xp.arange(q.shape[1])
    visible = (place[:, None] >= place) & (segments[:, :, None] == segments[:, None, :])
    weights = xp.where(visible[:, None], xp.exp(scores), 0)
    return xp.einsum("bnij,bjnh->binh", weights / weights.sum(-1, keepdims=True), v)


def inputs(length: int, n_heads: int, n_kv_heads: int) -> tuple[np.ndarray, ...]:
    """q, k, v of two rows, and segments: up to three documents a row, padding behind them."""
    rng = np.random.default_rng(length)
    q, k, v = (rng.standard_normal((2, length, heads, 16)).astype(np.float32) for heads in (n_heads, n_kv_heads, n_kv_heads))
    segments = np.sort(rng.integers(1, 5, (2, length)), axis=1).astype(np.int32) % 4
    return q, k, v, segments


@pytest.mark.parametrize("length", [1, 63, 64, 65, 200, 600])
@pytest.mark.parametrize("n_kv_heads", [4, 2])
def test_blocks_are_the_plain_masked_softmax(length: int, n_kv_heads: int) -> None:
    q, k, v, segments = inputs(length, 4, n_kv_heads)
    expected = naive(np, *(x.astype(np.float64) for x in (q, k, v)), segments)
    np.testing.assert_allclose(
        run_attend(q, k, v, segments, segments), expected, rtol=0, atol=3e-6
    )  # float32 against float64: 1e-6 was seen


def test_gradients_are_those_of_the_plain_masked_softmax() -> None:
    q, k, v, segments = inputs(200, 4, 2)
    weight = np.random.default_rng(0).standard_normal(q.shape).astype(np.float32)

    def gradient(attention: Any) -> Any:
        return jax.jit(jax.grad(lambda *qkv: jnp.sum(weight * attention(*qkv)), argnums=(0, 1, 2)))(q, k, v)

    ours = gradient(lambda q, k, v: attend(q, k, v, segments, segments, implementation="blocks"))
    for found, expected in zip(ours, gradient(lambda q, k, v: naive(jnp, q, k, v, segments)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=6e-6)  # both float32, entries up to 6: 2e-6 was seen


def test_equal_values_give_no_gradient_to_queries_in_bfloat16() -> None:
    """Whatever the weights are, the mixture is the same; rounding must not leave a part of what the keys have in common."""
    q, k, v, segments = inputs(200, 4, 2)
    q, k, v = (jnp.asarray(x, jnp.bfloat16) for x in (q, k + 5, np.broadcast_to(v[:, :1], v.shape)))
    weight = np.random.default_rng(0).standard_normal(q.shape).astype(np.float32)
    found = jax.jit(jax.grad(lambda q: jnp.sum(weight * attend(q, k, v, segments, segments, implementation="blocks"))))(q)
    assert np.abs(np.asarray(found, np.float32)).max() < 1e-4  # 1.3e-6 was seen; 0.04 where the two were rounded differently


def test_keys_taken_in_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v, segments = inputs(200, 4, 2)
    weight = np.random.default_rng(0).standard_normal(q.shape).astype(np.float32)

    def value_and_gradients() -> Any:
        def scalar(*qkv: jax.Array) -> jax.Array:
            return jnp.sum(weight * attend(*qkv, segments, segments, implementation="blocks"))

        return jax.jit(jax.value_and_grad(scalar, argnums=(0, 1, 2)))(q, k, v)

    whole = value_and_gradients()
    monkeypatch.setattr(blockwise, "KEYS_AT_ONCE", 48)  # 64, 128, 192 and 200 keys in 2, 3, 4 and 5 chunks, the last ones padded
    assert str(jax.make_jaxpr(partial(attend, implementation="blocks"))(q, k, v, segments, segments)).count("scan[") == 4
    for found, expected in zip(jax.tree.leaves(value_and_gradients()), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=6e-6)


def test_an_implementation_that_is_not_known_is_an_error() -> None:
    with pytest.raises(ValueError, match="attention 'flash' is none of auto, blocks, cudnn"):
        attend(*inputs(4, 4, 2), np.ones((2, 4), np.int32), implementation="flash")


@pytest.mark.parametrize(
    ("kind", "capability", "suits"),
    [
        ("NVIDIA A100-SXM4-80GB", "8.0", True),
        ("NVIDIA H100", "9.0", True),
        ("Tesla V100 NVIDIA", "7.0", False),
        ("AMD MI250X", "9.0", False),
    ],
)
def test_cudnn_is_for_nvidia_from_ampere_on(monkeypatch: pytest.MonkeyPatch, kind: str, capability: str, suits: bool) -> None:
    device = SimpleNamespace(platform="gpu", device_kind=kind, compute_capability=capability)
    monkeypatch.setattr(jax, "devices", lambda: [device])
    assert on_nvidia() == suits


def test_memory_grows_with_the_length_and_not_its_square() -> None:
    def gradient(x: jax.Array, segments: jax.Array) -> jax.Array:
        @jax.checkpoint
        def layer(x: jax.Array, _: None) -> tuple[jax.Array, None]:
            return x + attend(x, x, x, segments, segments, implementation="blocks"), None

        return jax.grad(lambda x: jnp.sum(jax.lax.scan(layer, x, length=3)[0] ** 2))(x)

    def working_bytes(length: int) -> int:
        x, segments = jax.ShapeDtypeStruct((1, length, 2, 16), jnp.float32), jax.ShapeDtypeStruct((1, length), jnp.int32)
        return jax.jit(gradient).lower(x, segments).compile().memory_analysis().temp_size_in_bytes

    assert working_bytes(32_768) < 2.2 * working_bytes(16_384)


@pytest.fixture(scope="module")
def params() -> Params:
    """Weights so large that attention is not flat."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape).astype(np.float32), graph_and_shapes(CFG)[1])


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, ...]:
    """Tokens, segments and positions of two rows of two documents each, with padding at the end."""
    segments = np.zeros((2, L), np.int32)
    positions = np.zeros((2, L), np.int32)
    for row, cut in enumerate((50, 71)):
        segments[row, :cut], segments[row, cut:120] = 1, 2
        positions[row, :120] = np.concatenate([np.arange(cut), np.arange(120 - cut)])
    return np.random.default_rng(0).integers(0, CFG.vocab_size, (2, L), np.int32), segments, positions


@jax.jit
def hidden(params: Params, *rows: jax.Array) -> jax.Array:
    return bind(graph_and_shapes(CFG)[0], params)(*rows)


@partial(jax.jit, static_argnames="static_offset")
def extend(params: Params, rows: tuple, cache: tuple, segments_BS: jax.Array, offset: jax.Array | int, static_offset: int | None = None):
    start = offset if static_offset is None else static_offset
    return bind(graph_and_shapes(CFG)[0], params).extend(*rows, unstack(params["layers"], CFG.n_layers), cache, segments_BS, start)


@pytest.mark.parametrize("place", [0, 49, 50, 64, 119])
def test_a_token_changes_only_what_follows_in_its_document(params: Params, rows: tuple[np.ndarray, ...], place: int) -> None:
    tokens, segments, positions = rows
    other = tokens.copy()
    other[:, place] = (tokens[:, place] + 1) % CFG.vocab_size
    before, after = np.asarray(hidden(params, *rows)), np.asarray(hidden(params, other, segments, positions))
    sees = (segments == segments[:, place, None]) & (np.arange(L) >= place)
    assert np.array_equal(before[~sees], after[~sees])
    assert (np.abs(before - after).max(-1) > 1e-6)[sees].all()


@pytest.mark.parametrize(
    ("pieces", "static"),  # whether the place of a piece is a plain int, which is worked through in blocks of queries
    [((L,), True), ((60, 70), True), ((60, 70), False), ((60, *[1] * 20), False)],
    ids=["whole", "two pieces", "two pieces, traced", "token by token"],
)
def test_the_cache_changes_nothing(params: Params, rows: tuple[np.ndarray, ...], pieces: tuple[int, ...], static: bool) -> None:
    _, segments, _ = rows
    expected = np.asarray(hidden(params, *rows))
    cache, begin = empty_cache(CFG, 2, 160), 0
    segments_BS = np.pad(segments, ((0, 0), (0, 30)), constant_values=1)  # places that are not written yet are never seen
    for size in pieces:
        here = slice(begin, begin + size)
        found, cache = extend(params, tuple(x[:, here] for x in rows), cache, segments_BS, begin, begin if static else None)
        np.testing.assert_allclose(found, expected[:, here], rtol=0, atol=5e-6)  # sums in another order: 1.3e-6 was seen
        begin += size
