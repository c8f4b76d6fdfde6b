"""Text from a model: the cache, the batch and the mesh change nothing, and samples have the distribution asked for."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varietas.launch.settings import load_config
from varietas.model.config import ModelConfig
from varietas.model.decoder import Params, bind, graph_and_shapes
from varietas.model.sharding import make_mesh
from varietas.train.generate import _advance, choose, generate, weights_of

CFG = replace(ModelConfig(**load_config("tiny").model), vocab_size=128, n_kv_heads=2, tied_embeddings=False)
NONE = -1  # an end of sequence that never comes
PROMPTS = ([1, 5, 7], [2], list(range(40)))
LONG = [3] * 70  # with it, prompts take another size of the cache
SAMPLED = {"temperature": 1.0, "top_p": 0.9, "seed": 3}


@pytest.fixture(scope="module")
def params() -> Params:
    """Weights so large that the next token depends on all before."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape).astype(np.float32), graph_and_shapes(CFG)[1])


def texts(params: Params, prompts: Sequence[list[int]], n: int = 12, eos: int = NONE, mesh: Any = (1, 1, 1), **kwargs: Any) -> list[list]:
    """What `generate` yields, a list for each prompt."""
    devices = jax.devices()[: int(np.prod(mesh))]
    rows = generate(weights_of(params, CFG), CFG, prompts, n, eos, make_mesh(*mesh, devices=devices), **kwargs)
    return [list(row) for row in zip(*rows, strict=True)]


@pytest.fixture(scope="module")
def greedy(params: Params) -> list[list[int]]:
    return texts(params, PROMPTS)


@pytest.fixture(scope="module")
def sampled(params: Params) -> list[list[int]]:
    return texts(params, PROMPTS, **SAMPLED)


def test_greedy_is_the_most_likely_token_of_the_whole_decoder_each_time(params: Params, greedy: list[list[int]]) -> None:
    @jax.jit
    def logits(params: Params, tokens: jax.Array, length: jax.Array) -> jax.Array:
        place = jnp.arange(64)
        decoder = bind(graph_and_shapes(CFG)[0], params)
        return decoder(tokens[None], (place < length)[None].astype(jnp.int32), place[None])[0, length - 1] @ decoder.head_DV

    for prompt, text in zip(PROMPTS, greedy, strict=True):
        tokens = np.zeros(64, np.int32)
        tokens[: len(prompt)] = prompt
        for n, token in enumerate(text, len(prompt)):
            assert token == int(logits(params, tokens, n).argmax())
            tokens[n] = token
    assert len(set().union(*greedy)) > 10  # it is not the same few tokens over and over


@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_prompt_alone_goes_on_as_in_a_batch(params: Params, greedy: list[list[int]], row: int) -> None:
    assert texts(params, [PROMPTS[row]]) == [greedy[row]]


def test_ids_beyond_the_tokenizer_are_never_chosen(params: Params, greedy: list[list[int]]) -> None:
    """A model may have more rows of embeddings than its tokenizer has pieces."""
    n_pieces = max(map(max, greedy))
    assert max(map(max, texts(params, PROMPTS, n_pieces=n_pieces))) < n_pieces


def test_samples_do_not_depend_on_the_other_prompts(params: Params, sampled: list[list[int]]) -> None:
    assert texts(params, PROMPTS[:1], **SAMPLED) == sampled[:1]
    assert texts(params, [*PROMPTS[:2], LONG], **SAMPLED)[:2] == sampled[:2]


def test_samples_are_those_of_their_seed_and_row(params: Params, sampled: list[list[int]]) -> None:
    assert texts(params, PROMPTS, **SAMPLED) == sampled
    one, other, third = texts(params, [PROMPTS[0], PROMPTS[0], PROMPTS[2]], **SAMPLED)
    assert [one, third] == [sampled[0], sampled[2]]
    assert one != other
    assert texts(params, PROMPTS, **{**SAMPLED, "seed": 4})[0] != sampled[0]


def test_the_mesh_changes_nothing(params: Params, sampled: list[list[int]]) -> None:
    assert texts(params, PROMPTS, mesh=(2, 2, 2), **SAMPLED) == sampled


def test_prompts_of_similar_length_share_their_programs(params: Params, greedy: list[list[int]]) -> None:
    before = _advance._cache_size()  # programs compiled
    texts(params, ([4], [5, 6], [7] * 50), n=3, seed=5)
    assert _advance._cache_size() == before > 0


def test_a_row_ends_with_its_end_of_sequence(params: Params, greedy: list[list[int]]) -> None:
    eos = greedy[0][4]
    ends = [row.index(eos) if eos in row else len(row) for row in greedy]
    rows = max(ends) if max(ends) == 12 else max(ends) + 1
    assert texts(params, PROMPTS, eos=eos) == [row[:end] + [None] * (rows - end) for row, end in zip(greedy, ends, strict=True)]


def test_when_all_rows_have_ended_nothing_more_comes(params: Params, greedy: list[list[int]]) -> None:
    eos = greedy[0][4]
    assert texts(params, [PROMPTS[0]], eos=eos) == [[*greedy[0][: greedy[0].index(eos)], None]]


@pytest.mark.parametrize(
    ("prompts", "n", "options", "message"),
    [
        ([], 4, {}, "there is no prompt"),
        ([[1], []], 4, {}, "one holds no token; begin each with bos"),
        ([[1] * 120], 9, {}, "120 tokens and 9 new ones exceed the model's context of 128; ask for 8 or fewer"),
        ([[1] * 200], 9, {}, "exceed the model's context of 128; shorten the prompt"),
        ([[1]], 4, {"temperature": -0.1}, "temperature=-0.1 must be 0 or more"),
        ([[1]], 4, {"top_p": 0.0}, "top_p=0.0 above 0 and at most 1"),
        ([[1]], 4, {"top_p": 1.1}, "top_p=1.1 above 0 and at most 1"),
    ],
)
def test_what_cannot_be_generated_is_an_error(params: Params, prompts: list, n: int, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        texts(params, prompts, n, **options)


LOGITS = np.array([1.3, -0.4, 0.9, 2.0, -6.0, 0.2])


@pytest.mark.parametrize(
    ("temperature", "top_p", "kept"), [(1.0, 1.0, 6), (0.5, 1.0, 6), (2.0, 1.0, 6), (1.0, 0.9, 4), (0.5, 0.9, 3), (1.0, 0.3, 1)]
)
def test_tokens_are_drawn_from_the_distribution_asked_for(temperature: float, top_p: float, kept: int) -> None:
    p = np.exp(LOGITS / temperature) / np.exp(LOGITS / temperature).sum()
    order = np.argsort(-p)
    n_kept = int(np.searchsorted(np.cumsum(p[order]), top_p)) + 1 if top_p < 1 else len(p)
    assert n_kept == kept
    p[order[kept:]] = 0
    p /= p.sum()
    n = 20_000
    keys = jax.random.split(jax.random.key(0), n)
    drawn = choose(jnp.broadcast_to(jnp.float32(LOGITS), (n, len(LOGITS))), keys, temperature, top_p)
    found = np.bincount(np.asarray(drawn), minlength=len(p)) / n
    assert (found[p == 0] == 0).all()
    assert (np.abs(found - p) <= 4 * np.sqrt(p * (1 - p) / n) + 1e-12).all()  # four standard errors, for a fixed key


def test_temperature_zero_is_the_most_likely_token() -> None:
    keys = jax.random.split(jax.random.key(0), 2)
    assert choose(jnp.float32([LOGITS, -LOGITS]), keys, 0.0, 1.0).tolist() == [3, 4]
