"""Reads Parquet files, one row group at a time."""

import io
from collections.abc import Iterator
from dataclasses import astuple
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from varietas.data.files import reraise_system_error
from varietas.data.text.documents import SAMPLE, Document, MakeReject, NotADocument, Reject, from_record, utf8_in
from varietas.data.text.fields import Reading

ROWS = 256  # rows that are read at a time
NEVER_TEXT = frozenset({"xml", "md"})  # large columns of HPLT v4, which are read only if --fields names them
DAMAGED = "damaged Parquet"


def read_parquet(raw: BinaryIO, file: str, reading: Reading, reject: MakeReject, begin: int, end: float) -> Iterator[Document | Reject]:
    """Reads a Parquet file, or a part of it.

    A row group belongs to the part in which its middle lies. To find the middle, all rows are taken to have the same size.

    Args:
        raw: The file.
        file: Path of the file.
        reading: How records become documents.
        reject: Makes the rejects of the file.
        begin: First byte of the part.
        end: Byte after the last of the part.

    Yields:
        A Document or a Reject for each row. All rows of a damaged row group are Rejects. A file that cannot be opened is one Reject.

    Raises:
        OSError: If the disk fails.
    """
    try:
        table = pq.ParquetFile(raw, buffer_size=1 << 20, pre_buffer=False)  # otherwise a whole row group would be in memory
    except (pa.ArrowException, OSError) as error:
        reraise_system_error(error)
        if begin == 0:
            yield reject(1, DAMAGED, " ".join(str(error).split()))
        return
    named = {path.split(".")[0] for paths in astuple(reading.fields) for path in paths}
    columns = [name for name in table.schema_arrow.names if name not in NEVER_TEXT - named]
    raw.seek(0, io.SEEK_END)
    bytes_a_row = raw.tell() / max(1, table.metadata.num_rows)
    after = 0
    for group in range(table.num_row_groups):
        number, after = after, after + table.metadata.row_group(group).num_rows
        if not begin <= (number + after) / 2 * bytes_a_row < end:
            continue
        try:
            for batch in table.iter_batches(ROWS, [group], columns):
                for record in _records(batch):
                    number += 1
                    try:
                        yield from_record(utf8_in(record), file, number, reading.default_lang, reading.fields, reading.kind)
                    except NotADocument as error:
                        yield reject(number, error, error.sample or _shown(record.get("text")))
        except (pa.ArrowException, OSError) as error:
            reraise_system_error(error)
            for lost in range(number, after):
                yield reject(lost + 1, DAMAGED, " ".join(str(error).split()))


def _shown(text: Any) -> str:
    return text[:SAMPLE].decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


def _records(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Returns rows with strings as bytes, because Parquet does not guarantee valid UTF-8 and an invalid string must cost only its row."""
    columns = [column.cast(_as_bytes(column.type)) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names).to_pylist()


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    """Returns the type with bytes in place of strings, also in nested types."""
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return pa.binary()
    if pa.types.is_large_string(kind):
        return pa.large_binary()
    if pa.types.is_dictionary(kind):
        return _as_bytes(kind.value_type)
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_as_bytes(field.type)) for field in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return (pa.list_ if pa.types.is_list(kind) else pa.large_list)(_as_bytes(kind.value_type))
    return pa.map_(_as_bytes(kind.key_type), _as_bytes(kind.item_type)) if pa.types.is_map(kind) else kind
