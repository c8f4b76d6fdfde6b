"""Generated text does not depend on cache, batch or mesh, and samples have the requested distribution."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varietas.launch.config import load_config
from varietas.model.config import ModelConfig
from varietas.model.decoder import Params, bind, graph_and_shapes
from varietas.model.sharding import make_mesh
from varietas.train.inference.generate import Drawn, _advance, choose, generate, generator
from varietas.train.inference.network import Network
from varietas.train.inference.sampling import Sampling

CFG = replace(ModelConfig(**load_config("tiny").model), vocab_size=128, n_kv_heads=2, tied_embeddings=False)
EXPERTS = replace(
    CFG, feed_forward="experts", n_experts=8, n_experts_per_token=3, d_expert=24, n_shared_experts=1, n_dense_layers=1, router_bias=True
)
LATENT = replace(CFG, n_kv_heads=8, kv_rank=24, q_rank=16, d_head=16, d_rope=8, d_value=12, rope_score_factor=1.3)
NONE = -1  # an end-of-sequence id that never occurs
PROMPTS = ([1, 5, 7], [2], list(range(40)))
LONG = [3] * 70  # a prompt that needs a larger cache
SAMPLED = {"temperature": 1.0, "top_p": 0.9, "seed": 3}


@pytest.fixture(scope="module")
def params() -> Params:
    """Weights large enough that the next token depends on all tokens before it."""
    return random_params(CFG)


def random_params(cfg: ModelConfig) -> Params:
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape).astype(np.float32), graph_and_shapes(cfg)[1])


def texts(params: Params, prompts: Sequence[list[int]], n: int = 12, eos: int = NONE, mesh: Any = (1, 1, 1), **kwargs: Any) -> list[list]:
    """Returns what `generate` yields, as a list for each prompt."""
    devices, n_pieces, cfg = jax.devices()[: int(np.prod(mesh))], kwargs.pop("n_pieces", None), kwargs.pop("cfg", CFG)
    model = generator(Network(params, cfg, make_mesh(*mesh, devices=devices)))
    rows = generate(model, prompts, Sampling(n, **kwargs), eos, n_pieces)
    return [list(row) for row in zip(*rows, strict=True)]


@pytest.fixture(scope="module")
def greedy(params: Params) -> list[list[int]]:
    return texts(params, PROMPTS)


@pytest.fixture(scope="module")
def sampled(params: Params) -> list[list[int]]:
    return texts(params, PROMPTS, **SAMPLED)


@pytest.mark.parametrize("mesh", [(1, 1, 1), (2, 2, 2)])
@pytest.mark.parametrize("cfg", [EXPERTS, LATENT], ids=["experts", "latent attention"])
def test_other_parts_take_the_most_likely_token_of_a_full_forward_pass(cfg: ModelConfig, mesh: tuple[int, int, int]) -> None:
    """On several devices too, which do not divide the three prompts."""
    params = random_params(cfg)
    _follow(params, texts(params, PROMPTS, mesh=mesh, cfg=cfg), cfg)


def test_greedy_takes_the_most_likely_token_of_a_full_forward_pass(params: Params, greedy: list[list[int]]) -> None:
    _follow(params, greedy, CFG)


@partial(jax.jit, static_argnums=3)
def _logits(params: Params, tokens: jax.Array, length: jax.Array, cfg: ModelConfig) -> jax.Array:
    place = jnp.arange(64)
    decoder = bind(graph_and_shapes(cfg)[0], params)
    return decoder(tokens[None], (place < length)[None].astype(jnp.int32), place[None])[0, length - 1] @ decoder.head_DV


def _follow(params: Params, greedy: list[list[int]], cfg: ModelConfig) -> None:
    for prompt, text in zip(PROMPTS, greedy, strict=True):
        tokens = np.zeros(64, np.int32)
        tokens[: len(prompt)] = prompt
        for n, token in enumerate(text, len(prompt)):
            assert token == int(_logits(params, tokens, n, cfg).argmax())
            tokens[n] = token
    assert len(set().union(*greedy)) > 10  # not the same few tokens again and again


@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_prompt_alone_continues_as_in_a_batch(params: Params, greedy: list[list[int]], row: int) -> None:
    assert texts(params, [PROMPTS[row]]) == [greedy[row]]


def test_ids_that_the_tokenizer_lacks_are_never_chosen(params: Params, greedy: list[list[int]]) -> None:
    """The vocabulary of a model may be larger than that of its tokenizer."""
    n_pieces = max(map(max, greedy))
    assert max(map(max, texts(params, PROMPTS, n_pieces=n_pieces))) < n_pieces


def test_samples_do_not_depend_on_the_other_prompts(params: Params, sampled: list[list[int]]) -> None:
    assert texts(params, PROMPTS[:1], **SAMPLED) == sampled[:1]
    assert texts(params, [*PROMPTS[:2], LONG], **SAMPLED)[:2] == sampled[:2]


def test_samples_depend_on_seed_and_row(params: Params, sampled: list[list[int]]) -> None:
    assert texts(params, PROMPTS, **SAMPLED) == sampled
    one, other, third = texts(params, [PROMPTS[0], PROMPTS[0], PROMPTS[2]], **SAMPLED)
    assert [one, third] == [sampled[0], sampled[2]]
    assert one != other
    assert texts(params, PROMPTS, **{**SAMPLED, "seed": 4})[0] != sampled[0]


def test_the_mesh_does_not_change_the_text(params: Params, sampled: list[list[int]]) -> None:
    assert texts(params, PROMPTS, mesh=(2, 2, 2), **SAMPLED) == sampled


def test_prompts_of_similar_length_share_compiled_programs(params: Params, greedy: list[list[int]]) -> None:
    before = _advance._cache_size()  # number of compiled programs
    texts(params, ([4], [5, 6], [7] * 50), n=3, seed=5)
    assert _advance._cache_size() == before > 0


def test_another_temperature_or_top_p_is_not_compiled_again(params: Params, sampled: list[list[int]]) -> None:
    before = _advance._cache_size()
    other = [texts(params, PROMPTS, temperature=temperature, top_p=top_p, seed=3) for temperature, top_p in ((0.7, 0.9), (1.3, 1.0))]
    assert _advance._cache_size() == before
    assert sampled not in other and other[0] != other[1]


def test_a_row_ends_at_its_end_of_sequence(params: Params, greedy: list[list[int]]) -> None:
    eos = greedy[0][4]
    ends = [row.index(eos) if eos in row else len(row) for row in greedy]
    rows = max(ends) if max(ends) == 12 else max(ends) + 1
    assert texts(params, PROMPTS, eos=eos) == [row[:end] + [None] * (rows - end) for row, end in zip(greedy, ends, strict=True)]


def test_generation_stops_when_all_rows_have_ended(params: Params, greedy: list[list[int]]) -> None:
    eos = greedy[0][4]
    assert texts(params, [PROMPTS[0]], eos=eos) == [[*greedy[0][: greedy[0].index(eos)], None]]


@pytest.mark.parametrize(
    ("prompts", "n", "options", "message"),
    [
        ([], 4, {}, "there is no prompt"),
        ([[1], []], 4, {}, "a prompt holds no token; begin each with bos"),
        ([[1] * 120], 9, {}, "120 tokens and 9 new tokens exceed the model's context of 128 tokens; ask for 8 or fewer"),
        ([[1] * 200], 9, {}, "exceed the model's context of 128 tokens; shorten the prompt"),
        ([[1]], 4, {"temperature": -0.1}, "temperature=-0.1 must be 0 or more"),
        ([[1]], 4, {"top_p": 0.0}, "top_p=0.0 above 0 and at most 1"),
        ([[1]], 4, {"top_p": 1.1}, "top_p=1.1 above 0 and at most 1"),
    ],
)
def test_an_invalid_request_is_an_error(params: Params, prompts: list, n: int, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        texts(params, prompts, n, **options)


LOGITS = np.array([1.3, -0.4, 0.9, 2.0, -6.0, 0.2])


@pytest.mark.parametrize(
    ("temperature", "top_p", "kept"), [(1.0, 1.0, 6), (0.5, 1.0, 6), (2.0, 1.0, 6), (1.0, 0.9, 4), (0.5, 0.9, 3), (1.0, 0.3, 1)]
)
def test_tokens_are_drawn_from_the_requested_distribution(temperature: float, top_p: float, kept: int) -> None:
    p = np.exp(LOGITS / temperature) / np.exp(LOGITS / temperature).sum()
    order = np.argsort(-p)
    n_kept = int(np.searchsorted(np.cumsum(p[order]), top_p)) + 1 if top_p < 1 else len(p)
    assert n_kept == kept
    p[order[kept:]] = 0
    p /= p.sum()
    n = 20_000
    keys = jax.random.split(jax.random.key(0), n)
    drawn = choose(jnp.broadcast_to(jnp.float32(LOGITS), (n, len(LOGITS))), keys, Drawn(jnp.float32(temperature), jnp.float32(top_p)))
    found = np.bincount(np.asarray(drawn), minlength=len(p)) / n
    assert (found[p == 0] == 0).all()
    assert (np.abs(found - p) <= 4 * np.sqrt(p * (1 - p) / n) + 1e-12).all()  # four standard errors, for a fixed key


def test_temperature_zero_takes_the_most_likely_token() -> None:
    keys = jax.random.split(jax.random.key(0), 2)
    assert choose(jnp.float32([LOGITS, -LOGITS]), keys, None).tolist() == [3, 4]
