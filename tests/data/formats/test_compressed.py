"""The content of a file can be read from any earlier place again, however its members are cut."""

import gzip
import io
import zlib
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from damaged import checked_frame

from varietas.data.formats import compressed
from varietas.data.formats.compressed import Content

CONTENT = b"".join(b"%08x\n" % zlib.crc32(b"%d" % i) for i in range(20_000))  # no part of it repeats


@pytest.mark.parametrize("cuts", [[], [70_000], [9, 9, 40_000, 41_000, 100_000]], ids=len)
@pytest.mark.parametrize("pack", [gzip.compress, checked_frame, bytes], ids=["gzip", "Zstandard", "plain"])
def test_rewound_content_is_the_same_content(cuts: list[int], pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Members are longer than what is verified at once, so that a part of one has been returned when reading goes back."""
    monkeypatch.setattr(compressed, "CHECKED", 5_000)
    monkeypatch.setattr(compressed, "PIECE", 3_000)
    source = Content(io.BytesIO(b"".join(pack(CONTENT[begin:end]) for begin, end in pairwise([0, *cuts, len(CONTENT)]))))
    rng = np.random.default_rng(len(cuts))
    assert source.peek(7) == CONTENT[:7] and source.offset == 0
    for goal in rng.integers(0, len(CONTENT), 25).tolist():
        while source.offset < goal:
            begin = source.offset
            piece = source.piece()
            assert piece and piece == CONTENT[begin : begin + len(piece)] and source.offset == begin + len(piece)
        back = int(rng.integers(0, source.offset + 1))
        source.rewind(back)
        assert source.offset == back and source.peek(20) == CONTENT[back : back + 20] and source.damage is None
    rest, begin = [], source.offset
    while piece := source.piece():
        rest.append(piece)
    assert b"".join(rest) == CONTENT[begin:] and source.offset == len(CONTENT)
