"""Grain over the row stream: background workers and prefetch for batches that are known beforehand.

An element is a step: rows [step * batch_size + first, step * batch_size + last) of the stream, the part of the global batch
that this host feeds. So the whole state of the iterator is the number of the step, on any number of hosts and workers.
"""

import gc
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import grain
import numpy as np
from absl import flags

from varietas.data.stream import Rows, Stream


def _ignore_interrupts(*_: int) -> None:
    """Ctrl-C in a terminal goes to the workers too; it is for the run to save and to end them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@dataclass(frozen=True)
class Steps:
    """Grain's random access source: element s is this host's part of the batch of step s."""

    stream: Stream
    batch_size: int
    n_steps: int
    first: int
    last: int

    def __len__(self) -> int:
        return self.n_steps

    def __getitem__(self, step: int) -> Rows:
        return self.stream.rows(step * self.batch_size + self.first, step * self.batch_size + self.last)


def batches(
    stream: Stream, batch_size: int, start: int, stop: int, local: tuple[int, int] | None = None, workers: int = 0
) -> Iterator[Rows]:
    """The batches of steps `start` to `stop`, read ahead by a thread or by `workers` processes.

    `local` is the (first, last) row of each batch that this host wants; None for all of it.
    """
    if start >= stop:
        return
    first, last = local or (0, batch_size)
    steps = grain.MapDataset.source(Steps(stream, batch_size, stop, first, last))[start:]
    ahead = steps.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2))
    if workers:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # Grain asks absl's flags for its own; nothing of ours sets any
        options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2)
        ahead = ahead.mp_prefetch(options, worker_init_fn=_ignore_interrupts)
    iterator = iter(ahead)
    try:
        for batch in iterator:
            # Copied out of the workers' shared memory: jax would keep it in use beyond their end.
            yield {name: np.array(values) for name, values in batch.items()} if workers else batch
    finally:
        iterator.close()  # ends the worker processes, also where reading stopped early
        if workers:
            del iterator
            gc.collect()  # the iterator refers to itself and to the last shared memory, which Python would else call leaked
