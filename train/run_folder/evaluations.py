"""The evaluations of a run, one file for each text and step: RUN/evaluations/NAME/STEP.json.

A name stands for one text. Evaluations of one name can therefore be compared over steps, and none overwrites one of another text.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from varietas.data.files import write_json
from varietas.data.text.documents import Document
from varietas.data.text.embedded import GFLANGUAGES_VERSION, parallel_documents
from varietas.data.text.languages import WORLD
from varietas.train.run_folder.records import mapping, number

FOLDER = "evaluations"
DECLARATION = "declaration"  # the usual text, the Universal Declaration of Human Rights; no other text has this name
HELD_OUT = "held_out"  # documents of the corpus that no run reads
GIVEN = "given"  # a text whose source suggests no name
DIGITS = 16  # hexadecimal ones that are kept of the digest of a document
FEW_BYTES = 500  # a language with less text than this has a result that is mostly chance
LONGEST = 40  # characters of a default name

USUAL_TEXT = f"Universal Declaration of Human Rights, passages from gflanguages {GFLANGUAGES_VERSION}"
HELD_OUT_TEXT = "documents of the corpus that are held out from training"

_NAME = re.compile(r"\w[\w.+-]{0,59}")  # at most 240 bytes in UTF-8; file systems allow 255
_SMALL = re.compile(r"-(int8|int4|int4-calibrated)$")  # is added to the name if a small form is evaluated
_STEP = re.compile(r"[0-9]{1,15}")
_EXTENSIONS = re.compile(r"(\.(bz2|gz|json|jsonl|ndjson|parquet|txt|warc|wet|xz|zst))+$", re.IGNORECASE)

Row = Mapping[str, Any]  # as inference.evaluate.Row; those of older versions lack fields


@dataclass(frozen=True)
class Documents:
    """What an evaluation knows of each document of a language, with one entry a document in each field."""

    digests: Sequence[str]  # the first 16 hexadecimal digits of the SHA-256 of its content
    sources: Sequence[str]  # "" if it names none
    bytes: Sequence[int]
    nats: Sequence[float]  # negative log-likelihood


@dataclass(frozen=True)
class Evaluation:
    """The results of one text after one training step.

    Attributes:
        name: Stands for the text; also the name of a folder.
        step: Number of training steps done before the evaluation.
        text: Describes the text to a reader.
        text_digest: `text_digest` of its documents; empty if unknown.
        languages: Maps the code of each language to its row.
        parity: How far apart languages are, as `statistics.parity.Parity`; empty for fewer than two languages.
        documents: Maps the code of each language to its documents; empty in files of older versions.
    """

    name: str
    step: int
    text: str
    text_digest: str
    languages: Mapping[str, Row]
    parity: Mapping[str, Any] = field(default_factory=dict)
    documents: Mapping[str, Documents] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationText:
    """Documents to evaluate on, the name of their evaluations, and what they are called in the report."""

    name: str
    about: str
    documents: list[Document]

    @property
    def digest(self) -> str:
        """`text_digest` of the documents."""
        return text_digest(self.documents)


def evaluation_text(name: str, documents: Iterable[Document] | None, languages: Collection[str]) -> EvaluationText:
    """Returns the text to evaluate on.

    Args:
        name: That of its evaluations.
        documents: A user's own text; None for the Declaration of Human Rights in all languages of Europe, and in those of other
            continents that the run was trained on.
        languages: The languages that the run was trained on.

    Raises:
        ValueError: If there is no document, or the name cannot be used.
    """
    check_name(name)
    if documents is not None:
        if not (listed := list(documents)):
            raise ValueError("there is no document to evaluate on")
        return EvaluationText(name, HELD_OUT_TEXT if name.startswith(HELD_OUT) else "documents given", listed)
    return EvaluationText(name, USUAL_TEXT, [d for d in parallel_documents() if d.lang not in WORLD or d.lang in languages])


def write(run: Path, evaluation: Evaluation) -> Path:
    """Writes an evaluation to its file, which replaces an earlier one of the same name and step.

    Args:
        run: The folder of the run.
        evaluation: What to write.

    Returns:
        The path of the file.

    Raises:
        ValueError: If the name cannot be used, or already stands for another text.
    """
    check_name(evaluation.name)
    check_text(run, evaluation.name, evaluation.text_digest)
    path = run / FOLDER / evaluation.name / f"{evaluation.step}.json"
    write_json(path, asdict(evaluation))
    return path


def read_all(run: Path) -> dict[str, list[Evaluation]]:
    """Reads all evaluations of a run and leaves out files that are broken.

    Args:
        run: The folder of the run.

    Returns:
        The evaluations of each name in the order of their steps. `declaration` comes first if it is there; the other names are sorted.
    """
    found: dict[str, dict[int, Evaluation]] = {}
    for path in (run / FOLDER).glob("*/*.json"):
        name = path.parent.name
        if _NAME.fullmatch(name) and _STEP.fullmatch(path.stem) and (record := _read(path)):
            step, digest = int(path.stem), str(record.get("text_digest", ""))
            about, parity, documents = str(record.get("text", "")), mapping(record.get("parity")), _documents(record)
            found.setdefault(name, {})[step] = Evaluation(name, step, about, digest, _rows(record), parity, documents)
    return {name: [found[name][step] for step in sorted(found[name])] for name in sorted(found, key=lambda n: (n != DECLARATION, n))}


def name_for(inputs: Sequence[str], name: str | None = None) -> str:
    """Returns the name under which to keep an evaluation.

    Args:
        inputs: Paths, globs or URLs of the text; empty for the usual text.
        name: The name that the user asks for. Without it, the name follows from `inputs`.

    Raises:
        ValueError: If `name` cannot be used for this text.
    """
    if name is None:
        return default_name(inputs)
    name = unicodedata.normalize("NFC", name)
    check_name(name)
    if _SMALL.search(name):
        raise ValueError(f"--name {name} ends like the name of a small form (--quantize); give another --name")
    if inputs and name.casefold() == DECLARATION:
        raise ValueError(f"--name {name} is reserved for the Declaration of Human Rights; give another --name")
    return name


def default_name(inputs: Sequence[str]) -> str:
    """Makes a short name from the paths of a text: `flores.jsonl.zst` -> `flores`, `my/*.jsonl` -> `my`.

    Several files are called after their own names if those are short, otherwise after their common folder. Their order does not matter.

    Args:
        inputs: Paths, globs or URLs; empty for the usual text.

    Returns:
        A name that `write` accepts.
    """
    if not inputs:
        return DECLARATION
    parts = [_parts(path) for path in inputs]
    names = sorted({part[-1] for part in parts if part}) or [GIVEN]
    folders = {part[-2] if len(part) > 1 else "" for part in parts}
    name = "-and-".join(names)
    if len(name) > LONGEST and len(names) > 1:
        name = (folders.pop() if len(folders) == 1 else "") or f"{names[0][: LONGEST // 2]}-and-{len(names) - 1}-more"
    name = name[:LONGEST].strip("-_.+") or GIVEN
    return f"{name}-given" if name.casefold() == DECLARATION or _SMALL.search(name) else name


def without_form(name: str) -> str:
    """Returns the name of an evaluation without that of a small form."""
    return _SMALL.sub("", name)


def text_digest(documents: Iterable[Document]) -> str:
    """Returns a SHA-256 over the languages and contents of documents. Their order does not matter."""
    contents = ((d.lang, d.content if d.turns else d.text.encode("utf-8", "surrogatepass")) for d in documents)
    each = sorted(hashlib.sha256(lang.encode() + b"\0" + content).digest() for lang, content in contents)
    return hashlib.sha256(b"".join(each)).hexdigest()


def known(run: Path, name: str, step: int, digest: str) -> Evaluation | None:
    """Returns the evaluation of a text after a step, under whatever name, if it has figures of documents; None if there is none.

    Args:
        run: The folder of the run.
        name: The name that the evaluation would have. What it says of a small form has to be the same.
        step: Number of training steps.
        digest: `text_digest` of the text.
    """
    form = _SMALL.search(name)
    for evaluations in read_all(run).values():
        for each in evaluations:
            its = _SMALL.search(each.name)
            if (each.step, each.text_digest) == (step, digest) and each.documents and (its and its[0]) == (form and form[0]):
                return each
    return None


def check_name(name: str) -> None:
    """Raises ValueError if `name` cannot be the name of an evaluation."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"--name {name!r}: expected up to 60 letters, digits and _ . + -, of which a letter, digit or _ comes first")


def check_text(run: Path, name: str, digest: str) -> None:
    """Raises ValueError if the run has evaluations called `name` of a text with another digest. Ask before a long evaluation."""
    for evaluation in read_all(run).get(name, []):
        if evaluation.text_digest not in ("", digest):
            raise ValueError(
                f"{run / FOLDER / name} holds evaluations of another text (digest {evaluation.text_digest[:12]}…, "
                f"this text has {digest[:12]}…); give another --name, or set eval.held_out_bytes as before if it is held-out text"
            )


def compared(languages: Mapping[str, Row]) -> dict[str, float]:
    """Selects the languages among which best, worst and mean are found.

    Args:
        languages: The rows of an evaluation.

    Returns:
        Bits per byte by language, worst (most bits) first: of the languages that the run was trained on and that have at least
        FEW_BYTES of text; if there are none, of all languages.
    """
    scores = {code: bits for code, row in languages.items() if (bits := number(row.get("bits_per_byte"))) is not None}
    fair = {code for code in scores if languages[code].get("trained_on") is not False and not few_bytes(languages[code])}
    return {code: scores[code] for code in sorted(fair or scores, key=lambda code: -scores[code])}


def few_bytes(row: Row) -> bool:
    """Returns whether a language has so little text that its result is mostly chance."""
    size = number(row.get("bytes"))
    return size is not None and size < FEW_BYTES


def _parts(path: str) -> list[str]:
    """Splits a path into names that are safe for files, without extensions and wildcards; those that become empty are left out."""
    _, scheme, rest = path.rpartition("://")
    pieces = re.split(r"[?#]", rest, maxsplit=1)[0] if scheme else path.removeprefix("tfds:")
    plain = (re.sub(r"\[[^]]*]|[*?]", "", _EXTENSIONS.sub("", piece)) for piece in unicodedata.normalize("NFC", pieces).split("/"))
    safe = (re.sub(r"([-_.+])[-_.+]+", r"\1", re.sub(r"[^\w.+-]", "-", piece)).strip("-_.+") for piece in plain)
    return [piece for piece in safe if piece]


def _read(path: Path) -> dict[str, Any]:
    """Returns the JSON object in a file if it has languages, otherwise an empty one."""
    try:
        record = mapping(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if mapping(record.get("languages")) else {}


def _rows(record: Mapping[str, Any]) -> dict[str, Row]:
    """Returns the rows of an evaluation; one that is no object becomes empty."""
    return {code: mapping(row) for code, row in mapping(record.get("languages")).items()}


def _documents(record: Mapping[str, Any]) -> dict[str, Documents]:
    """Returns the documents of an evaluation; none if those of a language are not as they should be."""
    found = {}
    for code, entry in mapping(record.get("documents")).items():
        columns = [mapping(entry).get(name) for name in ("digests", "sources", "bytes", "nats")]
        if not all(isinstance(column, list) and len(column) == len(columns[0] or ()) for column in columns):
            return {}
        found[code] = Documents(*map(list, columns))  # type: ignore[arg-type]  # all are lists
    return found
