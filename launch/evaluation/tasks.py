"""Benchmarks of lm_eval on a run: what `Run.benchmark` and `varietas evaluate --tasks` do."""

import argparse
import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from varietas.data.text.languages import name as language_name
from varietas.launch.flags import non_negative_int, path, refuse_unused
from varietas.launch.tables import align_right
from varietas.train.run_folder.benchmarks import FOLDER, Benchmark, Score, blocks, write

if TYPE_CHECKING:
    from varietas.launch.evaluation.bits import Opened
    from varietas.train.benchmarks.tasks import Loaded, Settings

SHOWN = 3  # tasks that a note names
FLAGS = ("include_path", "limit", "num_fewshot", "apply_chat_template", "fewshot_as_multiturn", "log_samples")


def add_tasks(parser: argparse.ArgumentParser) -> None:
    """Adds --tasks and the flags that go with it, named as those of lm_eval."""
    group = parser.add_argument_group("benchmarks of lm_eval", "pip install 'varietas[eval]'; docs/evaluation.md explains them.")
    group.add_argument(
        "--tasks", nargs="+", action="extend", metavar="TASK", help="tasks or groups of lm_eval, also with commas between them"
    )
    group.add_argument("--include_path", type=path, metavar="DIR", help="a folder with further tasks, whose Python is executed")
    group.add_argument("--limit", type=_limit, metavar="N", help="items of each task at most, or a share of them below 1, to try it")
    group.add_argument("--num_fewshot", type=non_negative_int, metavar="N", help="examples before a question (default: as the task says)")
    group.add_argument("--apply_chat_template", action="store_true", help="ask as a user does, by the chat template of the model")
    group.add_argument(
        "--fewshot_as_multiturn", choices=("true", "false"), help="with a chat template: whether examples are turns (default: true)"
    )
    group.add_argument("--log_samples", action="store_true", help="keep what was asked and answered, in the run's folder")


def refuse_alone(args: argparse.Namespace) -> None:
    """Raises ValueError if a flag of tasks is given without --tasks, or one of texts with it."""
    if args.tasks is None:
        refuse_unused(args, FLAGS, "says how --tasks are asked; name some with --tasks")
    else:
        refuse_unused(args, ("text", "lang", "fields", "chat", "name", "corpus"), "is not used with --tasks; leave it out")
    if args.fewshot_as_multiturn and not args.apply_chat_template:
        raise ValueError("--fewshot_as_multiturn says how a chat template has examples; add --apply_chat_template")


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """Returns how tasks are asked, by the names of `Settings`."""
    given = {name: getattr(args, name) for name in FLAGS if name != "include_path"}
    return given | {"fewshot_as_multiturn": args.fewshot_as_multiturn != "false"}


def benchmark(
    run: "Opened", tasks: str | Sequence[str], console: Console, step: int | None, include_path: Path | None, settings: dict[str, Any]
) -> list[Benchmark]:
    """Asks the model of a run the questions of tasks, and keeps the scores. `varietas.Run.benchmark` explains the arguments."""
    names = [name for part in ([tasks] if isinstance(tasks, str) else tasks) for name in part.split(",") if name]
    if not names:
        raise ValueError("no task is named; name some of lm_eval, such as belebele_deu_Latn")
    from varietas.train.run_folder.folder import saved_step

    saved_step(run.folder, step)
    with console.status("reading the tasks"):
        try:
            from varietas.train.benchmarks.tasks import Settings, load_tasks
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"benchmarks need the package {error.name}; run: pip install 'varietas[eval]'") from None
        loaded = load_tasks(names, Path(include_path) if include_path else None)
    return _asked(run, loaded, console, step, Settings(**settings))


def _asked(run: "Opened", loaded: "Loaded", console: Console, step: int | None, settings: "Settings") -> list[Benchmark]:
    from varietas.train.benchmarks.tokens import tokens_of

    tokens = tokens_of(run.folder, settings.apply_chat_template)
    with console.status("loading the model"):
        network, found = run.network(step)
        from varietas.train.benchmarks.asking import run_tasks
        from varietas.train.benchmarks.harness import VarietasLM
        from varietas.train.benchmarks.progress import Bar
        from varietas.train.inference.generate import generator
        from varietas.train.processes import is_first
        from varietas.train.run_folder.digest import digest

        about = {"parameters_digest": digest(network.params)}
        model = generator(network)
        del network
    form = run.small.name if run.small else ""

    def keep(result: Benchmark, samples: list[dict[str, Any]] | None) -> Benchmark:
        result = replace(result, asked={**result.asked, "form": form}, about={**about, **result.about})
        if is_first():
            write(run.folder, result, samples)
        return result

    with Bar(console, len(loaded.tasks)) as bar:
        return run_tasks(VarietasLM(run.folder.name, model, tokens, bar), loaded, settings, keep, found)


def scores_table(results: Sequence[Benchmark]) -> Table:
    """Tables the scores of tasks, those of a group together and the worst first. The mean of a group stands below them."""
    table = Table("task", "language", "metric", "score", "±", "chance", "items", box=None, pad_edge=False)
    align_right(table, 3, 4, 5, 6)
    for block in blocks(results):
        for result, score in block.rows:
            table.add_row(*_cells(result, score))
        if block.mean:
            table.add_row(*_cells(*block.mean), style="bold")
        table.add_section()
    return table


def _cells(result: Benchmark, score: Score) -> list[str]:
    task = f"{result.task} (mean of {len(result.members)})" if result.members else result.task
    language = language_name(result.language) if result.language else ""
    numbers = (score.value, score.stderr, score.chance)
    return [task, language, score.metric, *("–" if x is None else f"{x:.3f}" for x in numbers), f"{result.n:,}"]


def notes(results: Sequence[Benchmark]) -> Iterator[str]:
    """Yields what a reader of the scores has to know."""
    standing = [result for result in results if not result.members]
    if cut := [result for result in standing if result.about.get("cut")]:
        listed = ", ".join(f"{result.about['cut']:,} of {result.task}" for result in cut[:SHOWN]) + (", …" if len(cut) > SHOWN else "")
        yield f"contexts longer than the model's, which have lost their beginning: {listed}"
    if limited := [result for result in standing if result.n < result.about.get("items_in_all", 0)]:
        yield f"--limit: {limited[0].n:,} of {limited[0].about['items_in_all']:,} items, so this is a trial and no result"
    if any(score.stderr and score.chance and abs(score.value - score.chance) < 2 * score.stderr for r in standing for score in r.scores):
        yield "a score within two standard errors (±) of chance is no better than guessing"


def report(results: Sequence[Benchmark], run: Path, console: Console) -> None:
    """Prints the scores, and what a reader of them has to know."""
    console.print(scores_table(results))
    for note in notes(results):
        console.print(note, soft_wrap=True)
    console.print(f"kept in {run / FOLDER}", soft_wrap=True)


def _limit(text: str) -> float:
    """Parses --limit."""
    with contextlib.suppress(ValueError):
        if 0 < (value := float(text)) < math.inf and (value < 1 or value == int(value)):
            return value
    raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, or a share below 1, found {text!r}")
