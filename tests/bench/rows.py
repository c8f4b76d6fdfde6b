"""Measures rows per second of the input pipeline, beside a bare memory map without packing and a usual Grain pipeline.

    python tests/bench/rows.py [--documents 20000] [--seq_len 1024] [--rounds 5]

The usual Grain pipeline reads single documents in a global shuffle and packs them with Grain's own iterator. All give batches of 16 rows.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grain
import numpy as np
from figures import arguments, by_turns, documents, write

from varietas.data.corpus.corpus import Corpus, shard_path
from varietas.data.prepare.default import default_corpus
from varietas.data.prepare.prepare import prepare_documents
from varietas.data.stream.loader import batches
from varietas.data.stream.mixture import Mixture
from varietas.data.stream.stream import Stream
from varietas.data.text.documents import Document
from varietas.data.tokenizer.model import load

BATCH = 16
STEP_SECONDS = 0.05  # of a simulated step, to see whether it waits for data


def ours(stream: Stream, workers: int) -> Iterator[Any]:
    """Returns batches of our own loader."""
    return batches(stream, BATCH, 0, 10**9, workers=workers)


def memmap(tokens: np.ndarray, seq_len: int) -> Iterator[Any]:
    """Yields windows of one long file at random places, as small training scripts read them."""
    rng = np.random.default_rng(0)
    while True:
        begins = rng.integers(0, len(tokens) - seq_len, BATCH)
        yield {"tokens": np.stack([tokens[begin : begin + seq_len] for begin in begins]).astype(np.int32)}


def usual_grain(corpus: Corpus, seq_len: int) -> Iterator[Any]:
    """Returns batches of a Grain pipeline, in which documents are shuffled, cut at the length of a row, and packed first fit."""
    files = [str(shard_path(corpus.path, code, 0)) for code in corpus.languages]
    cut = grain.MapDataset.source(grain.sources.ArrayRecordDataSource(files)).shuffle(seed=0).repeat()
    texts = cut.map(lambda record: {"tokens": np.frombuffer(record, np.uint16)[:seq_len].astype(np.int32)})
    ahead = texts.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=16))
    packed = grain.experimental.FirstFitPackIterDataset(ahead, length_struct={"tokens": seq_len}, num_packing_bins=BATCH)
    return iter(packed.batch(BATCH))


def speed(make: Callable[[], Iterator[Any]], seconds: float) -> float:
    """Returns rows per second, measured after a warm-up."""
    rows = make()
    next(rows), next(rows)
    begun, n = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        next(rows)
        n += BATCH
    elapsed = time.perf_counter() - begun
    if hasattr(rows, "close"):
        rows.close()
    return n / elapsed


def wait(rows: Iterator[Any], steps: int = 40) -> float:
    """Returns the median number of seconds that a step of STEP_SECONDS waits for its batch."""
    found = []
    next(rows)
    for _ in range(steps):
        time.sleep(STEP_SECONDS)
        begun = time.perf_counter()
        next(rows)
        found.append(time.perf_counter() - begun)
    return statistics.median(found)


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--seq_len", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of each timing")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, pieces = Path(folder) / "corpus", load(default_corpus(8192) / "tokenizer.model")
        texts = [Document(text=text, lang=language, id=str(k)) for k, (language, text) in enumerate(documents(args.documents))]
        prepare_documents(texts, pieces.serialized_model_proto(), path)
        corpus = Corpus(path)
        counts = map(corpus.documents, corpus.languages)
        every = [text for i, n in enumerate(counts) for text in corpus.read(np.full(n, i), np.arange(n))]
        np.concatenate(every).astype("<u2").tofile(Path(folder) / "flat.u16")
        tokens = np.memmap(Path(folder) / "flat.u16", "<u2", "r")
        stream = Stream(corpus, Mixture(alpha=0.5), args.seq_len, 0)
        ways: dict[str, Callable[[], Iterator[Any]]] = {
            "varietas": lambda: ours(stream, 0),
            "varietas, 1 worker": lambda: ours(stream, 1),
            "varietas, 2 workers": lambda: ours(stream, 2),
            "bare memory map": lambda: memmap(tokens, args.seq_len),
            "usual Grain": lambda: usual_grain(corpus, args.seq_len),
        }
        medians = by_turns({name: partial(speed, make, args.seconds) for name, make in ways.items()}, args.rounds)
        waited = wait(ours(stream, 0))
    lines = [f"{args.documents:,} documents, {len(tokens):,} tokens, rows of {args.seq_len}"]
    for name, median in medians.items():
        lines.append(f"{name:20} {median:10,.0f} rows/s {median * args.seq_len / 1e6:8.1f} M tokens/s")
    lines.append(f"a step of {1e3 * STEP_SECONDS:.0f} ms waits {1e3 * waited:.2f} ms for its batch")
    ratios = {
        "rows_vs_memmap": medians["varietas"] / medians["bare memory map"],
        "rows_vs_usual_grain": medians["varietas"] / medians["usual Grain"],
        "rows_2_workers_vs_memmap": medians["varietas, 2 workers"] / medians["bare memory map"],
        "data_wait_of_step": waited / STEP_SECONDS,
    }
    write(args.json, ratios, lines)


if __name__ == "__main__":
    main()
