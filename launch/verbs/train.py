"""`varietas train`: trains a model, or continues a run."""

import argparse
import os
import signal
import sys

from rich.console import Console

from varietas.data.processes import began
from varietas.launch.distributed.ending import INTERRUPTED, finish
from varietas.launch.flags import add_config, add_processes, add_run, not_empty

SUMMARY = "train a model; the same command continues a run that was stopped"
EXAMPLE = "varietas train --config demo --run runs/demo --config.optim.peak_lr=2e-3 --cpu_devices 2"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_run(parser)
    parser.add_argument(
        "--init_from",
        type=not_empty,
        metavar="RUN|DIR[@STEP]",
        help="begin with the weights of another run, or of a model in the layout of transformers (short for --config.train.init_from)",
    )
    add_processes(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.launch.run import Run

    initial = [f"--config.train.init_from={args.init_from}"] if args.init_from else []
    if Run(args.config, args.overrides + initial, args.run, args.cpu_devices, console=console).train(since=began()):
        return 0
    for number in (signal.SIGTERM, signal.SIGUSR1):  # everything is saved: another one, which Slurm may send, must not change the status
        signal.signal(number, signal.SIG_IGN)
    sys.stdout.flush()
    sys.stderr.flush()
    finish()
    os._exit(INTERRUPTED)  # at once: a usual exit waits for XLA, which may be compiling
