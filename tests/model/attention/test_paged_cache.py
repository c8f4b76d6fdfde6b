"""A paged cache gives each row what it would have alone and whole, wherever its pages are and whoever else is in the batch."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varietas.launch.config import load_config
from varietas.model.attention import cache as caches
from varietas.model.attention.cache import Paged, empty_pages
from varietas.model.config import ModelConfig
from varietas.model.decoder import Params, bind, graph_and_shapes, layers_of
from varietas.model.sharding import make_mesh, param_shardings

CFG = replace(ModelConfig(**load_config("tiny").model), vocab_size=128, n_heads=4, n_kv_heads=2, d_head=16)
WINDOW = replace(CFG, sliding_window=9)
LATENT = replace(CFG, n_kv_heads=4, kv_rank=24, q_rank=16, d_rope=8, d_value=12, rope_score_factor=1.3)
EXPERTS = replace(CFG, feed_forward="experts", n_experts=4, d_expert=24, n_dense_layers=1)
LENGTHS = (75, 31, 8)  # tokens of three rows: some pages, not quite a page more, exactly a page
PAGE = 8
NONE = -1


def random_params(cfg: ModelConfig) -> Params:
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape).astype(np.float32), graph_and_shapes(cfg)[1])


@partial(jax.jit, static_argnames="cfg")
def whole(params: Params, tokens: jax.Array, cfg: ModelConfig) -> jax.Array:
    place = jnp.arange(len(tokens))[None]
    return bind(graph_and_shapes(cfg)[0], params)(tokens[None], jnp.ones_like(place), place)[0]


@partial(jax.jit, static_argnames="cfg", donate_argnames="cache")
def extend(params: Params, tokens_BL: Any, positions_BL: Any, table_BM: Any, cache: Any, cfg: ModelConfig) -> Any:
    decoder = bind(graph_and_shapes(cfg)[0], params)
    return decoder.extend(tokens_BL, jnp.ones_like(tokens_BL), positions_BL, layers_of(params), cache, Paged(table_BM))


@pytest.mark.parametrize(
    ("cfg", "mesh"),
    [(CFG, (1, 1, 1)), (CFG, (2, 2, 2)), (WINDOW, (1, 1, 1)), (LATENT, (1, 1, 1)), (LATENT, (2, 1, 4)), (EXPERTS, (1, 2, 2))],
    ids=["plain", "mesh", "window", "latent", "latent on a mesh", "experts on a mesh"],
)
def test_rows_of_a_paged_cache_are_as_if_alone(cfg: ModelConfig, mesh: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts are read in chunks with padding, then all rows go on token by token, and one of them is at its end before the others."""
    monkeypatch.setattr(caches, "KEYS_AT_ONCE", 24)  # so that there are several passes, of which short rows need none
    rng, params = np.random.default_rng(1), random_params(cfg)
    texts = [rng.integers(1, cfg.vocab_size, n).astype(np.int32) for n in LENGTHS]
    expected = [np.asarray(whole(params, text, cfg)) for text in texts]
    table = (rng.permutation(3 * 10) + 1).astype(np.int32).reshape(3, 10)  # pages in no order; page 0 is nobody's
    chunk, read = 16, [n - 6 for n in LENGTHS]
    devices = make_mesh(*mesh, devices=jax.devices()[: int(np.prod(mesh))])
    with jax.set_mesh(devices):
        params = jax.device_put(params, param_shardings(params, devices))
        cache = jax.jit(empty_pages, static_argnums=(0, 1, 2))(cfg, 31, PAGE)
        for row, text in enumerate(texts):
            for begin in range(0, read[row], chunk):
                n = min(chunk, read[row] - begin)
                tokens, positions = np.zeros((1, chunk), np.int32), np.full((1, chunk), NONE, np.int32)
                tokens[0, :n], positions[0, :n] = text[begin : begin + n], np.arange(begin, begin + n)
                found, cache = extend(params, tokens, positions, table[row : row + 1], cache, cfg)
                np.testing.assert_allclose(found[0, :n], expected[row][begin : begin + n], rtol=0, atol=1e-5)
        for step in range(6):
            at = np.array([n + step for n in read])
            here = np.array([True, True, step < 3])  # the last row is not there any more
            tokens = np.array([[text[place]] for text, place in zip(texts, at, strict=True)])
            found, cache = extend(params, tokens, np.where(here, at, NONE)[:, None], np.where(here[:, None], table, 0), cache, cfg)
            for row in np.flatnonzero(here):
                np.testing.assert_allclose(found[row, 0], expected[row][at[row]], rtol=0, atol=1e-5)
    assert np.isfinite(np.asarray(found)).all()


def test_the_cache_of_a_mesh_is_split_by_heads() -> None:
    mesh = make_mesh(1, 1, 2, devices=jax.devices()[:2])
    with jax.set_mesh(mesh):
        ((keys, _), *_) = jax.jit(empty_pages, static_argnums=(0, 1, 2))(CFG, 5, PAGE)
    assert keys.shape == (5, PAGE, 2, 16) and keys.addressable_shards[0].data.shape == (5, PAGE, 1, 16)
