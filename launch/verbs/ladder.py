"""`varietas ladder`: small runs that tell what a large one will do, in every language."""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from varietas.launch.flags import add_config, path, positive_int
from varietas.launch.tables import align_right

if TYPE_CHECKING:
    from varietas.launch.run import Run
    from varietas.model.config import ModelConfig
    from varietas.train.ladder.findings import Findings
    from varietas.train.ladder.layout import Rung

SUMMARY = "train small models on a budget, fit a law of scaling to each language, and predict what the config's own model will do"
EXAMPLE = "varietas ladder --config demo --out ladders/demo --budget 9e12"
PART = 0.1  # of the operations of the config's own run: the usual budget
FEWEST_WARM = 10  # steps of a run for each step of its warm-up, at least


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--out",
        type=path,
        required=True,
        metavar="DIR",
        help="folder of the ladder: a run in each folder of it; the same command continues",
    )
    parser.add_argument(
        "--budget", type=_flops, metavar="FLOP", help="operations of all runs together (default: a tenth of the config's own run)"
    )
    parser.add_argument(
        "--only", type=positive_int, metavar="N", help="train the Nth run alone, as a job of an array does; without it, all that are left"
    )
    parser.add_argument(
        "--check", type=path, metavar="RUN", help="a run of the config that was evaluated: shows what was predicted and what was found"
    )


def _flops(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of operations such as 9e12, found {text!r}")
    return value


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.data.files import write_json
    from varietas.launch import resolve
    from varietas.launch.models.initial import resolved
    from varietas.launch.run import Run
    from varietas.train.ladder.findings import advice, findings, record
    from varietas.train.ladder.layout import Rung, rungs
    from varietas.train.ladder.page import write_page

    given, _ = resolve.config_of(args.config, args.overrides)
    config, _ = resolved(given, args.overrides, args.out / "aim")  # no run has that name
    exp = resolve.experiment_of(config)
    aim = Rung.of(exp.model, exp.steps, exp.batch_size, exp.seq_len)
    runs = rungs(exp.model, exp.steps, exp.batch_size, exp.seq_len, args.budget or PART * aim.flops)
    if args.only is not None and args.only > len(runs):
        raise ValueError(f"--only {args.only}: the ladder has {len(runs)} runs")
    console.print(layout_table(runs, aim))
    chosen = runs if args.only is None else [runs[args.only - 1]]
    for place, rung in enumerate(chosen, 1):
        console.print(f"run {place} of {len(chosen)}: {rung.name}", highlight=False)
        own = _overrides(rung, exp.model, given.optim.warmup_steps)
        opened = Run(args.config, [*args.overrides, *own], args.out / rung.name, console=console)
        if not _trained(opened, rung.steps, console):
            return 3
    if args.only is not None:
        return 0
    found = findings(runs, [_bits(args.out / rung.name, rung.steps) for rung in runs], aim)
    write_json(args.out / "ladder.json", record(found))
    write_page(args.out / "ladder.html", args.out.name, found)
    console.print(predicted_table(found, _last_bits(args.check) if args.check else {}))
    for sentence in advice(found):
        console.print(sentence, highlight=False, soft_wrap=True)
    console.print(f"ladder: {args.out / 'ladder.html'}, {args.out / 'ladder.json'}", soft_wrap=True)
    return 0


def _overrides(rung: "Rung", model: "ModelConfig", warmup_steps: int) -> list[str]:
    """Returns in what the config of a run differs from the one that the ladder speaks for, which has this model and warm-up."""
    shape = {f"model.{name}": value for name, value in asdict(rung.model).items() if value != getattr(model, name)}
    values = {**shape, "train.steps": rung.steps, "eval.every": 0}
    values["optim.warmup_steps"] = min(warmup_steps, rung.steps // FEWEST_WARM)
    return [f"--config.{name}={value}" for name, value in values.items()]


def _trained(run: "Run", steps: int, console: Console) -> bool:
    """Trains and evaluates a run of the ladder, as far as that is left. Returns whether it is done."""
    from varietas.train.run_folder.evaluations import DECLARATION, read_all

    if not run.train():
        return False
    if all(found.step != steps for found in read_all(run.folder).get(DECLARATION, ())):
        with console.status("evaluating"):
            run.evaluate()
    return True


def _bits(run: Path, step: int) -> dict[str, float]:
    """Returns bits per byte of each language that a run of the ladder was trained on."""
    from varietas.train.run_folder.evaluations import DECLARATION, compared, read_all

    found = [evaluation for evaluation in read_all(run).get(DECLARATION, ()) if evaluation.step == step]
    if not found:
        raise ValueError(f"{run} was not evaluated after its {step:,} steps; run the same command without --only")
    return compared(found[0].languages)


def _last_bits(run: Path) -> dict[str, float]:
    """Returns bits per byte of a run as it was evaluated last."""
    from varietas.train.run_folder.evaluations import DECLARATION, compared, read_all

    if not (found := read_all(run).get(DECLARATION, ())):
        raise ValueError(f"--check {run} has no evaluation; run `varietas evaluate --run {run}` first")
    return compared(found[-1].languages)


def layout_table(runs: "Sequence[Rung]", aim: "Rung") -> Table:
    """Tables the runs of a ladder, the cheapest first, and the model that it speaks for."""
    table = Table("run", "width", "layers", "steps", "parameters", "tokens", "FLOP", box=None, pad_edge=False)
    align_right(table, 1, 2, 3, 4, 5, 6)
    for place, rung in enumerate((*runs, aim), 1):
        shape = rung.model
        figures = (shape.d_model, shape.n_layers, rung.steps, rung.n_params, rung.tokens)
        if rung is aim:
            table.add_section()
        table.add_row("speaks for" if rung is aim else str(place), *(f"{figure:,}" for figure in figures), f"{rung.flops:.2g}")
    total = sum(rung.flops for rung in runs)
    table.caption = f"all runs together: {total:.2g} FLOP, {total / aim.flops:.0%} of what it speaks for"
    table.caption_justify = "left"
    return table


def predicted_table(found: "Findings", measured: Mapping[str, float]) -> Table:
    """Tables what is predicted for each language, the worst first; with what was found, if that is known."""
    from varietas.data.text.languages import name

    table = Table(
        "language", "", "predicted", "90 % interval", *(("found", "off by") if measured else ()), "floor", box=None, pad_edge=False
    )
    align_right(table, *range(2, len(table.columns)))
    for code, bits in found.predicted.items():
        low, high = found.interval(code)
        seen = (f"{measured[code]:.3f}", f"{bits / measured[code] - 1:+.1%}") if code in measured else ("–", "–")
        floor = found.laws[code].constants["E"]
        table.add_row(code, name(code), f"{bits:.3f}", f"{low:.3f} to {high:.3f}", *(seen if measured else ()), f"{floor:.3f}")
    if both := [code for code in found.predicted if code in measured]:
        off = [abs(found.predicted[code] / measured[code] - 1) for code in both]
        table.caption = f"predictions are {statistics.mean(off):.1%} off on average, {max(off):.1%} at most"
        table.caption_justify = "left"
    return table
