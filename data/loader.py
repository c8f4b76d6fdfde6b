"""Grain over the row stream: background workers and prefetch for batches that are known beforehand.

An element is a group of steps, whose rows are read in one go: reads of many documents together are several times faster. Of step s it
holds rows [s * batch_size + first, s * batch_size + last) of the stream, the part of the global batch that this host feeds. So the whole
state of the iterator is the number of the step, on any number of hosts and workers.
"""

import gc
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import grain
import numpy as np
from absl import flags

from varietas.data.stream import Rows, Stream

TOKENS_AT_ONCE = 1 << 21  # 34 MB, of which two are read ahead
OF_A_WORKER = 1 << 19  # whose groups lie in shared memory, of which containers often have 64 MB


def _ignore_interrupts(*_: int) -> None:
    """Ctrl-C in a terminal goes to the workers too; it is for the run to save and to end them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@dataclass(frozen=True)
class Groups:
    """Grain's random access source: element g is this host's rows of `size` steps from start + g * size on, one after the other."""

    stream: Stream
    batch_size: int
    start: int
    stop: int
    first: int
    last: int
    tokens_at_once: int

    @property
    def size(self) -> int:
        """Steps of a group."""
        return max(1, self.tokens_at_once // (self.stream.seq_len * (self.last - self.first)))

    def __len__(self) -> int:
        return -(-(self.stop - self.start) // self.size)

    def __getitem__(self, group: int) -> Rows:
        begin = self.start + group * self.size
        steps = range(begin, min(begin + self.size, self.stop))
        if self.last - self.first == self.batch_size:
            return self.stream.rows(steps.start * self.batch_size, steps.stop * self.batch_size)
        parts = [self.stream.rows(step * self.batch_size + self.first, step * self.batch_size + self.last) for step in steps]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def batches(
    stream: Stream, batch_size: int, start: int, stop: int, local: tuple[int, int] | None = None, workers: int = 0
) -> Iterator[Rows]:
    """The batches of steps `start` to `stop`, read ahead by a thread or by `workers` processes.

    `local` is the (first, last) row of each batch that this host wants; None for all of it.
    """
    if start >= stop:
        return
    first, last = local or (0, batch_size)
    groups = grain.MapDataset.source(Groups(stream, batch_size, start, stop, first, last, OF_A_WORKER if workers else TOKENS_AT_ONCE))
    ahead = groups.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2))
    if workers:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # Grain asks absl's flags for its own; nothing of ours sets any
        options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2)
        ahead = ahead.mp_prefetch(options, worker_init_fn=_ignore_interrupts)
    iterator = iter(ahead)
    try:
        for group in iterator:
            if workers:  # copied out of their shared memory: jax would keep it in use beyond their end
                group = {name: np.array(values) for name, values in group.items()}
            for begin in range(0, len(group["tokens"]), last - first):
                yield {name: values[begin : begin + last - first] for name, values in group.items()}
    finally:
        iterator.close()  # ends the worker processes, also where reading stopped early
        if workers:
            del iterator
            gc.collect()  # the iterator refers to itself and to the last shared memory, which Python would else call leaked
