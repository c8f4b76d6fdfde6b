"""Likelihoods in batches are those of a forward pass over each continuation alone, whatever is shared, padded or split over devices."""

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
from varietas.train.benchmarks import likelihood, programs
from varietas.train.benchmarks.likelihood import Request, fit, likelihoods, rounded
from varietas.train.inference.generate import generator
from varietas.train.inference.network import Network

CFG = replace(ModelConfig(**load_config("tiny").model), vocab_size=128, n_kv_heads=2, tied_embeddings=False)
LATENT = replace(CFG, n_kv_heads=8, kv_rank=24, q_rank=16, d_head=16, d_rope=8, d_value=12, sliding_window=0)
WINDOW = replace(CFG, sliding_window=20, tied_embeddings=True)
LONGEST = CFG.max_seq_len


def random_params(cfg: ModelConfig) -> Params:
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape).astype(np.float32), graph_and_shapes(cfg)[1])


@partial(jax.jit, static_argnums=2)
def _logits(params: Params, tokens: jax.Array, cfg: ModelConfig) -> jax.Array:
    decoder = bind(graph_and_shapes(cfg)[0], params)
    return decoder(tokens[None], jnp.ones((1, LONGEST), jnp.int32), jnp.arange(LONGEST)[None])[0] @ decoder.head_DV


def alone(params: Params, request: Request, cfg: ModelConfig) -> tuple[float, bool]:
    """The same by one forward pass, and a softmax in float64."""
    ids = [*request.context, *request.continuation]
    padded = np.zeros(LONGEST, np.int32)
    padded[: len(ids) - 1] = ids[:-1]
    logits = np.asarray(_logits(params, padded, cfg), np.float64)[len(request.context) - 1 : len(ids) - 1]
    scores = logits - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True)) - logits.max(-1, keepdims=True)
    targets = np.array(request.continuation)
    return float(scores[np.arange(len(targets)), targets].sum()), bool((logits.argmax(-1) == targets).all())


def requests(params: Params, cfg: ModelConfig) -> list[Request]:
    """Contexts with one continuation and with several, short and long, of one token and of many, some of them likely, some asked twice."""
    rng = np.random.default_rng(1)

    def ids(n: int) -> tuple[int, ...]:
        return tuple(rng.integers(1, 128, n).tolist())

    made = [fit(ids(n), ids(k), LONGEST) for n, k in ((1, 1), (5, 40), (100, 28), (127, 1), (300, 7), (300, LONGEST))]
    for n, lengths in ((1, (1, 2)), (9, (1, 1, 1, 1)), (60, (3, 1, 12, 12)), (61, (2, 5)), (90, (1, 33)), (400, (4, 4, 6)), (3, (9, 9))):
        context = ids(n)
        made += [fit(context, ids(k), LONGEST) for k in lengths]
    for context in (ids(30), ids(45)):
        greedy = tuple[int, ...]()
        for _ in range(3):
            tokens = np.zeros(LONGEST, np.int32)
            tokens[: len(context) + len(greedy)] = context + greedy
            greedy += (int(np.argmax(_logits(params, tokens, cfg)[len(context) + len(greedy) - 1])),)
        made += [Request(context, greedy), Request(context, (*greedy[:2], 1 + greedy[2] % 127)), Request(context, greedy[:1])]
    return made + made[3:9]


def answers(params: Params, cfg: ModelConfig, asked: Sequence[Request], mesh: tuple[int, int, int] = (1, 1, 1)) -> list[tuple[float, bool]]:
    devices, told = jax.devices()[: int(np.prod(mesh))], list[int]()
    found = likelihoods(generator(Network(params, cfg, make_mesh(*mesh, devices=devices))), asked, told.append)
    assert sum(told) == len(asked)
    return found


@pytest.mark.parametrize("cfg", [CFG, LATENT, WINDOW], ids=["grouped", "latent", "window"])
def test_answers_are_those_of_each_request_alone(cfg: ModelConfig) -> None:
    params = random_params(cfg)
    asked = requests(params, cfg)
    expected = [alone(params, request, cfg) for request in asked]
    found = answers(params, cfg, asked)
    np.testing.assert_allclose([score for score, _ in found], [score for score, _ in expected], atol=1e-3, rtol=1e-5)
    assert [best for _, best in found] == [best for _, best in expected]
    assert sum(best for _, best in found) >= 4


def test_a_mesh_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it has more parts than there are requests in a batch."""
    params = random_params(CFG)
    asked = requests(params, CFG)
    expected = answers(params, CFG, asked)
    found = answers(params, CFG, asked, (2, 2, 2))
    np.testing.assert_allclose([score for score, _ in found], [score for score, _ in expected], atol=1e-3)
    monkeypatch.setattr(likelihood, "AT_ONCE", 32)
    np.testing.assert_allclose(answers(params, CFG, asked[:5], (4, 2, 1)), expected[:5], atol=1e-3)


@pytest.fixture
def n_read(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """How many tokens, with padding, each program has read."""
    found = dict[str, list[int]]()

    def counted(program: str) -> None:
        original = getattr(programs, program)

        def call(*args: Any) -> Any:
            found.setdefault(program, []).append(args[4].size)
            return original(*args)

        monkeypatch.setattr(programs, program, call)

    counted("read")
    counted("score")
    return found


def test_a_context_is_read_once_for_all_its_continuations(n_read: dict[str, list[int]]) -> None:
    params, context = random_params(CFG), tuple(range(1, 97))
    answers(params, CFG, [Request(context, (k, k + 1, k + 2)) for k in range(1, 5)])
    assert n_read == {"read": [96], "score": [8] * 4}
    n_read.clear()
    answers(params, CFG, [Request(context, (k,)) for k in range(1, 27)])
    assert n_read == {"score": [96]}


@pytest.mark.parametrize("cfg", [CFG, LATENT], ids=["grouped", "latent"])
def test_examples_that_all_contexts_have_are_read_once(cfg: ModelConfig, n_read: dict[str, list[int]]) -> None:
    params, rng = random_params(cfg), np.random.default_rng(2)
    header = tuple(rng.integers(1, 128, 70).tolist())
    contexts = [header + tuple(rng.integers(1, 128, n).tolist()) for n in (5, 9, 20, 21, 30, 2, 25, 31)]
    asked = [Request(context, (k,)) for context in contexts[:4] for k in (1, 2)]
    asked += [Request(context, tuple(rng.integers(1, 128, 3).tolist())) for context in contexts[4:] for _ in range(2)]
    others = [Request((5, 6, 7), (8,)), Request(tuple(range(1, 90)), (3, 4))]
    expected = [alone(params, request, cfg) for request in asked + others]
    found = answers(params, cfg, asked + others)
    np.testing.assert_allclose([score for score, _ in found], [score for score, _ in expected], atol=1e-3, rtol=1e-5)
    assert n_read["read"][0] == 64 and sum(n_read["read"][1:]) + sum(n_read["score"]) < 900 < 70 * len(contexts) * 2
    found = answers(params, cfg, asked + others, (2, 2, 2))
    np.testing.assert_allclose([score for score, _ in found], [score for score, _ in expected], atol=1e-3, rtol=1e-5)


def test_the_beginning_of_a_context_is_left_out() -> None:
    """As lm_eval's `hf` model has it: of context and continuation the last `longest` + 1 tokens, of which the last is not read."""
    assert fit(range(10), (11, 12), 11) == Request(tuple(range(10)), (11, 12))
    assert fit(range(10), (11, 12), 5) == Request((6, 7, 8, 9), (11, 12))
    assert fit(range(10), (11, 12, 13), 3) == Request((9,), (11, 12, 13))
    for context, continuation in (((), (1,)), ((1,), ()), ((1,), (1, 2, 3, 4))):
        with pytest.raises(ValueError, match=r"a continuation of 1 to 3 tokens, found"):
            fit(context, continuation, 3)


def test_there_are_few_lengths_and_they_are_near() -> None:
    lengths = {rounded(n, 4096) for n in range(4097)}
    assert len(lengths) == 15 and max(lengths) == 4096 and rounded(100, 110) == 110
    assert all(n <= rounded(n, 4096) <= max(32, 1.5 * n) for n in range(4097))
