"""Bits per byte for each language, beside an untrained model and an order-0 (unigram token) baseline.

Bits per byte compares between tokenizers and languages, a loss per token does not. Every token is scored once: documents
longer than the context are read in windows that overlap by half, and a window scores only what was not scored before.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sentencepiece as spm
from jax.sharding import Mesh, NamedSharding

from varietas.data.corpus import Corpus
from varietas.data.documents import Document
from varietas.data.sources import Sources
from varietas.model.config import ModelConfig
from varietas.model.decoder import Build, Decoder, Params, bind, graph_and_shapes
from varietas.model.loss import cross_entropy
from varietas.model.sharding import batch_sharding, replicated


@dataclass(frozen=True)
class Text:
    """The evaluation text of one language: token ids of each document (bos first), and its size."""

    documents: tuple[np.ndarray, ...]
    bytes: int
    words: int

    @property
    def tokens(self) -> int:
        """Tokens scored: all but bos."""
        return sum(len(ids) - 1 for ids in self.documents)


def encode(documents: Iterable[Document], processor: spm.SentencePieceProcessor) -> dict[str, Text]:
    """Documents by language. Bytes are of the text as it was given; words are what white space separates."""
    grouped: dict[str, list[Document]] = {}
    for document in documents:
        grouped.setdefault(document.lang, []).append(document)
    return {
        code: Text(
            tuple(np.array(processor.encode(d.text, add_bos=True), np.int32) for d in group),
            sum(len(d.text.encode()) for d in group),
            sum(len(d.text.split()) for d in group),
        )
        for code, group in sorted(grouped.items())
    }


def windows(ids: np.ndarray, length: int) -> Iterator[tuple[np.ndarray, int]]:
    """(up to length + 1 ids, how many of the last of them to score): each id but the first is scored in exactly one window."""
    stride = max(1, length // 2)
    scored, end = 0, min(length, len(ids) - 1)
    while scored < len(ids) - 1:
        begin = max(0, end - length)
        yield ids[begin : end + 1], end - scored
        scored, end = end, min(end + stride, len(ids) - 1)


def nats(
    params: Params, cfg: ModelConfig, texts: dict[str, Text], length: int, batch_size: int, mesh: Mesh, build: Build = Decoder
) -> dict[str, float]:
    """Negative log-likelihood of each language's text in nats, in windows of `length` tokens, `batch_size` windows at a time."""
    graph, _ = graph_and_shapes(cfg, build)
    total = dict.fromkeys(texts, 0.0)
    todo = ((code, ids, n) for code, text in texts.items() for document in text.documents for ids, n in windows(document, length))
    with jax.set_mesh(mesh):
        while group := list(islice(todo, batch_size)):
            rows = {name: np.zeros((batch_size, length), np.int32) for name in ("tokens", "targets", "segments")}
            for r, (_, ids, _) in enumerate(group):
                rows["tokens"][r, : len(ids) - 1], rows["targets"][r, : len(ids) - 1], rows["segments"][r, : len(ids) - 1] = (
                    ids[:-1],
                    ids[1:],
                    1,
                )
            on_device = (jax.device_put(x, batch_sharding(mesh)) for x in rows.values())
            nll = np.asarray(_score(graph, cfg.loss_chunk, replicated(mesh), params, *on_device), np.float64)
            for r, (code, ids, n) in enumerate(group):
                total[code] += float(nll[r, len(ids) - 1 - n : len(ids) - 1].sum())
    return total


@partial(jax.jit, static_argnums=(0, 1, 2))
def _score(
    graph: Any, loss_chunk: int, everywhere: NamedSharding, params: Params, tokens: jax.Array, targets: jax.Array, segments: jax.Array
) -> jax.Array:
    """Nats of each target (B, L), float32, on all devices. Compiled once a model, also for evaluations in the course of training."""
    decoder = bind(graph, params)
    hidden = decoder(tokens, segments, jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape))
    nll = cross_entropy(hidden, decoder.head_DV, targets, jnp.zeros(tokens.shape), 0.0, loss_chunk)[1]
    return jax.lax.with_sharding_constraint(nll, everywhere)


def unigram_nats(texts: dict[str, Text], corpus: Corpus | Sources, shares: np.ndarray) -> dict[str, float]:
    """The same under an order-0 model: the frequencies of tokens in the training mixture, every token counted once more."""
    counts = corpus.unigrams.astype(np.float64)
    frequency = counts / np.maximum(counts.sum(1, keepdims=True), 1)  # of each language, (languages, V)
    smoothed = shares @ frequency * counts.sum() + 1.0
    cost = np.log(smoothed.sum()) - np.log(smoothed)
    return {code: float(sum(cost[ids[1:]].sum() for ids in text.documents)) for code, text in texts.items()}


def table(
    texts: dict[str, Text], trained: dict[str, float], untrained: dict[str, float], unigram: dict[str, float], seen: set[str]
) -> dict[str, dict[str, Any]]:
    """One record a language, worst (most bits per byte) first. All arguments but `seen` are by language; likelihoods in nats."""

    def bits(nats: float, text: Text) -> float:
        return round(nats / math.log(2) / max(1, text.bytes), 4)

    rows = {
        code: {
            "bits_per_byte": bits(trained[code], text),
            "untrained": bits(untrained[code], text),
            "unigram": bits(unigram[code], text),
            "bytes": text.bytes,
            "tokens": text.tokens,
            "words": text.words,
            "trained_on": code in seen,
        }
        for code, text in texts.items()
    }
    return dict(sorted(rows.items(), key=lambda item: -item[1]["bits_per_byte"]))
