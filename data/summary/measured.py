"""What a run has read, added up by source, language, licence, crawl, month, domain and opt-outs.

The index of each corpus is read once, a row group at a time. Only sums are kept, so the memory depends on the number of domains alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from varietas.data.corpus.corpus import SHARD_DOCUMENTS, Corpus
from varietas.data.corpus.index import index_errors, index_path
from varietas.data.corpus.sources import Sources, sources_of
from varietas.data.summary.consumed import Read
from varietas.data.summary.domains import domains_of

AMOUNTS = ("documents", "bytes", "tokens", "read")
COLUMNS = ("source", "url", "license", "bytes", "tokens", "crawl", "timestamp", "robots", "opt_out")
VIEWS = {  # what sums are kept by
    "languages": ("source", "language"),
    "licenses": ("source", "license"),
    "crawls": ("source", "crawl"),
    "months": ("source", "month"),
    "domains": ("domain",),
    "opt_outs": ("robots", "opt_out"),
}
MONTH = r"^(?P<month>[0-9]{4}-(?:0[1-9]|1[0-2]))"  # how a date of ISO 8601 begins
WAITING = 1 << 20  # rows of a table of sums that are added up at a time


@dataclass(frozen=True)
class Amount:
    """How much of some documents has been read."""

    documents: int  # of which something has been read
    bytes: int  # of their text in UTF-8, each counted once; of a document that was read in part, in proportion to its tokens
    tokens: int  # each counted once
    read: int  # tokens, as often as they have been read

    @property
    def times(self) -> float:
        """How often a token has been read, on average."""
        return self.read / max(1, self.tokens)

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


NOTHING = Amount(0, 0, 0, 0)
Key = tuple[str | bool | None, ...]
Sums = dict[Key, Amount]  # by what VIEWS names


def measured(corpus: Corpus | Sources, read: Read) -> dict[str, pa.Table]:
    """Adds up what has been read.

    Args:
        corpus: The corpus.
        read: What has been read of it.

    Returns:
        For each of VIEWS a table of its columns and of AMOUNTS (int64; see Amount). A document without a source has the name of its
        corpus. What is not known of a document is "", or null in `robots` and `opt_out`.

    Raises:
        ValueError: If an index is damaged, or a corpus is only the public part of one.
    """
    for source in sources_of(corpus).values():
        if source.sealed:
            raise source.needs_sealed_part("what has been read of it")
    waiting: dict[str, list[pa.Table]] = {view: [] for view in VIEWS}
    for table in _tables(corpus, read):
        for view, keys in VIEWS.items():
            waiting[view].append(_added([table], keys))
            if sum(map(len, waiting[view])) > WAITING + 2 * len(waiting[view][0]):
                waiting[view] = [_added(waiting[view], keys)]
    return {view: _added(tables, VIEWS[view]) for view, tables in waiting.items()}


def sums_of(table: pa.Table) -> Sums:
    """Returns a table of `measured` as a dict, sorted by its keys."""
    return dict(_rows(table.sort_by([(name, "ascending") for name in table.column_names if name not in AMOUNTS])))


def largest(table: pa.Table, n: int) -> list[tuple[str, Amount]]:
    """Returns the `n` domains with the most bytes, the largest first, of the table of `measured`."""
    order = [("bytes", "descending"), ("domain", "ascending")]
    return [(str(domain), amount) for (domain,), amount in _rows(table.filter(pc.not_equal(table["domain"], "")).sort_by(order)[:n])]


def total(sums: Sums) -> Amount:
    """Returns the sum of all."""
    return sum(sums.values(), NOTHING)


def by(sums: Sums, place: int) -> dict[str, Amount]:
    """Adds up by one part of the keys."""
    out: dict[str, Amount] = {}
    for key, amount in sums.items():
        out[str(key[place])] = out.get(str(key[place]), NOTHING) + amount
    return out


def _tables(corpus: Corpus | Sources, read: Read) -> Iterator[pa.Table]:
    """Yields the documents of which something has been read, with the keys of VIEWS and AMOUNTS as columns."""
    corpora = sources_of(corpus)
    for source, code in read.parts:
        for shard in range(corpora[source].n_shards(code)):
            file, begin = index_path(corpora[source], code, shard), shard * SHARD_DOCUMENTS
            with index_errors(file):
                index = pq.ParquetFile(file)
                for group in range(index.num_row_groups):
                    rows = index.read_row_group(group, COLUMNS)
                    tokens = read.tokens(source, code, begin, begin + len(rows))
                    begin += len(rows)
                    if (which := np.flatnonzero(tokens)).size:
                        yield _keyed(rows.take(which), tokens[which], corpora[source].path.name, code)


def _keyed(rows: pa.Table, read: np.ndarray, corpus: str, code: str) -> pa.Table:
    lengths, n_bytes = (rows[name].to_numpy().astype(np.int64) for name in ("tokens", "bytes"))
    once = np.minimum(read, lengths)
    source = pc.fill_null(rows["source"], "")
    return pa.table(
        {
            "source": pc.if_else(pc.equal(source, ""), corpus, source),
            "language": pa.array([code] * len(rows)),
            "license": pc.fill_null(rows["license"], ""),
            "crawl": pc.fill_null(rows["crawl"], ""),
            "month": pc.fill_null(pc.struct_field(pc.extract_regex(rows["timestamp"], MONTH), 0), ""),
            "domain": domains_of(rows["url"].combine_chunks()),
            "robots": rows["robots"],
            "opt_out": rows["opt_out"],
            "documents": np.ones(len(rows), np.int64),
            "bytes": n_bytes * once // np.maximum(1, lengths),
            "tokens": once,
            "read": read,
        }
    )


def _added(tables: Sequence[pa.Table], keys: Sequence[str]) -> pa.Table:
    """Adds up the amounts of tables with the same keys."""
    if not tables:
        return pa.table({name: pa.array([], pa.int64() if name in AMOUNTS else pa.string()) for name in (*keys, *AMOUNTS)})
    grouped = pa.concat_tables([table.select([*keys, *AMOUNTS]) for table in tables]).group_by(list(keys))
    summed = grouped.aggregate([(name, "sum") for name in AMOUNTS])
    return summed.rename_columns([name.removesuffix("_sum") for name in summed.column_names])


def _rows(table: pa.Table) -> Iterator[tuple[Key, Amount]]:
    keys = [name for name in table.column_names if name not in AMOUNTS]
    for row in zip(*(table[name].to_pylist() for name in (*keys, *AMOUNTS)), strict=True):
        yield row[: len(keys)], Amount(*row[len(keys) :])
