"""A digest of each training row, which a ledger commits to: what the row holds, and of which documents its tokens are.

    piece   source, language, document, first token and number of tokens, with tabs between them
    row     SHA-256(root of the tree over its pieces || SHA-256(tokens, segments and languages as little-endian int32))

The documents stand in a tree of their own, so that a proof about one of them tells nothing of the others in its row.
"""

from hashlib import sha256

import numpy as np

from varietas.data.ledger.merkle import HASH, root
from varietas.data.stream.pieces import Piece, Pieces
from varietas.data.stream.stream import Rows, Stream

CONTENT = ("tokens", "segments", "languages")  # positions follow from segments


def row_digests(stream: Stream, start: int, rows: Rows) -> np.ndarray:
    """Returns the digest of each of these rows, uint8 (rows, HASH).

    Args:
        stream: The stream.
        start: Number of the first row.
        rows: What `stream.rows` returned for `start` and the rows after it.
    """
    n = len(rows["tokens"])
    pieces = stream.pieces(start, start + n)
    content = [np.ascontiguousarray(rows[name], "<i4") for name in CONTENT]
    found = pieces_of_rows(stream, pieces, start, rows["segments"])
    digests = [row_digest(texts, content_digest(*(values[row] for values in content))) for row, texts in enumerate(found)]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(n, HASH)


def pieces_of_rows(stream: Stream, pieces: Pieces, start: int, segments: np.ndarray) -> list[list[bytes]]:
    """Returns the text of each piece, by row. Pieces of damaged or removed documents are left out: the model has not seen them.

    Args:
        stream: The stream.
        pieces: The pieces of rows `start` to `start + len(segments)`.
        start: Number of the first row.
        segments: The segments of these rows, as `stream.rows` returns them.
    """
    seen = segments[pieces.row - start, pieces.place] > 0
    texts: list[list[bytes]] = [[] for _ in range(len(segments))]
    for piece in stream.named(pieces[seen]):
        texts[piece.row - start].append(piece_text(piece))
    return texts


def piece_text(piece: Piece) -> bytes:
    """Returns what is committed to of a piece."""
    return f"{piece.source}\t{piece.language}\t{piece.document}\t{piece.begin}\t{piece.size}".encode()


def content_digest(*content: np.ndarray) -> bytes:
    """Returns the SHA-256 over the content of a row, whose arrays are those of CONTENT, little-endian int32 (seq_len,)."""
    found = sha256()
    for values in content:
        found.update(values.data)
    return found.digest()


def row_digest(pieces: list[bytes], content: bytes) -> bytes:
    """Returns the digest of a row from the texts of its pieces and the digest of its content."""
    return sha256(root(pieces) + content).digest()
