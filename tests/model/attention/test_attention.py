"""Attention equals a plain masked softmax, leaks nothing between documents or from later tokens, and is the same with a cache."""

import math
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varietas.launch.config import load_config
from varietas.model.attention import blockwise
from varietas.model.attention.cache import Contiguous, empty_cache
from varietas.model.attention.grouped_query import attend, on_nvidia
from varietas.model.config import ModelConfig
from varietas.model.decoder import Params, bind, graph_and_shapes, layers_of

CFG = replace(ModelConfig(**load_config("tiny").model), vocab_size=128, n_kv_heads=2, qk_norm=True)
WINDOW = replace(CFG, sliding_window=25)
L = 130  # three blocks of queries


run_attend = jax.jit(partial(attend, implementation="blocks"), static_argnames="window")


def naive(xp: Any, q: Any, k: Any, v: Any, segments: Any, window: int = 0) -> Any:
    """Computes softmax(q kᵀ / √H) v with all scores at once, in numpy or jax.numpy (`xp`)."""
    k, v = (xp.repeat(x, q.shape[2] // x.shape[2], axis=2) for x in (k, v))
    scores = xp.einsum("binh,bjnh->bnij", q, k) / math.sqrt(q.shape[-1])
    place = xp.arange(q.shape[1])
    visible = (place[:, None] >= place) & (segments[:, :, None] == segments[:, None, :])
    visible &= place[:, None] - place < (window or q.shape[1])
    weights = xp.where(visible[:, None], xp.exp(scores), 0)
    return xp.einsum("bnij,bjnh->binh", weights / weights.sum(-1, keepdims=True), v)


def inputs(length: int, n_heads: int, n_kv_heads: int) -> tuple[np.ndarray, ...]:
    """Returns q, k, v and segments of two rows, each with up to three documents followed by padding."""
    rng = np.random.default_rng(length)
    q, k, v = (rng.standard_normal((2, length, heads, 16)).astype(np.float32) for heads in (n_heads, n_kv_heads, n_kv_heads))
    segments = np.sort(rng.integers(1, 5, (2, length)), axis=1).astype(np.int32) % 4
    return q, k, v, segments


@pytest.mark.parametrize("length", [1, 63, 64, 65, 200, 600])
@pytest.mark.parametrize("n_kv_heads", [4, 2])
def test_blockwise_attention_equals_a_plain_masked_softmax(length: int, n_kv_heads: int) -> None:
    q, k, v, segments = inputs(length, 4, n_kv_heads)
    expected = naive(np, *(x.astype(np.float64) for x in (q, k, v)), segments)
    # Float32 against float64; observed: 1e-6.
    np.testing.assert_allclose(run_attend(q, k, v, segments, segments), expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize("window", [1, 2, 30, 64, 65, 150, 1000])
def test_a_sliding_window_equals_a_plain_masked_softmax(window: int) -> None:
    q, k, v, segments = inputs(300, 4, 2)
    expected = naive(np, *(x.astype(np.float64) for x in (q, k, v)), segments, window)
    np.testing.assert_allclose(run_attend(q, k, v, segments, segments, window=window), expected, rtol=0, atol=3e-6)


def test_keys_outside_of_all_windows_of_a_block_are_not_multiplied() -> None:
    def flops(window: int) -> float:
        q, k, v, segments = inputs(1024, 4, 2)
        return run_attend.lower(q, k, v, segments, segments, window=window).compile().cost_analysis()["flops"]

    assert flops(64) < 0.4 * flops(0)  # 8 blocks of 128 queries: each with 191 keys instead of 576 on average


@pytest.mark.parametrize("window", [0, 70])
def test_gradients_equal_those_of_a_plain_masked_softmax(window: int) -> None:
    q, k, v, segments = inputs(200, 4, 2)
    weight = np.random.default_rng(0).standard_normal(q.shape).astype(np.float32)

    def gradient(attention: Any) -> Any:
        return jax.jit(jax.grad(lambda *qkv: jnp.sum(weight * attention(*qkv)), argnums=(0, 1, 2)))(q, k, v)

    ours = gradient(lambda q, k, v: attend(q, k, v, segments, segments, window, "blocks"))
    for found, expected in zip(ours, gradient(lambda q, k, v: naive(jnp, q, k, v, segments, window)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=6e-6)  # both float32, entries up to 6; observed: 2e-6


def test_queries_have_no_gradient_if_all_values_are_equal_in_bfloat16() -> None:
    """With equal values the weights do not matter. Rounding must not leave a gradient along what the keys have in common."""
    q, k, v, segments = inputs(200, 4, 2)
    q, k, v = (jnp.asarray(x, jnp.bfloat16) for x in (q, k + 5, np.broadcast_to(v[:, :1], v.shape)))
    weight = np.random.default_rng(0).standard_normal(q.shape).astype(np.float32)
    found = jax.jit(jax.grad(lambda q: jnp.sum(weight * attend(q, k, v, segments, segments, implementation="blocks"))))(q)
    assert np.abs(np.asarray(found, np.float32)).max() < 1e-4  # observed: 1.3e-6; with inconsistent rounding: 0.04


@pytest.mark.parametrize(("window", "scans"), [(0, 4), (100, 4)])
def test_chunks_of_keys_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch, window: int, scans: int) -> None:
    q, k, v, segments = inputs(200, 4, 2)
    weight = np.random.default_rng(0).standard_normal(q.shape).astype(np.float32)

    def value_and_gradients() -> Any:
        def scalar(*qkv: jax.Array) -> jax.Array:
            return jnp.sum(weight * attend(*qkv, segments, segments, window, "blocks"))

        return jax.jit(jax.value_and_grad(scalar, argnums=(0, 1, 2)))(q, k, v)

    whole = value_and_gradients()
    monkeypatch.setattr(blockwise, "KEYS_AT_ONCE", 48)  # 64, 128, 192 and 200 keys in 2, 3, 4 and 5 chunks, the last ones padded
    program = jax.make_jaxpr(partial(attend, window=window, implementation="blocks"))(q, k, v, segments, segments)
    assert str(program).count("scan[") == scans
    for found, expected in zip(jax.tree.leaves(value_and_gradients()), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=6e-6)


def test_an_unknown_implementation_is_an_error() -> None:
    with pytest.raises(ValueError, match="attention 'flash' is not one of auto, blocks, cudnn"):
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
def test_cudnn_is_used_on_nvidia_gpus_from_ampere_on(monkeypatch: pytest.MonkeyPatch, kind: str, capability: str, suits: bool) -> None:
    device = SimpleNamespace(platform="gpu", device_kind=kind, compute_capability=capability)
    monkeypatch.setattr(jax, "devices", lambda: [device])
    assert on_nvidia() == suits


def test_memory_grows_linearly_with_the_length() -> None:
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
    """Weights large enough that attention is far from uniform."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape).astype(np.float32), graph_and_shapes(CFG)[1])


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, ...]:
    """Tokens, segments and positions of two rows, each with two documents and padding at the end."""
    segments = np.zeros((2, L), np.int32)
    positions = np.zeros((2, L), np.int32)
    for row, cut in enumerate((50, 71)):
        segments[row, :cut], segments[row, cut:120] = 1, 2
        positions[row, :120] = np.concatenate([np.arange(cut), np.arange(120 - cut)])
    return np.random.default_rng(0).integers(0, CFG.vocab_size, (2, L), np.int32), segments, positions


@partial(jax.jit, static_argnames="cfg")
def hidden(params: Params, *rows: jax.Array, cfg: ModelConfig = CFG) -> jax.Array:
    return bind(graph_and_shapes(cfg)[0], params)(*rows)


@partial(jax.jit, static_argnames=("static_offset", "cfg"))
def extend(
    params: Params,
    rows: tuple,
    cache: tuple,
    segments_BS: jax.Array,
    offset: jax.Array | int,
    static_offset: int | None = None,
    cfg: ModelConfig = CFG,
):
    start = offset if static_offset is None else static_offset
    return bind(graph_and_shapes(cfg)[0], params).extend(*rows, layers_of(params), cache, Contiguous(segments_BS, start))


@pytest.mark.parametrize("place", [0, 49, 50, 64, 119])
def test_a_token_affects_only_later_tokens_of_its_document(params: Params, rows: tuple[np.ndarray, ...], place: int) -> None:
    tokens, segments, positions = rows
    other = tokens.copy()
    other[:, place] = (tokens[:, place] + 1) % CFG.vocab_size
    before, after = np.asarray(hidden(params, *rows)), np.asarray(hidden(params, other, segments, positions))
    sees = (segments == segments[:, place, None]) & (np.arange(L) >= place)
    assert np.array_equal(before[~sees], after[~sees])
    assert (np.abs(before - after).max(-1) > 1e-6)[sees].all()


@pytest.mark.parametrize(
    ("pieces", "static", "cfg"),  # static: the place of a piece is a plain int; at a plain 0, attention is blockwise
    [((L,), True, CFG), ((60, 70), True, CFG), ((60, 70), False, CFG), ((60, *[1] * 20), False, CFG), ((60, *[1] * 20), False, WINDOW)],
    ids=["whole", "two pieces", "two pieces, traced", "token by token", "sliding window"],
)
def test_the_cache_does_not_change_the_result(
    params: Params, rows: tuple[np.ndarray, ...], pieces: tuple[int, ...], static: bool, cfg: ModelConfig
) -> None:
    _, segments, _ = rows
    expected = np.asarray(hidden(params, *rows, cfg=cfg))
    cache, begin = empty_cache(CFG, 2, 160), 0
    segments_BS = np.pad(segments, ((0, 0), (0, 30)), constant_values=1)  # places that are not written yet must be invisible
    for size in pieces:
        here = slice(begin, begin + size)
        found, cache = extend(params, tuple(x[:, here] for x in rows), cache, segments_BS, begin, begin if static else None, cfg)
        np.testing.assert_allclose(found, expected[:, here], rtol=0, atol=5e-6)  # sums in another order; observed: 1.3e-6
        begin += size
