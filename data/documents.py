"""A document, and how to make one from the records of the collections that our users have.

HPLT spelled its fields anew with each release (v1.2, v2, v3, v4), FineWeb-2 and plain JSON Lines have their own names; only
`text` is certain. What a collection found out about a document (scores, robots.txt, personal data, registers) is kept as
signals, under one name each and with one meaning, for mixtures to choose by.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from varietas.data.languages import LANGUAGES, canonical

LARGEST = 16 << 20  # bytes of one record: what is longer is no document, and cleaning needs up to 60 times as much memory


@dataclass(frozen=True)
class Document:
    """A text with an id: the unit of everything that follows. `signals` has some of SIGNALS."""

    id: str
    lang: str  # HPLT's label, e.g. "ces_Latn"
    text: str
    url: str = ""
    source: str = ""
    license: str = ""
    signals: Mapping[str, Any] = field(default_factory=dict)
    file: str = field(default="", compare=False)  # where it was read
    line: int = field(default=0, compare=False)  # from 1; of a Parquet file or a WARC file, the number of the record


@dataclass(frozen=True)
class Reject:
    """A record that is no document."""

    file: str
    line: int  # as Document's
    reason: str
    sample: str  # the beginning of the record
    lang: str = ""  # "" where it was not read so far

    @property
    def unread(self) -> bool:
        """Whether it is a fault of the file, of which --max_rejects allows so many."""
        return not self.lang and self.reason not in FAULTLESS


SIGNALS = {
    "quality": "float, 0 to 1: HPLT's web document score",
    "lang_score": "float, 0 to 1: how sure the collection was of the language",
    "robots": "bool: whether robots.txt let crawlers in",
    "pii": "list of [begin, end): personal data in the text, in characters",
    "registers": "code -> float, 0 to 1: HPLT's web registers",
    "cluster_size": "int: how many near duplicates this document stands for",
    "filter": "str: HPLT's verdict, `keep` or the rule that was broken",
    "opt_out": "bool: whether the page reserves its rights against text and data mining",
    "lang_checked": "bool: whether our identifier confirms the language; where it cannot tell, the label is the source's own word",
    "crawl": "str: the crawl or collection it was found in",
    "timestamp": "str, ISO 8601: when",
}

TOO_LONG = f"longer than {LARGEST >> 20} MiB"
NO_PAGE = "no page"
FAULTLESS = frozenset({NO_PAGE, "empty text"})  # reasons to pass over a record that do not make its file a bad one
GUESS = "guess"  # in the place of a language: the one that the text looks like

_IDENTIFIERS = ("openlid_v3", "openlid_v2", "glotlid_v3")  # of HPLT v4, the one we believe first
_ROBOTS = {"allowed": True, "allow": True, "disallowed": False, "disallow": False, True: True, False: False}
_TEXTS = {"filter": ("filter",), "crawl": ("crawl_id", "collection", "dump"), "timestamp": ("ts", "timestamp", "date")}
_LABEL = re.compile(r"(?<![A-Za-z])[a-z]{3}_[A-Z][a-z]{3}(?![a-z])")


_PLAIN = frozenset({"id", "lang", "text", "url", "source", "license"})  # fields that are no signals


class NotADocument(ValueError):
    """A record cannot be used; the text is the reason, the same for all records like it."""


MakeReject = Callable[[int, str, str], Reject]  # of a file: number of the record, reason, sample
Place = Callable[[], int]  # of what was read last: -1 before the part of the file that is wanted, 0 in it, 1 behind it


def utf8(content: bytes) -> str:
    """Raises NotADocument on what is no UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise NotADocument("invalid UTF-8") from None


def utf8_in(value: Any) -> Any:
    """The same with bytes as text, in lists and dicts too. Raises NotADocument as `utf8` does."""
    if isinstance(value, bytes):
        return utf8(value)
    if isinstance(value, list):
        return [utf8_in(item) for item in value]
    return {key: utf8_in(item) for key, item in value.items()} if isinstance(value, dict) else value


def language_of_path(path: str) -> str:
    """The label in the path of a file, as HPLT and FineWeb-2 lay their files out (`…/ces_Latn/1.jsonl.zst`); "" if there is none."""
    labels = _LABEL.findall(path)
    return labels[-1] if labels else ""


def from_record(record: Any, file: str, line: int, default_lang: str = "") -> Document:
    """A document from one record (a dict) of HPLT, FineWeb-2 or plain JSON Lines. Raises NotADocument."""
    if not isinstance(record, dict):
        raise NotADocument("not an object")
    lang = _language(record) or default_lang
    text = record.get("text")
    if text is None:
        raise NotADocument("no text")
    if not isinstance(text, str):
        raise NotADocument("text is not a string")
    if not text.strip():
        raise NotADocument("empty text")
    if "\0" in text:
        raise NotADocument("NUL character")
    if len(text) > LARGEST:
        raise NotADocument(TOO_LONG)
    if lang == GUESS:
        from varietas.data.identify import guess

        lang = guess(text)
    if not lang:
        raise NotADocument("no lang")
    known = {
        "id": _text(record, "id") or f"{PurePath(file).name}:{line}",
        "url": _text(record, "url", "u"),
        "source": _text(record, "source"),
        "license": _text(record, "license"),
    }
    signals = dict(_signals(record)) if not _PLAIN.issuperset(record) else {}
    strings = [lang, *known.values(), *signals.get("registers", ()), *(value for value in signals.values() if isinstance(value, str))]
    try:
        text.encode("utf-8")
        "".join(strings).encode("utf-8")
        code = canonical(lang)
    except UnicodeEncodeError:
        raise NotADocument("lone surrogate") from None
    except ValueError:
        raise NotADocument("unusable lang") from None
    if code not in LANGUAGES and not _LABEL.fullmatch(code):
        raise NotADocument("unknown lang")
    return Document(lang=code, text=text, signals=signals, file=file, line=line, **known)


def _text(record: dict[str, Any], *names: str) -> str:
    """The first of these fields that is there, as text."""
    for name in names:
        if (value := record.get(name)) is not None and value != "":
            return str(value)
    return ""


def _language(record: dict[str, Any]) -> str:
    """The label that the record gives its text, or the likeliest of several; "" if none."""
    found = [record[name].get("lang") for name in _IDENTIFIERS if isinstance(record.get(name), dict)]
    found += [record.get("lang"), record.get("document_lang"), record.get("language")]
    for lang in found:
        first = _first(lang)
        if first is None or first in ("", []):
            continue
        if not isinstance(first, str):
            raise NotADocument("lang is not a string")
        script = record.get("language_script")
        return f"{first}_{script}" if isinstance(script, str) and "_" not in first else first
    return ""


def _signals(record: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """Those of SIGNALS that the record has, in one scale. What is of an unexpected type is left out: no reason to lose a text."""
    v4 = any(name in record for name in _IDENTIFIERS)
    if (score := _number(_first(record.get("doc_scores")))) is not None:
        yield "quality", score if v4 else score / 10
    probabilities = [record[name].get("prob") for name in _IDENTIFIERS if isinstance(record.get(name), dict)]
    probabilities += [record.get("prob"), record.get("language_score")]
    if (score := next((p for p in map(_number, map(_first, probabilities)) if p is not None), None)) is not None:
        yield "lang_score", score
    robots = next((record[name] for name in ("robots", "robotstxt", "allowed") if record.get(name) is not None), None)
    if isinstance(robots, (str, bool)) and robots in _ROBOTS:
        yield "robots", _ROBOTS[robots]
    if isinstance(record.get("opt_out"), bool):
        yield "opt_out", record["opt_out"]
    if isinstance(spans := record.get("pii"), list) and all(_is_span(span) for span in spans):
        yield "pii", spans
    if isinstance(registers := record.get("web-register"), dict):
        yield "registers", {code: p for code, value in registers.items() if (p := _number(value)) is not None}
    for name in ("cluster_size", "minhash_cluster_size"):
        if _is_count(record.get(name)):
            yield "cluster_size", record[name]
    for signal, names in _TEXTS.items():
        if text := _text(record, *names):
            yield signal, text


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _number(value: Any) -> float | None:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and -1e30 < value < 1e30
    return float(value) if fits else None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32


def _is_span(span: Any) -> bool:
    return isinstance(span, list) and len(span) == 2 and all(map(_is_count, span)) and span[0] <= span[1]
