"""What the devices could do at most, so that speed can be told as a share of it (model flops utilisation)."""

import time

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

# Dense bf16 FLOP/s of one device, makers' data sheets. A part of jax's device_kind in lower case finds it.
PEAK = {
    "h100": 989e12, "h200": 989e12, "gh200": 989e12, "a100": 312e12, "mi250": 191.5e12, "mi300": 1307e12,
    "v6": 918e12, "v5p": 459e12, "v5 lite": 197e12, "v5e": 197e12, "v4": 275e12,
}  # fmt: skip


def peak_flops(mesh: Mesh) -> float:
    """FLOP/s of all devices of the mesh together. For a CPU, or a device not in the table, a matrix product is timed."""
    device = mesh.devices.flat[0]
    for kind, flops in PEAK.items():
        if kind in device.device_kind.lower():
            return flops * mesh.size
    return _measured(device) * (1 if device.platform == "cpu" else mesh.size)


def _measured(device: jax.Device, size: int = 1024) -> float:
    """The best of a few products on the host, whose virtual devices share its cores."""
    x = jax.device_put(jnp.ones((size, size)), device)
    product = jax.jit(jnp.dot)
    product(x, x).block_until_ready()
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        product(x, x).block_until_ready()
        best = min(best, time.perf_counter() - begun)
    return 2 * size**3 / best
