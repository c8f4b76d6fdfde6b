"""Where blocks of rows begin.

A block begins every `size` rows, and wherever a phase of the mixture begins, so that no block spans two phases.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from varietas.data.stream.mixture import Phase

RAMP_BLOCKS = 16  # minimum number of steps in a ramp, since the mixture is constant within a block
KEPT_FREE = 16  # minimum number of tokens in a block for each token that it may lose by rounding


@dataclass(frozen=True)
class Blocks:
    """Consecutive blocks of rows. The number of a block is its index in this sequence."""

    size: int  # rows in a block that no cut shortens
    cuts: tuple[int, ...]  # rows, ascending from 0, at which a new block begins even if the block before it is not full

    @cached_property
    def _before(self) -> list[int]:
        """Returns the number of blocks before each cut."""
        before = [0]
        for begin, end in pairwise(self.cuts):
            before.append(before[-1] - (begin - end) // self.size)
        return before

    def number(self, row: int) -> int:
        """Returns the number of the block that contains `row`."""
        k = bisect_right(self.cuts, row) - 1
        return self._before[k] + (row - self.cuts[k]) // self.size

    def rows(self, number: int) -> tuple[int, int]:
        """Returns the first row of a block, and the first row after it."""
        k = bisect_right(self._before, number) - 1
        begin = self.cuts[k] + (number - self._before[k]) * self.size
        return begin, min([begin + self.size, *self.cuts[k + 1 : k + 2]])


def places(phases: Sequence[Phase], seq_len: int) -> list[tuple[int, int]]:
    """Returns the first row of each phase, and the first row after its ramp."""
    return [(-(-phase.begin // seq_len), -(-(phase.begin + phase.ramp) // seq_len)) for phase in phases]


def blocks(size: int, phases: Sequence[Phase], seq_len: int, n_strata: int) -> Blocks:
    """Divides the rows into blocks such that no block spans two phases, or two steps of a ramp.

    Args:
        size: Maximum number of rows in a block.
        phases: Phases of the mixture, in the order in which they begin.
        seq_len: Tokens of a row.
        n_strata: Number of strata. A block may lose one token for each of them by rounding.

    Raises:
        ValueError: If phases are too close together.
    """
    least = -(-KEPT_FREE * n_strata // seq_len)  # rows
    cuts = [0]
    for phase, (begin, end) in zip(phases, places(phases, seq_len), strict=True):
        if begin - cuts[-1] < least:
            raise ValueError(
                f"data.mixture.phases.{phase.name} begins {begin - cuts[-1]:,} rows of {seq_len:,} tokens after the previous phase has"
                f" taken effect; at least {least:,} are needed: let it begin later or remove a phase"
            )
        n_steps = max(1, min((end - begin) // least, max(RAMP_BLOCKS, (end - begin) // size)))
        cuts += [begin + (end - begin) * step // n_steps for step in range(n_steps + 1)] if end > begin else [begin]
    return Blocks(size, tuple(cuts))
