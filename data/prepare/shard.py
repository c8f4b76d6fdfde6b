"""The third stage of `prepare`: writes SHARD_DOCUMENTS documents of a language in the form that corpus.py reads."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from array_record.python.array_record_module import ArrayRecordWriter

from varietas.data.chat.encoder import ChatEncoder, Encode
from varietas.data.chat.marks import learned
from varietas.data.clean.select import HELD_OUT, REASONS
from varietas.data.corpus.index import INDEX
from varietas.data.files import new_folder, write_array
from varietas.data.ledger.merkle import MerkleTree
from varietas.data.text.documents import SAMPLE, Reject

ROWS = 8192  # in a row group of the index


def write_shard(code: str, parts: Sequence[Path], verdict: np.ndarray, begin: int, end: int, encode: Encode, out: Path) -> None:
    """Writes one shard: some documents of a language, with their index, lengths and counts.

    Args:
        code: The language.
        parts: Folders of the parts that hold the language (see part.py).
        verdict: Verdict on each document of the language, VERDICT, in the order of the parts (see select.py).
        begin: First document of the shard, counted among those that stay.
        end: Document after the last.
        encode: What has made the ids.
        out: The folder to write.
    """
    n_pieces, chat = encode.processor.get_piece_size(), isinstance(encode, ChatEncoder)
    tree, unigrams, lengths = MerkleTree(), np.zeros(n_pieces, np.int64), list[np.ndarray]()
    n_bytes, n_learned = 0, 0
    with new_folder(out) as folder:
        with (
            _array_record(folder / "tokens.array_record") as tokens,
            pq.ParquetWriter(folder / "index.parquet", INDEX, compression="zstd") as index,
        ):
            held: list[pa.Table] = []
            for table, texts in _documents(code, parts, verdict, begin, end, encode.dtype):
                for digest, text in zip(table["digest"].to_pylist(), texts, strict=True):
                    tree.append(digest)
                    with _disk_errors(folder):
                        tokens.write(text.tobytes())
                ids = np.concatenate(texts)
                unigrams += np.bincount(encode.plain(ids), minlength=n_pieces)
                n_learned += int(learned(ids).sum()) if chat else 0
                lengths.append(table["tokens"].to_numpy())
                n_bytes += int(table["bytes"].to_numpy().sum(dtype=np.int64))
                held.append(table.select(INDEX.names))
                if sum(len(part) for part in held) >= ROWS:
                    index.write_table(pa.concat_tables(held), ROWS)
                    held = []
            if held:
                index.write_table(pa.concat_tables(held), ROWS)
        all_lengths = np.concatenate(lengths).astype("<u4")
        (folder / "lengths.u32").write_bytes(all_lengths.tobytes())
        write_array(folder / "unigrams.npy", unigrams)
        counts = {"documents": len(all_lengths), "tokens": int(all_lengths.sum(dtype=np.int64)), "bytes": n_bytes}
        if chat:
            counts["learned"] = n_learned
        (folder / "shard.json").write_text(json.dumps({**counts, "peaks": [peak.hex() for peak in tree.peaks]}), "utf-8")


def _documents(
    code: str, parts: Sequence[Path], verdict: np.ndarray, begin: int, end: int, dtype: np.dtype
) -> Iterator[tuple[pa.Table, list[np.ndarray]]]:
    """Yields documents `begin` to `end` of those that stay, by row groups: their rows of the part's table, and the ids of each.

    The index says how many copies a document stands for, if these are several.
    """
    stays = verdict["reason"] == 0
    first = 0  # number of the group's first document, among all documents
    kept = 0  # number of documents so far that stay
    for part in parts:
        table = pq.ParquetFile(part / f"{code}.parquet")
        ids = np.memmap(part / f"{code}.ids", dtype, "r")
        offset = 0
        for group in range(table.num_row_groups):
            n = table.metadata.row_group(group).num_rows
            mine, copies = stays[first : first + n], verdict["copies"][first : first + n]
            first, before, kept = first + n, kept, kept + int(mine.sum())
            if before >= end:
                return
            rows = table.read_row_group(group)
            bounds = offset + np.concatenate([[0], np.cumsum(rows["tokens"].to_numpy(), dtype=np.int64)])
            offset = int(bounds[-1])
            if offset > len(ids):
                raise ValueError(f"{part / code}.ids is shorter than its index says; remove {part} and run the same command again")
            if kept <= max(begin, before):  # none of its documents stays, or none from `begin` on
                continue
            wanted = np.flatnonzero(mine)[max(0, begin - before) : end - before]
            taken, place = rows.take(wanted), rows.column_names.index("cluster_size")
            sizes = pc.if_else(pa.array(copies[wanted] > 1), pa.array(copies[wanted]), taken["cluster_size"])
            yield taken.set_column(place, "cluster_size", sizes), [ids[bounds[at] : bounds[at + 1]] for at in wanted.tolist()]


def rejected(code: str, part: Path, verdict: np.ndarray, encode: Encode) -> Iterator[Reject]:
    """Yields a reject for each document of a part that is left out; `verdict` covers the documents of this part only."""
    gone = np.flatnonzero((verdict["reason"] > 0) & (verdict["reason"] != HELD_OUT))
    if not len(gone):
        return
    rows = pq.read_table(part / f"{code}.parquet", columns=["tokens", "file", "line"])
    bounds = np.concatenate([[0], np.cumsum(rows["tokens"].to_numpy(), dtype=np.int64)])
    ids = np.memmap(part / f"{code}.ids", encode.dtype, "r")
    for at, row in zip(gone.tolist(), rows.take(gone).to_pylist(), strict=True):
        beginning = encode.plain(ids[bounds[at] : bounds[at + 1]][: SAMPLE + 1])  # a piece has at least one character
        text = encode.processor.decode(beginning.tolist())
        yield Reject(row["file"], row["line"], REASONS[verdict["reason"][at]], text[:SAMPLE], code)


def tree_of(shards: Sequence[dict[str, Any]]) -> MerkleTree:
    """Returns the Merkle tree over all documents of a language, joined from shard.json of each of its shards."""
    tree = MerkleTree()
    for shard in shards:
        tree.extend(shard["documents"], [bytes.fromhex(peak) for peak in shard["peaks"]])
    return tree


@contextmanager
def _array_record(path: Path) -> Iterator[ArrayRecordWriter]:
    writer = ArrayRecordWriter(str(path), "group_size:1")
    yield writer
    with _disk_errors(path):
        writer.close()


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Raises ArrayRecord's RuntimeError, which stands for an error of the disk, as OSError."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(f"{path}: {str(error).split(';')[0]}") from None
