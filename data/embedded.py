"""The text that every machine with Varietas has: two packages that pip installs beside it carry some.

`eld` has 1,000 sentences from the web and the news in each of 33 of our languages, to train on;
`gflanguages` has passages of the Universal Declaration of Human Rights in each, to evaluate on.
Both are read where pip put them: nothing is copied, and no package is imported, only found.
"""

import hashlib
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from varietas.data.languages import LANGUAGES, WORLD, Language, find

ELD_VERSION = "1.0.6"
ELD_FILE = "eld/tests/data/big-test.txt"
ELD_SHA256 = "ee31be9a610048a521f0912ab7735c3fb96e8633b997066989026286a7800efa"
SENTENCES = 12  # to a document

GFLANGUAGES_VERSION = "0.7.11"
GFLANGUAGES_FOLDER = "gflanguages/data/languages"
# The fields of whole paragraphs, in this order. The others (styles, tester, poster_*, specimen_48)
# are beginnings of paragraphs, cut at a width in print.
PARAGRAPH_FIELDS = ("specimen_36", "specimen_32", "specimen_21", "specimen_16")

_FIELD = re.compile(r'^\s*(\w+): "((?:[^"\\]|\\.)*)"', re.MULTILINE)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)")
_ESCAPED = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b'"': b'"', b"'": b"'", b"\\": b"\\"}


def training_documents() -> Iterator[dict[str, Any]]:
    """Sentences of eld's test set, 12 to a document, in the order of the file, untouched.

    A language counts if it is in our table and not in WORLD: official in the EU or in a candidate
    country, or at home beside them (Basque, Belarusian, Catalan, Icelandic, Armenian, Norwegian).
    That is 33 of eld's 60; Irish and Maltese are not among them. Serbian is Cyrillic throughout.
    Raises ValueError if eld is missing or its version or file is not ours.
    """
    path = _installed("eld", ELD_VERSION, ELD_FILE)
    content = path.read_bytes() if path.is_file() else b""
    if (found := hashlib.sha256(content).hexdigest()) != ELD_SHA256:
        raise ValueError(
            f"{path}: expected sha256 {ELD_SHA256}, found {found if content else 'no text'};"
            f" mend it with: pip install --force-reinstall eld=={ELD_VERSION}"
        )
    sentences: dict[str, list[str]] = {}
    for line in content.decode().rstrip("\n").split("\n"):  # some sentences hold other line breaks
        code, sentence = line.split("\t", 1)
        sentences.setdefault(code, []).append(sentence)
    for code, lines in sentences.items():
        language = find(code)
        if language is None or language.code in WORLD:
            continue
        for number, begin in enumerate(range(0, len(lines), SENTENCES)):
            yield _record(
                f"eld:{code}:{number:04d}",
                language,
                "\n".join(lines[begin : begin + SENTENCES]),
                f"eld {ELD_VERSION}",
                "https://github.com/nitotm/efficient-language-detector-py",
            )


def parallel_documents() -> Iterator[dict[str, Any]]:
    """Paragraphs of the Universal Declaration of Human Rights: a document for each language.

    One text, but not the same articles of it: gflanguages picked paragraphs by their length in each
    language, so no article is in all, and some (German, Greek, Portuguese, Albanian) have Article 1
    only: small differences between two languages mean nothing. Latgalian has no sample.
    Raises ValueError if gflanguages is missing or its version is not ours, and
    FileNotFoundError if a file of it is missing.
    """
    folder = _installed("gflanguages", GFLANGUAGES_VERSION, GFLANGUAGES_FOLDER)
    for language in LANGUAGES.values():
        bare, script = language.code.split("_")
        script = {"Hang": "Kore"}.get(script, script)  # HPLT's and gflanguages' script of Korean
        stem = f"{language.iso639_1 or bare}_{script}"
        sample = sample_text((folder / f"{stem}.textproto").read_text(encoding="utf-8"))
        paragraphs = [line for key in PARAGRAPH_FIELDS for line in sample.get(key, "").split("\n")]
        if any(paragraphs):
            yield _record(
                f"gflanguages:{stem}",
                language,
                "\n".join(_distinct(paragraphs)),
                f"gflanguages {GFLANGUAGES_VERSION}",
                "https://github.com/googlefonts/lang",
            )


def sample_text(textproto: str) -> dict[str, str]:
    """The fields of the `sample_text` message in a gflanguages file; {} if it has none.

    Raises ValueError for an escape that gflanguages does not use (hexadecimal, Unicode).
    """
    _, _, message = textproto.partition("\nsample_text {\n")
    return {key: _unquoted(quoted) for key, quoted in _FIELD.findall(message.partition("\n}")[0])}


def _unquoted(quoted: str) -> str:
    """Escapes stand for bytes, not characters: `\\303\\251` is "é"."""

    def byte(match: re.Match[bytes]) -> bytes:
        escape = match[1]
        if escape.isdigit():
            return bytes([int(escape, 8)])
        if escape not in _ESCAPED:
            raise ValueError(f"unknown escape \\{escape.decode()} in {quoted[:60]!r}")
        return _ESCAPED[escape]

    return _ESCAPE.sub(byte, quoted.encode()).decode()


def _distinct(paragraphs: list[str]) -> list[str]:
    """Each paragraph once, and none that is a part of another."""
    once = list(dict.fromkeys(paragraphs))
    return [a for a in once if a and not any(a in b for b in once if a != b)]


def _installed(package: str, version: str, path: str) -> Path:
    try:
        distribution = metadata.distribution(package)
    except metadata.PackageNotFoundError as error:
        raise ValueError(
            f"the embedded text needs {package} {version}, which is not installed; run: pip install {package}=={version}"
        ) from error
    if distribution.version != version:
        raise ValueError(
            f"the embedded text needs {package} {version}, found {distribution.version}; run: pip install {package}=={version}"
        )
    return Path(str(distribution.locate_file(path)))


def _record(key: str, language: Language, text: str, source: str, url: str) -> dict[str, Any]:
    return {
        "id": key,
        "lang": language.code,
        "text": text,
        "url": url,
        "source": source,
        "license": "Apache-2.0",
    }
