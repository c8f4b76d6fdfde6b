"""`varietas digest`: one SHA-256 over all parameters of a checkpoint."""

import argparse

from rich.console import Console

from varietas.launch.flags import add_processes, add_run, non_negative_int

SUMMARY = "print one SHA-256 over the parameters of a checkpoint, the same on any mesh"
EXAMPLE = "varietas digest --run runs/demo --step 100"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_processes(parser)
    parser.add_argument("--step", type=non_negative_int, metavar="N", help="the checkpoint after N steps (default: the newest)")


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.launch.run import Run

    print(Run.open(args.run, args.cpu_devices, console=console).digest(args.step))
    return 0
