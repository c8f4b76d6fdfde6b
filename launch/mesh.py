"""From `mesh` of a config and a number of devices to the sizes of the three mesh axes. Imports no jax."""

import math

from ml_collections import ConfigDict

from varietas.model.config import ModelConfig

CORES_PER_DEVICE = 2  # of a CPU: XLA keeps two cores busy within one device, without exchanging gradients
LEAST_COLUMNS = 256  # of d_model on a device, where Varietas chooses the mesh: narrower shards are slow to exchange


def cpu_devices(config: ConfigDict, cores: int) -> int:
    """Returns how many virtual devices suit a CPU with this many cores.

    That is the number that the mesh names, or where an axis is -1 up to one device for each CORES_PER_DEVICE cores.
    """
    sizes = [config.mesh.data, config.mesh.fsdp, config.mesh.tensor]
    named = math.prod(size for size in sizes if size > 0)
    if named > max(cores, 8):
        return cores
    return suitable(config, max(named, cores // CORES_PER_DEVICE)) if -1 in sizes else named


def suitable(config: ConfigDict, at_most: int, multiple: int = 1) -> int:
    """Returns the largest number of devices, up to `at_most`, over which mesh, batch and model divide.

    If there is none, returns `at_most`: `resolve_mesh` then explains what does not fit.

    Args:
        config: The config.
        at_most: The devices there are.
        multiple: The number of processes, which all have the same number of devices.
    """
    return next((n for n in range(at_most, 0, -multiple) if fits(config, n)), at_most)


def fits(config: ConfigDict, n_devices: int) -> bool:
    """Whether mesh, batch and model divide over this many devices."""
    try:
        resolve_mesh(config, n_devices)
    except ValueError:
        return False
    return True


def check_processes(config: ConfigDict, processes: int, devices: int) -> None:
    """Checks that the batches of a run divide over some number of devices of each process.

    Args:
        config: The config.
        processes: The number of processes.
        devices: The number of devices of each process.

    Raises:
        ValueError: If they do not. It says how many processes would do.
    """
    fewer = next((n for n in range(processes, 0, -1) if fits(config, suitable(config, n * devices, n))), processes)
    if fewer < processes:
        rows = config.train.batch_size // config.train.grad_accum
        raise ValueError(f"{rows} rows of the run are computed at once, and do not divide over {processes} processes; start {fewer}")


def resolve_mesh(config: ConfigDict, n_devices: int, fixed: bool = False) -> tuple[int, int, int]:
    """Returns the sizes of `data`, `fsdp` and `tensor` with every -1 filled in.

    Args:
        config: The config.
        n_devices: The number of devices.
        fixed: Whether jax had begun before, so that this process cannot have another number.

    Raises:
        ValueError: If the sizes do not fit the devices, the batch or the model.
    """
    mesh, d_model = config.mesh, config.model.d_model
    sizes = {"data": mesh.data, "fsdp": mesh.fsdp, "tensor": mesh.tensor}
    _check_sizes(sizes)
    named = math.prod(size for size in sizes.values() if size > 0)
    if sizes["fsdp"] == sizes["data"] == -1:
        left = max(1, n_devices // named)
        sizes["fsdp"] = max(n for n in range(1, left + 1) if n == 1 or (left % n == d_model % n == 0 and d_model // n >= LEAST_COLUMNS))
    for axis in ("fsdp", "data", "tensor"):
        if sizes[axis] == -1:
            sizes[axis] = max(1, n_devices // math.prod(size for size in sizes.values() if size > 0))
    if math.prod(sizes.values()) != n_devices:
        shown = " × ".join(f"{axis}={size}" for axis, size in sizes.items())
        rest = {axis: math.prod(sizes.values()) // size for axis, size in sizes.items()}
        fits = [f"mesh.{axis}={n_devices // rest[axis]}" for axis in rest if mesh[axis] not in (-1, 1) and n_devices % rest[axis] == 0]
        raise ValueError(
            f"mesh {shown} needs {math.prod(sizes.values())} devices, found {n_devices}; "
            f"set {fits[0] if fits else 'mesh.data=1 and mesh.fsdp=-1'} "
            f"(on a CPU also: {f'cpu_devices={named} in a new process' if fixed else f'--cpu_devices {named}'})"
        )
    check_mesh(config, sizes["data"], sizes["fsdp"], sizes["tensor"])
    return sizes["data"], sizes["fsdp"], sizes["tensor"]


def check_mesh(config: ConfigDict, data: int, fsdp: int, tensor: int) -> None:
    """Checks that batch and model divide over a mesh. An axis that is still -1 may become anything and is not checked.

    Raises:
        ValueError: If they do not, or if a size is neither -1 nor a positive number.
    """
    m, t = config.model, config.train
    _check_sizes({"data": data, "fsdp": fsdp, "tensor": tensor})
    batch_parts = max(data, 1) * max(fsdp, 1) * t.grad_accum
    if t.batch_size % batch_parts:
        near = max(1, round(t.batch_size / batch_parts)) * batch_parts
        over = " × ".join(f"{axis}={size}" for axis, size in (("data", data), ("fsdp", fsdp)) if size > 0) + " devices"
        accumulated = f" × grad_accum={t.grad_accum}" if t.grad_accum > 1 else ""
        raise ValueError(f"train.batch_size={t.batch_size} does not divide over {over}{accumulated}; set train.batch_size={near}")
    splits = [("fsdp", fsdp, "d_model", m.d_model), *(("tensor", tensor, field, size) for field, size in split_over_tensor(m).items())]
    for axis, parts, field, size in splits:
        if size % max(parts, 1):
            raise ValueError(f"mesh.{axis}={parts} does not divide model.{field}={size}; set mesh.{axis}={nearest_divisor(size, parts)}")


def split_over_tensor(model: ConfigDict | ModelConfig) -> dict[str, int]:
    """Returns the sizes of a model that are split over `tensor`, by their fields."""
    experts, shared = model.feed_forward == "experts", model.n_shared_experts * model.d_expert
    return {
        "n_heads": model.n_heads,
        "n_kv_heads": model.n_kv_heads,
        **({"d_ff": model.d_ff} if not experts or model.n_dense_layers else {}),
        **({"n_experts": model.n_experts} if experts else {}),
        **({"n_shared_experts × d_expert": shared} if experts and shared else {}),
        "vocab_size": model.vocab_size,
    }


def _check_sizes(sizes: dict[str, int]) -> None:
    for axis, size in sizes.items():
        if size < 1 and size != -1:
            raise ValueError(f"mesh.{axis}={size} must be 1 or more, or -1 for the devices that are left")


def nearest_divisor(n: int, near: int) -> int:
    """Returns the divisor of n nearest to `near`."""
    return min((d for d in range(1, n + 1) if n % d == 0), key=lambda d: abs(d - near))
