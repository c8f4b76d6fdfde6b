"""How likely continuations are after their contexts: in batches of similar length, and every context once.

Requests become rows of tokens. A row that stands for one continuation, or for several of one token each, is computed whole. Several longer
continuations of one context share it: the context goes into a key-value cache, and the continuations follow one after the other, those of
many contexts side by side. Lengths are rounded up, so that few programs are compiled.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from varietas.model.attention.cache import Cache, Contiguous, empty_cache
from varietas.model.chunks import join, split
from varietas.model.config import ModelConfig
from varietas.model.decoder import Decoder, graph_and_shapes
from varietas.model.sharding import batch_sharding, batch_shards, on_all
from varietas.train.inference.generate import Generator, Weights, decoder_of, logits_of

AT_ONCE = 2048  # tokens of a batch, for each part into which the mesh splits it
SHORTEST = 32  # tokens of a row; those of longer rows are SHORTEST times a power of the square root of two
FEWEST = 8  # tokens that are scored in a row; more are a power of two

Found = tuple[float, bool]  # the log-likelihood of a continuation in nats, and whether each of its tokens is the likeliest


class Request(NamedTuple):
    """A continuation, and what comes before it."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass(frozen=True)
class Shared:
    """A context and what follows it."""

    context: tuple[int, ...]
    continuations: tuple[tuple[int, ...], ...]  # without repetitions, the longest first

    @property
    def in_one_row(self) -> bool:
        """Whether one row gives all: a single continuation, or several of one token each."""
        return len(self.continuations) == 1 or len(self.continuations[0]) == 1

    @property
    def by_itself(self) -> bool:
        """Whether it pays to compute the context by itself."""
        return not self.in_one_row and len(self.context) > len(self.continuations[0])


class Row(NamedTuple):
    """Tokens to read, and what is asked of them: the likelihood of `targets[i]` after the token at `places[i]`."""

    tokens: tuple[int, ...]
    places: Sequence[int]
    targets: tuple[int, ...]
    context: tuple[int, ...]
    continuations: tuple[tuple[int, ...], ...]


def fit(context: Sequence[int], continuation: Sequence[int], longest: int) -> Request:
    """Returns a request of which the model reads at most `longest` tokens; the beginning of the context is left out if need be.

    The last token of the continuation is not read, only scored.

    Raises:
        ValueError: If there is nothing to score, or the continuation alone is longer.
    """
    if not context or not continuation or len(continuation) > longest:
        raise ValueError(f"expected a context of 1 token or more, and a continuation of 1 to {longest} tokens, found {len(continuation)}")
    return Request(tuple(context[-(longest + 1 - len(continuation)) :]), tuple(continuation))


def likelihoods(model: Generator, requests: Sequence[Request], advance: Callable[[int], None] = lambda n: None) -> list[Found]:
    """Computes how likely each continuation is.

    Args:
        model: From `generate.generator`.
        requests: From `fit`.
        advance: Called with the number of requests that have been answered since the last call; what it raises ends the computation.

    Returns:
        The answers in the order of the requests.
    """
    found = dict[Request, Found]()
    asked = dict[tuple[int, ...], dict[tuple[int, ...], int]]()  # how often each continuation of a context is asked for
    for context, continuation in requests:
        counts = asked.setdefault(context, {})
        counts[continuation] = counts.get(continuation, 0) + 1
    groups = [Shared(context, tuple(sorted(counts, key=lambda c: (-len(c), c)))) for context, counts in asked.items()]
    rows = [row for group in groups if not group.by_itself for row in _rows(group)]
    with jax.set_mesh(model.mesh):
        answers = (_by_rows(model, rows), _by_contexts(model, [group for group in groups if group.by_itself]))
        for answer in (answer for some in answers for answer in some):
            found |= answer
            advance(sum(asked[request.context][request.continuation] for request in answer))
    return [found[request] for request in requests]


def _rows(group: Shared) -> Iterator[Row]:
    """Yields rows that give the likelihoods of a group whose context is not computed by itself."""
    context, begin = group.context, len(group.context) - 1
    if len(group.continuations[0]) == 1:
        yield Row(context, [begin] * len(group.continuations), tuple(c[0] for c in group.continuations), context, group.continuations)
        return
    for continuation in group.continuations:
        yield Row(context + continuation[:-1], range(begin, begin + len(continuation)), continuation, context, (continuation,))


def _by_rows(model: Generator, rows: Sequence[Row]) -> Iterator[dict[Request, Found]]:
    """Yields the answers of batches of rows, those of the longest rows first."""
    graph, _ = graph_and_shapes(model.config, model.build)
    left = sorted(rows, key=lambda row: (-len(row.tokens), -len(row.targets)))
    while left:
        L = rounded(len(left[0].tokens), model.config.max_seq_len)
        batch, left = _first(left, L)
        n = max(len(row.targets) for row in batch)
        P, B = max(n, min(L, _power_of_two(n))), _size(len(batch), L)
        tokens, segments, places, targets = (np.zeros((B, n), np.int32) for n in (L, L, P, P))
        for r, row in enumerate(batch):
            tokens[r, : len(row.tokens)], segments[r, : len(row.tokens)] = row.tokens, 1
            places[r, : len(row.targets)], targets[r, : len(row.targets)] = row.places, row.targets
        on_devices = _on_devices(model, tokens, segments, places, targets)
        scores, best = map(np.asarray, _whole_rows(graph, model.config, model.weights, *on_devices))
        yield {
            Request(row.context, continuation): answer
            for r, row in enumerate(batch)
            for continuation, answer in zip(row.continuations, _answers(row, scores[r], best[r]), strict=True)
        }


def _answers(row: Row, scores: np.ndarray, best: np.ndarray) -> list[Found]:
    if len(row.continuations) > 1:  # of one token each
        return [(float(scores[i]), bool(best[i])) for i in range(len(row.targets))]
    return [_sum(scores, best, len(row.targets))]


def _sum(scores: np.ndarray, best: np.ndarray, n: int) -> Found:
    return float(scores[:n].astype(np.float64).sum()), bool(best[:n].all())


def _by_contexts(model: Generator, groups: Sequence[Shared]) -> Iterator[dict[Request, Found]]:
    """Yields the answers of batches of contexts with their continuations. The last token of a context is read with each continuation."""
    graph, _ = graph_and_shapes(model.config, model.build)
    left = sorted(groups, key=lambda group: (-len(group.context), -len(group.continuations[0])))
    while left:
        S = rounded(len(left[0].context) - 1, model.config.max_seq_len)
        batch, left = _first(left, S)
        B, L = _size(len(batch), S), _power_of_two(max(len(group.continuations[0]) for group in batch))
        tokens, segments = np.zeros((B, S), np.int32), np.zeros((B, S), np.int32)
        for r, group in enumerate(batch):  # ends where the continuations begin
            n = len(group.context) - 1
            tokens[r, S - n :], segments[r, S - n :] = group.context[:-1], 1
        read, seen = _on_devices(model, tokens, segments)
        cache = _contexts(graph, model.config, L, model.weights, read, seen)
        found = dict[Request, Found]()
        for k in range(max(len(group.continuations) for group in batch)):  # the k-th continuation of every context
            after, targets = np.zeros((B, L), np.int32), np.zeros((B, L), np.int32)
            having = [(r, group) for r, group in enumerate(batch) if k < len(group.continuations)]
            for r, group in having:
                continuation = group.continuations[k]
                after[r, : len(continuation)] = (group.context[-1], *continuation[:-1])
                targets[r, : len(continuation)] = continuation
            on_devices = _on_devices(model, after, targets)
            scores, best = map(np.asarray, _continuations(graph, model.config, model.weights, cache, seen, *on_devices))
            for r, group in having:
                n = len(group.continuations[k])
                found[Request(group.context, group.continuations[k])] = _sum(scores[r], best[r], n)
        yield found


def rounded(n: int, longest: int) -> int:
    """Returns a length of at least `n`, of few that there are: 32, 48, 64, 96, 128, …, or `longest`, which `n` does not exceed."""
    steps = max(0, math.ceil(2 * math.log2(max(n, 1) / SHORTEST) - 1e-9))
    return min(longest, -(-round(SHORTEST * 2 ** (steps / 2)) // 8) * 8)


def _power_of_two(n: int) -> int:
    return max(FEWEST, 1 << (n - 1).bit_length())


def _first(rows: list[Any], length: int) -> tuple[list[Any], list[Any]]:
    """Splits off as many rows as a batch of this length has."""
    n = _most(length)
    return rows[:n], rows[n:]


def _most(length: int) -> int:
    return max(1, AT_ONCE // length) * batch_shards()


def _size(n: int, length: int) -> int:
    """Returns the rows of a batch for `n` of this length: the most there can be, halved as long as that is enough."""
    size = _most(length)
    while size % 2 == 0 and size // 2 >= n and (size // 2) % batch_shards() == 0:
        size //= 2
    return size


def _on_devices(model: Generator, *arrays: np.ndarray) -> list[jax.Array]:
    sharding = batch_sharding(model.mesh)
    return [jax.make_array_from_callback(x.shape, sharding, x.__getitem__) for x in arrays]


@partial(jax.jit, static_argnums=(0, 1))
def _whole_rows(
    graph: Any,
    cfg: ModelConfig,
    weights: Weights,
    tokens_BL: jax.Array,
    segments_BL: jax.Array,
    places_BP: jax.Array,
    targets_BP: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Returns the log-likelihood of each target after the token at its place, and whether it is the likeliest; (B, P)."""
    decoder = decoder_of(graph, weights)
    positions_BL = jnp.broadcast_to(jnp.arange(tokens_BL.shape[1]), tokens_BL.shape)
    hidden_BLD, _ = decoder.extend(tokens_BL, segments_BL, positions_BL, weights.layers, [None] * cfg.n_layers, Contiguous(segments_BL, 0))
    return _scores(decoder, jnp.take_along_axis(hidden_BLD, places_BP[..., None], axis=1), targets_BP, cfg.loss_chunk)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _contexts(graph: Any, cfg: ModelConfig, room: int, weights: Weights, tokens_BS: jax.Array, segments_BS: jax.Array) -> list[Cache]:
    """Returns a cache of contexts, with room for further tokens. Padding comes first."""
    B, S = tokens_BS.shape
    positions_BS = jnp.maximum(jnp.arange(S) - _padding(segments_BS), 0)
    segments = jnp.pad(segments_BS, ((0, 0), (0, room)))
    cache = empty_cache(cfg, B, S + room)
    return decoder_of(graph, weights).extend(tokens_BS, segments_BS, positions_BS, weights.layers, cache, Contiguous(segments, 0))[1]


@partial(jax.jit, static_argnums=(0, 1))
def _continuations(
    graph: Any,
    cfg: ModelConfig,
    weights: Weights,
    cache: list[Cache],
    segments_BS: jax.Array,
    tokens_BL: jax.Array,
    targets_BL: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Returns the log-likelihood of each target after a cached context and the tokens before it, and whether it is the likeliest."""
    decoder, (B, L), S = decoder_of(graph, weights), tokens_BL.shape, segments_BS.shape[1]
    ones_BL = jnp.ones((B, L), jnp.int32)  # what follows the end of a continuation is seen by nothing before it
    positions_BL = S + jnp.arange(L) - _padding(segments_BS)
    segments = jnp.concatenate([segments_BS, ones_BL], axis=1)
    hidden_BLD, _ = decoder.extend(tokens_BL, ones_BL, positions_BL, weights.layers, cache, Contiguous(segments, jnp.int32(S)))
    return _scores(decoder, hidden_BLD, targets_BL, cfg.loss_chunk)


def _padding(segments_BS: jax.Array) -> jax.Array:
    """Returns how many tokens of padding each context has, (B, 1)."""
    return segments_BS.shape[1] - segments_BS.sum(axis=1, keepdims=True)


def _scores(decoder: Decoder, hidden_BPD: jax.Array, targets_BP: jax.Array, chunk: int) -> tuple[jax.Array, jax.Array]:
    """Returns the log-likelihood of each target, float32, and whether it is the likeliest. Only a chunk has its logits at a time."""
    P = targets_BP.shape[1]

    def step(_: None, piece: tuple[jax.Array, jax.Array]) -> tuple[None, tuple[jax.Array, jax.Array]]:
        hidden, targets = piece
        logits = logits_of(decoder, hidden)
        target = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
        return None, (target - jax.nn.logsumexp(logits, axis=-1), target >= logits.max(axis=-1))

    size = min(chunk, P)
    _, found = jax.lax.scan(step, None, (split(hidden_BPD, size, 1), split(targets_BP, size, 1)))
    scores, best = (on_all(join(x, P, axis=1)) for x in found)
    return scores, best
