"""Documents, and how they are made from the records of well-known collections.

Each release of HPLT (v1.2, v2, v3, v4) names its fields differently, and FineWeb-2 and plain JSON Lines use other names again. Only
`text` is the same everywhere. What a collection knows about a document (scores, robots.txt, personal data, registers) is kept as signals.
A signal has one name and one meaning for all collections, so that mixtures can choose documents by it.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from varietas.data.text.conversation import Turns, is_conversation, preference_of, said, turns_of
from varietas.data.text.fields import USUAL, Fields, Kind, Paths, find, paths_in
from varietas.data.text.identify import guess, label_of
from varietas.data.text.languages import LANGUAGES
from varietas.data.text.reservations import reservation_of, robots_of

SAMPLE = 200  # characters that are kept of a rejected record
LARGEST = 16 << 20  # maximum bytes of a record; cleaning needs up to 60 times as much memory, and longer records are hardly documents


@dataclass(frozen=True)
class Document:
    """A text with an id, which is the unit of everything that follows."""

    id: str
    lang: str  # HPLT's label, such as "ces_Latn"
    text: str
    url: str = ""
    source: str = ""
    license: str = ""
    signals: Mapping[str, Any] = field(default_factory=dict)  # some of SIGNALS
    file: str = field(default="", compare=False)  # where it was read
    line: int = field(default=0, compare=False)  # from 1; in Parquet and WARC files, the number of the record
    turns: Turns = ()  # of a conversation, whose text is what is said in all turns
    rejected: Turns = ()  # of a preference, in which `turns` are better than these; its text is what is said in both

    @property
    def content(self) -> bytes:
        """What the digest of the document is taken of: its text, or the turns of a conversation or of a preference as JSON."""
        turns = [self.turns, self.rejected] if self.rejected else self.turns
        return (json.dumps(turns, ensure_ascii=False) if turns else self.text).encode()


@dataclass(frozen=True)
class Reject:
    """A record that is not a document, or a place in a file where records could not be read."""

    file: str
    line: int  # as in Document
    reason: str
    sample: str  # the beginning of the record
    lang: str = ""  # "" if the record was rejected before its language was known; the likeliest one if it could not be identified
    languages: Mapping[str, float] = field(default_factory=dict)  # share of each language, by label, if several were found

    @property
    def unread(self) -> bool:
        """Whether the record could not be read, which counts towards --max_rejects."""
        return (not self.lang or self.reason == NO_LANG) and self.reason not in FAULTLESS


SIGNALS = {
    "quality": "float, 0 to 1: HPLT's web document score",
    "lang_score": "float, 0 to 1: the collection's confidence in the language",
    "robots": "bool: whether robots.txt allows crawlers",
    "pii": "list of [begin, end), in characters: personal data in the text",
    "registers": "code -> float, 0 to 1: HPLT's web registers",
    "cluster_size": "int: number of near duplicates that this document stands for",
    "filter": "str: HPLT's verdict, which is `keep` or the rule that the document breaks",
    "opt_out": "bool: whether the page reserves its rights against text and data mining",
    "lang_checked": "bool: whether our identifier confirms the language; if not, the label is only the source's claim",
    "lang_share": "float, 0 to 1: how much of the text is in the language, by its function words, as far as they tell",
    "crawl": "str: the crawl or collection in which the document was found",
    "timestamp": "str, ISO 8601: when the document was found",
}

TOO_LONG = f"longer than {LARGEST >> 20} MiB"
NO_PAGE = "no page"
NO_LANG = "no lang"
UNREADABLE = "unreadable page"
DAMAGED_COMPRESSION, DAMAGED_WARC = "damaged compression", "damaged WARC"
PASSED_OVER = frozenset({DAMAGED_COMPRESSION, DAMAGED_WARC})  # reasons of rejects that may stand for any number of records
FAULTLESS = frozenset({NO_PAGE, "empty text"})  # reasons of rejects that are no fault of the file
GUESS = "guess"  # in place of a language: identify it from the text

_IDENTIFIERS = ("openlid_v3", "openlid_v2", "glotlid_v3")  # language identifiers of HPLT v4, the most trusted first
_TEXTS = {"filter": ("filter",), "crawl": ("crawl_id", "collection", "dump"), "timestamp": ("ts", "timestamp", "date")}
_LABEL = re.compile(r"(?<![A-Za-z])[a-z]{3}_[A-Z][a-z]{3}(?![a-z])")


_PLAIN = frozenset({"id", "lang", "text", "url", "source", "license"})  # fields that are not signals


class NotADocument(ValueError):
    """A record cannot be used."""

    def __init__(self, reason: str, sample: str = "", lang: str = ""):
        """Makes the error.

        Args:
            reason: The message, which is the same for all records that are rejected for this reason.
            sample: What to show of the record instead of its beginning; "" to show the beginning.
            lang: The language of the record, or the likeliest one; "" if nothing is known of it.
        """
        super().__init__(reason)
        self.sample, self.lang = sample, lang


# Makes a reject of a file from the number of the record, the reason and a sample.
MakeReject = Callable[[int, str | NotADocument, str], Reject]
Place = Callable[[], int]  # where the file was read last: -1 before the wanted part, 0 in it, 1 after it


def utf8(content: bytes) -> str:
    """Decodes UTF-8.

    Raises:
        NotADocument: If the bytes are not valid UTF-8.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise NotADocument("invalid UTF-8") from None


def utf8_in(value: object) -> object:
    """Returns a value with all bytes decoded as UTF-8, also in lists, tuples and dicts.

    Raises:
        NotADocument: If some bytes are not valid UTF-8.
    """
    if isinstance(value, bytes):
        return utf8(value)
    if isinstance(value, (list, tuple)):
        return [utf8_in(item) for item in value]
    return {key: utf8_in(item) for key, item in value.items()} if isinstance(value, dict) else value


def language_of_path(path: str) -> str:
    """Returns the last language label in a path such as `…/ces_Latn/1.jsonl.zst`, as HPLT and FineWeb-2 name files, or "" without one."""
    labels = _LABEL.findall(path)
    return labels[-1] if labels else ""


def from_record(record: Any, file: str, line: int, default_lang: str = "", fields: Fields = USUAL.fields, kind: Kind = "text") -> Document:
    """Makes a document from a record.

    Args:
        record: A dict with the fields of HPLT, FineWeb-2 or plain JSON Lines, or with those that `fields` names.
        file: The file that has the record.
        line: Number of the record in the file.
        default_lang: The language if the record does not name one; "guess" identifies it from the text.
        fields: Where the record keeps the fields of a document.
        kind: What records are.

    Raises:
        NotADocument: If the record cannot be used.
    """
    if not isinstance(record, dict):
        raise NotADocument("not an object")
    lang = _language(record, fields.lang) or default_lang
    turns, rejected = _turns(record, kind)
    text = said(turns, rejected) if turns else record.get("text")
    if fields.text and not turns:
        text = next((value for path in fields.text if (value := find(record, path)) is not None), None)
    if text is None and is_conversation(record):
        raise NotADocument("a conversation, which --chat reads")
    if text is None and record.get("chosen") is not None:
        raise NotADocument("a preference, which --preferences reads")
    if text is None:
        raise NotADocument("no text", f"fields: {paths_in(record)}")
    if not isinstance(text, str):
        raise NotADocument("text is not a string")
    if not text.strip():
        raise NotADocument("empty text")
    if "\0" in text:
        raise NotADocument("NUL character")
    if len(text) > LARGEST:
        raise NotADocument(TOO_LONG)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise NotADocument("lone surrogate") from None
    if lang == GUESS:
        guessed = guess(text)
        if not guessed.sure:
            raise NotADocument(NO_LANG, lang=guessed.label)
        lang = guessed.label
    if not lang:
        raise NotADocument(NO_LANG)
    known = {
        "id": _text(record, fields.id or ("id",)) or f"{PurePath(file).name}:{line}",
        "url": _text(record, fields.url or ("url", "u")),
        "source": _text(record, fields.source or ("source",)),
        "license": _text(record, fields.license or ("license",)),
    }
    signals = dict(_signals(record)) if not _PLAIN.issuperset(record) else {}
    if turns:
        signals.pop("pii", None)  # its offsets are those of a single text
    strings = [lang, *known.values(), *signals.get("registers", ()), *(value for value in signals.values() if isinstance(value, str))]
    try:
        "".join(strings).encode("utf-8")
        code = label_of(lang, text)
    except UnicodeEncodeError:
        raise NotADocument("lone surrogate") from None
    except ValueError:
        raise NotADocument("unusable lang") from None
    if code not in LANGUAGES and not _LABEL.fullmatch(code):
        raise NotADocument("unknown lang")
    return Document(lang=code, text=text, signals=signals, file=file, line=line, turns=turns, rejected=rejected, **known)


def _turns(record: dict[str, Any], kind: Kind) -> tuple[Turns, Turns]:
    """Returns the turns of a record, and those that are worse if it is a preference."""
    try:
        if kind == "preferences":
            return preference_of(record)
        return (turns_of(record) if kind == "chat" else ()), ()
    except ValueError as error:
        raise NotADocument(str(error)) from None


def _text(record: dict[str, Any], paths: Paths) -> str:
    """Returns the first value at these paths that is present and not empty, as text, or "" if there is none."""
    for path in paths:
        value = record.get(path)
        if value is None and "." in path:
            value = find(record, path)
        if value is not None and value != "":
            return str(value)
    return ""


def _language(record: dict[str, Any], paths: Paths) -> str:
    """Returns the language label of a record, or the likeliest of several labels, or "" if there is none.

    With `paths`, the label is looked for there instead of in the usual fields.
    """
    if paths:
        found = [find(record, path) for path in paths]
    else:
        found = [said.get("lang") for name in _IDENTIFIERS if isinstance(said := record.get(name), dict)]
        found += [record.get("lang"), record.get("document_lang"), record.get("language")]
    for lang in found:
        first = _first(lang)
        if first is None or first in ("", []):
            continue
        if not isinstance(first, str):
            raise NotADocument("lang is not a string")
        script = None if paths else record.get("language_script")
        return f"{first}_{script}" if isinstance(script, str) and "_" not in first else first
    return ""


def _signals(record: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """Yields the signals of a record, in the scale of SIGNALS. Values of an unexpected type are left out, so that the text is not lost."""
    v4 = any(name in record for name in _IDENTIFIERS)
    if (score := _number(_first(record.get("doc_scores")))) is not None:
        yield "quality", score if v4 else score / 10
    probabilities = [record[name].get("prob") for name in _IDENTIFIERS if isinstance(record.get(name), dict)]
    probabilities += [record.get("prob"), record.get("language_score")]
    if (score := next((p for p in map(_number, map(_first, probabilities)) if p is not None), None)) is not None:
        yield "lang_score", score
    if (robots := robots_of(record)) is not None:
        yield "robots", robots
    if (reserved := reservation_of(record)) is not None:
        yield "opt_out", reserved
    if isinstance(spans := record.get("pii"), list) and all(_is_span(span) for span in spans):
        yield "pii", spans
    if isinstance(registers := record.get("web-register"), dict):
        yield "registers", {code: p for code, value in registers.items() if (p := _number(value)) is not None}
    for name in ("cluster_size", "minhash_cluster_size"):
        if _is_count(record.get(name)):
            yield "cluster_size", record[name]
    for signal, names in _TEXTS.items():
        if text := _text(record, names):
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
