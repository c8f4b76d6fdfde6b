"""Scores with and without the items that a run has read: of evaluations by their documents, of benchmarks by their samples."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from varietas.train.run_folder.benchmarks import FOLDER, SAMPLES
from varietas.train.run_folder.evaluations import Evaluation
from varietas.train.run_folder.records import mapping, number


@dataclass(frozen=True)
class Cleaned:
    """A score over all items, over those that were not read whole or nearly, and over those of which nothing was read.

    A score is None if no item is left.
    """

    text: str  # the name of the evaluation, or of the task
    step: int
    language: str
    metric: str
    every: float | None
    unread: float | None
    untouched: float | None
    items: int
    read: int  # items that were read whole or nearly
    touched: int  # those, and items that were read in part


@dataclass(frozen=True)
class Samples:
    """The items of a benchmark, and how a model has done in each."""

    task: str
    step: int
    language: str  # "" if it is not known
    texts: Sequence[Sequence[str]]  # of each item
    scores: Mapping[str, Sequence[float]]  # of each item, by metric


def cleaned_evaluation(evaluation: Evaluation, read: set[str], touched: set[str]) -> list[Cleaned]:
    """Returns bits per byte of each language with and without documents.

    Args:
        evaluation: With figures of documents.
        read: The digests, as in `Documents`, of those that were read whole or nearly.
        touched: Those and the digests of documents of which something was read.
    """
    found = []
    for code, of in evaluation.documents.items():
        triples = list(zip(of.digests, of.nats, of.bytes, strict=True))

        def bits(without: set[str], triples: list[tuple[str, float, int]] = triples) -> float | None:
            left = [(nats, size) for digest, nats, size in triples if digest not in without]
            size = sum(size for _, size in left)
            return sum(nats for nats, _ in left) / math.log(2) / size if size else None

        counts = (len(of.digests), sum(digest in read for digest in of.digests), sum(digest in touched for digest in of.digests))
        found.append(Cleaned(evaluation.name, evaluation.step, code, "bits per byte", bits(set()), bits(read), bits(touched), *counts))
    return found


def cleaned_samples(samples: Samples, read: set[int], touched: set[int]) -> list[Cleaned]:
    """Returns each metric of a benchmark with and without items, which are given by their numbers."""

    def mean(scores: Sequence[float], without: set[int]) -> float | None:
        left = [score for item, score in enumerate(scores) if item not in without]
        return sum(left) / len(left) if left else None

    task, step, code, counts = samples.task, samples.step, samples.language, (len(samples.texts), len(read), len(touched))
    return [
        Cleaned(task, step, code, metric, mean(scores, set()), mean(scores, read), mean(scores, touched), *counts)
        for metric, scores in samples.scores.items()
    ]


def samples_in(run: Path) -> Iterator[Samples]:
    """Yields the samples that the folder of a run keeps of benchmarks: RUN/benchmarks/TASK/STEP-….samples.jsonl.

    Raises:
        ValueError: If a file of samples is damaged.
    """
    for file in sorted((run / FOLDER).glob(f"*/*{SAMPLES}")):
        step, about = file.name.split("-")[0], file.with_name(file.name.removesuffix(SAMPLES) + ".json")
        records = []
        with file.open("rb") as lines:
            for place, line in enumerate(lines, 1):
                try:
                    records.append(mapping(json.loads(line)))
                except (ValueError, RecursionError):
                    raise ValueError(f"{file}, line {place}: not valid JSON; ask the benchmark again with --log_samples") from None
        of_filter = dict[str, list[dict[str, Any]]]()  # lm_eval has a record for each item and filter of answers
        for record in records:
            of_filter.setdefault(str(record.get("filter")), []).append(record)
        scores = {
            name if len(of_filter) == 1 else f"{name}, {kept}": [number(record.get(name)) or 0.0 for record in mine]
            for kept, mine in of_filter.items()
            for name in _metrics(mine[0])
        }
        items = next(iter(of_filter.values()), [])
        if items and step.isdigit():
            yield Samples(file.parent.name, int(step), _language(about), [_strings(item.get("doc")) for item in items], scores)


def _metrics(record: Mapping[str, Any]) -> list[str]:
    """Returns the metrics of a sample that are numbers."""
    listed = record.get("metrics")
    return [name for name in listed if number(record.get(name)) is not None] if isinstance(listed, list) else []


def _language(about: Path) -> str:
    try:
        return str(mapping(json.loads(about.read_text("utf-8"))).get("language") or "")
    except (OSError, ValueError, RecursionError):
        return ""


def _strings(value: Any) -> list[str]:
    """Returns all strings in a value of JSON, each once."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return list(dict.fromkeys(text for each in inner for text in _strings(each)))
