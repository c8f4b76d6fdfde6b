"""`varietas doctor`: whether this computer, or every node of a job, is fit for training."""

import argparse
import json
import os
import socket
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

from varietas.launch.distributed import ending, meeting
from varietas.launch.flags import add_processes, path

if TYPE_CHECKING:
    from varietas.configs.machines.base import Machine
    from varietas.launch.distributed.environment import Process
    from varietas.launch.doctor.finding import Finding

SUMMARY = "measure and check this computer, or every node of a job (exit status 1 if something is slow or broken)"
EXAMPLE = "varietas doctor --machine leonardo --folder runs corpus"
NETWORK = "the network: NCCL_DEBUG=INFO shows which it takes; half the nodes at a time show which of them is at fault"
COLOURS = {"OK": "green", "slow": "yellow", "broken": "bold red"}


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--machine", metavar="NAME|PATH", help="the machine whose figures are compared (default: what SLURM_CLUSTER_NAME says, or none)"
    )
    parser.add_argument(
        "--folder",
        nargs="+",
        action="extend",
        default=[],
        type=path,
        metavar="DIR",
        help="folders of runs and corpora, whose file systems are measured (default: this one)",
    )
    add_processes(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON list")


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.launch import backend

    machine = _machine(args.machine)
    backend.start(None)
    from varietas.launch.doctor.finding import OK, joined
    from varietas.launch.doctor.speed import sums
    from varietas.launch.doctor.together import gather, hangs, within
    from varietas.train.processes import broadcast, exchange, is_first

    process = meeting.joined()
    nodes = process.count // process.local_count if process else 1
    places = exchange(socket.gethostname())
    found = gather("of each", _of_this_process(args, machine, nodes), places)
    stuck = any(map(hangs, found.values()))
    if not (stuck and is_first()):  # one that hangs would never come to the sum; process 0 knows of it, and ends the others
        exchange()  # on CPUs, gloo waits only 30 s for the last
        together = gather("of all", within("all-reduce", lambda: sums(machine, nodes), NETWORK), places)
        stuck = any(map(hangs, together.values()))
        found = {where: [*findings, *together[where]] for where, findings in found.items()}
    findings = joined(found)
    if is_first():
        if args.json:
            print(json.dumps([asdict(finding) for finding in findings], indent=1))
        else:
            _show(findings, console)
    if stuck:
        _end(process)
    return broadcast(lambda: 0 if all(finding.state == OK for finding in findings) else 1)


def _of_this_process(args: argparse.Namespace, machine: "Machine | None", nodes: int) -> "list[Finding]":
    """Checks and measures what needs no other process. The disk is measured once on each node."""
    import jax

    from varietas.launch.doctor.disk import disk
    from varietas.launch.doctor.finding import OK, Finding
    from varietas.launch.doctor.hardware import accelerators, driver, unused
    from varietas.launch.doctor.node import node
    from varietas.launch.doctor.software import software
    from varietas.launch.doctor.speed import devices, products
    from varietas.launch.doctor.together import within

    folders = [folder.absolute() for folder in args.folder or [Path()]]
    idle, process = unused(jax.devices()[0].platform), meeting.joined()
    if idle is None and (here := accelerators()):
        idle = Finding("accelerators", OK, f"{here.count}, and jax uses them")
    found = [*software(), *filter(None, (idle, driver())), devices(machine, nodes), *node(folders[0], machine)]
    if process is None or process.local_index == 0:
        for folder in folders:
            found += within(f"disk {folder}", partial(disk, folder))
    return [*found, *within("matrix products", lambda: [products(machine)])]


def _end(process: "Process | None") -> NoReturn:
    """Ends this process, and the others, although a thread of it hangs."""
    if process:
        ending.leave(process, "", 1)
    sys.stdout.flush()
    os._exit(1)


def _machine(name: str | None) -> "Machine | None":
    from varietas.launch.plan.machines import load_machine, machine_names

    cluster = os.environ.get("SLURM_CLUSTER_NAME", "").lower()
    name = name or (cluster if cluster in machine_names() else None)
    return load_machine(name) if name else None


def _show(findings: "list[Finding]", console: Console) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        said = Text(finding.said)
        if finding.todo:
            said.append(f"\n→ {finding.todo}", "bold")
        table.add_row(Text(finding.state, COLOURS[finding.state]), finding.name, said)
    console.print(table)
