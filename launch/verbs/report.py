"""`varietas report`: the HTML page of a run."""

import argparse

from rich.console import Console

from varietas.launch.flags import add_processes, add_run

SUMMARY = "write report.html of a run, with samples of its text"
EXAMPLE = "varietas report --run runs/demo"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_processes(parser)
    parser.add_argument("--samples", action=argparse.BooleanOptionalAction, default=True, help="generate new samples first")


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.launch.run import Run
    from varietas.train.run_folder.folder import saved_steps

    opened = Run.open(args.run, args.cpu_devices, console=console)
    if args.samples and saved_steps(opened.folder):
        with console.status("generating samples"):
            opened.sample()
    console.print(f"report: {args.run / opened.report().name}", soft_wrap=True)
    return 0
