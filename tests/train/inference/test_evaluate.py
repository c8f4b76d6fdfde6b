"""Evaluation scores each token once, with more than half a window before it, and its sums equal those of brute force."""

import hashlib
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


def whole(documents: tuple[np.ndarray, ...], sizes: tuple[int, ...] = (), words: int = 1, sources: tuple[str, ...] = ()) -> Text:
    """A text of which every token but the first of a document is scored."""
    n = len(documents)
    scored, digests = tuple(np.arange(len(ids)) > 0 for ids in documents), tuple(map(str, range(n)))
    return Text(documents, scored, sizes or (1,) * n, words, digests, sources or ("",) * n)


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
    return {code: whole(tuple(rng.integers(0, 128, n, np.int32) for n in lengths)) for code, lengths in sizes.items()}


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


def totals(of_documents: dict[str, np.ndarray]) -> dict[str, float]:
    return {code: float(found.sum()) for code, found in of_documents.items()}


def test_nats_of_short_documents_equal_the_sum_over_their_tokens(params: Params, texts: dict[str, Text], brute_force: Any) -> None:
    short = {"ces_Latn": texts["ces_Latn"], "ell_Grek": texts["ell_Grek"]}
    expected = {code: sum(brute_force(ids, len(ids) - 1) for ids in text.documents) for code, text in short.items()}
    found = totals(nats(Network(params, CFG, make_mesh(1, 1, 1, jax.devices()[:1])), short, LENGTH, 4))
    assert found == pytest.approx(expected, rel=1e-7)  # float32 nll of each token, summed in float64; observed: 2e-8


@pytest.mark.parametrize(("batch_size", "mesh"), [(4, (1, 1, 1)), (1, (1, 1, 1)), (8, (8, 1, 1)), (4, (2, 2, 2))])
def test_batch_size_and_mesh_do_not_change_nats(
    params: Params, texts: dict[str, Text], brute_force: Any, batch_size: int, mesh: tuple[int, int, int]
) -> None:
    found = nats(Network(params, CFG, make_mesh(*mesh, jax.devices()[: math.prod(mesh)])), texts, LENGTH, batch_size)
    for code, text in texts.items():
        expected = [sum(brute_force(*window) for window in windows(ids, LENGTH)) for ids in text.documents]
        assert found[code].tolist() == pytest.approx(expected, rel=1e-7)


def test_unigram_nats_equal_a_calculation_by_hand() -> None:
    strata = np.array([[2, 1, 0, 1], [0, 6, 2, 0], [9, 9, 9, 9]])
    stream: Any = SimpleNamespace(
        taken=lambda tokens: np.array([0.25, 0.75, 0.0]) * tokens,
        tokens=strata.sum(1),
        unigrams=lambda index: strata[index],
        corpus=SimpleNamespace(manifest={"vocab_size": 4}),
    )
    ids = np.array([0, 1, 2], np.int32)  # 0 is bos, which is not scored
    texts = {"aaa": whole((ids, ids[:2])), "zzz": whole((ids[1:],))}
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
    texts = {"aaa": whole(documents, (60, 40), 20), "bbb": whole(documents, (30, 20), 10), "ccc": whole(documents, (15, 10), 5)}
    by_code = [dict.fromkeys(texts, n * math.log(2)) for n in (300.0, 200.0)]
    trained = dict.fromkeys(texts, np.array([60.0, 40.0]) * math.log(2))
    rows = table(texts, trained, *by_code, trained_on={"aaa", "ccc"}, tokens_seen={"aaa": 7})
    assert list(rows) == ["ccc", "bbb", "aaa"] and [row["tokens_seen"] for row in rows.values()] == [0, 0, 7]
    assert rows["bbb"] == {
        "bits_per_byte": 2.0,
        "untrained": 6.0,
        "unigram": 4.0,
        "bytes": 50,
        "tokens": 15,
        "words": 10,
        "trained_on": False,
        "interval": (2.0, 2.0),  # both documents have 2 bits per byte
        "documents": 2,
        "tokens_seen": 0,
        "sources": {},
    }
    assert [row["trained_on"] for row in rows.values()] == [True, False, True]


def test_sources_have_figures_of_their_own_if_the_text_has_several() -> None:
    documents = (np.arange(5),) * 3
    texts = {
        "aaa": whole(documents, (100, 50, 50), sources=("news", "wiki", "news")),
        "bbb": whole(documents[:1], (10,), sources=("wiki",)),
    }
    trained = {"aaa": np.array([150.0, 200.0, 150.0]) * math.log(2), "bbb": np.array([10.0]) * math.log(2)}
    rows = table(texts, trained, {}, {}, None, {})
    assert list(rows["aaa"]["sources"]) == ["news", "wiki"]
    news = rows["aaa"]["sources"]["news"]
    assert news == {"bits_per_byte": 2.0, "interval": (1.5, 3.0), "bytes": 150, "documents": 2}  # twice the one document, or the other
    assert rows["aaa"]["sources"]["wiki"] == {"bits_per_byte": 4.0, "interval": None, "bytes": 50, "documents": 1}
    assert rows["bbb"]["interval"] is None and rows["bbb"]["tokens_seen"] is None
    alone = table({"bbb": texts["bbb"]}, trained, {}, {}, None, {})
    assert alone["bbb"]["sources"] == {}


def test_bytes_and_words_are_those_of_the_original_text(corpus_folder: Path) -> None:
    said = [("slk_Latn", "áno  nie\n", "noviny"), ("ces_Latn", "ne", ""), ("slk_Latn", "č", "")]
    documents = [Document("", lang, text, source=source) for lang, text, source in said]
    found, processor = encode(documents, corpus_folder), load(corpus_folder / "tokenizer.model")
    assert list(found) == ["ces_Latn", "slk_Latn"]
    slovak, pieces = found["slk_Latn"], [processor.encode("áno  nie\n"), processor.encode("č")]
    assert [ids.tolist() for ids in slovak.documents] == [[processor.bos_id(), *ids] for ids in pieces]
    assert (slovak.bytes, slovak.sizes, slovak.words, slovak.tokens) == (12, (10, 2), 3, sum(map(len, pieces)))
    assert slovak.sources == ("noviny", "") and slovak.digests[1] == hashlib.sha256("č".encode()).hexdigest()[:16]


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
    small = replace(text, documents=(ids % 128,))
    every = [replace(small, scored=(np.arange(len(ids)) == at,)) for at in range(1, len(ids))]
    of_each = [nats(network, {"x": one}, LENGTH, 4)["x"][0] for one in every]
    expected = sum(n for n, mine in zip(of_each, scored[1:], strict=True) if mine)
    assert nats(network, {"x": small}, LENGTH, 4)["x"][0] == pytest.approx(expected)
    assert len(ids) > LENGTH
