"""`varietas evaluate`: bits per byte of every language, and how several models differ in them."""

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from varietas.launch.evaluation.tables import comparison_table, evaluation_table, source_table, summary, verdict
from varietas.launch.evaluation.tasks import add_tasks, refuse_alone, report, settings_of
from varietas.launch.flags import add_chat, add_cpu_devices, add_processes, add_small, add_text, non_negative_int, not_empty, refuse_unused

if TYPE_CHECKING:
    from varietas.data.text.documents import Document
    from varietas.launch.run import Run

SUMMARY = "measure bits per byte of every language, the worst first, or compare models language by language"
EXAMPLE = "varietas evaluate --run runs/demo --text 'my/*.jsonl'; to compare: varietas evaluate --run runs/a --run runs/b@400"


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--run",
        type=not_empty,
        action="append",
        required=True,
        metavar="DIR",
        help="the run's folder, with @STEP for another checkpoint or @int8 for a small form; if given again, models are compared",
    )
    add_cpu_devices(parser)
    add_processes(parser)
    parser.add_argument("--step", type=non_negative_int, metavar="N", help="the checkpoint after N steps (default: the newest)")
    add_text(parser)
    parser.add_argument(
        "--corpus",
        type=not_empty,
        metavar="PATH",
        help="where the run's corpus lies now, if it has moved",
    )
    add_chat(parser)
    add_small(parser)
    add_tasks(parser)
    parser.add_argument("--name", metavar="NAME", help="the name of the evaluation in the report (default: from the files of --text)")


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.launch.evaluation.comparing import named
    from varietas.launch.inputs import small_of, text_of
    from varietas.launch.run import Run
    from varietas.train.run_folder.evaluations import name_for

    refuse_alone(args)
    documents = None if args.tasks else text_of(args, console)
    models = [named(name) for name in args.run]
    if len(models) > 1:
        refuse_unused(args, ("step", "quantize", "calibrate"), "is of a single run; with several, name RUN@STEP or RUN@int8")
        refuse_unused(args, ("tasks",), "asks a single model; name one --run")
        if len(set(models)) < len(models):
            raise ValueError(f"--run {' --run '.join(args.run)}: name each model once")
        runs = [Run.open(one.run, args.cpu_devices, console=console, corpus=args.corpus, small=one.small) for one in models]
        steps = [one.step for one in models]
    else:
        (model,), small = models, small_of(args, console)
        if (model.small and small) or (model.step is not None and args.step is not None):
            raise ValueError(f"--run {model.name} names a step or a form already; leave --step or --quantize out")
        runs = [Run.open(model.run, args.cpu_devices, console=console, corpus=args.corpus, small=small or model.small)]
        steps = [args.step if model.step is None else model.step]
    if args.tasks:
        report(runs[0].benchmark(args.tasks, steps[0], args.include_path, **settings_of(args)), runs[0].folder, console)
        return 0
    given = None if documents is None else list(documents)
    for name, text in _texts(runs[0], name_for(args.text, args.name), given):
        if len(runs) > 1:
            _compare(runs, steps, [one.name for one in models], name, text, console)
            continue
        with console.status(f"evaluating on {name}"):
            evaluation = runs[0].evaluation(text, name, steps[0], again=True)
        console.print(evaluation_table(evaluation.languages), summary(evaluation), sep="\n")
        if (sources := source_table(evaluation.languages)) is not None:
            console.print(sources)
    return 0


def _texts(run: "Run", name: str, given: "list[Document] | None") -> "Iterator[tuple[str, list[Document] | None]]":
    """Yields the name and the documents of each text to evaluate on; None for the Declaration, after which held-out text follows."""
    from varietas.data.corpus.held_out import held_out_documents
    from varietas.train.run_folder.evaluations import HELD_OUT
    from varietas.train.run_folder.origin import trains

    yield name, given
    if given is None and trains(run.folder) and (held_out := held_out_documents(run.stream.corpus, run.config.eval.held_out_bytes)):
        yield HELD_OUT if name == "declaration" else f"{HELD_OUT}-{name}", held_out


def _compare(
    runs: "Sequence[Run]", steps: Sequence[int | None], labels: Sequence[str], name: str, text: "list[Document] | None", console: Console
) -> None:
    """Evaluates runs on a text where they have not been, compares each with the first one, and keeps that in its folder."""
    from varietas.launch.distributed.meeting import is_first
    from varietas.train.statistics.comparisons import FILE, Compared, keep
    from varietas.train.statistics.paired import compare

    found: list[Compared] = []
    for run, step, label in zip(runs, steps, labels, strict=True):
        with console.status(f"evaluating {label} on {name}"):
            found.append(Compared(label, run.evaluation(text, _name(run, runs[0], name), step)))
    for run, second in zip(runs[1:], found[1:], strict=True):
        comparison = compare(found[0].evaluation, second.evaluation)
        about = f"{second.label} against {found[0].label} on {second.evaluation.text}: bits per byte, fewer are better"
        console.print(about, soft_wrap=True, markup=False)
        console.print(comparison_table(found[0], second, comparison), verdict(found[0], second, comparison), sep="\n")
        if is_first():
            keep(run.folder, found[0], second, comparison)
            console.print(f"kept in {run.folder / FILE}", soft_wrap=True)


def _name(run: "Run", first: "Run", name: str) -> str:
    """Returns the name of an evaluation in a run's folder: held-out text of another corpus than its own is named after that corpus."""
    from varietas.train.run_folder.evaluations import HELD_OUT, default_name
    from varietas.train.run_folder.origin import trains

    if not name.startswith(HELD_OUT) or (trains(run.folder) and run.stream.corpus.digest == first.stream.corpus.digest):
        return name
    return f"{HELD_OUT}-of-{default_name([str(first.stream.corpus.path)])}"
