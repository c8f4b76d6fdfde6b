"""How likely continuations are after their contexts: in batches of similar length, and what they have in common once.

Requests become rows of tokens. A row that stands for one continuation, or for several of one token each, is computed whole. Several longer
continuations of one context share it: the context is read into a key-value cache, and the continuations follow one after the other, those
of many contexts side by side. A beginning that most contexts have in common, such as the same examples, is read once for all of them.
Lengths are rounded up, so that few programs are compiled.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import numpy as np

from varietas.model.decoder import graph_and_shapes
from varietas.model.sharding import batch_sharding, batch_shards
from varietas.train.benchmarks import programs
from varietas.train.benchmarks.programs import Before
from varietas.train.inference.generate import Generator

AT_ONCE = 2048  # tokens of a batch, for each part into which the mesh splits it
SHORTEST = 32  # tokens of a row, a power of two
FEWEST = 8  # tokens that are scored in a row; more are a power of two
HEADER = 64  # tokens at least that contexts have in common if these are read once for all
PAYS = 4  # and which part of the contexts they are at least: one in so many tokens

Found = tuple[float, bool]  # the log-likelihood of a continuation in nats, and whether each of its tokens is the likeliest
Ids = tuple[int, ...]


class Request(NamedTuple):
    """A continuation, and what comes before it."""

    context: Ids
    continuation: Ids


@dataclass(frozen=True)
class Shared:
    """A context and what follows it."""

    context: Ids
    continuations: tuple[Ids, ...]  # without repetitions, the longest first
    n_read: int = 0  # tokens of the context that have been read already, as those of other contexts

    @property
    def left(self) -> Ids:
        """What is left to read of the context."""
        return self.context[self.n_read :]

    @property
    def by_itself(self) -> bool:
        """Whether it pays to read the context by itself: not if one row gives all, or if it is short."""
        in_one_row = len(self.continuations) == 1 or len(self.continuations[0]) == 1
        return not in_one_row and len(self.left) > len(self.continuations[0])


class Row(NamedTuple):
    """Tokens to read, and what is asked of them: the likelihoods of `targets` after the tokens at `places`."""

    tokens: Ids
    places: Sequence[int]
    targets: Ids
    answers: tuple[Request, ...]  # what is answered by that: a request by all targets together, or several by a target each


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
    asked = dict[Ids, dict[Ids, int]]()  # how often each continuation of a context is asked for
    for context, continuation in requests:
        counts = asked.setdefault(context, {})
        counts[continuation] = counts.get(continuation, 0) + 1
    groups = [Shared(context, tuple(sorted(counts, key=lambda c: (-len(c), c)))) for context, counts in asked.items()]
    found = dict[Request, Found]()
    with jax.set_mesh(model.mesh):
        for answers in _answers(model, groups):
            found |= answers
            advance(sum(asked[request.context][request.continuation] for request in answers))
    return [found[request] for request in requests]


def _answers(model: Generator, groups: Sequence[Shared]) -> Iterator[dict[Request, Found]]:
    """Yields the answers of batch after batch."""
    with_header, others, header = _split(model, groups)
    for before, some in ((_read_header(model, header), with_header), (None, others)):
        rows = [row for group in some if not group.by_itself for row in _rows(group)]
        yield from _by_rows(model, before, rows)
        yield from _by_contexts(model, before, [group for group in some if group.by_itself])


def _split(model: Generator, groups: Sequence[Shared]) -> tuple[list[Shared], list[Shared], Ids]:
    """Returns the groups whose contexts have a header, of which it is then read already, the others, and the header."""
    having, others = list[Shared](), list(groups)
    beginnings = Counter(group.context[:HEADER] for group in groups if len(group.context) > HEADER)
    if beginnings and not model.config.sliding_window:  # padding between a header and a context would count as distance
        beginning = beginnings.most_common(1)[0][0]
        having = [group for group in groups if len(group.context) > HEADER and group.context[:HEADER] == beginning]
    if len(having) < 2:
        return [], others, ()
    first, last = min(group.context for group in having), max(group.context for group in having)
    shortest = min(len(group.context) for group in having)
    common = next((n for n, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), shortest)
    n = min(common, shortest - 1)
    n = next(size for size in range(n, 0, -1) if rounded(size, size + 1) == size)  # few programs: one of the lengths that rows have
    if n * PAYS * len(having) < sum(len(group.context) for group in having):
        return [], others, ()
    others = [group for group in groups if group.context[:n] != first[:n]]
    return [replace(group, n_read=n) for group in having], others, first[:n]


def _read_header(model: Generator, header: Ids) -> Before | None:
    """Reads a header into a cache that has a row for each part of a batch; returns None if there is none."""
    if not header:
        return None
    tokens = np.tile(np.array(header, np.int32), (batch_shards(), 1))
    return Before(*_run(model, programs.read, None, tokens, np.ones_like(tokens)))


def _rows(group: Shared) -> Iterator[Row]:
    """Yields rows that give the likelihoods of a group whose context is not read by itself."""
    context, begin = group.left, len(group.left) - 1
    if len(group.continuations[0]) == 1:
        targets = tuple(continuation[0] for continuation in group.continuations)
        yield Row(context, [begin] * len(targets), targets, tuple(Request(group.context, each) for each in group.continuations))
        return
    for each in group.continuations:
        yield Row(context + each[:-1], range(begin, begin + len(each)), each, (Request(group.context, each),))


def _by_rows(model: Generator, before: Before | None, rows: Sequence[Row]) -> Iterator[dict[Request, Found]]:
    """Yields the answers of batches of rows, those of the longest rows first."""
    ordered = sorted(rows, key=lambda row: (-len(row.tokens), -len(row.targets)))
    while ordered:
        L = rounded(len(ordered[0].tokens), model.config.max_seq_len)
        batch, ordered = ordered[: _most(L)], ordered[_most(L) :]
        yield _scored(model, before, batch, _size(len(batch), L), L)


def _by_contexts(model: Generator, before: Before | None, groups: Sequence[Shared]) -> Iterator[dict[Request, Found]]:
    """Yields the answers of batches of contexts with their continuations. The last token of a context is read with each continuation."""
    ordered = sorted(groups, key=lambda group: (-len(group.left), -len(group.continuations[0])))
    while ordered:
        S = rounded(len(ordered[0].left) - 1, model.config.max_seq_len)
        batch, ordered = ordered[: _most(S)], ordered[_most(S) :]
        B, L = _size(len(batch), S), _power_of_two(max(len(group.continuations[0]) for group in batch))
        tokens, segments = np.zeros((B, S), np.int32), np.zeros((B, S), np.int32)
        for r, group in enumerate(batch):  # ends where the continuations begin
            n = len(group.left) - 1
            tokens[r, S - n :], segments[r, S - n :] = group.left[:-1], 1
        contexts = Before(*_run(model, programs.read, before, tokens, segments))
        answers = dict[Request, Found]()
        for k in range(max(len(group.continuations) for group in batch)):  # the k-th continuation of every context
            rows = [_continuation(group, k) for group in batch]
            answers |= _scored(model, contexts, rows, B, L)
        yield answers


def _continuation(group: Shared, k: int) -> Row:
    """Returns the row of a continuation whose context has been read; an empty one if there is none."""
    if k >= len(group.continuations):
        return Row((), (), (), ())
    each = group.continuations[k]
    return Row((group.context[-1], *each[:-1]), range(len(each)), each, (Request(group.context, each),))


def _scored(model: Generator, before: Before | None, rows: Sequence[Row], B: int, L: int) -> dict[Request, Found]:
    """Returns the answers of a batch of at most B rows of at most L tokens."""
    most = max(len(row.targets) for row in rows)
    P = max(most, min(L, _power_of_two(most)))
    tokens, segments, places, targets = (np.zeros((B, n), np.int32) for n in (L, L, P, P))
    for r, row in enumerate(rows):
        tokens[r, : len(row.tokens)], segments[r, : len(row.tokens)] = row.tokens, 1
        places[r, : len(row.targets)], targets[r, : len(row.targets)] = row.places, row.targets
    scores, best = map(np.asarray, _run(model, programs.score, before, tokens, segments, (places, targets)))
    found = dict[Request, Found]()
    for r, row in enumerate(rows):
        n = len(row.targets)
        if len(row.answers) == 1:
            found[row.answers[0]] = float(scores[r, :n].astype(np.float64).sum()), bool(best[r, :n].all())
        else:
            found |= {answer: (float(scores[r, i]), bool(best[r, i])) for i, answer in enumerate(row.answers)}
    return found


def rounded(n: int, longest: int) -> int:
    """Returns a length of at least `n`, of few that there are: powers of two and three quarters of them, or `longest`, which is enough."""
    n = max(n, SHORTEST)
    power = 1 << (n - 1).bit_length()
    return min(longest, power * 3 // 4 if n <= power * 3 // 4 else power)


def _power_of_two(n: int) -> int:
    return max(FEWEST, 1 << (n - 1).bit_length())


def _most(length: int) -> int:
    """Returns how many rows of this length a batch has at most."""
    return max(1, AT_ONCE // length) * batch_shards()


def _size(n: int, length: int) -> int:
    """Returns the rows of a batch for `n` of this length: a power of two in each part of the batch, or the most there can be."""
    each = -(-n // batch_shards())
    return min(_most(length), batch_shards() << (each - 1).bit_length())


def _run(model: Generator, program: Callable, before: Before | None, *arrays: object) -> tuple:
    """Calls a program with arrays that are split over the mesh as batches are."""
    graph, _ = graph_and_shapes(model.config, model.build)
    sharding = batch_sharding(model.mesh)
    on_devices = jax.tree.map(lambda x: jax.make_array_from_callback(x.shape, sharding, x.__getitem__), arrays)
    return program(graph, model.config, model.weights, before, *on_devices)
