"""Blocks, against a list of their rows written out."""

import pytest

from varietas.data.blocks import Blocks, blocks
from varietas.data.mixture import Mixture, Phase


@pytest.mark.parametrize("cuts", [(0,), (0, 10), (0, 3, 4, 30, 31), (0, 7, 14)])
@pytest.mark.parametrize("size", [1, 7, 100])
def test_rows_and_blocks_belong_together(size: int, cuts: tuple[int, ...]) -> None:
    begins = [row for row in range(100) if any(row == cut or (cut < row < end and (row - cut) % size == 0) for cut, end in spans(cuts))]
    found = Blocks(size, cuts)
    assert [found.rows(b)[0] for b in range(len(begins))] == begins
    assert [found.number(row) for row in range(100)] == [sum(begin <= row for begin in begins) - 1 for row in range(100)]
    assert all(found.rows(b)[1] == found.rows(b + 1)[0] for b in range(len(begins)))


def spans(cuts: tuple[int, ...]) -> list[tuple[int, int]]:
    return list(zip(cuts, (*cuts[1:], 10**9), strict=True))


def test_far_rows_cost_nothing() -> None:
    cut = Blocks(2048, (0, 5_000, 10**12 + 1))
    assert cut.rows(cut.number(10**15)) == (10**15 - (10**15 - 10**12 - 1) % 2048, 10**15 - (10**15 - 10**12 - 1) % 2048 + 2048)


def test_a_long_ramp_goes_in_whole_blocks_and_a_short_one_in_steps() -> None:
    ramps = {16 * 2048 * 100: 16 * 100, 1600: 16, 8: 8, 0: 0}
    for ramp, steps in ramps.items():
        cut = blocks(2048, (Phase("a", 64 * 10_000, 64 * ramp, Mixture()),), 64, n_strata=4)
        assert cut.number(10_000 + ramp) - cut.number(10_000) == steps
