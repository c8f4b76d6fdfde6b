"""Tries meshes and policies: the fastest that fit, and what to change where a job does not fit."""

from collections.abc import Iterator
from dataclasses import replace

from varietas.configs.machines.base import Machine
from varietas.launch.mesh import split_over_tensor
from varietas.launch.plan.estimate import Plan, plan
from varietas.launch.plan.job import Job

REMAT = ("none", "dots", "full")  # what is recomputed, from nothing to everything


def divisors(n: int) -> list[int]:
    """Returns the divisors of n, the smallest first."""
    small = [d for d in range(1, int(n**0.5) + 1) if n % d == 0]
    return sorted({*small, *(n // d for d in small)})


def meshes(job: Job, devices: int, machine: Machine) -> Iterator[tuple[int, int, int]]:
    """Yields the meshes over which batch and model divide. `tensor` stays within a node, since its exchanges cannot wait."""
    m = job.model
    for tensor in divisors(devices):
        if tensor > machine.devices_per_node or any(n % tensor for n in split_over_tensor(m).values()):
            continue
        for fsdp in divisors(devices // tensor):
            data = devices // tensor // fsdp
            if m.d_model % fsdp == 0 and job.batch_size % (data * fsdp) == 0:
                yield data, fsdp, tensor


def variants(job: Job, devices: int, machine: Machine) -> Iterator[Job]:
    """Yields the job on every mesh, with every policy of recomputation and number of parts of a batch."""
    for data, fsdp, tensor in meshes(job, devices, machine):
        for remat in REMAT:
            for parts in divisors(job.batch_size // (data * fsdp)):
                yield replace(job, model=replace(job.model, remat=remat), mesh=(data, fsdp, tensor), grad_accum=parts)


def fitting(job: Job, devices: int, machine: Machine) -> list[Plan]:
    """Returns the plans of all variants that surely fit, the fastest first."""
    plans = (plan(variant, machine) for variant in variants(job, devices, machine))
    return sorted((one for one in plans if one.surely_fits), key=lambda one: one.step.seconds)


def best(job: Job, devices: int, machine: Machine, n: int = 8) -> list[Plan]:
    """Returns up to n of the fastest plans that fit, each with another mesh or policy of recomputation."""
    found: dict[object, Plan] = {}
    for one in fitting(job, devices, machine):
        found.setdefault((one.job.mesh, one.job.model.remat), one)
    return list(found.values())[:n]


def changes(old: Job, new: Job) -> dict[str, object]:
    """Returns the config fields in which a job differs from another, with their new values."""
    fields: dict[str, tuple[object, object]] = {
        "model.remat": (old.model.remat, new.model.remat),
        "train.grad_accum": (old.grad_accum, new.grad_accum),
        "mesh.data": (old.mesh[0], new.mesh[0]),
        "mesh.fsdp": (old.mesh[1], new.mesh[1]),
        "mesh.tensor": (old.mesh[2], new.mesh[2]),
        "data.seq_len": (old.seq_len, new.seq_len),
        "train.batch_size": (old.batch_size, new.batch_size),
    }
    return {name: after for name, (before, after) in fields.items() if before != after}


def flags(old: Job, new: Job) -> str:
    """Returns the arguments that make one job of another."""
    return " ".join(f"--config.{field}={value}" for field, value in changes(old, new).items())


def remedies(job: Job, machine: Machine, n: int = 5) -> list[Plan]:
    """Returns what to do about a job that does not fit: up to n plans that fit on the same devices, the fastest first.

    Of plans that change the same fields only the fastest is listed, and a plan that changes more must be faster than those that change
    less. If none fits, rows are made shorter, with as many tokens in a batch.
    """
    for shorter in (1, 2, 4, 8, 16):
        if job.seq_len % (2 * shorter):
            break
        rows = replace(job, seq_len=job.seq_len // shorter, batch_size=job.batch_size * shorter)
        kept: dict[frozenset[str], Plan] = {}
        for one in fitting(rows, job.devices, machine):
            kept.setdefault(frozenset(_kinds(job, one.job)), one)
        plans = [
            one for kinds, one in kept.items() if not any(other < kinds and kept[other].step.seconds <= one.step.seconds for other in kept)
        ]
        if plans:
            return plans[:n]
    return []


def _kinds(old: Job, new: Job) -> list[str]:
    """Returns what kinds of changes a new job makes: the mesh counts as one."""
    return [name.split(".")[0] if name.startswith("mesh") else name for name in changes(old, new)]


def enough_nodes(job: Job, machine: Machine, most: int) -> int | None:
    """Returns the smallest power of two of nodes on which some variant of a job fits; None if there is none up to `most`."""
    nodes = 1
    while nodes <= most:
        devices = nodes * machine.devices_per_node
        if any(plan(variant, machine).surely_fits for variant in variants(job, devices, machine)):
            return nodes
        nodes *= 2
    return None
