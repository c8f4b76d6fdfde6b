"""Measures the stream on a corpus of a hundred million documents, of which it needs only the lengths.

    python tests/bench/stream.py [--documents 100000000]

The corpus has 40 languages with sizes that fall as 1/rank, and log-normal lengths. Rows have 4,096 tokens, and the mixture has a ramp.
Prints the seconds to begin, to reach row 10 billion and to plan a block, and the memory that this takes.
"""

import resource
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from figures import arguments, timed, write

from varietas.data.stream.mixture import Mixture, Phase
from varietas.data.stream.stream import BLOCK_ROWS, Stream
from varietas.launch.flags import positive_int

SEQ_LEN, BLOCKS = 4096, 20


@dataclass
class Lengths:
    """A corpus without texts: files of lengths, memory-mapped like those of a real corpus."""

    folder: Path
    pad_id: int = 0
    languages: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._of = {file.stem: np.memmap(file, "<u4", "r") for file in sorted(self.folder.iterdir())}
        self._tokens = {code: int(lengths.sum(dtype=np.int64)) for code, lengths in self._of.items()}  # a real manifest has them
        self.languages = tuple(self._of)

    def tokens(self, code: str) -> int:
        return self._tokens[code]

    def lengths(self, code: str) -> np.ndarray:
        return self._of[code]


def main() -> None:
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--documents", type=positive_int, default=100_000_000, help="documents in all, but at least 1,000 of each language")
    args = parser.parse_args()
    n_documents = args.documents
    shares = 1 / np.arange(1, 41)
    with tempfile.TemporaryDirectory() as folder:
        for k, share in enumerate(shares / shares.sum()):
            n = max(1000, int(share * n_documents))
            lengths = np.random.default_rng(k).lognormal(np.log(600), 1.0, n).clip(2).astype("<u4")
            (Path(folder) / f"l{k:02d}_Latn.u32").write_bytes(lengths.tobytes())
        corpus = Lengths(Path(folder))
        tokens = sum(map(corpus.tokens, corpus.languages))
        found = sum(len(corpus.lengths(code)) for code in corpus.languages)
        lines = [f"{found:,} documents, {tokens:,} tokens; peak memory before: {_memory()}"]
        phase = Phase("late", tokens // 2, tokens // 10, Mixture(alpha=1.0))
        seconds: list[tuple[float, float, float]] = []
        for _ in range(args.rounds):
            begun = time.perf_counter()
            stream = Stream(corpus, Mixture(alpha=0.3, phases=(phase,)), SEQ_LEN, 0)  # type: ignore[arg-type]
            next(stream.documents(0, 8))
            first = time.perf_counter() - begun
            far = timed(lambda stream=stream: next(stream.documents(10**10, 10**10 + 8)))
            begun = time.perf_counter()
            for b in range(1, BLOCKS + 1):
                next(stream.documents(b * BLOCK_ROWS, b * BLOCK_ROWS + 8))
            seconds.append((first, far, (time.perf_counter() - begun) / BLOCKS))
    first, far, block = map(statistics.median, zip(*seconds, strict=True))
    lines += [
        f"first rows after {first:.2f} s, row 10,000,000,000 after {far:.2f} s; peak memory after: {_memory()}",
        f"a block of {BLOCK_ROWS * SEQ_LEN:,} tokens is planned in {block:.3f} s: {BLOCK_ROWS * SEQ_LEN / block / 1e6:,.0f} M tokens/s",
    ]
    write(args.json, {"stream_first_rows_seconds": first, "plan_block_seconds": block}, lines)


def _memory() -> str:
    """Returns the peak memory of this process so far."""
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:,.0f} MB"


if __name__ == "__main__":
    main()
