"""What a run needs of memory, and what there is of it. Both are known before anything large is allocated."""

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `varietas doctor` asks for the memory of the host before jax starts
    import jax
    from jax.sharding import Mesh

    from varietas.train.step import State

ADVICE = "use more devices, raise train.grad_accum, mesh.fsdp or mesh.tensor, or keep fewer activations with model.remat=full"
OF_A_STATE = "use more devices, raise mesh.fsdp or mesh.tensor, or make the model smaller"
ON_A_CPU = "lower train.batch_size, raise train.grad_accum, set model.remat=full, make the model smaller, or free some memory"

# The files of a cgroup that hold its limit and what it uses, and the lines of memory.stat with the cached files among that. The kernel
# drops cached files when memory is short.
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file"))
V2 = ("memory.max", "memory.current", ("inactive_file", "active_file"))


def is_out_of_memory(error: Exception) -> bool:
    """Returns whether an error says that the memory of the host or of a device was too small. For devices jax raises a RuntimeError."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def state_bytes(arrays: Any) -> int:
    """Returns how much memory abstract arrays, such as parameters and optimiser, need on one device, in bytes."""
    import jax

    return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(arrays))


def check_state(abstract: "State", mesh: "Mesh") -> None:
    """Checks that parameters, gradients and optimiser fit into the memory of each device. A step holds all of them at once.

    Args:
        abstract: The state as ShapeDtypeStructs with shardings, from `step.abstract_state`.
        mesh: The devices.

    Raises:
        MemoryError: If they do not fit.
    """
    from varietas.model.linear.lora import trained

    need = state_bytes(abstract) + state_bytes(trained(abstract.params))  # each gradient is as large as its parameter
    _check("parameters, gradients and optimiser need", need, mesh, OF_A_STATE)


def check_step(step: "jax.stages.Compiled", mesh: "Mesh") -> None:
    """Checks that a compiled step fits into the memory of each device.

    Args:
        step: From `step.compile_step`.
        mesh: The devices.

    Raises:
        MemoryError: If it does not fit.
    """
    _check("a training step needs", step_bytes(step), mesh, ADVICE)


def step_bytes(step: "jax.stages.Compiled") -> int:
    """Returns what a device holds for a compiled step, in bytes: its arguments, and all that XLA allocates besides."""
    memory: Any = step.memory_analysis()
    results = memory.output_size_in_bytes - memory.alias_size_in_bytes  # the rest of them take the place of arguments
    return memory.argument_size_in_bytes + results + memory.temp_size_in_bytes


def check_batches(need: int) -> None:
    """Checks that the batches that are read ahead fit into the memory of the host.

    Args:
        need: Their size in bytes.

    Raises:
        MemoryError: If they do not fit.
    """
    free, where = host_free()
    if need > free:
        raise MemoryError(f"the batches that are read ahead need {_gib(need)}, but {where} has {_gib(free)} free; lower train.batch_size")


def free_on_each(mesh: "Mesh") -> tuple[int, str, bool]:
    """Returns how many bytes are free on each device of a mesh, what it is that has no more, and whether that is memory of the host."""
    device, n_local = mesh.local_devices[0], len(mesh.local_devices)
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0), "it", False
    free, where = host_free()  # virtual devices share the memory of the host
    return free // n_local, f"its share of {where}" if n_local > 1 else where, True


def _check(what: str, need: int, mesh: "Mesh", advice: str) -> None:
    free, where, on_cpu = free_on_each(mesh)
    advice = ON_A_CPU if on_cpu else advice
    if need > free:
        each = "the device" if mesh.size == 1 else f"each of {mesh.size} devices"
        raise MemoryError(f"{what} {_gib(need)} on {each}, but {where} has {_gib(free)} free; {advice}")


def host_free(
    proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup"), environ: Mapping[str, str] = os.environ
) -> tuple[int, str]:
    """Returns how much more memory of the host this process may use, in bytes, and what it is that has no more.

    Args:
        proc: Where the kernel tells of processes and memory.
        cgroups: Where control groups are mounted.
        environ: Environment variables, of which Slurm's count.
    """
    return min([*_of_machine(proc), *_of_cgroups(proc, cgroups), *_of_slurm(proc, environ)])


def _of_machine(proc: Path) -> Iterator[tuple[int, str]]:
    """Yields what the kernel estimates that programs may still use without swapping; cached files count as free."""
    kilobytes = _table(proc / "meminfo").get("MemAvailable:")
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # not Linux: all memory of the machine
    yield pages if kilobytes is None else kilobytes * 1024, "this machine"


def _of_cgroups(proc: Path, cgroups: Path) -> Iterator[tuple[int, str]]:
    """Yields what the control groups of this process have left: its own and those above. In a container only the topmost may be visible."""
    for line in _text(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, (limit, used, cached) = (cgroups / "memory", V1) if controllers else (cgroups, V2)
        own = root / path.strip("/")
        for folder in (own, *own.parents[: len(own.relative_to(root).parts)]) if ".." not in own.parts else (root,):
            most, now, stat = _text(folder / limit).strip(), _text(folder / used).strip(), _table(folder / "memory.stat")
            if most.isdigit() and now.isdigit():  # "max": no limit
                yield int(most) - int(now) + sum(stat.get(name, 0) for name in cached), "this job or container"


def _of_slurm(proc: Path, environ: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Yields what Slurm's limits leave. They are in megabytes; 0 is all memory of a node."""
    of_node, of_cpu, cpus = (
        int(value) if (value := environ.get(name, "")).isdigit() else 0
        for name in ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURM_CPUS_ON_NODE")
    )
    resident = _text(proc / "self" / "statm").split()[1:2]
    if limit := of_node or of_cpu * cpus:
        yield limit * 2**20 - sum(map(int, resident)) * os.sysconf("SC_PAGE_SIZE"), "the Slurm job (its --mem)"


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def _table(file: Path) -> dict[str, int]:
    """Reads lines of a name and a number."""
    rows = (line.split() for line in _text(file).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _gib(n: float) -> str:
    return f"{n / 2**30:,.1f} GiB"
