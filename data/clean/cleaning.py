"""Cleaning steps. A config switches each of them on, and each gives its own reason for the documents it rejects.

The steps that look at one document after the other are here. Labels (labels.py), quality (rules.py), near copies and evaluation text
(duplicates.py) are looked at in many documents at a time, by their words.
"""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, replace

from varietas.data.clean import charsets, fences
from varietas.data.clean.blocked import is_blocked
from varietas.data.text.conversation import said
from varietas.data.text.documents import Document, NotADocument

PII_MODES = ("keep", "mask", "drop")
DUPLICATE_MODES = ("keep", "exact", "near")
OPTED_OUT = "opted out"  # begins the reasons for which documents that must not be used are left out


@dataclass(frozen=True)
class Cleaning:
    """The cleaning steps of `prepare`. configs/base.py explains each field."""

    opt_outs: bool = True
    verdicts: bool = False
    blocked: str = ""
    unicode: bool = False
    language: bool = False
    min_chars: int = 0
    rules: bool = False
    fences: str = ""
    pii: str = "keep"
    duplicates: str = "keep"
    overlap: bool = False
    overlap_text: str = ""
    held_out: float = 0.0


# Finds what ftfy may repair: UTF-8 that was decoded as Latin-1 or Windows-1252, and characters that no text should contain.
_FOLLOWS = "\xa0-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_NEVER = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\r\u2028\u2029\ufffe\uffff"
_LINE = re.compile("[^\n]*\n|[^\n]+")
_SUSPECT = re.compile(f"[{_NEVER}{_FOLLOWS}](?:(?<=[{_NEVER}])|(?<=[Â-Ó].)|(?<=[à-ï][{_FOLLOWS}].))")  # re can skip by the first set


def clean(document: Document, cleaning: Cleaning, changed: Counter[str]) -> Document:
    """Applies the steps that look at one document after the other.

    Args:
        document: The document.
        cleaning: Steps that are switched on.
        changed: Counts the changes by kind. It is updated in place.

    Returns:
        The document as it is to be kept.

    Raises:
        NotADocument: If the document is rejected.
        ModuleNotFoundError: If a package that a step needs is not installed.
    """
    signals = document.signals
    if cleaning.opt_outs and (why := opted_out(document)):
        raise NotADocument(why)
    if cleaning.verdicts and signals.get("filter", "keep") != "keep":
        raise NotADocument(f"filter: {signals['filter']}")
    if cleaning.blocked and is_blocked(document.url, cleaning.blocked):
        raise NotADocument("blocked domain")
    turns, rejected = (
        tuple((role, _cleaned(replace(document, text=content), cleaning, changed)) for role, content in conversation)
        for conversation in (document.turns, document.rejected)
    )
    text = said(turns, rejected) if turns else _cleaned(document, cleaning, changed)
    if len(text) < cleaning.min_chars or not text.strip():
        raise NotADocument("short")
    if text != document.text and "pii" in signals:  # its offsets refer to the original text
        signals = {name: value for name, value in signals.items() if name != "pii"}
    if text == document.text and signals is document.signals:
        return document
    return replace(document, text=text, turns=turns, rejected=rejected, signals=signals)


def _cleaned(document: Document, cleaning: Cleaning, changed: Counter[str]) -> str:
    """Returns the text of a document without what the steps that change a text take out of it."""
    text, marked = document.text, 0
    if cleaning.pii != "keep":
        text, marked = _without_marked(document)
    if cleaning.unicode:  # before the search: what is decomposed or was decoded wrongly would not be found
        known = fences.load(cleaning.fences)
        before, text = text, charsets.repair(text, known.of(document.lang), known.others(document.lang))
        if text != before:
            changed["character set"] += 1
        before, text = text, repair(text)
        changed["unicode"] += text != before
    if cleaning.pii != "keep":
        from varietas.data.clean import pii

        text, found = pii.mask(text, document.lang)
        found["pii"] += marked
        if cleaning.pii == "drop" and found.total():
            raise NotADocument("personal data")
        changed.update(+found)
    return text


def opted_out(document: Document) -> str:
    """Returns what excludes a text from training, as the reason of a reject, or "" if nothing does."""
    signals = document.signals
    if signals.get("robots") is False:
        return f"{OPTED_OUT}: robots.txt"
    if signals.get("opt_out"):
        return f"{OPTED_OUT}: rights reserved"
    return f"{OPTED_OUT}: collection" if signals.get("filter") == "optout" else ""


def repair(text: str) -> str:
    """Normalises to NFC, repairs mojibake with ftfy, writes line ends as "\\n" and removes control characters.

    Ligatures, quotation marks and characters of full or half width stay as they are.
    """
    if _SUSPECT.search(text):
        text = "".join(_fixed(line) if _SUSPECT.search(line) else line for line in _LINE.findall(text))
    return unicodedata.normalize("NFC", text)


def _fixed(line: str) -> str:
    import ftfy

    fixed: str = ftfy.fix_text(
        line,
        unescape_html=False,
        uncurl_quotes=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        normalization=None,
        explain=False,
    )
    return fixed


def _without_marked(document: Document) -> tuple[str, int]:
    """Returns the text without the personal data that the collection has marked, by its offsets, and how many places these are."""
    text, spans = document.text, list[list[int]]()
    for begin, end in sorted(document.signals.get("pii") or []):
        if spans and begin < spans[-1][1]:
            spans[-1][1] = max(end, spans[-1][1])
        else:
            spans.append([begin, end])
    for begin, end in reversed(spans):
        text = text[:begin] + "<pii>" + text[end:]
    return text, len(spans)
