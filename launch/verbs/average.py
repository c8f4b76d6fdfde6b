"""`varietas average`: the mean of several checkpoints."""

import argparse

from rich.console import Console

from varietas.launch.flags import add_run, not_empty

SUMMARY = "make a run of the mean of several checkpoints"
EXAMPLE = "varietas average --from runs/demo@300 runs/demo@400 runs/demo@500 --run runs/mean"


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from", dest="sources", type=not_empty, nargs="+", required=True, metavar="RUN@STEP", help="checkpoints of the same model"
    )
    add_run(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.launch.models.averaging import average

    with console.status("averaging"):
        found = average(args.sources, args.run, args.cpu_devices)
    console.print(f"{args.run}: the mean of {', '.join(map(str, found))}", soft_wrap=True)
    return 0
