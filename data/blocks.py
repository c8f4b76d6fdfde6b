"""Where blocks of rows begin: every so many rows, and wherever a phase of the mixture does, so that no block belongs to two."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from varietas.data.mixture import Phase

RAMP_BLOCKS = 16  # a ramp goes in so many steps at the least: within a block the mixture is the same everywhere
KEPT_FREE = 16  # a block has at least so many tokens for each that rounding may cost it


@dataclass(frozen=True)
class Blocks:
    """Blocks of `size` rows; at each row of `cuts`, the first of which is 0, one ends early and another begins."""

    size: int
    cuts: tuple[int, ...]

    @cached_property
    def _before(self) -> list[int]:
        """How many blocks there are before each cut."""
        before = [0]
        for begin, end in pairwise(self.cuts):
            before.append(before[-1] - (begin - end) // self.size)
        return before

    def number(self, row: int) -> int:
        """Of the block that a row is in."""
        k = bisect_right(self.cuts, row) - 1
        return self._before[k] + (row - self.cuts[k]) // self.size

    def rows(self, number: int) -> tuple[int, int]:
        """Where a block begins and ends."""
        k = bisect_right(self._before, number) - 1
        begin = self.cuts[k] + (number - self._before[k]) * self.size
        return begin, min([begin + self.size, *self.cuts[k + 1 : k + 2]])


def places(phases: Sequence[Phase], seq_len: int) -> list[tuple[int, int]]:
    """The first row of each phase, and the first after its ramp."""
    return [(-(-phase.begin // seq_len), -(-(phase.begin + phase.ramp) // seq_len)) for phase in phases]


def blocks(size: int, phases: Sequence[Phase], seq_len: int, n_strata: int) -> Blocks:
    """Blocks that keep phases apart, and steps of a ramp. Raises ValueError if phases are too close together for that."""
    least = -(-KEPT_FREE * n_strata // seq_len)  # rows
    cuts = [0]
    for phase, (begin, end) in zip(phases, places(phases, seq_len), strict=True):
        if begin - cuts[-1] < least:
            raise ValueError(
                f"data.mixture.phases.{phase.name} begins {begin - cuts[-1]:,} rows of {seq_len:,} tokens after what is before it; at least"
                f" {least:,} are needed: let it begin later, or leave out the one before"
            )
        n_steps = max(1, min((end - begin) // least, max(RAMP_BLOCKS, (end - begin) // size)))
        cuts += [begin + (end - begin) * step // n_steps for step in range(n_steps + 1)] if end > begin else [begin]
    return Blocks(size, tuple(cuts))
