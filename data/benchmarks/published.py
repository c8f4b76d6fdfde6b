"""Published benchmarks from local files, as they are distributed: JSON Lines, Parquet, CSV or TSV.

Which benchmark a file is of follows from the fields of its first record. Questions are asked as lm_eval asks those of the original, so
results can be compared: Belebele (Bandarkar et al., 2023), INCLUDE (Romanou et al., 2024), MultiBLiMP (Jumelet et al., 2025), and
translations of ARC, HellaSwag, MMLU, GSM8K and TruthfulQA in the form of the originals, such as EU20 (Thellmann et al., 2024).
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import fsspec

from varietas.data.benchmarks.tasks import Task
from varietas.data.text.documents import language_of_path
from varietas.data.text.languages import LANGUAGES, find

LETTERS = "ABCDEFGH"
BRACKETS = re.compile(r"\[.*?\]")  # artifacts of WikiHow in HellaSwag
Record = Mapping[str, Any]


class Wrong(ValueError):
    """A record is not as its benchmark has it. The message says what, but not where."""


@dataclass(frozen=True)
class Format:
    """How a benchmark is distributed, and how it is asked."""

    name: str
    fields: tuple[str, ...]  # by which it is recognised
    form: str  # one of tasks.FORMS
    make: Callable[[Record], dict[str, Any]]  # from a record of the file to one of the form
    about: str
    lang: str = ""  # the field that names the language
    kept: tuple[str, ...] = ()  # further fields that are kept


def _need(record: Record, name: str, kind: type = str) -> Any:
    """Returns a field. Raises Wrong if it is missing or of another type."""
    value = record.get(name)
    if not isinstance(value, kind) or value in ("", []):
        found = f"is {str(value)[:60]!r}" if name in record else f"is missing; found {', '.join(map(str, record))}"
        raise Wrong(f"field {name!r} {found}; expected {'text' if kind is str else f'a {kind.__name__}'}")
    return value


def _place(record: Record, name: str, n: int, first: int = 0) -> int:
    """Returns the index of the right answer from a field that has a number (from `first`) or a letter."""
    value = str(record.get(name, "")).strip()
    letter = LETTERS.find(value.upper()) if len(value) == 1 else -1
    place = int(value) - first if value.isascii() and value.isdigit() else letter
    if not 0 <= place < n:
        raise Wrong(f"field {name!r} is {record.get(name)!r}; expected which of {n} answers is right, as a number or a letter")
    return place


def _lettered(question: str, choices: list[str], answer: int) -> dict[str, Any]:
    """Returns a question whose choices stand in it, and which is answered by a letter."""
    if len(choices) > len(LETTERS):
        raise Wrong(f"the question has {len(choices)} answers; expected at most {len(LETTERS)}")
    listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False))
    return {"context": f"{question.strip()}\n{listed}\nAnswer:", "choices": list(LETTERS[: len(choices)]), "answer": answer}


def _belebele(record: Record) -> dict[str, Any]:
    choices = [_need(record, f"mc_answer{i}") for i in (1, 2, 3, 4)]
    listed = "\n".join(f"{letter}: {choice}" for letter, choice in zip(LETTERS, choices, strict=False))
    context = f"P: {_need(record, 'flores_passage')}\nQ: {_need(record, 'question').strip()}\n{listed}\nAnswer:"
    return {"context": context, "choices": list("ABCD"), "answer": _place(record, "correct_answer_num", 4, 1)}


def _include(record: Record) -> dict[str, Any]:
    choices = _need(record, "choices", list) if "choices" in record else [_need(record, f"option_{letter}") for letter in "abcd"]
    return _lettered(_need(record, "question"), choices, _place(record, "answer", len(choices)))


def _multiblimp(record: Record) -> dict[str, Any]:
    return {"context": "", "choices": [_need(record, "sen"), _need(record, "wrong_sen")], "answer": 0}


def _arc(record: Record) -> dict[str, Any]:
    choices = _need(record, "choices", dict)
    labels, texts, key = list(map(str, _need(choices, "label", list))), _need(choices, "text", list), str(record.get("answerKey", ""))
    if key not in labels or len(labels) != len(texts):
        raise Wrong(f"field 'answerKey' is {key!r}; expected one of {', '.join(labels)}")
    return {"context": f"Question: {_need(record, 'question')}\nAnswer:", "choices": texts, "answer": labels.index(key)}


def _hellaswag(record: Record) -> dict[str, Any]:
    endings = [_clean(ending) for ending in _need(record, "endings", list)]
    context = f"{_need(record, 'activity_label')}: {_need(record, 'ctx_a')} {str(record.get('ctx_b') or '').capitalize()}"
    return {"context": _clean(context), "choices": endings, "answer": _place(record, "label", len(endings))}


def _clean(text: str) -> str:
    return BRACKETS.sub("", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def _mmlu(record: Record) -> dict[str, Any]:
    choices = _need(record, "choices", list)
    return _lettered(_need(record, "question"), choices, _place(record, "answer", len(choices)))


def _gsm8k(record: Record) -> dict[str, Any]:
    answer = _need(record, "answer")
    if "####" not in answer:
        raise Wrong(f"field 'answer' is {answer[:60]!r}; expected a solution that ends with '#### ' and a number")
    return {"context": f"Question: {_need(record, 'question')}\nAnswer:", "target": answer}


def _truthfulqa(record: Record) -> dict[str, Any]:
    targets = _need(record, "mc1_targets", dict)
    choices, labels = _need(targets, "choices", list), _need(targets, "labels", list)
    if len(labels) != len(choices) or labels.count(1) != 1:
        raise Wrong("field 'mc1_targets' has no label for each choice, of which one is 1")
    return {"context": f"Q: {_need(record, 'question')}\nA:", "choices": choices, "answer": labels.index(1)}


FORMATS = (
    Format("belebele", ("flores_passage", "mc_answer1"), "question", _belebele, "Questions about a passage (Belebele).", "dialect"),
    Format(
        "include", ("question", "regional_feature"), "question", _include, "Exams of a country (INCLUDE).", "language",
        ("domain", "subject", "country", "regional_feature"),
    ),
    Format("multiblimp", ("sen", "wrong_sen"), "sentence", _multiblimp, "Agreement (MultiBLiMP).", "lang", ("phenomenon",)),
    Format("arc", ("question", "choices", "answerKey"), "question", _arc, "Science at school (ARC)."),
    Format("hellaswag", ("ctx_a", "endings", "label"), "question", _hellaswag, "How a scene goes on (HellaSwag)."),
    Format("truthfulqa", ("question", "mc1_targets"), "question", _truthfulqa, "Common errors (TruthfulQA, MC1)."),
    Format("mmlu", ("question", "choices", "answer"), "question", _mmlu, "Knowledge (MMLU).", kept=("subject",)),
    Format("gsm8k", ("question", "answer"), "number", _gsm8k, "Sums in words (GSM8K)."),
)  # fmt: skip


def read(files: list[str], default_lang: str = "") -> list[Task]:
    """Reads files of published benchmarks.

    Args:
        files: Paths or URLs, of one or several benchmarks. Files of one benchmark and language are read together.
        default_lang: The language of records that do not name theirs, in files whose name does not either.

    Returns:
        A task for each benchmark and language, sorted.

    Raises:
        ValueError: If a file is of none of FORMATS, or if a record is not as its benchmark has it.
    """
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    formats = {format.name: format for format in FORMATS}
    for file in files:
        format, of_file = None, _language_of(file) or default_lang
        for number, record in enumerate(_records(file), 1):
            where = f"{file}, record {number}"
            format = format or _recognised(record, where)
            try:
                if not (lang := _language(record, format, file) or of_file):
                    raise Wrong("no language: neither the record nor the name of the file has one; give it with --lang")
                made = format.make(record)
            except Wrong as error:
                raise ValueError(f"{where}: {error} ({format.name})") from None
            kept = {name: str(record[name]) for name in format.kept if record.get(name) is not None}
            found.setdefault((format.name, lang), []).append({**made, **kept})
        if format is None:
            raise ValueError(f"{file} has no records")
    return [
        Task(f"varietas_{name}", lang, formats[name].form, records, _chance(records), formats[name].about, ())
        for (name, lang), records in sorted(found.items())
    ]


def _chance(records: list[dict[str, Any]]) -> float:
    """Returns the share of right answers by guessing, 0.0 without choices."""
    return sum(1 / len(record["choices"]) if "choices" in record else 0.0 for record in records) / len(records)


def _recognised(record: Record, where: str) -> Format:
    for format in FORMATS:
        if record.keys() >= set(format.fields):
            return format
    known = "; ".join(f"{format.name}: {', '.join(format.fields)}" for format in FORMATS)
    found = ", ".join(map(str, record))
    raise ValueError(f"{where} is of no benchmark that is known: it has the fields {found}; expected those of one of these: {known}")


def _language(record: Record, format: Format, file: str) -> str:
    """Returns the language that a record names; "" if it names none."""
    said = str(record.get(format.lang) or "") if format.lang else ""
    code = _named(said) if said else ""
    if said and not code and not re.fullmatch(r"[\w-]+", said):
        raise ValueError(f"{file}: {format.lang} is {said[:60]!r}; expected the code or the English name of a language")
    return code or said


def _language_of(file: str) -> str:
    """Returns the language that the name of a file or of its folder has; "" if they have none."""
    if label := language_of_path(file):
        return label
    words = [word for part in reversed(Path(file).parts[-2:]) for word in re.split(r"[^A-Za-z-]+", part)]
    return next((code for word in words if (word.isupper() or word.istitle() or len(word) == 3) and (code := _named(word))), "")


@cache
def _named(word: str) -> str:
    """Returns the language of a code or an English name, "" if it is none of our table."""
    by_name = {language.name.lower(): code for code, language in LANGUAGES.items()}
    language = find(word)
    return language.code if language else by_name.get(word.lower(), "")


def _records(file: str) -> Iterator[Record]:
    """Yields the records of a file. Raises ValueError if a line is no record."""
    suffixes = Path(file).suffixes
    if ".parquet" in suffixes:
        import pyarrow.parquet

        with fsspec.open(file, "rb") as opened:
            yield from pyarrow.parquet.read_table(opened).to_pylist()
        return
    with fsspec.open(file, "rt", encoding="utf-8-sig", newline="", compression="infer") as opened:
        if ".csv" in suffixes or ".tsv" in suffixes:
            try:
                yield from csv.DictReader(opened, delimiter="\t" if ".tsv" in suffixes else ",")
            except csv.Error as error:
                raise ValueError(f"{file} is no table that can be read ({error})") from None
            return
        for number, line in enumerate(opened, 1):
            if line.strip():
                try:
                    record = json.loads(line)
                except ValueError as error:
                    raise ValueError(f"{file}, line {number} is not JSON ({error}); expected JSON Lines, Parquet, .csv or .tsv") from None
                if not isinstance(record, dict):
                    raise ValueError(f"{file}, line {number} is not an object; expected one record a line")
                yield record
