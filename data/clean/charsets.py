"""Text that was decoded with the wrong one of the old character sets, as Czech of windows-1250 read as windows-1252 ("pøíklad").

Each of these sets has one byte a character, so the damage replaces letters by other letters, which ftfy cannot see. The letters of a
language tell that something is wrong, and its function words tell when it is right again.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from varietas.data.clean.rules import Reference

READ_AS = ("cp1252", "cp1250", "cp1251", "cp1253", "cp1257", "iso8859_2", "koi8_r", "cp437", "mac_roman")
WRITTEN_IN = (
    "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1257", "iso8859_2", "iso8859_3", "iso8859_4", "iso8859_5", "iso8859_7",
    "iso8859_10", "iso8859_13", "iso8859_14", "koi8_r", "koi8_u", "cp852", "cp866", "cp737", "cp775", "cp850", "mac_latin2", "mac_cyrillic",
    "mac_greek",
)  # fmt: skip
READ = 4000  # characters of a text that are looked at
FEWEST = 3  # foreign letters from which a text is suspect
SUSPECT = 0.002  # share of foreign letters among all characters, from which it is suspect
FLIPPED = 20  # changes from small letters to capitals within words, from which it is suspect
EXPLAINED = 0.7  # share of the foreign letters that have to become the language's own
OTHERS = 0.9  # share of the foreign letters from which a text may be in another language that has them
LOST = 0.05  # how many of its own letters may be lost for each one that is won
PLAIN = 0.006  # share of foreign letters among all characters, from which no function words have to be won, if two letters are explained
MORE = 0.004  # share of the words that have to become function words
_WORD = re.compile(r"[^\W\d_]+")
# Cyrillic of one set that is read as another mostly changes its case.
_FLIP = re.compile(r"[а-яёіїєґўјљњћђџ][А-ЯЁІЇЄҐЎЈЉЊЋЂЏ]")
_IN_WORDS = frozenset("¹³º¿¼¾ªµ¶¡¢£¥¤¦¨¬¯¸±ˇ˛˙´")  # stand for letters in such texts
_BESIDE_WORDS = frozenset("«»„“”‘’–—…•·§°")  # stand for themselves


def repair(text: str, language: Reference, others: Sequence[Reference] = ()) -> str:
    """Returns the text as it was written, if another pair of character sets explains its foreign letters, or else the text itself.

    Args:
        text: The text.
        language: What is known of its language.
        others: The same of other languages. A text that may well be in one of them, whatever its label says, stays as it is.
    """
    if text.isascii() or not language.words:
        return text
    read = text[:READ]
    of_foreign = Counter(_foreign(language).findall(read))
    foreign = of_foreign.total()
    flips = len(_FLIP.findall(read)) if language.label.endswith("Cyrl") else 0
    if (foreign < FEWEST or foreign < SUSPECT * len(read)) and flips <= FLIPPED:
        return text
    counts = Counter(letter for letter in read if letter > "\x7f")
    commonest = ord(max(sorted(of_foreign), key=lambda letter: of_foreign[letter], default=" "))
    best, function_words, n_words = text, *_function_words(read, language)
    more, tried = max(1.0, MORE * n_words), set[tuple[int | None, ...]]()
    for table in _tables():
        if flips <= FLIPPED and chr(table.get(commonest, 0)) not in language.letters:
            continue
        change = tuple(table.get(ord(letter)) for letter in counts)
        if change in tried:  # many pairs differ only in letters that the text does not have
            continue
        tried.add(change)
        won, lost, kinds = _balance(counts, table, language)
        if lost > LOST * max(won, sum(counts.values()) * (flips > FLIPPED)) or won < EXPLAINED * foreign:
            continue
        found, _ = _function_words(read.translate(table), language)
        if found >= function_words + (0.0 if foreign > PLAIN * len(read) and kinds > 1 else more):
            best, function_words, more = text.translate(table), found + 1, 0.0
    if best != text and any(_may_be(other, read, of_foreign, function_words - 1) for other in others):
        return text
    return best


def _may_be(other: Reference, text: str, of_foreign: Mapping[str, int], function_words: int) -> bool:
    """Whether a text may be in another language.

    That has nearly all of the foreign letters, and at least as many function words in the text as its own would have after the repair.
    """
    explained = sum(n for letter, n in of_foreign.items() if letter in other.letters)
    return explained >= OTHERS * sum(of_foreign.values()) and _function_words(text, other)[0] >= function_words


def _balance(counts: Counter[str], table: dict[int, int], language: Reference) -> tuple[int, int, int]:
    """Returns how many characters a table makes letters of the language, and how many it spoils: its letters, and marks beside words.

    The third number is that of different characters among the first.
    """
    won = lost = kinds = 0
    beside = _BESIDE_WORDS if "«" in counts else _BESIDE_WORDS - {"»"}  # alone it is the ť of ISO-8859-2
    for letter, n in counts.items():
        if ord(letter) in table:
            before, after = letter in language.letters, chr(table[ord(letter)]) in language.letters
            gained = after and not before and letter not in beside
            won, kinds = won + n * gained, kinds + gained
            lost += n * ((before and not after) or letter in beside)
    return won, lost, kinds


def _function_words(text: str, language: Reference) -> tuple[int, int]:
    """Returns the number of function words, and that of all words."""
    found = _WORD.findall(text.lower())
    return sum(word in language.words for word in found), len(found)


@cache
def _foreign(language: Reference) -> re.Pattern[str]:
    """Returns a pattern of the characters beyond ASCII that sound text of a language hardly has."""
    letters = {chr(point) for point in np.flatnonzero(language.foreign).tolist()}
    return re.compile(f"[{''.join(sorted((letters | _IN_WORDS) - language.letters))}]")


@cache
def _tables() -> list[dict[int, int]]:
    """Returns how each pair of character sets changes a text: the character that was read -> the one that was written."""
    pairs = [(wrong, right) for wrong in READ_AS for right in WRITTEN_IN if wrong != right]
    return [
        {
            ord(read): ord(written)
            for byte in range(0x80, 0x100)
            if (read := _character(byte, wrong)) != (written := _character(byte, right)) and read and written
        }
        for wrong, right in pairs
    ]


def _character(byte: int, charset: str) -> str:
    """Returns what a byte means, as browsers decode it: a byte that windows-1252 leaves open is the control character of that number."""
    try:
        return bytes([byte]).decode(charset)
    except UnicodeDecodeError:
        return chr(byte) if charset == "cp1252" else ""
