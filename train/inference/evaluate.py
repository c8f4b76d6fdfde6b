"""Bits per byte of each language, for a trained model and for two baselines: the untrained model and token frequencies (unigram).

Bits per byte can be compared between tokenizers, unlike the loss per token. Every token is scored once. Documents longer than
`data.seq_len` are read in windows that overlap by half, and a window scores only the tokens that were not scored before.
"""

import hashlib
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict

import jax
import jax.numpy as jnp
import numpy as np

from varietas.data.chat.template import Chat, Unusable, chat_in
from varietas.data.stream.stream import Stream
from varietas.data.text.documents import Document
from varietas.data.tokenizer.model import Tokenizer, file_in, load
from varietas.model.config import ModelConfig
from varietas.model.decoder import Params, bind, graph_and_shapes
from varietas.model.linear.lora import applied, whole
from varietas.model.loss import cross_entropy
from varietas.model.sharding import batch_sharding, on_all
from varietas.train.inference.network import Network
from varietas.train.run_folder.evaluations import DIGITS
from varietas.train.statistics.bootstrap import Interval, percentile_interval, resampled

log = logging.getLogger("varietas")


@dataclass(frozen=True)
class Text:
    """The evaluation text of one language."""

    documents: tuple[np.ndarray, ...]  # token ids of each document, bos first
    scored: tuple[np.ndarray, ...]  # whether each of these tokens is scored, bool: all but bos; of a conversation, what is learned
    sizes: tuple[int, ...]  # bytes of each document
    words: int
    digests: tuple[str, ...]  # of each document, as in `evaluations.Documents`
    sources: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """The number of bytes that are scored."""
        return sum(self.sizes)

    @property
    def tokens(self) -> int:
        """The number of tokens that are scored."""
        return int(sum(scored.sum() for scored in self.scored))


def encode(documents: Iterable[Document], run: Path) -> dict[str, Text]:
    """Encodes documents as a run does, and groups them by language.

    Bytes and words, which white space separates, are those of the original text; of a conversation, those of what is scored.

    Raises:
        ValueError: If there are conversations and the run has no chat template.
    """
    grouped: dict[str, list[Document]] = {}
    for document in documents:
        grouped.setdefault(document.lang, []).append(document)
    chat = chat_in(run) if any(document.turns for group in grouped.values() for document in group) else None
    processor = chat.processor if chat else load(file_in(run))
    texts = dict[str, Text]()
    for code, group in sorted(grouped.items()):
        encoded = [(*found, document) for document in group if (found := _encoded(document, processor, chat))]
        if encoded:
            ids, scored, said, kept = zip(*encoded, strict=True)
            sizes, words = tuple(len(text.encode()) for text in said), sum(len(text.split()) for text in said)
            digests = tuple(hashlib.sha256(document.content).hexdigest()[:DIGITS] for document in kept)
            texts[code] = Text(ids, scored, sizes, words, digests, tuple(document.source for document in kept))
    return texts


def _encoded(document: Document, processor: Tokenizer, chat: Chat | None) -> tuple[np.ndarray, np.ndarray, str] | None:
    """Returns the ids of a document, int32, which of them are scored, and their text; None for a conversation that is left out."""
    if not (chat and document.turns):
        ids = np.array(processor.encode(document.text, add_bos=True), np.int32)
        return ids, np.arange(len(ids)) > 0, document.text
    try:
        ids, learned = chat.encode(document.turns)
    except Unusable as error:
        log.warning("left out %s, line %d: %s", document.file, document.line, error)
        return None
    scored = learned & (np.arange(len(ids)) > 0)
    runs = np.split(np.where(scored, ids, -1), np.flatnonzero(np.diff(scored)) + 1)
    said = " ".join(processor.decode(run.tolist()) for run in runs if run[0] >= 0)
    return ids.astype(np.int32), scored, said


def windows(ids: np.ndarray, length: int) -> Iterator[tuple[np.ndarray, int]]:
    """Cuts a document into windows such that each token but the first is scored in exactly one of them.

    Args:
        ids: Token ids of the document.
        length: Tokens that the model reads at once.

    Yields:
        Up to `length` + 1 consecutive ids, of which the last one is only a target, and how many ids at the end of the window to score.
    """
    stride = max(1, length // 2)
    scored, end = 0, min(length, len(ids) - 1)
    while scored < len(ids) - 1:
        begin = max(0, end - length)
        yield ids[begin : end + 1], end - scored
        scored, end = end, min(end + stride, len(ids) - 1)


def nats(
    network: Network, texts: dict[str, Text], length: int, batch_size: int, between: Callable[[], None] = lambda: None
) -> dict[str, np.ndarray]:
    """Computes the negative log-likelihood of each document of each language, in nats: float64 (documents,).

    Args:
        network: The model.
        texts: From `encode`.
        length: Tokens of a window.
        batch_size: How many windows are scored at once.
        between: Called before each batch; what it raises ends the computation.
    """
    graph, _ = graph_and_shapes(network.config, network.build)
    total = {code: np.zeros(len(text.documents)) for code, text in texts.items()}
    todo = (
        (total[code][number : number + 1], ids, scored[len(scored) - n :])
        for code, text in texts.items()
        for number, (document, of_document) in enumerate(zip(text.documents, text.scored, strict=True))
        for (ids, n), (scored, _) in zip(windows(document, length), windows(of_document, length), strict=True)
    )
    with jax.set_mesh(network.mesh):
        while group := list(islice(todo, batch_size)):
            between()
            rows = {name: np.zeros((batch_size, length), np.int32) for name in ("tokens", "targets", "segments")}
            for r, (_, ids, _) in enumerate(group):
                n_targets = len(ids) - 1
                rows["tokens"][r, :n_targets], rows["targets"][r, :n_targets], rows["segments"][r, :n_targets] = ids[:-1], ids[1:], 1
            sharding = batch_sharding(network.mesh)
            on_device = (jax.make_array_from_callback(x.shape, sharding, x.__getitem__) for x in rows.values())
            nll = np.asarray(_score(graph, network.config, network.params, *on_device), np.float64)
            for r, (of_document, ids, scored) in enumerate(group):
                of_document += float(nll[r, len(ids) - 1 - len(scored) : len(ids) - 1][scored].sum())
    return total


@partial(jax.jit, static_argnums=(0, 1))
def _score(graph: Any, cfg: ModelConfig, params: Params, tokens: jax.Array, targets: jax.Array, segments: jax.Array) -> jax.Array:
    """Returns the nats of each target (B, L), float32, on all devices. It is compiled once for each model, also during training."""
    decoder = bind(graph, applied(params, cfg))
    hidden = decoder(tokens, segments, jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape))
    nll = cross_entropy(hidden, whole(decoder.head_DV), targets, jnp.zeros(tokens.shape, jnp.float32), 0.0, cfg.loss_chunk)[1]
    return on_all(nll)


def unigram_nats(texts: dict[str, Text], frequency: np.ndarray, n_tokens: int) -> dict[str, float]:
    """Computes the negative log-likelihood of each language's text under token frequencies, in nats.

    Every token counts once more than it occurs, so that none has probability zero.

    Args:
        texts: From `encode`.
        frequency: The share of each token id, (V,), from `unigram_frequency`.
        n_tokens: Number of tokens that the frequencies have been taken from.
    """
    smoothed = frequency * n_tokens + 1.0
    cost = np.log(smoothed.sum()) - np.log(smoothed)
    return {
        code: float(sum(cost[ids[scored]].sum() for ids, scored in zip(text.documents, text.scored, strict=True)))
        for code, text in texts.items()
    }


def unigram_frequency(stream: Stream, tokens: int) -> tuple[np.ndarray, int]:
    """Returns the share of each token id in what the mixture draws in the first `tokens` tokens, float64 (V,), and of how many tokens."""
    taken = stream.taken(tokens)
    read = np.flatnonzero(taken > 0).tolist()
    frequency = np.zeros(stream.corpus.manifest["vocab_size"])
    for index in read:
        counts = stream.unigrams(index)
        frequency += taken[index] / taken[read].sum() * (counts / counts.sum())
    return frequency, int(stream.tokens[read].sum())


class Part(TypedDict):
    """How well the documents of a language are predicted that have the same source."""

    bits_per_byte: float
    interval: Interval | None
    bytes: int
    documents: int


class Row(TypedDict):
    """How well a language is predicted. The first three figures are bits per byte."""

    bits_per_byte: float
    untrained: float | None  # None if there is no such baseline: the run was imported
    unigram: float | None
    bytes: int
    tokens: int
    words: int
    trained_on: bool
    interval: Interval | None  # of bits_per_byte; None for a single document
    documents: int
    tokens_seen: int | None  # of this language in training, up to this step; None if it is not known
    sources: dict[str, Part]  # by name, most bytes first; empty if the whole text has one


def table(
    texts: dict[str, Text],
    trained: dict[str, np.ndarray],
    untrained: dict[str, float],
    unigram: dict[str, float],
    trained_on: Set[str] | None,
    tokens_seen: Mapping[str, int],
) -> dict[str, Row]:
    """Returns a row for each language, the worst (most bits per byte) first.

    Args:
        texts: From `encode`.
        trained: The likelihoods of the trained model, from `nats`.
        untrained: Those of the model with random parameters by language, in nats; empty if they are not known.
        unigram: Those of the token frequencies; empty if there is no mixture.
        trained_on: The languages that have text in the mixture; None if it is not known.
        tokens_seen: The tokens of each language that training has read; empty if they are not known.
    """
    several = len({source for text in texts.values() for source in text.sources}) > 1
    rows = {}
    for code, text in texts.items():
        whole = _part(code, trained[code], text, np.arange(len(text.sizes)))
        rows[code] = Row(
            bits_per_byte=whole["bits_per_byte"],
            untrained=_bits(untrained[code], text.bytes) if untrained else None,
            unigram=_bits(unigram[code], text.bytes) if unigram else None,
            bytes=text.bytes,
            tokens=text.tokens,
            words=text.words,
            trained_on=trained_on is None or code in trained_on,
            interval=whole["interval"],
            documents=whole["documents"],
            tokens_seen=tokens_seen.get(code, 0) if tokens_seen else None,
            sources=_by_source(code, trained[code], text) if several else {},
        )
    return dict(sorted(rows.items(), key=lambda item: -item[1]["bits_per_byte"]))


def _bits(nats: float, size: int) -> float:
    return round(nats / math.log(2) / max(1, size), 4)


def _by_source(code: str, nats: np.ndarray, text: Text) -> dict[str, Part]:
    places: dict[str, list[int]] = {}
    for place, source in enumerate(text.sources):
        places.setdefault(source, []).append(place)
    parts = {source: _part(code, nats, text, np.array(mine)) for source, mine in places.items()}
    return dict(sorted(parts.items(), key=lambda item: -item[1]["bytes"]))


def _part(code: str, nats: np.ndarray, text: Text, places: np.ndarray) -> Part:
    """Returns how well the documents at these places are predicted."""
    mine, sizes = nats[places], np.array(text.sizes)[places]
    low, high = percentile_interval(resampled(code, mine, sizes)) if len(mine) > 1 else (0.0, 0.0)
    interval = (round(low, 4), round(high, 4)) if len(mine) > 1 else None
    size = int(sizes.sum())
    return Part(bits_per_byte=_bits(float(mine.sum()), size), interval=interval, bytes=size, documents=len(mine))
