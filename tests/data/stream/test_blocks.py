"""Blocks, compared with a list of their rows that is written out."""

import pytest

from varietas.data.stream.blocks import Blocks, blocks
from varietas.data.stream.mixture import Mixture, Phase


@pytest.mark.parametrize("cuts", [(0,), (0, 10), (0, 3, 4, 30, 31), (0, 7, 14)])
@pytest.mark.parametrize("size", [1, 7, 100])
def test_blocks_have_the_rows_of_the_list(size: int, cuts: tuple[int, ...]) -> None:
    begins = [row for row in range(100) if any(row == cut or (cut < row < end and (row - cut) % size == 0) for cut, end in spans(cuts))]
    found = Blocks(size, cuts)
    assert [found.rows(b)[0] for b in range(len(begins))] == begins
    assert [found.number(row) for row in range(100)] == [sum(begin <= row for begin in begins) - 1 for row in range(100)]
    assert all(found.rows(b)[1] == found.rows(b + 1)[0] for b in range(len(begins)))


def spans(cuts: tuple[int, ...]) -> list[tuple[int, int]]:
    return list(zip(cuts, (*cuts[1:], 10**9), strict=True))


def test_distant_rows_are_found_at_once() -> None:
    cut = Blocks(2048, (0, 5_000, 10**12 + 1))
    assert cut.rows(cut.number(10**15)) == (10**15 - (10**15 - 10**12 - 1) % 2048, 10**15 - (10**15 - 10**12 - 1) % 2048 + 2048)


def test_a_long_ramp_is_cut_into_blocks_and_a_short_one_into_steps() -> None:
    ramps = {16 * 2048 * 100: 16 * 100, 1600: 16, 8: 8, 0: 0}
    for ramp, steps in ramps.items():
        cut = blocks(2048, (Phase("a", 64 * 10_000, 64 * ramp, Mixture()),), 64, n_strata=4)
        assert cut.number(10_000 + ramp) - cut.number(10_000) == steps
