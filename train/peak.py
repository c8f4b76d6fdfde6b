"""What the devices could do at most, so that speed can be told as a share of it (model flops utilisation)."""

import time

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

# Dense bf16 FLOP/s of what jax calls a device, makers' data sheets. The first that is a part of its device_kind in lower case holds.
PEAK = {
    "h100 pcie": 756e12, "h100 nvl": 835e12, "h100": 989e12, "h200": 989e12, "gb200": 2500e12, "b200": 2250e12, "a100": 312e12,
    "l40s": 362e12, "mi250": 191.5e12, "mi300a": 980.6e12, "mi300": 1307e12, "mi325": 1307e12,
    "tpu7": 1153.5e12, "tpu v6": 918e12, "tpu v5 lite": 197e12, "tpu v5e": 197e12, "tpu v5": 459e12, "tpu v4": 275e12,
}  # fmt: skip


def peak_flops(mesh: Mesh) -> float | None:
    """FLOP/s of all devices of the mesh together: for CPUs a matrix product is timed; None for an accelerator that is not in the table."""
    device = mesh.devices.flat[0]
    if device.platform == "cpu":
        return _measured(device)
    of_one = next((flops for kind, flops in PEAK.items() if kind in device.device_kind.lower()), None)
    return of_one and of_one * mesh.size


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
