"""Tasks asked of a model one after the other. Each result is kept as soon as it is there."""

import hashlib
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from lm_eval.api.task import Task
from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED
from lm_eval.evaluator import evaluate
from lm_eval.utils import handle_non_serializable

from varietas.data.packages import version_of
from varietas.train.benchmarks.continuation import wanted
from varietas.train.benchmarks.harness import USUAL_LENGTH, VarietasLM
from varietas.train.benchmarks.tasks import Loaded, Settings, quiet, raise_for
from varietas.train.run_folder.benchmarks import Benchmark, Score, language_of

RESAMPLES = 1000  # for standard errors that have no formula
GUESSED = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info")  # metrics of which chance is known if there are options

Samples = list[dict[str, Any]]


def run_tasks(
    model: VarietasLM, loaded: Loaded, settings: Settings, keep: Callable[[Benchmark, Samples | None], Benchmark], step: int
) -> list[Benchmark]:
    """Asks a model the questions of tasks.

    Args:
        model: The model.
        loaded: The tasks.
        settings: How they are asked.
        keep: Called with each result as soon as it is there, and with samples if they are to be kept; returns what becomes of the result.
        step: Training steps of the model.

    Returns:
        The results of all tasks and groups.

    Raises:
        ValueError: If a task needs what the model does not offer.
    """
    _check_generation(model, loaded)
    results, metrics, better = list[Benchmark](), dict[str, Any](), dict[str, bool]()
    for name, task in loaded.tasks.items():
        found = _ask(model, name, task, settings)
        metrics[name], better = found["results"][name], better | found["higher_is_better"][name]
        result = _result(found, name, task, settings, step)
        result = replace(result, group=loaded.group_of(name), about={**result.about, "cut": model.n_cut})
        task._instances = None  # may be large
        results.append(keep(result, found["samples"][name] if settings.log_samples else None))
    for group in loaded.groups:
        metrics[group.name] = group.aggregate(metrics)
        if scores := _scores(metrics[group.name], better, None):
            n = int(metrics[group.name]["sample_len"])
            about = {"version": group.version, "lm_eval": version_of("lm_eval")}
            inside = [name for name in loaded.tasks if name in group]
            asked = next((result.asked for result in results if result.task in inside), results[0].asked if results else {})
            result = Benchmark(group.name, step, scores, n, loaded.group_of(group.name), tuple(group.child_names), "", asked, about)
            results.append(keep(result, None))
    return results


def _ask(model: VarietasLM, name: str, task: Task, settings: Settings) -> dict[str, Any]:
    """Returns what lm_eval says of a task."""
    _set_fewshot(task, settings.num_fewshot)
    model.n_cut = 0
    model.progress.task(name)
    with quiet():
        random.seed(DEFAULT_RANDOM_SEED)
        np.random.seed(DEFAULT_OTHER_SEED)  # as lm_eval seeds what tasks draw
        found = evaluate(
            model,
            {"tasks": {name: task}},
            limit=settings.limit,
            bootstrap_iters=RESAMPLES,
            log_samples=settings.log_samples,
            apply_chat_template=settings.apply_chat_template,
            fewshot_as_multiturn=settings.apply_chat_template and settings.fewshot_as_multiturn,
        )
    assert found is not None  # as it would be in all processes but one, if lm_eval knew of several
    return dict(found)


def _result(found: Mapping[str, Any], name: str, task: Task, settings: Settings, step: int) -> Benchmark:
    """Returns what lm_eval says of a task as we keep it."""
    config, counts = _plain(found["configs"][name]), found["n-samples"][name]
    asked = {
        "num_fewshot": int(config.get("num_fewshot") or 0),
        "chat": settings.apply_chat_template,
        "multiturn": settings.apply_chat_template and settings.fewshot_as_multiturn,
        "limit": settings.limit,
    }
    requests = [instance.args for instance in task.instances]
    about = {
        "version": found["versions"][name],
        "lm_eval": version_of("lm_eval"),
        "datasets": version_of("datasets"),
        "items_in_all": counts["original"],
        "requests_digest": hashlib.sha256(repr(requests).encode("utf-8", "replace")).hexdigest(),
        "config": config,
    }
    scores = _scores(found["results"][name], found["higher_is_better"][name], _chance(task))
    language = language_of(name, str(config.get("dataset_name") or ""))
    return Benchmark(name, step, scores, counts["effective"], language=language, asked=asked, about=about)


def _set_fewshot(task: Task, shots: int | None) -> None:
    """Sets how many examples come before a question. A task that says 0 means it, as in lm_eval."""
    own = task.get_config("num_fewshot")
    if own is None or (shots is not None and own != 0):
        task.set_config(key="num_fewshot", value=shots or 0)
    task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)


def _scores(metrics: Mapping[str, Any], better: Mapping[str, bool], chance: float | None) -> tuple[Score, ...]:
    """Returns the figures among what lm_eval says of a task, whose keys are METRIC,FILTER."""
    found = []
    values = {key: value for key, value in metrics.items() if "," in key and isinstance(value, (int, float))}
    filters = {key.partition(",")[2] for key in values}
    for key, value in values.items():
        metric, _, kept = key.partition(",")
        if metric.endswith("_stderr"):
            continue
        stderr = values.get(f"{metric}_stderr,{kept}")
        guessed = chance if metric in GUESSED else None
        name = metric if len(filters) == 1 else f"{metric}, {kept}"
        found.append(Score(name, float(value), None if stderr is None else float(stderr), guessed, better.get(metric, True)))
    return tuple(found)


def _chance(task: Task) -> float | None:
    """Returns which share of the questions guessing answers; None if they have no options to choose from."""
    if task.OUTPUT_TYPE != "multiple_choice":
        return None
    options = dict[Any, set[Any]]()
    for instance in task.instances:  # for acc_mutual_info, each option is asked about again, by itself
        options.setdefault(instance.doc_id, set()).add(instance.args[1])
    return sum(1 / len(each) for each in options.values()) / len(options) if options else None


def _check_generation(model: VarietasLM, loaded: Loaded) -> None:
    """Raises ValueError if a task asks for texts that the model cannot make."""
    reasons = {}
    for name, task in loaded.tasks.items():
        if task.OUTPUT_TYPE == "generate_until":
            try:
                model.check_length(wanted(task.get_config("generation_kwargs") or {}, USUAL_LENGTH))
            except ValueError as error:
                reasons[name] = str(error)
    raise_for(reasons)


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the config of a task as JSON holds it."""
    return json.loads(json.dumps(config, default=handle_non_serializable))
