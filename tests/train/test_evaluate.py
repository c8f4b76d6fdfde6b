"""Evaluation: each token is scored once with more than half a window before it, and sums are those of brute force."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varietas.data.documents import Document
from varietas.launch.settings import load_config
from varietas.model.config import ModelConfig
from varietas.model.decoder import Params, bind, graph_and_shapes
from varietas.model.sharding import make_mesh
from varietas.train.evaluate import Text, encode, nats, table, unigram_nats, windows

CFG = replace(ModelConfig(**load_config("tiny").model), vocab_size=128)
LENGTH = 32


@pytest.mark.parametrize("length", [1, 2, 3, 8, 9])
def test_windows_score_each_token_once_with_more_than_half_a_window_before_it(length: int) -> None:
    for size in range(1, 5 * length):
        scored = []
        for ids, n in windows(np.arange(size), length):
            assert np.array_equal(ids, np.arange(ids[0], ids[-1] + 1))
            assert 1 <= n < len(ids) <= length + 1
            for target in ids[-n:]:
                assert ids[0] == 0 or target - ids[0] > length / 2
            scored += ids[-n:].tolist()
        assert scored == list(range(1, size))  # all but bos


@pytest.fixture(scope="module")
def params() -> Params:
    """Weights so large that the context matters."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.normal(0, 0.2, x.shape).astype(np.float32), graph_and_shapes(CFG)[1])


@pytest.fixture(scope="module")
def texts() -> dict[str, Text]:
    """Three languages; documents shorter than a window, as long as one, and much longer."""
    rng = np.random.default_rng(0)
    sizes = {"ces_Latn": (2, 17, LENGTH + 1), "ell_Grek": (5,), "mlt_Latn": (1, 100, LENGTH + 2, 9)}
    return {code: Text(tuple(rng.integers(0, 128, n, np.int32) for n in lengths), 1, 1) for code, lengths in sizes.items()}


@pytest.fixture(scope="module")
def brute_force(params: Params) -> Any:
    """-log p of the last n of some ids given those before them, one call of the decoder for them alone."""

    @jax.jit
    def logits(params: Params, tokens: jax.Array, segments: jax.Array) -> jax.Array:
        decoder = bind(graph_and_shapes(CFG)[0], params)
        return decoder(tokens[None], segments[None], jnp.arange(LENGTH)[None])[0] @ decoder.head_DV

    def score(ids: np.ndarray, n: int) -> float:
        tokens, size = np.zeros(LENGTH, np.int32), len(ids) - 1
        tokens[:size] = ids[:-1]
        found = np.asarray(logits(params, tokens, (np.arange(LENGTH) < size).astype(np.int32)), np.float64)[:size]
        nll = np.log(np.exp(found).sum(-1)) - found[np.arange(size), ids[1:]]
        return float(nll[size - n :].sum())

    return score


def test_nats_of_short_documents_are_the_sum_over_their_tokens(params: Params, texts: dict[str, Text], brute_force: Any) -> None:
    short = {"ces_Latn": texts["ces_Latn"], "ell_Grek": texts["ell_Grek"]}
    expected = {code: sum(brute_force(ids, len(ids) - 1) for ids in text.documents) for code, text in short.items()}
    found = nats(params, CFG, short, LENGTH, 4, make_mesh(1, 1, 1, jax.devices()[:1]))
    assert found == pytest.approx(expected, rel=1e-7)  # float32 nll of each token, summed in float64: 2e-8 was seen


@pytest.mark.parametrize(("batch_size", "mesh"), [(4, (1, 1, 1)), (1, (1, 1, 1)), (8, (8, 1, 1)), (4, (2, 2, 2))])
def test_neither_batch_size_nor_mesh_changes_nats(
    params: Params, texts: dict[str, Text], brute_force: Any, batch_size: int, mesh: tuple[int, int, int]
) -> None:
    expected = {
        code: sum(brute_force(*window) for ids in text.documents for window in windows(ids, LENGTH)) for code, text in texts.items()
    }
    found = nats(params, CFG, texts, LENGTH, batch_size, make_mesh(*mesh, jax.devices()[: math.prod(mesh)]))
    assert found == pytest.approx(expected, rel=1e-7)


def test_unigrams_by_hand() -> None:
    corpus: Any = SimpleNamespace(unigrams=np.array([[2, 1, 0, 1], [0, 6, 2, 0], [9, 9, 9, 9]]))
    ids = np.array([0, 1, 2], np.int32)  # 0 is bos, which is not scored
    texts = {"aaa": Text((ids, ids[:2]), 1, 1), "zzz": Text((ids[1:],), 1, 1)}
    # A quarter of (2, 1, 0, 1) / 4 and three of (0, 6, 2, 0) / 8, times all 48 counts: (6, 30, 9, 3); with one added (7, 31, 10, 4).
    expected = {"aaa": -2 * math.log(31 / 52) - math.log(10 / 52), "zzz": -math.log(10 / 52)}
    assert unigram_nats(texts, corpus, np.array([0.25, 0.75, 0.0])) == pytest.approx(expected)


def test_the_table_is_in_bits_per_byte_worst_first() -> None:
    documents = (np.arange(11), np.arange(6))
    texts = {"aaa": Text(documents, 100, 20), "bbb": Text(documents, 50, 10), "ccc": Text(documents, 25, 5)}
    by_code = [dict.fromkeys(texts, n * math.log(2)) for n in (100.0, 300.0, 200.0)]
    rows = table(texts, *by_code, seen={"aaa", "ccc"})
    assert list(rows) == ["ccc", "bbb", "aaa"]
    assert rows["bbb"] == {
        "bits_per_byte": 2.0,
        "untrained": 6.0,
        "unigram": 4.0,
        "bytes": 50,
        "tokens": 15,
        "words": 10,
        "trained_on": False,
    }
    assert [row["trained_on"] for row in rows.values()] == [True, False, True]


def test_texts_are_counted_as_they_were_given() -> None:
    def fake(text: str, add_bos: bool) -> list[int]:
        return [1] * add_bos + [ord(letter) for letter in text]

    documents = [
        Document(lang=lang, text=text, id="", url="", source="", license="")
        for lang, text in [("slk_Latn", "áno  nie\n"), ("ces_Latn", "ne"), ("slk_Latn", "č")]
    ]
    processor: Any = SimpleNamespace(encode=fake)
    found = encode(documents, processor)
    assert list(found) == ["ces_Latn", "slk_Latn"]
    slovak = found["slk_Latn"]
    assert [ids[0] for ids in slovak.documents] == [1, 1]
    assert (slovak.bytes, slovak.words, slovak.tokens) == (12, 3, 10)
