"""The peak speed of the devices, of which the speed of training is reported as a share (model FLOP/s utilisation)."""

import socket
import time

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from varietas.train.processes import broadcast, exchange

# Dense bfloat16 FLOP/s of one jax device, from the makers' data sheets. The first key that occurs in the lower-case device_kind counts.
PEAK = {
    "h100 pcie": 756e12, "h100 nvl": 835e12, "h100": 989e12, "h200": 989e12, "gb200": 2500e12, "b200": 2250e12, "a100": 312e12,
    "l40s": 362e12, "mi250": 191.5e12, "mi300a": 980.6e12, "mi300": 1307e12, "mi325": 1307e12,
    "tpu7": 1153.5e12, "tpu v6": 918e12, "tpu v5 lite": 197e12, "tpu v5e": 197e12, "tpu v5": 459e12, "tpu v4": 275e12,
}  # fmt: skip


def peak_flops(mesh: Mesh) -> float | None:
    """Returns the peak FLOP/s of all devices of the mesh together; None for an accelerator that is not in the table.

    For CPUs it is the measured speed of a matrix product.
    """
    device = mesh.devices.flat[0]
    if device.platform == "cpu":
        hosts = set(exchange(socket.gethostname()).values())
        return broadcast(lambda: _measured(mesh.local_devices[0])) * len(hosts)
    of_one = peak_of(device)
    return of_one and of_one * mesh.size


def peak_of(device: jax.Device) -> float | None:
    """Returns the peak FLOP/s of an accelerator; None if it is not in the table."""
    return next((flops for kind, flops in PEAK.items() if kind in device.device_kind.lower()), None)


def _measured(device: jax.Device, size: int = 1024) -> float:
    """Returns the best FLOP/s of a few matrix products. They use all cores of the host, which its virtual devices share."""
    x = jax.device_put(jnp.ones((size, size)), device)
    product = jax.jit(jnp.dot)
    product(x, x).block_until_ready()
    best = float("inf")
    for _ in range(3):
        begun = time.perf_counter()
        product(x, x).block_until_ready()
        best = min(best, time.perf_counter() - begun)
    return 2 * size**3 / best
