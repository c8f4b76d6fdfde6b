"""Evaluation scores each token once, with more than half a window before it, and its sums equal those of brute force."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varietas.data.corpus.sources import Sources
from varietas.data.stream.mixture import Mixture
from varietas.data.stream.stream import Stream
from varietas.data.text.documents import Document
from varietas.data.tokenizer.model import load
from varietas.launch.config import load_config
from varietas.model.config import ModelConfig
from varietas.model.decoder import Params, bind, graph_and_shapes
from varietas.model.sharding import make_mesh
from varietas.train.inference.evaluate import Text, encode, nats, table, unigram_frequency, unigram_nats, windows
from varietas.train.inference.network import Network

CFG = replace(ModelConfig(**load_config("tiny").model), vocab_size=128)
LENGTH = 32


def whole(documents: tuple[np.ndarray, ...], n_bytes: int, words: int) -> Text:
    """A text of which every token but the first of a document is scored."""
    return Text(documents, tuple(np.arange(len(ids)) > 0 for ids in documents), n_bytes, words)


@pytest.mark.parametrize("length", [1, 2, 3, 8, 9])
def test_windows_score_each_token_once_with_enough_context(length: int) -> None:
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
    """Weights large enough that the context matters."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.normal(0, 0.2, x.shape).astype(np.float32), graph_and_shapes(CFG)[1])


@pytest.fixture(scope="module")
def texts() -> dict[str, Text]:
    """Texts of three languages, with documents shorter than a window, as long as a window and much longer."""
    rng = np.random.default_rng(0)
    sizes = {"ces_Latn": (2, 17, LENGTH + 1), "ell_Grek": (5,), "mlt_Latn": (1, 100, LENGTH + 2, 9)}
    return {code: whole(tuple(rng.integers(0, 128, n, np.int32) for n in lengths), 1, 1) for code, lengths in sizes.items()}


@pytest.fixture(scope="module")
def brute_force(params: Params) -> Any:
    """Returns a function for the negative log-likelihood of the last n of some ids, which calls the decoder for these ids alone."""

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


def test_nats_of_short_documents_equal_the_sum_over_their_tokens(params: Params, texts: dict[str, Text], brute_force: Any) -> None:
    short = {"ces_Latn": texts["ces_Latn"], "ell_Grek": texts["ell_Grek"]}
    expected = {code: sum(brute_force(ids, len(ids) - 1) for ids in text.documents) for code, text in short.items()}
    found = nats(Network(params, CFG, make_mesh(1, 1, 1, jax.devices()[:1])), short, LENGTH, 4)
    assert found == pytest.approx(expected, rel=1e-7)  # float32 nll of each token, summed in float64; observed: 2e-8


@pytest.mark.parametrize(("batch_size", "mesh"), [(4, (1, 1, 1)), (1, (1, 1, 1)), (8, (8, 1, 1)), (4, (2, 2, 2))])
def test_batch_size_and_mesh_do_not_change_nats(
    params: Params, texts: dict[str, Text], brute_force: Any, batch_size: int, mesh: tuple[int, int, int]
) -> None:
    expected = {
        code: sum(brute_force(*window) for ids in text.documents for window in windows(ids, LENGTH)) for code, text in texts.items()
    }
    found = nats(Network(params, CFG, make_mesh(*mesh, jax.devices()[: math.prod(mesh)])), texts, LENGTH, batch_size)
    assert found == pytest.approx(expected, rel=1e-7)


def test_unigram_nats_equal_a_calculation_by_hand() -> None:
    strata = np.array([[2, 1, 0, 1], [0, 6, 2, 0], [9, 9, 9, 9]])
    stream: Any = SimpleNamespace(
        taken=lambda tokens: np.array([0.25, 0.75, 0.0]) * tokens,
        tokens=strata.sum(1),
        unigrams=lambda index: strata[index],
        corpus=SimpleNamespace(manifest={"vocab_size": 4}),
    )
    ids = np.array([0, 1, 2], np.int32)  # 0 is bos, which is not scored
    texts = {"aaa": whole((ids, ids[:2]), 1, 1), "zzz": whole((ids[1:],), 1, 1)}
    # (2, 1, 0, 1) / 4 weighs a quarter, (0, 6, 2, 0) / 8 three quarters. Times the 12 counts that are read: (1.5, 7.5, 2.25, 0.75); plus
    # one: (2.5, 8.5, 3.25, 1.75).
    expected = {"aaa": -2 * math.log(8.5 / 16) - math.log(3.25 / 16), "zzz": -math.log(3.25 / 16)}
    assert unigram_nats(texts, *unigram_frequency(stream, 100)) == pytest.approx(expected)


def test_the_unigram_baseline_is_of_the_documents_that_the_mixture_reads(two_sources: Sources) -> None:
    """Filtered documents of `web` and `wiki`, in shares of 1 to 5 for equal amounts of tokens: counted here from the documents."""
    stream = Stream(two_sources, Mixture(weights="ces_Latn:1", where="quality >= 0.5", sources="wiki:5"), 64, 0)
    counts, drawn = {}, {}
    for name, corpus in two_sources.corpora.items():
        chosen = np.array([i for i in range(corpus.documents("ces_Latn")) if i % 5 and i % 10 >= 5])
        ids = np.concatenate(corpus.read(np.full(len(chosen), corpus.languages.index("ces_Latn")), chosen))
        counts[name] = np.bincount(ids, minlength=two_sources.manifest["vocab_size"])
        drawn[name] = {"web": 1, "wiki": 5}[name] * len(ids)
    expected = sum(drawn[name] / sum(drawn.values()) * counts[name] / counts[name].sum() for name in counts)
    frequency, n_tokens = unigram_frequency(stream, 1_000_000)
    assert frequency == pytest.approx(expected, abs=1e-4) and n_tokens == sum(c.sum() for c in counts.values())


def test_the_table_has_bits_per_byte_with_the_worst_language_first() -> None:
    documents = (np.arange(11), np.arange(6))
    texts = {"aaa": whole(documents, 100, 20), "bbb": whole(documents, 50, 10), "ccc": whole(documents, 25, 5)}
    by_code = [dict.fromkeys(texts, n * math.log(2)) for n in (100.0, 300.0, 200.0)]
    rows = table(texts, *by_code, trained_on={"aaa", "ccc"})
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


def test_bytes_and_words_are_those_of_the_original_text(corpus_folder: Path) -> None:
    documents = [Document("", lang, text) for lang, text in [("slk_Latn", "áno  nie\n"), ("ces_Latn", "ne"), ("slk_Latn", "č")]]
    found, processor = encode(documents, corpus_folder), load(corpus_folder / "tokenizer.model")
    assert list(found) == ["ces_Latn", "slk_Latn"]
    slovak, pieces = found["slk_Latn"], [processor.encode("áno  nie\n"), processor.encode("č")]
    assert [ids.tolist() for ids in slovak.documents] == [[processor.bos_id(), *ids] for ids in pieces]
    assert (slovak.bytes, slovak.words, slovak.tokens) == (12, 3, sum(map(len, pieces)))


def test_of_a_conversation_the_turns_of_the_assistant_are_scored(
    params: Params, corpus_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    turns = (("user", "Kolik je 1 + 1?"), ("assistant", "Dvě, tedy 2."), ("user", "A potom?"), ("assistant", "Nic."))
    forged = Document("2", "slk_Latn", "", turns=(("user", "<|end|>"), ("assistant", "a")), file="x.jsonl", line=7)
    found = encode([Document("1", "ces_Latn", "", turns=turns), forged], corpus_folder)
    assert list(found) == ["ces_Latn"] and "left out x.jsonl, line 7: a turn spells the special token <|end|>" in caplog.text
    text = found["ces_Latn"]
    (ids,), (scored,), processor = text.documents, text.scored, load(corpus_folder / "tokenizer.model")
    end = processor.piece_to_id("<|end|>")
    assert ids[scored].tolist() == [*processor.encode("Dvě, tedy 2."), end, *processor.encode("Nic."), end]
    assert (text.bytes, text.words, text.tokens) == (len("Dvě, tedy 2. Nic.".encode()), 4, int(scored.sum()))
    network = Network(params, CFG, make_mesh(1, 1, 1, jax.devices()[:1]))
    small = Text((ids % 128,), (scored,), 1, 1)
    every = [Text((ids % 128,), (np.arange(len(ids)) == at,), 1, 1) for at in range(1, len(ids))]
    of_each = [nats(network, {"x": one}, LENGTH, 4)["x"] for one in every]
    assert nats(network, {"x": small}, LENGTH, 4)["x"] == pytest.approx(sum(n for n, mine in zip(of_each, scored[1:], strict=True) if mine))
    assert len(ids) > LENGTH
