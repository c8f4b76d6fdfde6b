"""What is known of each language for the rules: its function words, its letters and its fences, from a JSON file.

The file of the package, fences.json, says what it was fitted on. `varietas fences` makes such a file from text of yours. A language that
is not in the file has the widest fences of the languages in its script, and neither function words nor letters.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from varietas.data.clean import words
from varietas.data.clean.rules import RULES, Reference, fit, statistics
from varietas.data.clean.words import PLANES
from varietas.data.files import write_atomically
from varietas.data.text.documents import Document

SHIPPED = Path(__file__).with_name("fences.json")
FUNCTION_WORDS = 100  # of a language
FEWEST = 20  # documents of a language for which fences are fitted
SOURCE_WORDS = 3000  # words that a file has to have of a language to say which ones are function words
LETTER_SHARE = 5e-5  # share of the letters of a language from which a letter is one of its own
# Characters among which foreign letters are looked for: those of Latin script, and of the language's own. Words of other scripts are names.
BLOCKS = {
    "Latn": ((0xAA, 0x250), (0x1E00, 0x1F00)), "Cyrl": ((0x400, 0x530),), "Grek": ((0x384, 0x3D0),), "Armn": ((0x531, 0x588),),
    "Geor": ((0x10A0, 0x1100),),
}  # fmt: skip
# Labels whose texts are told apart badly or not at all share everything.
TOGETHER = (("hrv_Latn", "bos_Latn", "cnr_Latn", "srp_Latn", "hbs_Latn"), ("nob_Latn", "nno_Latn"))


@dataclass(frozen=True)
class Vocabulary:
    """The function words of all languages."""

    columns: dict[str, int]  # label -> number of the language
    hashes: np.ndarray  # of the words, sorted, uint64 (words,)
    has: np.ndarray  # 1 where it is a function word of the language, float32 (words, languages)
    usual: np.ndarray  # their usual share in each language, float64 (languages,)
    group: np.ndarray  # the same number for labels that share everything, int64 (languages,)


class Fences:
    """The references of all languages of a file."""

    def __init__(self, content: dict[str, Any]):
        self._scripts = {script: _bounds(entry["bounds"]) for script, entry in content["scripts"].items()}
        self._languages = {label: _reference(label, entry) for label, entry in content["languages"].items()}

    @cache  # noqa: B019  # there is one for each file
    def others(self, label: str) -> tuple[Reference, ...]:
        """Returns what is known of the other languages in the script of a language."""
        together = _together(label)
        script = label.partition("_")[2]
        return tuple(
            other for name, other in self._languages.items() if other.words and name not in together and name.partition("_")[2] == script
        )

    @cache  # noqa: B019  # there is one for each file
    def vocabulary(self) -> Vocabulary:
        """Returns the function words of all languages."""
        known = [reference for reference in self._languages.values() if reference.words]
        hashes = np.unique(np.concatenate([reference.hashes for reference in known]))
        has = np.stack([np.isin(hashes, reference.hashes) for reference in known], axis=1).astype(np.float32)
        columns = {reference.label: at for at, reference in enumerate(known)}
        group = np.array([min(columns[label] for label in _together(reference.label) if label in columns) for reference in known])
        return Vocabulary(columns, hashes, has, np.array([reference.usual for reference in known]), group)

    def of(self, label: str) -> Reference:
        """Returns what is known of a language ("ces_Latn")."""
        if label not in self._languages:
            bounds = self._scripts.get(label.partition("_")[2], _bounds({}))
            self._languages[label] = Reference(label, 0.0, np.zeros(0, np.uint64), frozenset(), frozenset(), np.zeros(PLANES, bool), bounds)
        return self._languages[label]


@cache
def load(file: str) -> Fences:
    """Loads a file, "" for that of the package.

    Raises:
        ValueError: If the file is not one of fences.
    """
    path = _path(file)
    advice = "give a file that `varietas fences` wrote"
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"clean.fences: {path} cannot be read ({error}); {advice}") from None
    try:
        return Fences(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"clean.fences: {path} is not a file of fences ({type(error).__name__}: {error}); {advice}") from None


def digest(file: str) -> str:
    """Returns the SHA-256 of a file, "" for that of the package. Raises ValueError if it is not one of fences."""
    load(file)
    return hashlib.sha256(_path(file).read_bytes()).hexdigest()


def used(file: str, sha256: str, labels: Iterable[str]) -> dict[str, Any]:
    """Returns what the manifest says about fences: the SHA-256 of their file, and the bounds of each language."""
    return {"sha256": sha256, "bounds": {label: listed(load(file).of(label).bounds) for label in labels if label}}


def is_shared(label: str) -> bool:
    """Returns whether a label shares everything with others, from which its texts are told apart badly or not at all."""
    return len(_together(label)) > 1


def _together(label: str) -> tuple[str, ...]:
    """Returns the labels that share everything with one, and itself."""
    return next((labels for labels in TOGETHER if label in labels), (label,))


def _path(file: str) -> Path:
    return Path(file) if file else SHIPPED


def _reference(label: str, entry: dict[str, Any]) -> Reference:
    own_words = str(entry["words"]).split()
    own = str(entry["letters"])
    own += ("İ" if "ı" in own else "") + ("şţ" if "ș" in own else "")  # upper() misses the first; many write Romanian with cedillas
    foreign = np.zeros(PLANES, bool)
    for begin, end in (*BLOCKS["Latn"], *BLOCKS.get(label.partition("_")[2], ())):
        foreign[begin:end] = [chr(point).isalpha() for point in range(begin, end)]
    letters = frozenset(own + own.upper())
    foreign[[ord(letter) for letter in letters]] = False
    hashes = np.unique(words.split([" ".join(own_words)]).words.hash)
    return Reference(label, float(entry["usual"]), hashes, frozenset(own_words), letters, foreign, _bounds(entry["bounds"]))


def _bounds(listed: dict[str, list[float | None]]) -> np.ndarray:
    """Returns the bounds of all rules, float64 (2, rules): those that are listed, and the usual ones."""
    if unknown := listed.keys() - RULES.keys():
        raise ValueError(f"there is no rule {min(unknown)!r}; the rules are {', '.join(RULES)}")
    rows = []
    for name, rule in RULES.items():
        low, high = listed.get(name, (rule.low, rule.high))
        rows.append((-np.inf if low is None else float(low), np.inf if high is None else float(high)))
    return np.array(rows).T


def listed(bounds: np.ndarray) -> dict[str, list[float | None]]:
    """Returns bounds as a file has them: a pair for each rule, with null in place of an infinite one."""
    return {name: [round(float(x), 4) if np.isfinite(x) else None for x in pair] for name, pair in zip(RULES, bounds.T, strict=True)}


def fitted(documents: Iterable[Document], about: str) -> dict[str, Any]:
    """Fits fences to reference text.

    Function words are the words that are common in most files of a language, so a file about one subject cannot bring its own.

    Args:
        documents: Good text of each language, from several files if possible.
        about: What the text is.

    Returns:
        The content of a file.

    Raises:
        ValueError: If there are too few documents of every language.
    """
    texts: dict[str, list[Document]] = {}
    for document in documents:
        texts.setdefault(" ".join(_together(document.lang)), []).append(document)
    languages = {labels: _fitted(found) for labels, found in sorted(texts.items()) if len(found) >= FEWEST}
    if not languages:
        raise ValueError(f"no language has {FEWEST} documents; give more text")
    by_label = {label: entry for labels, entry in languages.items() for label in labels.split()}
    scripts: dict[str, list[np.ndarray]] = {}
    for label, entry in by_label.items():
        scripts.setdefault(label.partition("_")[2], []).append(_bounds(entry["bounds"]))
    widest = {script: np.stack([np.min([b[0] for b in all_], 0), np.max([b[1] for b in all_], 0)]) for script, all_ in scripts.items()}
    return {
        "fitted_on": about,
        "languages": dict(sorted(by_label.items())),
        "scripts": {script: {"bounds": listed(bounds)} for script, bounds in sorted(widest.items())},
    }


def save(content: dict[str, Any], out: Path) -> None:
    """Writes the content of a file, with a line for each language."""
    entries = {key: json.dumps(content[key], ensure_ascii=False) for key in content}
    for key in ("languages", "scripts"):
        lines = [f"  {json.dumps(name)}: {json.dumps(entry, ensure_ascii=False)}" for name, entry in content[key].items()]
        entries[key] = "{\n" + ",\n".join(lines) + "\n }"
    write_atomically(out, ("{\n" + ",\n".join(f' "{key}": {entry}' for key, entry in entries.items()) + "\n}\n").encode())


def _fitted(documents: Sequence[Document]) -> dict[str, Any]:
    by_file = dict[str, Counter[str]]()
    for document in documents:
        by_file.setdefault(document.file, Counter()).update(re.findall(r"[^\W\d_]+", document.text.lower()))
    counts = [count for count in by_file.values() if count.total() >= SOURCE_WORDS] or [sum(by_file.values(), Counter[str]())]
    common, letters = _in_several(counts, len(counts) // 3), _in_several([_letters(count) for count in counts], -2)
    entry = {
        "documents": len(documents), "characters": sum(len(document.text) for document in documents), "usual": 1.0,
        "words": " ".join(sorted(common, key=lambda word: (-common[word], word))[:FUNCTION_WORDS]),
        "letters": "".join(sorted(letter for letter, share in letters.items() if share >= LETTER_SHARE and not letter.isascii())),
        "bounds": {},
    }  # fmt: skip
    reference = _reference(documents[0].lang, entry)
    texts = [document.text for document in documents]
    values = statistics(texts, [reference] * len(texts), words.split(texts))
    at = list(RULES).index("function words")
    entry["usual"] = round(float(np.median(values[:, at])), 4)
    values[:, at] /= entry["usual"]
    bounds = listed(fit(values))
    return {**entry, "bounds": {name: bounds[name] for name, rule in RULES.items() if rule.loosest_low or rule.loosest_high}}


def _in_several(counts: Sequence[Counter[str]], at: int) -> dict[str, float]:
    """Returns the share of each thing in the count that is at this place when they are in order of this share."""
    shares = [{thing: n / total for thing, n in count.items()} for count in counts if (total := count.total())]
    place = max(at, -len(shares))
    return {thing: sorted(share.get(thing, 0.0) for share in shares)[place] for thing in set().union(*shares)}


def _letters(count: Counter[str]) -> Counter[str]:
    letters = Counter[str]()
    for word, n in count.items():
        for letter in word:
            letters[letter] += n
    return letters
