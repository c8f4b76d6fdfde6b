"""`varietas plan`: whether a run fits a machine, how fast it is, and what it uses, without that machine."""

import argparse
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from varietas.launch.flags import add_config, path, positive_int

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from varietas.configs.machines.base import Machine
    from varietas.launch.plan.compiler import Compiled
    from varietas.launch.plan.estimate import Plan
    from varietas.launch.plan.job import Job

SUMMARY = "estimate memory, time and energy of a run on a machine, without the machine"
EXAMPLE = "varietas plan --config eurollm_9b --machine mn5 --nodes 100"


def counts(text: str) -> list[int]:
    """Parses --scale: numbers with commas between them, all different, the smallest first."""
    return sorted({positive_int(part) for part in text.split(",")})


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--machine", required=True, metavar="NAME|PATH", help="a machine by name, or a file like those of configs/machines")
    parser.add_argument("--nodes", type=positive_int, default=1, metavar="N", help="nodes of the run (default: 1)")
    parser.add_argument("--search", action="store_true", help="find the fastest meshes and policies of recomputation that fit")
    parser.add_argument("--scale", type=counts, default=[], metavar="N,N,…", help="also plan the run on these numbers of nodes")
    parser.add_argument("--compile", action="store_true", help="also ask XLA's compiler for the machine (varietas[plan-cuda], [plan-tpu])")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--html", type=path, metavar="FILE", help="also write a page with charts")


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.launch.plan.machines import load_machine

    machine = load_machine(args.machine)
    from varietas.launch.check import check, check_fields
    from varietas.launch.config import load_config
    from varietas.launch.models.initial import with_shape
    from varietas.launch.plan.estimate import plan, record
    from varietas.launch.plan.job import job_of
    from varietas.launch.plan.search import flags

    config = load_config(args.config, args.overrides)
    check_fields(config)
    config = with_shape(config, args.overrides)
    check(config)
    _check_nodes(max([args.nodes, *args.scale]), machine)
    if args.html and not args.html.absolute().parent.is_dir():
        raise ValueError(f"--html {args.html}: there is no folder {args.html.parent}; make it first")
    if args.compile:
        _check_compiler(machine)
    from varietas.launch.plan import search

    devices = args.nodes * machine.devices_per_node
    try:
        asked = job_of(config, devices)
        p = plan(asked, machine)
        best = search.best(asked, devices, machine) if args.search else []
    except ValueError as error:  # batch and model do not divide over the mesh that the config would have
        asked = _undivided(config)
        best = search.best(asked, devices, machine) if args.search else []
        if not best:
            raise
        p = best[0]
        print(f"varietas: {error}; this is the fastest of those that divide", file=sys.stderr)
    compiled = _compiled(p, console) if args.compile else None
    remedies = [] if p.fits or best else search.remedies(p.job, machine)
    scaled = [_scaled(config, p, nodes) for nodes in args.scale]
    choices = {flags(asked, one.job): one for one in best or remedies}
    if args.html:
        from varietas.launch.plan.page import write_page

        write_page(args.html, args.config, p, choices, scaled)
    if args.json:
        whole = record(p) | {"remedies": list(map(record, remedies))}
        whole |= {"best": list(map(record, best))} if args.search else {}
        whole |= {"scale": list(map(record, scaled))} if args.scale else {}
        whole |= {"compiled": _compiled_record(compiled)} if compiled else {}
        print(json.dumps(whole, ensure_ascii=False, indent=1))
    else:
        _print(p, compiled, choices, console, args.search)
        if scaled:
            _print_scaled(scaled, console)
        if args.html:
            console.print(f"\npage: {args.html}", soft_wrap=True)
    return 0


def _undivided(config: "ConfigDict") -> "Job":
    """Returns the job of a config whose batch its own mesh cannot share: without a mesh."""
    from varietas.launch.plan.job import job_of
    from varietas.launch.resolve import with_values

    alone = job_of(with_values(config, {"train.batch_size": 1, "train.grad_accum": 1, "mesh.data": 1, "mesh.fsdp": 1, "mesh.tensor": 1}), 1)
    return replace(alone, batch_size=config.train.batch_size, grad_accum=config.train.grad_accum, mesh=(0, 0, 0))


def _check_nodes(nodes: int, machine: "Machine") -> None:
    if nodes > machine.nodes:
        raise ValueError(f"{machine.name} has {machine.nodes:,} nodes, not {nodes:,}; plan with fewer")


def _check_compiler(machine: "Machine") -> None:
    from varietas.launch.plan.compiler import missing

    if not machine.compiler:
        raise ValueError(f"--compile: there is no compiler for {machine.name} that works elsewhere; leave --compile out")
    if command := missing(machine.compiler):
        raise ValueError(f"--compile: the compiler for {machine.name} is not installed; run {command}, best in an environment of its own")


def _compiled(p: "Plan", console: Console) -> "Compiled | None":
    """Compiles the step, or says that XLA finds it too large."""
    from varietas.launch.plan.compiler import compile_apart, target_of

    with console.status(f"compiling for {p.job.devices:,} devices"):
        try:
            return compile_apart(p.job, target_of(p.machine))
        except ValueError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise ValueError(f"--compile: {error}") from None
            console.print(Text(f"XLA's compiler says that the step does not fit: {error}", style="red"), soft_wrap=True)
            return None


def _compiled_record(compiled: "Compiled") -> dict[str, Any]:
    by_kind: dict[str, float] = {}
    for one in compiled.collectives:
        by_kind[one.kind] = by_kind.get(one.kind, 0.0) + one.bytes * one.times
    hidden = sum(one.bytes * one.times for one in compiled.collectives if one.overlapped)
    return {"bytes_per_device": compiled.held, "sent": by_kind, "sent_while_computing": hidden, "seconds": compiled.seconds}


def _scaled(config: "ConfigDict", p: "Plan", nodes: int) -> "Plan":
    """Returns the plan of a config on other nodes. A device works on at most as many rows at once as in `p`.

    If the devices cannot share the batch, it becomes the nearest smaller one that they can share, or one row for each.
    """
    from varietas.launch.mesh import resolve_mesh
    from varietas.launch.plan.estimate import plan
    from varietas.launch.plan.job import job_of
    from varietas.launch.plan.search import divisors
    from varietas.launch.resolve import with_values

    devices = nodes * p.machine.devices_per_node
    free = with_values(config, {"train.batch_size": devices, "train.grad_accum": 1})
    data, fsdp, _ = resolve_mesh(free, devices)
    shards = data * fsdp
    rows = max(1, config.train.batch_size // shards)
    job = replace(job_of(free, devices), batch_size=rows * shards)
    return plan(replace(job, grad_accum=next(parts for parts in divisors(rows) if rows // parts <= p.job.rows)), p.machine)


def _print(p: "Plan", compiled: "Compiled | None", choices: "dict[str, Plan]", console: Console, searched: bool) -> None:
    from varietas.launch.plan.search import enough_nodes
    from varietas.launch.plan.tables import plans_table, show

    show(p, compiled, console)
    if choices:
        nodes = f"{p.nodes:,} {'node' if p.nodes == 1 else 'nodes'}"
        console.print(f"\nthe fastest that fit on {nodes}:" if searched else "\nwhat would fit, the fastest first:")
        console.print(plans_table(choices))
    elif searched or not p.fits:
        enough = enough_nodes(p.job, p.machine, p.machine.nodes)
        needed = f"{enough:,} nodes would do" if enough else f"not even on the {p.machine.nodes:,} nodes of {p.machine.name}"
        console.print(f"\nnothing that was tried fits: no mesh, no recomputation, no shorter rows; {needed}", style="red")


def _print_scaled(plans: "list[Plan]", console: Console) -> None:
    from varietas.launch.plan.tables import scale_table

    console.print()
    console.print(scale_table(plans))
    if not all(one.fits for one in plans):
        console.print(Text("(!): more than a device has"))
