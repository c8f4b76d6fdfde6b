"""The index of a corpus, which says what is known of each document, and filters over it, which select the documents for a mixture."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from varietas.data.corpus.corpus import SHARD_DOCUMENTS, Corpus, damaged
from varietas.data.files import reraise_system_error, write_atomically
from varietas.data.hints import nearest
from varietas.data.text.documents import SIGNALS

SIGNAL_TYPES = {
    **dict.fromkeys(("quality", "lang_score", "lang_share"), pa.float32()),
    **dict.fromkeys(("robots", "lang_checked", "opt_out"), pa.bool_()),
    "pii": pa.list_(pa.list_(pa.uint32())),
    "registers": pa.map_(pa.string(), pa.float32()),
    "cluster_size": pa.uint32(),
    **dict.fromkeys(("filter", "crawl", "timestamp"), pa.string()),
}
INDEX = pa.schema(
    [
        ("digest", pa.binary(32)),  # SHA-256 of `Document.content`
        *((name, pa.string()) for name in ("id", "source", "url", "license")),
        *((name, pa.uint32()) for name in ("bytes", "tokens")),
        *((name, SIGNAL_TYPES[name]) for name in SIGNALS),  # null where not known
    ]
)
AT_ONCE = 1 << 16  # documents whose values are in memory
_COMPARISON = re.compile(r"(\w+)(?:\.(\w+))?\s*(==|!=|>=|<=|>|<)\s*([^\s,<>=!]+)")
_OPERATORS = {"==": pc.equal, "!=": pc.not_equal, ">=": pc.greater_equal, "<=": pc.less_equal, ">": pc.greater, "<": pc.less}


def selected(corpus: Corpus, code: str, where: str, cache: Path) -> np.ndarray:
    """Returns the documents of a language that a filter accepts. The result is computed once and kept in `cache`.

    Args:
        corpus: A prepared corpus.
        code: The language.
        where: Comparisons of the signals of the index (documents.SIGNALS), joined by `and`: "quality >= 0.8 and robots != false and
            registers.IN >= 0.5". If a signal of a document is unknown, only != holds.
        cache: The cache folder.

    Returns:
        Numbers of the documents within their language, uint32, ascending.

    Raises:
        ValueError: If `where` is not understood or compares a signal with a value of another type, or if the index is damaged or without
            the signals of sealed sources.
    """
    if corpus.sealed:
        raise corpus.needs_sealed_part(f"data.mixture.where={where!r}")
    index = [index_path(corpus, code, shard) for shard in range(corpus.n_shards(code))]
    if missing := [part for part in index if not part.exists()]:
        raise damaged(missing[0], "no such file")
    stamps = [(part.stat().st_size, part.stat().st_mtime_ns) for part in index]  # the corpus digest covers texts but not their signals
    key = hashlib.sha256(f"{corpus.digest} {where} {stamps}".encode()).hexdigest()[:32]
    file = cache / "selections" / key / f"{code}.u32"
    if not file.exists():
        found = []
        for number, part in enumerate(index):
            found.append(number * SHARD_DOCUMENTS + np.flatnonzero(_holds(_read(part, where), where)))
        write_atomically(file, np.concatenate(found).astype("<u4").tobytes())
    return np.memmap(file, "<u4", "r") if file.stat().st_size else np.zeros(0, np.uint32)


def entries(corpus: Corpus, code: str, documents: np.ndarray, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Returns what the index says of some documents of a language, in the order in which they are asked for.

    Only the row groups that hold one of them are read.

    Args:
        corpus: A prepared corpus.
        code: The language.
        documents: Numbers of documents within the language, (n,). They may be repeated.
        columns: Which fields.

    Raises:
        ValueError: If the index is damaged.
    """
    wanted = np.unique(documents)
    shards = np.unique(wanted // SHARD_DOCUMENTS).tolist()
    found: dict[int, dict[str, Any]] = {}
    with ThreadPoolExecutor() as pool:
        for of_shard in pool.map(partial(_entries_of, corpus, code, columns=columns, wanted=wanted), shards):
            found |= of_shard
    try:
        return [found[number] for number in documents.tolist()]
    except KeyError as missing:
        raise damaged(index_path(corpus, code, int(missing.args[0]) // SHARD_DOCUMENTS), f"it has no document {missing}") from None


def _entries_of(corpus: Corpus, code: str, shard: int, columns: Sequence[str], wanted: np.ndarray) -> dict[int, dict[str, Any]]:
    """Returns the entries of the documents of a shard that are among `wanted`, by their numbers. Raises as `entries` does."""
    file, found = index_path(corpus, code, shard), dict[int, dict[str, Any]]()
    with index_errors(file):
        index = pq.ParquetFile(file)
        sizes = [index.metadata.row_group(group).num_rows for group in range(index.num_row_groups)]
        bounds = shard * SHARD_DOCUMENTS + np.concatenate([[0], np.cumsum(sizes)])
        for group, (begin, end) in enumerate(pairwise(bounds.tolist())):
            mine = wanted[slice(*np.searchsorted(wanted, [begin, end]))]
            if len(mine):
                rows = index.read_row_group(group, list(columns), use_threads=False).take(pa.array(mine - begin)).to_pylist()
                found |= dict(zip(mine.tolist(), rows, strict=True))
    return found


def matching(corpus: Corpus, code: str, column: str, test: Callable[[pa.Array], pa.Array]) -> np.ndarray:
    """Returns the documents of a language whose value of a column passes a test, ascending, int64. The index is read piece by piece.

    Args:
        corpus: A prepared corpus.
        code: The language.
        column: The field of the index.
        test: Returns for each value whether it passes.

    Raises:
        ValueError: If the index is damaged.
    """
    found, begin = [np.zeros(0, np.int64)], 0
    for shard in range(corpus.n_shards(code)):
        file = index_path(corpus, code, shard)
        with index_errors(file):
            for batch in pq.ParquetFile(file).iter_batches(AT_ONCE, columns=[column]):
                passes = pc.fill_null(test(batch.column(0)), False).to_numpy(zero_copy_only=False)
                found.append(begin + np.flatnonzero(passes))
                begin += len(batch)
    return np.concatenate(found)


def index_path(corpus: Corpus, code: str, shard: int) -> Path:
    """Returns the Parquet file of a shard."""
    return corpus.path / "index" / f"{code}-{shard:05d}.parquet"


@contextmanager
def index_errors(file: Path) -> Iterator[None]:
    """Says of an error in the block, which reads an index, that the file is damaged. Errors of the system stay what they are."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reraise_system_error(error)
        raise damaged(file, error) from None


def comparisons(where: str) -> list[tuple[str, str, str, str]]:
    """Parses a filter into its comparisons.

    Returns:
        (signal, key within the signal or "", operator, value) of each comparison.

    Raises:
        ValueError: If a comparison is malformed or its signal is unknown.
    """
    out = []
    for part in re.split(r"\s+and\s+|,", where.strip()):
        match = _COMPARISON.fullmatch(part.strip())
        if not match:
            raise ValueError(
                f"data.mixture.where: {part.strip()!r} is not a comparison; join them by `and`, as in 'quality >= 0.8 and robots != false'"
            )
        if match[1] not in SIGNALS:
            hint = f"did you mean {nearest(match[1], SIGNALS)}? The signals are {', '.join(SIGNALS)}"
            raise ValueError(f"data.mixture.where: there is no signal {match[1]}; {hint}")
        if (match[1] == "registers") != bool(match[2]):
            raise ValueError(f"data.mixture.where: {part.strip()!r}: only registers has a key, and it needs one, as in registers.IN >= 0.5")
        out.append((match[1], match[2] or "", match[3], match[4]))
    return out


def _read(index: Path, where: str) -> pa.Table:
    """Returns the columns of an index file that the filter compares."""
    columns = list(dict.fromkeys(signal for signal, *_ in comparisons(where)))
    with index_errors(index):
        return pq.read_table(index, columns=columns)


def _holds(table: pa.Table, where: str) -> np.ndarray:
    """Returns whether the filter accepts each document, bool (documents,)."""
    holds = np.ones(len(table), bool)
    for signal, key, operator, text in comparisons(where):
        column = table[signal].combine_chunks()
        if pa.types.is_map(column.type):
            column = pc.map_lookup(column, pa.scalar(key), "first")
        kind = column.type
        try:
            value = pa.scalar({"true": True, "false": False}[text] if pa.types.is_boolean(kind) else text).cast(kind)
            answer = _OPERATORS[operator](column, value)
        except (KeyError, pa.ArrowException):
            raise ValueError(f"data.mixture.where: {signal} is of type {kind}; {text!r} cannot be compared with it") from None
        holds &= pc.fill_null(answer, operator == "!=").to_numpy(zero_copy_only=False)
    return holds
