"""The queue of a language: every token once per epoch, any part on its own, random orders (which test_golden.py freezes)."""

import numpy as np
import pytest

from varietas.data.stream.queue import Queue


def lengths(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(1, 40, n).astype(np.uint32)


def order(queue: Queue, epoch: int) -> np.ndarray:
    return queue.take(epoch * queue.tokens, (epoch + 1) * queue.tokens).document


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 64, 65, 1000, 4099])
def test_an_epoch_has_every_document_once(n: int) -> None:
    queue = Queue(lengths(n), key=3, group_documents=8)
    for epoch in (0, 1, 5):
        taken = queue.take(epoch * queue.tokens, (epoch + 1) * queue.tokens)
        assert np.array_equal(np.sort(taken.document), np.arange(n))
        assert np.array_equal(taken.size, lengths(n)[taken.document]) and not taken.begin.any() and (taken.epoch == epoch).all()


@pytest.mark.parametrize("n", [1, 5, 100, 3001])
def test_any_part_can_be_computed_alone(n: int) -> None:
    """Consecutive parts hold the tokens of the whole. Documents are cut where two parts meet."""

    def tokens(begin: int, end: int) -> list[tuple[int, int, int]]:
        taken = Queue(lengths(n), key=1, group_documents=16).take(begin, end)
        columns = (taken.document.tolist(), taken.begin.tolist(), taken.size.tolist(), taken.epoch.tolist())
        return [(epoch, d, at) for d, b, size, epoch in zip(*columns, strict=True) for at in range(b, b + size)]

    total = int(lengths(n).sum())
    whole = tokens(0, 3 * total)
    assert len(whole) == 3 * total == len(set(whole))
    cuts = np.sort(np.random.default_rng(n).integers(0, 3 * total, 9)).tolist()
    for begin, end in zip([0, *cuts, total], [*cuts, 3 * total, 2 * total], strict=True):
        assert tokens(begin, end) == whole[begin:end]


def test_epochs_and_keys_have_orders_of_their_own() -> None:
    """Two random orders of n have a correlation of about 1 / sqrt(n), and neighbours stay neighbours in 2 of n places."""
    n = 10_000
    orders = [order(Queue(np.full(n, 5), key), epoch) for key in (0, 1) for epoch in range(3)]
    ranks = [np.arange(n), *(np.argsort(o) for o in orders)]
    for a in range(1, len(ranks)):
        assert (np.abs(np.diff(orders[a - 1])) == 1).sum() < 15
        for b in range(a):
            assert abs(np.corrcoef(ranks[a], ranks[b])[0, 1]) < 4.5 / np.sqrt(n)


def test_every_part_of_an_epoch_is_a_sample_of_the_whole_corpus() -> None:
    """Of 100,000 documents, any thousand in a row come from all tenths of the corpus: 100 ± 30 from each."""
    documents = order(Queue(np.full(100_000, 5), key=0), 2)
    for begin in range(0, 99_000, 7000):
        counts = np.bincount(documents[begin : begin + 1000] // 10_000, minlength=10)
        assert abs(counts - 100).max() < 35
    a, b = (set(order(Queue(np.full(100_000, 5), key=0), epoch)[:1000].tolist()) for epoch in (0, 1))
    assert len(a & b) < 40  # 10 by chance, since every epoch has other groups
