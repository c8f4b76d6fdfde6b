"""`varietas status`: how far runs are, and which of them need attention."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from varietas.launch.flags import path
from varietas.launch.tables import align_right
from varietas.train.accounting.goodput import NAMES, Account
from varietas.train.report.figures import duration

if TYPE_CHECKING:
    from varietas.launch.slurm.progress import Progress

SUMMARY = "show how far runs are, and which need attention (exit status 1)"
EXAMPLE = "varietas status --json runs"
COLOURS = {"running": "green", "waiting": "cyan"} | dict.fromkeys(("died", "missing", "unreadable"), "bold red")


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="*", type=path, default=[Path("runs")], metavar="DIR", help="runs, or folders of runs (default: runs)"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list")


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.launch.slurm.commands import here, queued
    from varietas.launch.slurm.progress import progress, runs_in

    for folder in args.runs:
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder; name a run, or a folder of runs")
    asked = here()
    try:
        jobs = queued()
    except ChildProcessError as error:
        asked, jobs = False, []
        print(f"varietas: {error}; what follows is from the folders of the runs alone", file=sys.stderr)
    found = [progress(one, jobs, asked) for folder in args.runs for one in runs_in(folder)]
    if args.json:
        print(json.dumps([_plain(one) for one in found], indent=1))
    elif not found:
        console.print(f"no runs in {', '.join(map(str, args.runs))}")
    else:
        _show(found, console)
    return 0 if all(one.well for one in found) else 1


def _plain(one: "Progress") -> dict[str, Any]:
    account = one.account
    found = {**asdict(replace(one, account=None)), "run": str(one.run), "well": one.well}
    del found["account"]
    if account is None:
        return found
    time = {
        "goodput": account.goodput,
        "seconds": {kind: round(value, 3) for kind, value in account.seconds.items()},
        "seconds_to_next_step": account.seconds_to_step,
    }
    return {**found, **time, "kwh": account.kwh, "energy_source": account.energy_source}


def _show(found: "Sequence[Progress]", console: Console) -> None:
    table = Table("run", "state", "step", "of", "loss", "tokens/s", "left", "restarts", "goodput", "kWh", box=None, pad_edge=False)
    align_right(table, *range(2, 10))
    for one in found:
        table.add_row(
            str(_short(one.run)),
            Text(one.state, COLOURS.get(one.state, "")),
            f"{one.step:,}",
            f"{one.steps:,}" if one.steps else "",
            "" if one.loss is None else f"{one.loss:.3f}",
            "" if one.tokens_per_second is None else f"{one.tokens_per_second:,.0f}",
            duration(one.seconds_left) if one.seconds_left is not None and one.state in ("running", "waiting") else "",
            str(one.restarts or ""),
            "" if one.account is None or one.account.goodput is None else f"{one.account.goodput:.0%}",
            "" if one.account is None or one.account.kwh is None else _kwh(one.account),
        )
    console.print(table)
    for one in found:
        if one.note:
            console.print(f"{_short(one.run)}: {one.note}", soft_wrap=True, markup=False)
        for line in one.last_words:
            console.print(f"    {line}", soft_wrap=True, markup=False, style="dim")
    if len(found) == 1 and found[0].account:
        for line in _account(found[0].account):
            console.print(line, soft_wrap=True, markup=False)


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _account(account: Account) -> list[str]:
    """Returns lines that say where the time and the energy of a run went."""
    parts = [f"{NAMES[kind]} {seconds / account.life:.1%}" for kind, seconds in account.seconds.items() if seconds >= 0.0005 * account.life]
    lines = [f"of {duration(account.life)}: {', '.join(parts)}"]
    if account.seconds_to_step is not None:
        lines.append(f"from its {'last restart' if account.restarts else 'start'} to the next step: {duration(account.seconds_to_step)}")
    if account.kwh is not None:
        lines.append(f"energy: {_kwh(account)} kWh, {account.energy_source}")
    return lines


def _kwh(account: Account) -> str:
    """Writes the energy in kWh; ≈ marks what is estimated."""
    kwh = account.kwh or 0.0
    return f"{'≈ ' if account.energy_is_estimated else ''}{f'{kwh:,.0f}' if kwh >= 100 else f'{kwh:.3g}'}"
