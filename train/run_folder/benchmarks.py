"""The scores of benchmarks in a run's folder, one file for each task, step and way to ask: RUN/benchmarks/TASK/STEP-SHOTSshot….json.

An earlier result of the same task, step and way is replaced. Samples of a task, if they are kept, lie beside its result.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from varietas.data.files import write_atomically, write_json
from varietas.data.text import languages
from varietas.train.run_folder.records import mapping, number

FOLDER = "benchmarks"
SAMPLES = ".samples.jsonl"  # ends the names of files with what was asked and answered
UNCLEAR = {"an", "be", "br", "cs", "is", "mt", "nn", "no"}  # codes that mean something else inside the names of some tasks

_CODE = re.compile(r"[a-z]{2}|[a-z]{3}(?:_[A-Z][a-z]{3})?")


@dataclass(frozen=True)
class Score:
    """One figure of a task.

    Attributes:
        metric: What it measures, as lm_eval calls it; with the filter of answers if there are several.
        value: The figure.
        stderr: Its standard error; None if there is none.
        chance: What guessing reaches; None if that is not known.
        higher_is_better: Whether more is better.
    """

    metric: str
    value: float
    stderr: float | None = None
    chance: float | None = None
    higher_is_better: bool = True


@dataclass(frozen=True)
class Benchmark:
    """What a task has found, or a group of tasks.

    Attributes:
        task: The name of the task or group.
        step: Training steps of the checkpoint.
        scores: The figures.
        n: Items that were asked.
        group: The group as part of which it was asked; "" if it was asked by itself.
        members: Of a group, the tasks and groups that it consists of.
        language: The code of its language; "" if its name does not say.
        asked: How: num_fewshot, chat template, multiturn, form of the model, limit.
        about: What else is known: versions, the config of the task, digests of the model and of the requests, items that were cut.
    """

    task: str
    step: int
    scores: tuple[Score, ...]
    n: int
    group: str = ""
    members: tuple[str, ...] = ()
    language: str = ""
    asked: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def way(self) -> str:
        """How the task was asked, in short: `0shot`, `5shot-chat-int8-limit100`."""
        shots, chat, form, limit = (self.asked.get(key) for key in ("num_fewshot", "chat", "form", "limit"))
        talk = "" if not chat else "chat-oneturn" if shots and self.asked.get("multiturn") is False else "chat"
        parts = (f"{shots or 0}shot", talk, form, f"limit{limit:g}" if isinstance(limit, (int, float)) else "")
        return "-".join(filter(None, parts))


@dataclass(frozen=True)
class Block:
    """One metric of the tasks of a group.

    Attributes:
        group: The name of the group; "" for tasks that are in none.
        metric: The metric.
        rows: The tasks with their scores, the worst first.
        mean: The group with its score; None if it has none.
    """

    group: str
    metric: str
    rows: tuple[tuple[Benchmark, Score], ...]
    mean: tuple[Benchmark, Score] | None


def write(run: Path, benchmark: Benchmark, samples: Iterable[Mapping[str, Any]] | None = None) -> Path:
    """Writes a result to its file.

    Args:
        run: The folder of the run.
        benchmark: The result.
        samples: What the model was asked and has answered, item by item; None to keep none.

    Returns:
        The path of the file.
    """
    path = run / FOLDER / re.sub(r"[^\w.+-]+", "-", benchmark.task).strip("-.") / f"{benchmark.step}-{benchmark.way}.json"
    if samples is None:
        path.with_suffix(SAMPLES).unlink(missing_ok=True)  # those of an earlier result are not of this one
    else:
        lines = "".join(json.dumps(sample, ensure_ascii=False, default=str) + "\n" for sample in samples)
        write_atomically(path.with_suffix(SAMPLES), lines.encode("utf-8", "replace"))
    write_json(path, asdict(benchmark))
    return path


def read_all(run: Path) -> list[Benchmark]:
    """Reads all results of a run, in the order of tasks and steps, and leaves out files that are broken."""
    found = [benchmark for path in sorted((run / FOLDER).glob("*/*.json")) if (benchmark := _read(path))]
    return sorted(found, key=lambda benchmark: (benchmark.task, benchmark.way, benchmark.step))


def blocks(results: Sequence[Benchmark]) -> Iterator[Block]:
    """Yields tables of results that were asked in the same way: one for each group and metric, and for the tasks that are in no group."""
    groups = {result.task: result for result in results if result.members}
    for name in dict.fromkeys(result.group for result in results):
        members = [result for result in results if result.group == name and (name or not result.members)]
        for metric in dict.fromkeys(score.metric for result in members for score in result.scores):
            mean = _having([groups[name]] if name in groups else [], metric)
            yield Block(name, metric, tuple(_having(members, metric)), mean[0] if mean else None)


def _having(results: Iterable[Benchmark], metric: str) -> list[tuple[Benchmark, Score]]:
    """Returns the results that have a metric, with that score, the worst first."""
    found = [(result, score) for result in results for score in result.scores if score.metric == metric]
    return sorted(found, key=lambda pair: (pair[1].value if pair[1].higher_is_better else -pair[1].value, pair[0].task))


def language_of(task: str, data: str = "") -> str:
    """Returns the code of the language of a task, by the name of its part of a data set or by its own; "" if they do not say.

    Args:
        task: The name of the task: `belebele_deu_Latn`, `arc_de`.
        data: The name of the part of the data set, such as `deu_Latn` or `de`.
    """
    words = re.split(r"[_-]", task)
    short = [word for word in reversed(words) if len(word) == 2]
    plain = [word for word in short if word not in UNCLEAR]
    for name in (data, *(f"{one}_{two}" for one, two in pairwise(words)), *plain, words[-1]):
        if _CODE.fullmatch(name) and (language := languages.find(name)):
            return language.code
    return ""


def _read(path: Path) -> Benchmark | None:
    """Returns the result in a file; None if it holds none."""
    try:
        record = mapping(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, RecursionError):
        return None
    step, n, listed = number(record.get("step")), number(record.get("n")), record.get("scores")
    scores = tuple(score for entry in listed if (score := _score(mapping(entry)))) if isinstance(listed, list) else ()
    if step is None or not scores or not isinstance(record.get("task"), str):
        return None
    members = record.get("members")
    return Benchmark(
        record["task"],
        int(step),
        scores,
        int(n or 0),
        str(record.get("group") or ""),
        tuple(map(str, members)) if isinstance(members, list) else (),
        str(record.get("language") or ""),
        mapping(record.get("asked")),
        mapping(record.get("about")),
    )


def _score(record: Mapping[str, Any]) -> Score | None:
    value = number(record.get("value"))
    if value is None or not isinstance(record.get("metric"), str):
        return None
    better = record.get("higher_is_better") is not False
    return Score(record["metric"], value, number(record.get("stderr")), number(record.get("chance")), better)
