"""Recognises kinds of files that cannot be read, by the beginning of their content, and says how to convert them."""

import codecs
import json
import re

_BINARY = (
    (rb"PK\x03\x04", "a zip archive", "unpack it"),
    (rb".{257}ustar", "a tar archive", "unpack it"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it"),
    (rb"Rar!\x1a\x07", "a RAR archive", "unpack it"),
    (rb"\xfd7zXZ\x00", "compressed by xz", "recompress it with xz -dc FILE | zstd > FILE.zst"),
    (rb"BZh[1-9]1AY&SY", "compressed by bzip2", "recompress it with bzip2 -dc FILE | zstd > FILE.zst"),
    (rb"\x04\x22\x4d\x18", "compressed by LZ4", "recompress it with lz4 -dc FILE | zstd > FILE.zst"),
    (rb"\x1f\x8b\x08|\x28\xb5\x2f\xfd", "compressed twice", "decompress it once"),
    (rb"PAR1", "compressed Parquet", "decompress it"),
    (rb"%PDF-", "a PDF document", "extract its text"),
    (rb"\{\\rtf", "an RTF document", "extract its text"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a Microsoft Office document", "extract its text"),
    (rb"SQLite format 3\x00", "an SQLite database", "export its rows as JSON Lines"),
    (rb"ARROW1\x00\x00", "an Arrow file", "write it as Parquet"),
    (rb"Obj\x01", "an Avro file", "write it as Parquet"),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file", "write it as Parquet"),
    (rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a", "an image", "leave it out"),
    (rb"\xff\xfe\x00\x00|[^\x00]\x00\x00\x00", "UTF-32 text", "convert it with iconv -f UTF-32LE -t UTF-8"),
    (rb"\x00\x00\xfe\xff|\x00\x00\x00[^\x00]", "UTF-32 text", "convert it with iconv -f UTF-32BE -t UTF-8"),
    (rb"\xff\xfe|[^\x00]\x00[^\x00]\x00", "UTF-16 text", "convert it with iconv -f UTF-16LE -t UTF-8"),
    (rb"\xfe\xff|\x00[^\x00]\x00[^\x00]", "UTF-16 text", "convert it with iconv -f UTF-16BE -t UTF-8"),
)
_KINDS = [(re.compile(beginning, re.DOTALL), f"{what}: {advice}") for beginning, what, advice in _BINARY]
_MARKUP = re.compile(rb"<(\?xml|!doctype|html)", re.IGNORECASE)

ARRAY = "a JSON array, not JSON Lines: convert it with jq -c '.[]'"
PRETTY = "multi-line JSON, not JSON Lines: convert it with jq -c ."
MARKUP = "XML or HTML, not JSON Lines: extract its text"


def not_text(head: bytes) -> str:
    """Returns what kind of file begins with `head` and what to do with it, or "" if the file may be text."""
    return next((reason for beginning, reason in _KINDS if beginning.match(head)), "")


def not_json_lines(head: bytes) -> str:
    """Returns the same for a text file, or "" if the file may be JSON Lines. An invalid first line alone does not rule that out."""
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if _MARKUP.match(text):
        return MARKUP
    first, newline, rest = text.partition(b"\n")
    first, following = first.rstrip(), rest.lstrip()
    if not text.startswith((b"[", b"{")) or (_is_json(first) and (first.startswith(b"{") or following)):
        return ""
    goes_on = first.endswith((b",", b"[", b"{")) or following.startswith(b",")
    if text.startswith(b"["):
        holds_values = re.match(rb"\[\s*[\[{\"]", text) is not None
        return ARRAY if holds_values and (goes_on or not following) else ""
    is_within = rest.startswith((b'"', b" ", b"\t", b"\r", b"\n", b","))  # a line that cannot begin a record
    return PRETTY if newline and goes_on and is_within else ""


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
