"""Reads batches of rows ahead of the training, in a background thread or in worker processes of Grain.

An element of Grain's dataset is a group of steps whose rows are read together, because reading many documents at once is several times
faster. For step s it holds rows [s * batch_size + first, s * batch_size + last) of the stream, for each part (first, last) of the global
batch that this host feeds. The step number is therefore the whole state of the iterator, on any number of hosts and workers.
"""

import gc
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grain
import numpy as np
from absl import flags

from varietas.data.corpus.shards import ADVICE, DamagedDocument
from varietas.data.processes import tie_to_parent
from varietas.data.stream.row_digests import row_digests
from varietas.data.stream.stream import Rows, Stream

DIGESTS = "digests"
TOKENS_AT_ONCE = 1 << 21  # in a group: 34 MB; two groups are read ahead
OF_A_WORKER = 1 << 19  # the same for a worker process, whose groups lie in shared memory
GROUPS_OF_A_WORKER = 8  # that lie there at a time, at most: 6.5 were observed
BYTES_PER_TOKEN = 16  # four int32 arrays
SHARED_MEMORY = Path("/dev/shm")

Parts = tuple[tuple[int, int], ...]  # rows (first, last) of each batch, last exclusive, ascending


@dataclass(frozen=True)
class Groups:
    """Random-access source for Grain. Element g holds this host's rows of `size` steps, from step start + g * size on, in their order."""

    stream: Stream
    batch_size: int  # rows of the global batch
    start: int  # first step
    stop: int  # step after the last
    parts: Parts  # what this host reads of each batch
    tokens_at_once: int  # maximum number of tokens in a group, unless one step alone has more

    @property
    def size(self) -> int:
        """Steps in a group."""
        return max(1, self.tokens_at_once // (self.stream.seq_len * count(self.parts)))

    def __len__(self) -> int:
        return -(-(self.stop - self.start) // self.size)

    def __getitem__(self, group: int) -> Rows:
        begin = self.start + group * self.size
        steps = range(begin, min(begin + self.size, self.stop))
        if count(self.parts) == self.batch_size:
            return self._rows(steps.start * self.batch_size, steps.stop * self.batch_size)
        begins = [step * self.batch_size for step in steps]
        parts = [self._rows(begin + first, begin + last) for begin in begins for first, last in self.parts]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _rows(self, start: int, stop: int) -> Rows:
        """Returns rows of the stream with their digests. Of a damaged document, the error says which step needs it first."""
        try:
            rows = self.stream.rows(start, stop)
            return {**rows, DIGESTS: row_digests(self.stream, start, rows)}
        except DamagedDocument as error:
            pieces = [p for p in self.stream.documents(start, stop) if (p.language, p.document) == (error.code, error.document)]
            row = next(piece.row for piece in pieces if piece.source in ("", error.file.parents[1].name))
            raise ValueError(
                f"{error.file}: document {error.document} of {error.code} is damaged ({error.why}); step {row // self.batch_size} needs it "
                f"(row {row}): {ADVICE}, or leave such documents out with data.on_corrupt=skip"
            ) from None


def count(parts: Parts) -> int:
    """Returns how many rows these parts have together."""
    return sum(last - first for first, last in parts)


def tokens_of_a_worker(workers: int, step_tokens: int) -> int:
    """Returns how many tokens a group of a worker process may have, so that all groups fit into shared memory.

    Args:
        workers: Number of worker processes.
        step_tokens: Tokens of one step that this host reads.

    Raises:
        ValueError: If not even groups of one step fit. A process that exceeds shared memory would be killed without a message.
    """
    free = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else 1 << 62
    held = workers * GROUPS_OF_A_WORKER * BYTES_PER_TOKEN
    if (fits := free // held) < step_tokens:
        raise ValueError(
            f"data.workers={workers} needs {held * step_tokens / 1e6:,.0f} MB of shared memory for batches of this size, but "
            f"{SHARED_MEMORY} has {free / 1e6:,.0f} MB (docker run --shm-size sets it); set data.workers=0"
        )
    return min(OF_A_WORKER, fits)


def batches(stream: Stream, batch_size: int, start: int, stop: int, local: Parts | None = None, workers: int = 0) -> Iterator[Rows]:
    """Yields the batches of steps `start` to `stop`, which are read ahead by a thread or by worker processes.

    Args:
        stream: The rows.
        batch_size: Rows of the global batch.
        start: First step.
        stop: Step after the last.
        local: What this host needs of each batch; None for the whole batch.
        workers: Number of worker processes; 0 for a thread of this process.

    Yields:
        The rows of one step, as `Stream.rows` returns them: those of all parts, one after the other. Beside their arrays there is
        `digests`: what a ledger commits to, as `row_digests` returns it.

    Raises:
        ChildProcessError: If a worker process was killed or failed to start.
    """
    if start >= stop:
        return
    parts = ((0, batch_size),) if local is None else local
    n_rows = count(parts)
    at_once = tokens_of_a_worker(workers, stream.seq_len * n_rows) if workers else TOKENS_AT_ONCE
    groups = grain.MapDataset.source(Groups(stream, batch_size, start, stop, parts, at_once))
    ahead = groups.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2))
    if workers:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # Grain reads its own absl flags, which have to be parsed first; we set none
        options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2)
        ahead = ahead.mp_prefetch(options, worker_init_fn=lambda *_: tie_to_parent())
    iterator = iter(ahead)
    try:
        for group in iterator:
            if workers:  # copied out of the workers' shared memory, which jax would keep in use after their end
                group = {name: np.array(values) for name, values in group.items()}
            for begin in range(0, len(group["tokens"]), n_rows):
                yield {name: values[begin : begin + n_rows] for name, values in group.items()}
    except RuntimeError as error:
        if not (ended := re.search(r"Worker process .* exit code (-?\d+)", str(error))):
            raise
        why = "probably for lack of memory; start again with fewer" if ended[1] == "-9" else "see what it printed above"
        raise ChildProcessError(f"a worker process of data.workers={workers} ended with exit status {ended[1]}, {why}") from None
    finally:
        iterator.close()  # ends the worker processes, even if reading stopped early
        if workers:
            del iterator
            gc.collect()  # the iterator refers to itself and to the last shared memory, which Python would otherwise report as leaked
