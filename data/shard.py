"""The third stage of `prepare`: SHARD_DOCUMENTS documents of a language, in the form that corpus.py reads."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sentencepiece as spm
from array_record.python.array_record_module import ArrayRecordWriter

from varietas.data.documents import Reject
from varietas.data.encode import id_type
from varietas.data.files import new_folder
from varietas.data.merkle import MerkleTree
from varietas.data.part import INDEX, SAMPLE
from varietas.data.select import REASONS

ROWS = 8192  # of a row group of the index


def write_shard(
    code: str, parts: Sequence[Path], verdict: np.ndarray, begin: int, end: int, processor: spm.SentencePieceProcessor, out: Path
) -> None:
    """Writes documents `begin` to `end` of those of the language that stay, with their index, lengths and counts, to the folder `out`."""
    n_pieces = processor.get_piece_size()
    tree, unigrams, lengths = MerkleTree(), np.zeros(n_pieces, np.int64), list[np.ndarray]()
    n_bytes = 0
    with new_folder(out) as folder:
        with (
            _array_record(folder / "tokens.array_record") as tokens,
            pq.ParquetWriter(folder / "index.parquet", INDEX, compression="zstd") as index,
        ):
            held: list[pa.Table] = []
            for table, texts in _documents(code, parts, verdict, begin, end, id_type(processor)):
                for digest, text in zip(table["digest"].to_pylist(), texts, strict=True):
                    tree.append(digest)
                    with _disk_errors():
                        tokens.write(text.tobytes())
                unigrams += np.bincount(np.concatenate(texts), minlength=n_pieces)
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
        np.save(folder / "unigrams.npy", unigrams)
        counts = {"documents": len(all_lengths), "tokens": int(all_lengths.sum(dtype=np.int64)), "bytes": n_bytes}
        (folder / "shard.json").write_text(json.dumps({**counts, "peaks": [peak.hex() for peak in tree.peaks]}), "utf-8")


def _documents(
    code: str, parts: Sequence[Path], verdict: np.ndarray, begin: int, end: int, dtype: np.dtype
) -> Iterator[tuple[pa.Table, list[np.ndarray]]]:
    """What stays, `begin` to `end`, group of rows by group of rows: rows of the parts' tables, and the ids of each."""
    stays = verdict == 0
    first = 0  # of this group, among all documents
    kept = 0  # before it, of those that stay
    for part in parts:
        table = pq.ParquetFile(part / f"{code}.parquet")
        ids = np.memmap(part / f"{code}.ids", dtype, "r")
        offset = 0
        for group in range(table.num_row_groups):
            n = table.metadata.row_group(group).num_rows
            mine = stays[first : first + n]
            first, before, kept = first + n, kept, kept + int(mine.sum())
            if before >= end:
                return
            rows = table.read_row_group(group)
            bounds = offset + np.concatenate([[0], np.cumsum(rows["tokens"].to_numpy(), dtype=np.int64)])
            offset = int(bounds[-1])
            if kept <= max(begin, before):  # nothing of it stays, or nothing from `begin` on
                continue
            wanted = np.flatnonzero(mine)[max(0, begin - before) : end - before]
            yield rows.take(wanted), [ids[bounds[at] : bounds[at + 1]] for at in wanted.tolist()]


def rejected(code: str, part: Path, verdict: np.ndarray, processor: spm.SentencePieceProcessor) -> Iterator[Reject]:
    """The documents of one part that did not stay; `verdict` is on those of this part."""
    gone = np.flatnonzero(verdict)
    if not len(gone):
        return
    rows = pq.read_table(part / f"{code}.parquet", columns=["tokens", "file", "line"])
    bounds = np.concatenate([[0], np.cumsum(rows["tokens"].to_numpy(), dtype=np.int64)])
    ids = np.memmap(part / f"{code}.ids", id_type(processor), "r")
    for at, row in zip(gone.tolist(), rows.take(gone).to_pylist(), strict=True):
        text = processor.decode(ids[bounds[at] : bounds[at + 1]][: SAMPLE + 1].tolist())  # a piece is a character at the least
        yield Reject(row["file"], row["line"], REASONS[verdict[at]], text[:SAMPLE], code)


def tree_of(shards: Sequence[Path]) -> MerkleTree:
    """The Merkle tree over all documents of a language."""
    tree = MerkleTree()
    for shard in shards:
        facts = json.loads((shard / "shard.json").read_text("utf-8"))
        tree.extend(facts["documents"], [bytes.fromhex(peak) for peak in facts["peaks"]])
    return tree


@contextmanager
def _array_record(path: Path) -> Iterator[ArrayRecordWriter]:
    writer = ArrayRecordWriter(str(path), "group_size:1")
    yield writer
    with _disk_errors():
        writer.close()


@contextmanager
def _disk_errors() -> Iterator[None]:
    """ArrayRecord's RuntimeError as the OSError that it is."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(str(error).split(";")[0]) from None
