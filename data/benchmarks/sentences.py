"""Whole sentences of a language: what items are made from.

A sentence is taken if it begins and ends as one does, has only letters of its language, and is no list, heading or address. It is better to
lose many good sentences than to ask about a bad one.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from varietas.data.benchmarks.items import number
from varietas.data.clean import fences
from varietas.data.clean.rules import Reference
from varietas.data.clean.words import INVISIBLE
from varietas.data.text.documents import Document

PARAGRAPHS = 20_000  # of a language that are kept; which ones depends on their text alone
SHORTEST, LONGEST = 30, 4_000  # characters of a paragraph
WORDS = (6, 40)  # of a sentence
PASSAGE = (80, 400)  # characters of a passage
EDGE = 5  # words at the beginning, or at the end, that no two sentences share
ENDS = {"Armn": "։:", "Grek": ".;!…", "": ".!?…"}  # of sentences, by script; ";" is the Greek question mark
TOKEN = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d_]+(?:[’'ʼ·-][^\W\d_]+)*[’'ʼ]?|[^\w\s]")  # a number, a word, or another character
_PUNCTUATION = frozenset(" ,;:-–—'’ʼ·\"“”„«»().!?…%՝՛՞՜։")
PAIRS = (("(", ")"), ("«", "»"))  # as many of one as of the other in a sentence
QUOTES = ('"', "“”„")  # an even number of each in a sentence


@dataclass(frozen=True)
class Paragraph:
    text: str  # one line, NFC
    source: str


@dataclass(frozen=True)
class Passage:
    """Sentences in a row."""

    text: str
    source: str


def gather(documents: Iterable[Document]) -> dict[str, list[Paragraph]]:
    """Returns paragraphs of each language, at most PARAGRAPHS, each text once. The order of the documents makes no difference."""
    kept: dict[str, dict[int, Paragraph]] = {}
    for document in documents:
        mine = kept.setdefault(document.lang, {})
        for line in document.text.split("\n"):
            text = unicodedata.normalize("NFC", " ".join(INVISIBLE.sub("", line).split()))
            if SHORTEST <= len(text) <= LONGEST:
                key, paragraph = number(text), Paragraph(text, document.source)
                mine[key] = min(paragraph, mine.get(key, paragraph), key=_source)
        if len(mine) > 2 * PARAGRAPHS:
            kept[document.lang] = {key: mine[key] for key in sorted(mine)[:PARAGRAPHS]}
    return {lang: [mine[key] for key in sorted(mine)[:PARAGRAPHS]] for lang, mine in sorted(kept.items())}


def _source(paragraph: Paragraph) -> str:
    return paragraph.source


def letters_of(lang: str) -> frozenset[str]:
    """Returns the letters of a language, none if they are not known: those of fences.json, which are its letters in reference text."""
    known = fences.load("").of(lang).letters
    latin = "abcdefghijklmnopqrstuvwxyz" if lang.endswith("_Latn") else ""
    return frozenset(known | set(latin + latin.upper())) if fences.load("").of(lang).words else frozenset()


def sentences(paragraphs: Sequence[Paragraph], lang: str) -> list[str]:
    """Returns the whole sentences of paragraphs. No two begin or end with the same EDGE words."""
    seen: set[tuple[str, ...]] = set()
    found = []
    for paragraph in paragraphs:
        for text in _whole(paragraph, lang):
            edges = _edges(text)
            if text and not edges & seen:
                found.append(text)
            seen |= edges
    return found


def passages(paragraphs: Sequence[Paragraph], lang: str) -> list[Passage]:
    """Returns sentences in a row, at most one passage of a paragraph. No two begin or end with the same EDGE words."""
    seen: set[tuple[str, ...]] = set()
    found = []
    for paragraph in paragraphs:
        text = ""
        for sentence in [*_whole(paragraph, lang), ""]:
            if not sentence or len(text) + len(sentence) >= PASSAGE[1]:
                if len(text) >= PASSAGE[0]:
                    break
                text = ""
            text = f"{text} {sentence}".strip()
        edges = _edges(text)
        if PASSAGE[0] <= len(text) <= PASSAGE[1] and not edges & seen:
            found.append(Passage(text, paragraph.source))
        seen |= edges
    return found


def _edges(text: str) -> set[tuple[str, ...]]:
    """Returns the words with which a text begins and ends."""
    words = text.lower().split()
    return {("begins", *words[:EDGE]), ("ends", *words[-EDGE:])}


def _whole(paragraph: Paragraph, lang: str) -> Iterator[str]:
    """Yields the sentences of a paragraph, with "" in place of those that are not taken."""
    ends = ENDS.get(lang[-4:], ENDS[""])
    known = fences.load("").of(lang)
    letters = letters_of(lang)
    for text in re.split(rf"(?<=[{re.escape(ends)}])\s+(?=\W*[^\W\d_])", paragraph.text):
        yield text if text and text[-1] in ends and _is_sentence(text, known, letters) else ""


def _is_sentence(text: str, known: Reference, letters: frozenset[str]) -> bool:
    tokens = TOKEN.findall(text)
    words = [token for token in tokens if token[0].isalpha()]
    return (
        WORDS[0] <= len(words) <= WORDS[1]
        and text[0].isalpha()
        and text[0] == text[0].title()  # a capital, in scripts that have some
        and all((not letters or c in letters) if c.isalpha() else c.isdigit() or c in _PUNCTUATION for c in text)
        and sum(token[0].isdigit() for token in tokens) <= 2
        and tokens[-2] == words[-1]
        and len(words[-1]) >= 3  # shorter ones are mostly abbreviations
        and (not known.words or sum(word.lower() in known.words for word in words) >= 2)
        and all(word.isupper() or word[1:] == word[1:].lower() or not word.isalpha() for word in words)  # no two words in one
        and sum(word.isupper() and len(word) > 1 for word in words) <= 2
        and sum(word[0].isupper() for word in words) <= 0.6 * len(words)
        and all(text.count(opening) == text.count(closing) for opening, closing in PAIRS)
        and all(sum(map(text.count, quotes)) % 2 == 0 for quotes in QUOTES)
    )
