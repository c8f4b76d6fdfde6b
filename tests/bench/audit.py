"""Measures `varietas audit` on the index of a large corpus: a run of a million steps, and the cost of the ledger while it trains.

    python tests/bench/audit.py [--documents 50_000_000] [--steps 1_000_000] [--folder DIR]

The corpus has lengths and an index, and no tokens. The shards of its index are one file under many names, but for the last one, which has
the document that is sought. The ledger has a line for each step, as `train` writes it. Times are wall seconds; memory is the peak of this
process, which memory-mapped lengths are part of.
"""

import argparse
import json
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from varietas.data.audit.documents import documents_of
from varietas.data.audit.find import documents_with, uses_of
from varietas.data.audit.spans import Span, line_of, spans_of
from varietas.data.corpus.corpus import SHARD_DOCUMENTS, Corpus, corpus_digest
from varietas.data.corpus.index import INDEX
from varietas.data.corpus.sources import open_corpus
from varietas.data.ledger.log import Log, lines
from varietas.data.ledger.steps import STEPS
from varietas.data.prepare.default import default_corpus
from varietas.data.stream.context import context_of
from varietas.data.stream.mixture import Mixture
from varietas.data.stream.row_digests import row_digests
from varietas.data.stream.stream import Stream

B, L = 1024, 4096  # rows of a step and tokens of a row: 4.2 million tokens a step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=50_000_000)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="audit-", dir=args.folder))
    try:
        measure_digests()
        corpus = make_corpus(folder / "corpus", args.documents)
        measure_ledger(folder / "ledger", corpus, args.steps)
        measure_answers(folder / "ledger", corpus, args.steps)
    finally:
        shutil.rmtree(folder)


@contextmanager
def timed(what: str, per: int = 0, unit: str = "") -> Iterator[None]:
    begin = time.perf_counter()
    yield
    seconds = time.perf_counter() - begin
    each = f", {1e6 * seconds / per:.1f} µs a {unit}" if per else ""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{what}: {seconds:.2f} s{each}; peak memory {memory:,.0f} MB", flush=True)


def measure_digests() -> None:
    """Rows with their digests beside rows alone, as a loader makes them."""
    stream = Stream(open_corpus(str(default_corpus(1024))), Mixture(0.3), L, 0)
    n = 512
    stream.rows(0, n)  # plans the block
    with timed("rows", n, "row"):
        rows = stream.rows(0, n)
    with timed("their digests", n, "row"):
        row_digests(stream, 0, rows)
    block = os.urandom(12 * L)
    with timed("of which SHA-256 of the arrays", n, "row"):
        for _ in range(n):
            sha256(block).digest()


def make_corpus(path: Path, documents: int) -> Corpus:
    """Makes a corpus of one language, with the tokenizer of the embedded one."""
    like = Corpus(default_corpus(1024))
    for name in ("lengths", "index"):
        (path / name).mkdir(parents=True)
    shutil.copy(like.tokenizer, path)
    rng = np.random.default_rng(0)
    lengths = np.minimum(rng.lognormal(6, 1, documents), 100_000).astype("<u4") + 2
    lengths.tofile(path / "lengths" / "ces_Latn.u32")
    shards = -(-documents // SHARD_DOCUMENTS)
    first = path / "index" / "ces_Latn-00000.parquet"
    pq.write_table(index_of(0, SHARD_DOCUMENTS), first, compression="zstd", row_group_size=8192)
    for shard in range(1, shards - 1):
        os.link(first, path / "index" / f"ces_Latn-{shard:05d}.parquet")
    begin = (shards - 1) * SHARD_DOCUMENTS
    pq.write_table(index_of(begin, documents - begin), path / "index" / f"ces_Latn-{shards - 1:05d}.parquet", compression="zstd")
    np.save(path / "unigrams.npy", np.ones((1, like.manifest["vocab_size"]), np.int64))
    entry = {"documents": documents, "tokens": int(lengths.sum(dtype=np.int64)), "bytes": 4 * int(lengths.sum(dtype=np.int64)), "root": ""}
    manifest = {**like.manifest, "languages": {"ces_Latn": entry}, "documents": documents}
    del manifest["commitment"]
    manifest["digest"] = corpus_digest(manifest["tokenizer_digest"], manifest["languages"])
    (path / "manifest.json").write_text(json.dumps(manifest))
    return Corpus(path)


def index_of(begin: int, n: int) -> pa.Table:
    numbers = range(begin, begin + n)
    columns = {
        "digest": [sha256(b"%d" % number).digest() for number in numbers],
        "id": [f"crawl-2026-{number:012d}" for number in numbers],
        "source": ["hplt"] * n,
        "url": [f"https://www.host-{number % 9973}.example.org/articles/{number}" for number in numbers],
        "license": ["CC0-1.0"] * n,
    }
    arrays = [pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(n, field.type) for field in INDEX]
    return pa.Table.from_arrays(arrays, schema=INDEX)


def measure_ledger(folder: Path, corpus: Corpus, steps: int) -> None:
    """Writes and reads a ledger of so many steps."""
    context = context_of(Stream(corpus, Mixture(), L, 0), B)
    log = Log(folder / STEPS)
    log.append([{"step": 0, "context": context}])
    with timed(f"writing the lines of {steps:,} steps, 1,000 at a time", steps, "step"):
        for begin in range(0, steps, 1000):
            log.append([{"step": step, "rows": sha256(b"%d" % step).hexdigest()} for step in range(begin, min(begin + 1000, steps))])
    print(f"size of the ledger: {(folder / STEPS).stat().st_size / 1e6:,.0f} MB")
    with timed("checking its chain", steps, "step"):
        for _ in lines(folder / STEPS):
            pass


def measure_answers(folder: Path, corpus: Corpus, steps: int) -> None:
    """Asks what a step has read, and who has read a document."""
    with timed("opening the ledger"):
        (span,) = spans_of(folder)
    with timed("opening the corpus"):
        stream = span.stream(corpus)
    for step in (0, steps // 2, steps - 1):
        with timed(f"documents of step {step:,} ({B} rows of {L} tokens)"):
            found = documents_of(span.stream(corpus), step * B, (step + 1) * B)
            line_of(folder, step)
    print(f"  which had {len(found):,} pieces")
    with timed("documents of one row"):
        documents_of(stream, (steps - 1) * B, (steps - 1) * B + 1)
    number = corpus.documents("ces_Latn") - 5
    for by, value in (
        ("id", f"crawl-2026-{number:012d}"),
        ("url", f"https://www.host-{number % 9973}.example.org/articles/{number}"),
        ("text", str(number)),
    ):
        with timed(f"the document with this {by}"):
            sought = documents_with(corpus, by, value)
        assert sum(map(len, sought.values())) == 1, sought
    with timed("its uses in all steps"):
        n = sum(1 for _ in uses_of(corpus, [span], sought))
    print(f"  which are {n:,}")
    part = Span(0, min(steps, 10_000), span.context)
    with timed("its uses in the first 10,000 steps"):
        list(uses_of(corpus, [part], sought))


if __name__ == "__main__":
    main()
