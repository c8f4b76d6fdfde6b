"""A plan as tables for the terminal."""

from collections.abc import Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from varietas.launch.plan.compiler import Compiled
from varietas.launch.plan.estimate import Plan
from varietas.launch.plan.job import Job
from varietas.launch.tables import align_right

GIB, MIB = 2**30, 2**20
PARTS = {
    "parameters": "parameters, float32",
    "optimizer": "moments of the optimiser",
    "gradients": "gradients",
    "activations": "activations kept for the backward pass",
    "temporaries": "temporaries: logits, a layer's work",
}


def show(p: Plan, compiled: Compiled | None, console: Console) -> None:
    """Prints a plan."""
    console.print(Text(title(p)), soft_wrap=True)
    for table in (memory_table(p, compiled), time_table(p), communication_table(p, compiled), run_table(p)):
        console.print()
        console.print(table)


def title(p: Plan) -> str:
    """Says what is planned."""
    m = p.machine
    devices = f"{p.job.devices:,} × {m.device}"
    return f"{p.nodes:,} {'node' if p.nodes == 1 else 'nodes'} of {m.name} ({m.place}), {devices}\n{settings(p.job)}"


def settings(job: Job) -> str:
    """Says how a job is divided over its devices."""
    sizes = " × ".join(f"{axis} {size:,}" for axis, size in zip(("data", "fsdp", "tensor"), job.mesh, strict=True))
    parts = f"in {job.grad_accum} parts" if job.grad_accum > 1 else "at once"
    rows = f"{job.rows:,} {'row' if job.rows == 1 else 'rows'}"
    return f"mesh {sizes}; {job.batch_size:,} rows of {job.seq_len:,} tokens {parts}, {rows} a device at a time; remat {job.model.remat}"


def _table(*headings: str, right: int = 1) -> Table:
    table = Table(*headings, box=None, pad_edge=False, collapse_padding=True)
    align_right(table, *range(right, len(headings)))
    return table


def memory_table(p: Plan, compiled: Compiled | None) -> RenderableType:
    """Tables the memory of a device."""
    total = p.memory.total
    unit, name = (GIB, "GiB") if total >= GIB else (MIB, "MiB")
    table = _table("memory of a device", name, "share")
    for part, meaning in PARTS.items():
        size = getattr(p.memory, part)
        table.add_row(meaning, f"{size / unit:.2f}", f"{size / p.usable:.0%}")
    table.add_row("in all", f"{total / unit:.2f}", f"{total / p.usable:.0%}", style="bold" if p.fits else "bold red")
    said = f"{'fits' if p.fits else 'does not fit'}: {total / unit:,.1f} {name} of {p.usable / GIB:,.1f} GiB that XLA may use"
    if p.fits and not p.surely_fits and not compiled:
        said += "; that is close, and the formulas may be 9 % too low, so ask the compiler with --compile"
    lines = [Text(said, style="" if p.fits else "red")]
    if compiled:
        difference = f"the formulas differ by {total / compiled.held - 1:+.1%}"
        lines.append(Text(f"XLA's compiler needs {compiled.held / unit:,.2f} {name}, {compiled.held / p.usable:.0%}; {difference}"))
    return Group(table, *lines)


def time_table(p: Plan) -> RenderableType:
    """Tables where the time of a step goes."""
    s = p.step
    table = _table("time of a step", "s", "share")
    rows = (
        (f"matrix products, at {p.machine.attainable:.0%} of the peak", s.products),
        ("norms, rotations, loss, optimiser: memory", s.memory),
        ("communication that products wait for", s.exposed),
    )
    for name, seconds in rows:
        table.add_row(name, number(seconds), f"{seconds / s.seconds:.0%}")
    table.add_row("in all", number(s.seconds), "100%", style="bold")
    table.add_row("communication while products are computed", number(s.hidden), "", style="dim")
    return table


def communication_table(p: Plan, compiled: Compiled | None) -> RenderableType:
    """Tables what a device sends in a step. Exchanges that serve the same purpose share a row."""
    table = _table("a device sends", "by", "along", "among", "link", "times", "GiB", "ms", "hidden", right=3)
    for column in (1, 2, 4):
        table.columns[column].justify = "left"
    rows: dict[tuple[str, str, str, int, str], list[float]] = {}
    for one in p.step.costs:
        x = one.exchange
        row = rows.setdefault((x.what, x.kind, x.axis, x.group, one.link), [0, 0.0, 0.0, 0.0])
        for place, value in enumerate((x.times, x.sent, one.seconds, one.hidden)):
            row[place] += value
    if not rows:
        return Text("no communication")
    for (what, kind, axis, group, link), (times, sent, seconds, hidden) in sorted(rows.items(), key=lambda row: -row[1][2]):
        figures = f"{times:,.0f}", f"{sent / GIB:.3f}", number(1000 * seconds), f"{hidden / seconds:.0%}" if seconds else ""
        table.add_row(what, kind, axis, f"{group:,}", link, *figures)
    if not compiled:
        return table
    ours, theirs = ({}, {})  # type: tuple[dict[str, float], dict[str, float]]
    for one in p.step.costs:
        ours[one.exchange.kind] = ours.get(one.exchange.kind, 0.0) + one.exchange.sent
    for found in compiled.collectives:
        theirs[found.kind] = theirs.get(found.kind, 0.0) + found.bytes * found.times
    both = ", ".join(f"{kind} {theirs.get(kind, 0) / GIB:.3f} ({ours.get(kind, 0) / GIB:.3f})" for kind in sorted({*ours, *theirs}))
    behind = sum(found.bytes * found.times for found in compiled.collectives if found.overlapped)
    share = behind / max(1.0, sum(theirs.values()))
    said = f"GiB that XLA's program sends, and by formula: {both}; {share:.0%} of it while products are computed"
    return Group(table, Text(said))


def run_table(p: Plan) -> RenderableType:
    """Tables the speed, and what the whole run needs."""
    table = _table("the run", "")
    table.show_header = False
    limit = ""
    if p.machine.slurm:
        queue = p.machine.slurm.queues[0]
        limit = f", in jobs of at most {queue.time_limit}"
    for name, value in (
        ("speed", f"{p.tokens_per_second:,.0f} tokens/s, {p.tokens_per_second * 86400 / 1e9:,.2f} G a day, MFU {p.mfu:.1%}"),
        ("length", f"{p.job.steps:,} steps, {p.job.tokens * p.job.steps / 1e9:,.1f} G tokens: {duration(p.hours)}{limit}"),
        ("nodes", f"{p.node_hours:,.0f} node hours, {p.node_hours * p.machine.devices_per_node:,.0f} device hours"),
        ("energy", f"{p.kwh:,.0f} kWh at {p.machine.power:,.0f} W a node and PUE {p.machine.pue}"),
        ("CO2", f"{p.co2_kg:,.0f} kg at {p.machine.carbon:.0f} g/kWh"),
    ):
        table.add_row(name, value)
    table.columns[1].justify = "left"
    return table


def plans_table(choices: Mapping[str, Plan]) -> RenderableType:
    """Tables several plans of a job by the arguments that choose them."""
    table = _table("s a step", "MFU", "GiB", "data", "fsdp", "tensor", "parts", "remat", "arguments", right=0)
    for column in (7, 8):
        table.columns[column].justify = "left"
    table.columns[8].overflow = "fold"
    for arguments, one in choices.items():
        mesh = (f"{size:,}" for size in one.job.mesh)
        figures = number(one.step.seconds), f"{one.mfu:.1%}", f"{one.memory.total / GIB:.1f}", *mesh, f"{one.job.grad_accum}"
        table.add_row(*figures, one.job.model.remat, arguments or "none: as it is")
    return table


def scale_table(plans: Sequence[Plan]) -> RenderableType:
    """Tables a job on growing numbers of nodes."""
    headings = ("nodes", "mesh", "batch", "parts", "GiB", "sends GiB", "waits s", "s a step", "MFU", "tokens/s", "speed-up", "node hours")
    table = _table(*headings, right=0)
    first = plans[0]
    for one in plans:
        speed_up = one.tokens_per_second / first.tokens_per_second
        table.add_row(
            f"{one.nodes:,}",
            " × ".join(map(str, one.job.mesh)),
            f"{one.job.batch_size:,}",
            f"{one.job.grad_accum}",
            f"{one.memory.total / GIB:.1f}{'' if one.fits else ' (!)'}",
            f"{sum(c.exchange.sent for c in one.step.costs) / GIB:.2f}",
            number(one.step.exposed),
            number(one.step.seconds),
            f"{one.mfu:.1%}",
            f"{one.tokens_per_second:,.0f}",
            f"{speed_up:.2f} of {one.nodes / first.nodes:g}",
            f"{one.node_hours:,.0f}",
            style="" if one.fits else "dim",
        )
    return table


def number(value: float) -> str:
    """Formats a positive number to three digits."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.3g}" if value >= 1e-4 else "0"


def duration(hours: float) -> str:
    """Formats hours as what one would say."""
    if hours < 1:
        return f"{hours * 60:.1f} minutes"
    return f"{hours:.1f} hours" if hours < 72 else f"{hours / 24:.1f} days"
