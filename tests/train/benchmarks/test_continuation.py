"""What settings of tasks mean for generation, and texts that end where they should."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import jax
import numpy as np
import pytest

from varietas.data.tokenizer.model import load
from varietas.launch.config import load_config
from varietas.model.config import ModelConfig
from varietas.model.decoder import graph_and_shapes
from varietas.model.sharding import make_mesh
from varietas.train.benchmarks.continuation import Wanted, continued, cut, wanted
from varietas.train.benchmarks.tokens import Tokens
from varietas.train.inference.generate import Generator, generate, generator
from varietas.train.inference.network import Network
from varietas.train.inference.sampling import Sampling

CFG = replace(ModelConfig(**load_config("tiny").model), vocab_size=1024)


@pytest.fixture(scope="module")
def model() -> Generator:
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape).astype(np.float32), graph_and_shapes(CFG)[1])
    return generator(Network(params, CFG, make_mesh(1, 1, 1, devices=jax.devices()[:1])))


@pytest.fixture(scope="module")
def tokens(corpus_folder: Any) -> Tokens:
    processor = load(corpus_folder / "tokenizer.model")
    return Tokens(processor, None, (1,), 1, (processor.eos_id(),))


def plain(model: Generator, tokens: Tokens, prompt: list[int], n: int) -> list[int]:
    return [row[0] for row in generate(model, [prompt], Sampling(n), (), tokens.processor.get_piece_size()) if row[0] is not None]


def test_a_text_ends_before_a_string_that_crosses_tokens(model: Generator, tokens: Tokens) -> None:
    prompts = [[1, *range(5, 5 + n)] for n in (3, 9, 4)]
    whole = [tokens.decode(plain(model, tokens, prompt, 24)) for prompt in prompts]
    pieces = [tokens.processor.id_to_piece(token) for token in plain(model, tokens, prompts[0], 24)]
    end = next(one[-1] + other[0] for one, other in pairwise(pieces) if one[-1].isalpha() and other[0].isalpha())
    found = continued(model, tokens, prompts, Wanted((end,), 24))
    assert found == [text.split(end)[0] for text in whole] and found[0] != whole[0]
    assert continued(model, tokens, prompts, Wanted((), 24)) == whole


def test_a_batch_is_no_longer_computed_than_its_texts_are(model: Generator, tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    from varietas.train.benchmarks import continuation

    steps = []

    def counted(*args: Any) -> Any:
        for step in generate(*args):
            steps.append(step)
            yield step

    monkeypatch.setattr(continuation, "generate", counted)
    prompt = [1, 5, 6, 7]
    first = tokens.decode(plain(model, tokens, prompt, 6))[:2]
    assert continued(model, tokens, [prompt] * 3, Wanted((first[1],), 60)) == [first[0]] * 3 and len(steps) < 6


def test_samples_differ_and_come_again(model: Generator, tokens: Tokens) -> None:
    want = Wanted((), 6, temperature=1.0)
    several = continued(model, tokens, [[1, 5, 6]] * 34, want)  # more than a batch
    assert len(set(several)) == 34 and continued(model, tokens, [[1, 5, 6]] * 34, want) == several


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, Wanted((), 256)),
        ({"until": "\n", "do_sample": False, "temperature": 0.7}, Wanted(("\n",), 256)),
        ({"until": ["a", ""], "max_gen_toks": 9, "max_new_tokens": 3}, Wanted(("a",), 9)),
        ({"temperature": 0.5, "top_p": 0.9}, Wanted((), 256, 0.5, 0.9)),
        ({"temperature": 0.0, "top_p": 0.9, "num_beams": 1}, Wanted((), 256)),
        ({"do_sample": True, "max_tokens": 4}, Wanted((), 4, 1.0)),
    ],
)
def test_settings_mean_what_they_mean_in_lm_eval(settings: dict[str, Any], expected: Wanted) -> None:
    assert wanted(settings, 256) == expected


@pytest.mark.parametrize("settings", [{"num_beams": 4}, {"top_k": 5, "temperature": 1.0}, {"stopping": "x"}])
def test_settings_that_would_be_ignored_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"generation_kwargs has .*{next(iter(settings))}"):
        wanted(settings, 256)


def test_the_first_of_several_ends_counts() -> None:
    assert cut("one. two\nthree", ("\n", ".")) == "one" and cut("one", ("x",)) == "one"
