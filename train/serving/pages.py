"""The pages of a key-value cache, handed out and taken back. Page 0 belongs to nobody: what nobody needs is written there."""

from collections.abc import Iterable

PAGE = 32  # tokens; smaller ones waste less at the end of each text, larger ones are read faster


def pages_for(tokens: int) -> int:
    """Returns how many pages hold this many tokens."""
    return -(-tokens // PAGE)


class Pool:
    """The free pages of a cache with `n_pages` pages besides page 0."""

    def __init__(self, n_pages: int):
        self.n_pages = n_pages
        self._free = list(range(n_pages, 0, -1))

    @property
    def free(self) -> int:
        """The number of free pages."""
        return len(self._free)

    def take(self, n: int) -> list[int]:
        """Takes `n` pages, which have to be free."""
        return [self._free.pop() for _ in range(n)]

    def give_back(self, pages: Iterable[int]) -> None:
        """Makes pages free again."""
        self._free.extend(pages)
