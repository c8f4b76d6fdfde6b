"""What an item is, and choices that are the same on every machine.

All choices follow from the seed and the name of what is chosen, through hashes. So the same text gives the same bytes everywhere.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from varietas.data.hashing import hash64

T = TypeVar("T")


@dataclass(frozen=True)
class Item:
    """A question, whose right answer is one of several choices; or a beginning that a model continues, which has no choices."""

    context: str  # "" if the choices are whole sentences
    choices: tuple[str, ...]
    answer: int  # index of the right one
    about: str = ""  # what differs, for people


def number(name: str) -> int:
    """Returns a number below 2^64 for a name: the first 8 bytes of its SHA-256."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def order(n: int, seed: int, name: str) -> np.ndarray:
    """Returns the numbers 0 to n - 1 in an order that looks random, int64 (n,)."""
    return np.argsort(hash64(seed, number(name), np.arange(n)), kind="stable")


def shuffled(values: Sequence[T], seed: int, name: str) -> list[T]:
    """Returns the values in an order that looks random."""
    return [values[i] for i in order(len(values), seed, name)]


def pairs(found: Sequence[tuple[str, str, str]], seed: int, name: str) -> list[Item]:
    """Makes items of pairs (right, wrong, about) of whole sentences. The right one comes first in every second item, in an order that looks
    random."""
    first = order(len(found), seed, f"{name} answer") % 2
    return [
        Item("", (wrong, right) if answer else (right, wrong), int(answer), about)
        for (right, wrong, about), answer in zip(found, first, strict=True)
    ]
