"""Whether the state fits the devices, told before anything is allocated."""

import math
import os

import jax
from jax.sharding import Mesh

from varietas.train.step import State

ADVICE = "use more devices, raise train.grad_accum, mesh.fsdp or mesh.tensor, or keep less: model.remat=full"


def is_out_of_memory(error: Exception) -> bool:
    """Whether the host's memory or a device's, of which jax tells in a RuntimeError, was too small."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def state_bytes(abstract: State) -> int:
    """What parameters and optimiser need on one device, in bytes."""
    return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(abstract))


def device_bytes(device: jax.Device) -> int:
    """The memory of a device; of a virtual CPU device, its part of the machine's."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // jax.local_device_count()


def check_fits(abstract: State, mesh: Mesh) -> None:
    """Raises MemoryError if parameters and optimiser alone are too much for a device."""
    need, have = state_bytes(abstract), device_bytes(mesh.local_devices[0])
    if need > have:
        raise MemoryError(
            f"parameters and optimiser need {need / 2**30:,.1f} GiB on each of {mesh.size} devices, "
            f"which have {have / 2**30:,.1f} GiB; use more devices, raise mesh.fsdp or mesh.tensor, or make the model smaller"
        )
