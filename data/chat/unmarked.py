"""What the marks on ids say of rows: which tokens are learned, and where the rejected conversation of a preference begins."""

import numpy as np

from varietas.data.chat.marks import learned, rejected, without_marks


def unmarked(rows: dict[str, np.ndarray], preferences: bool) -> dict[str, np.ndarray]:
    """Returns rows as `Stream.rows` does, from rows whose tokens have marks.

    Args:
        rows: Their tokens are uint32 with marks; each piece is one segment.
        preferences: Whether pieces are preferences, whose conversations become two segments.
    """
    ids, segments, positions = rows["tokens"], rows["segments"], rows["positions"]
    if preferences:
        segments = np.where(segments > 0, 2 * segments - 1 + rejected(ids), 0)
        positions = _restarted(segments)
    languages = np.where(learned(ids), rows["languages"], ~rows["languages"])
    return {"tokens": without_marks(ids), "segments": segments, "positions": positions, "languages": languages}


def _restarted(segments: np.ndarray) -> np.ndarray:
    """Returns positions, int32 (rows, seq_len): from 0 in each segment, 0 for padding."""
    at = np.arange(segments.shape[1], dtype=np.int32)
    begins = np.diff(segments, axis=1, prepend=-1) != 0
    return np.where(segments > 0, at - np.maximum.accumulate(np.where(begins, at, 0), axis=1), 0)
