"""Writes benchmarks as a folder of tasks for lm_eval, EleutherAI's lm-evaluation-harness.

The folder has a YAML file for each task and for each group of tasks, the items as JSON Lines, and dataset.py, through which lm_eval reads
them from wherever the folder lies. Paths in YAML files would be relative to the folder in which lm_eval is started.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from varietas.data.benchmarks.significance import needed
from varietas.data.files import new_folder
from varietas.data.text.languages import name

VERSION = 1.0  # of the tasks; a change of the items of the same text or of their form raises it
EXAMPLES = 5  # items of each task in README.md
SHOWN = 300  # characters of an item there
ITEMS = "items"  # folder of the JSON Lines
DATASET = '''"""Reads the items of a task, which lie beside this file. lm_eval calls this."""

import json
from pathlib import Path

from datasets import Dataset


def items(file, **_):
    lines = (Path(__file__).parent / "items" / file).read_text("utf-8").split("\\n")  # a text may have other ends of lines
    return {"test": Dataset.from_list([json.loads(line) for line in lines if line])}
'''


@dataclass(frozen=True)
class Task:
    """Items and how lm_eval asks them."""

    group: str  # the name of the tasks of all languages together, "varietas_recall"
    lang: str
    form: str  # one of FORMS
    records: Sequence[Mapping[str, Any]]  # what the form needs, and whatever else is known of each item
    chance: float  # share of right answers by guessing
    about: str = ""  # what it asks
    within: tuple[str, ...] = ("varietas",)  # groups that hold its group, the largest first

    @property
    def name(self) -> str:
        return f"{self.group}_{self.lang}"


def _metrics(*names: str) -> list[dict[str, Any]]:
    return [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in names]


_CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "context",
    "doc_to_choice": "choices",
    "doc_to_target": "answer",
}
_PLAIN = {**_CHOICE, "target_delimiter": "", "num_fewshot": 0}
_EXACT = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True, "ignore_case": True, "ignore_punctuation": False}
FORMS: dict[str, dict[str, Any]] = {  # fields of a task of lm_eval
    "sentence": {**_PLAIN, "metric_list": _metrics("acc")},
    # Which choice becomes more likely through the context, rather than which is likely: a choice may be a frequent text anyway.
    "continuation": {**_PLAIN, "metric_list": _metrics("acc_mutual_info", "acc")},
    "question": {**_CHOICE, "metric_list": _metrics("acc", "acc_norm")},
    "number": {
        "output_type": "generate_until",
        "doc_to_text": "context",
        "doc_to_target": "target",
        "generation_kwargs": {"until": ["\n\n", "Question:"], "do_sample": False},
        "metric_list": [{**_EXACT, "regexes_to_ignore": [",", "\\$", "(?s).*#### ", "\\.$"]}],
        "filter_list": [
            {"name": "strict-match", "filter": [{"function": "regex", "regex_pattern": "#### (-?[0-9.,]+)"}, {"function": "take_first"}]},
            {
                "name": "flexible-extract",
                "filter": [
                    {"function": "regex", "group_select": -1, "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)"},
                    {"function": "take_first"},
                ],
            },
        ],
    },
    "generation": {
        "output_type": "generate_until",
        "doc_to_text": "context",
        "doc_to_target": "lang",
        "num_fewshot": 0,
        "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 64, "do_sample": False},
        "process_results": "!function varietas.data.benchmarks.generation.score",
        "metric_list": _metrics("own_language"),
    },
}


def write(tasks: Sequence[Task], out: Path, about: str) -> None:
    """Writes a folder of tasks.

    Args:
        tasks: What to write.
        out: The folder, which must not exist.
        about: What the items were made from, for README.md: paragraphs of Markdown.

    Raises:
        ValueError: If there are no tasks, or `out` exists.
    """
    if not tasks:
        raise ValueError(f"{about}: no language has enough text for any benchmark; give more text")
    if out.exists():
        raise ValueError(f"--out {out} exists; name a new folder or remove it")
    groups = defaultdict[str, dict[str, list[str]]](dict)  # the members of each group, and their metrics
    with new_folder(out) as folder:
        (folder / ITEMS).mkdir()
        (folder / "dataset.py").write_text(DATASET, "utf-8")
        for form in {task.form for task in tasks}:
            _write_yaml(folder / f"_{form}", {"custom_dataset": "!function dataset.items", "test_split": "test", **FORMS[form]})
        for task in tasks:
            lines = [json.dumps({"lang": task.lang, **record}, ensure_ascii=False) for record in task.records]
            (folder / ITEMS / f"{task.name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
            _write_yaml(
                folder / f"{task.name}.yaml",
                {
                    "include": f"_{task.form}",
                    "task": task.name,
                    "tag": [f"varietas_{task.lang}"],
                    "dataset_kwargs": {"file": f"{task.name}.jsonl"},
                    "metadata": {"version": VERSION, "chance": task.chance, "lang": task.lang},
                },
            )
            metrics = [metric["metric"] for metric in FORMS[task.form]["metric_list"]]
            groups[task.group][task.name] = metrics
            for outer, inner in pairwise((*task.within, task.group)):
                groups[outer][inner] = metrics
        for group, members in groups.items():
            _write_yaml(folder / f"{group}.yaml", _group(group, members))
        (folder / "README.md").write_text(_readme(tasks, about), "utf-8")


def _group(group: str, members: Mapping[str, list[str]]) -> dict[str, Any]:
    metrics = dict.fromkeys(metric for mine in members.values() for metric in mine)
    means = [{"metric": metric, "aggregation": "mean", "weight_by_size": False} for metric in metrics]
    return {"group": group, "task": list(members), "aggregate_metric_list": means, "metadata": {"version": VERSION}}


def _write_yaml(path: Path, fields: Mapping[str, Any]) -> None:
    """Writes YAML: a line for each field, with its value as JSON, which is YAML too. Values with a tag stand as they are."""
    lines = [f"{key}: {value if str(value).startswith('!') else json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _readme(tasks: Sequence[Task], about: str) -> str:
    """Returns what the folder has, for people: a table, and some items of each task."""
    groups = defaultdict(list)
    for task in tasks:
        groups[task.group].append(task)
    command = f"lm_eval --model hf --model_args pretrained=MODEL --tasks {tasks[0].name} --include_path THIS_FOLDER"
    lines = [f"# Benchmarks\n\n{about}\n\n    {command}\n"]
    for group, mine in groups.items():
        lines.append(f"## {group}\n\n{mine[0].about}\n\n| language | | items | by chance | no chance from |\n|---|---|---|---|---|")
        for task in mine:
            n = len(task.records)
            least = f"{needed(n, task.chance) / n:.1%}" if task.chance else ""
            lines.append(f"| {task.lang} | {name(task.lang)} | {n} | {task.chance:.0%} | {least} |")
        for task in mine:
            lines += [f"\n### {name(task.lang)}\n", *(_shown(record) for record in task.records[:EXAMPLES])]
        lines.append("")
    return "\n".join(lines)


def _shown(record: Mapping[str, Any]) -> str:
    """Returns an item for people: what is given, and the choices, the right one in bold."""
    text = "" if not record.get("context") else f"{_cut(record['context'])}\n"
    choices = record.get("choices", [record.get("target", "")])
    marked = [f"**{_cut(choice)}**" if i == record.get("answer", 0) else _cut(choice) for i, choice in enumerate(choices)]
    note = f" ({record['about']})" if record.get("about") else ""
    return f"- {text}" + "\n".join(f"  {'- ' if text or i else ''}{choice}" for i, choice in enumerate(marked)) + note


def _cut(text: str) -> str:
    """Returns a text as one line, without its middle if it is long."""
    plain = " ".join(text.replace("*", "\\*").split())
    return plain if len(plain) <= SHOWN else f"{plain[: SHOWN // 2]} […] {plain[-SHOWN // 2 :]}"
