"""How fast the devices compute and exchange. Imports jax."""

import functools
import math
import time
from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from varietas.configs.machines.base import Link, Machine
from varietas.launch.doctor.finding import BROKEN, OK, SLOW, Finding, at_least
from varietas.train.peak import peak_of

USUAL_SHARE = 0.5  # of the peak, that a large product reaches on a healthy device of a machine that we know nothing of
SHARE = 0.75  # of what products attain on the machine, or of a link's bandwidth, below which something is wrong with a device
LINK_SHARE = 0.4  # of a link's bandwidth: rings of NCCL and RCCL reach 0.6 to 0.9 of it with large arrays
REPEATS = 5


def devices(machine: Machine | None, nodes: int) -> Finding:
    """Returns what jax has found, against what this many nodes of the machine have."""
    kind, local, all_ = jax.devices()[0].device_kind, jax.local_device_count(), jax.device_count()
    said = f"{all_:,} × {kind}" + (f", {local} of them with this process" if local != all_ else "")
    if machine is None or machine.platform == "cpu":
        return Finding("jax devices", OK, said)
    platform = "gpu" if machine.platform in ("cuda", "rocm") else machine.platform
    if jax.devices()[0].platform != platform:
        return Finding("jax devices", BROKEN, f"{said}; {machine.name} has {machine.device}", "see `accelerators` and `jax plugins`")
    if all_ != nodes * machine.devices_per_node:
        todo = "ask Slurm for all devices of a node; if it was asked, one is broken: take another node"
        return Finding("jax devices", SLOW, f"{said}; {nodes:,} nodes of {machine.name} have {nodes * machine.devices_per_node:,}", todo)
    return Finding("jax devices", OK, said)


def products(machine: Machine | None) -> Finding:
    """Measures a large matrix product on each device of this process, and compares the slowest with the peak."""
    here = jax.local_devices()
    on_cpu = here[0].platform == "cpu"
    n, dtype = (1024, jnp.float32) if on_cpu else (8192, jnp.bfloat16)
    product = jax.jit(jnp.dot)
    speeds = []
    for device in here[:1] if on_cpu else here:  # virtual devices share the cores
        x = jax.device_put(jnp.ones((n, n), dtype), device)
        speeds.append(2 * n**3 / _fastest(functools.partial(product, x, x)))
    slowest = int(np.argmin(speeds))
    said = f"{min(speeds) / 1e12:,.2f} TFLOP/s ({n}³, {jnp.dtype(dtype).name})"
    peak = machine.peak if machine and machine.platform != "cpu" else peak_of(here[0])
    if on_cpu or peak is None:
        return Finding("matrix products", OK, said, figure=min(speeds))
    wanted = SHARE * machine.attainable if machine else USUAL_SHARE * SHARE
    said += f", {min(speeds) / peak:.0%} of the peak"
    todo = f"device {slowest} of this node is slow: see its temperature and clock, or take another node"
    return at_least("matrix products", min(speeds) / peak, wanted, said, todo)


def sums(machine: Machine | None, nodes: int) -> list[Finding]:
    """Measures an all-reduce within nodes and over all of them, and compares it with the links of the machine.

    All processes call it together.
    """
    count = jax.device_count()
    if count == 1:
        return [Finding("all-reduce", OK, "there is one device, so nothing is exchanged")]
    nodes = math.gcd(nodes, count)
    mesh = Mesh(np.array(sorted(jax.devices(), key=lambda d: (d.process_index, d.id))).reshape(nodes, -1), ("nodes", "node"))
    found = []
    if count > nodes:
        found.append(
            _sum("all-reduce in a node", mesh, ("node",), machine.within if machine else None, "the links between the devices of a node")
        )
    if nodes > 1:
        blame = "the network: NCCL_DEBUG=INFO shows which it takes"
        of_all = _sum("all-reduce", mesh, ("nodes", "node"), machine.between if machine else None, blame)
        found.append(replace(of_all, figure=None, own=True))  # every process measures the same
    return found


def _sum(name: str, mesh: Mesh, axes: tuple[str, ...], link: Link | None, blame: str) -> Finding:
    on_cpu = jax.devices()[0].platform == "cpu"
    size = (4 if on_cpu else 256) << 20  # bytes that each device adds
    n = math.prod(mesh.shape[axis] for axis in axes)
    sharding = NamedSharding(mesh, P(("nodes", "node")))
    x = jax.make_array_from_callback((mesh.size, size // 4), sharding, lambda _: np.ones((1, size // 4), np.float32))
    kept = [axis for axis in mesh.axis_names if axis not in axes]
    add = jax.jit(jax.shard_map(lambda y: jax.lax.psum(y, axes), mesh=mesh, in_specs=sharding.spec, out_specs=P(*kept)))
    total = add(x)
    if float(np.asarray(total.addressable_shards[0].data)[0, 0]) != n:
        return Finding(
            name,
            BROKEN,
            f"the sum over {n} devices is wrong",
            "a device or the network computes wrongly: take other nodes, and tell the help desk",
        )
    bandwidth = 2 * (n - 1) / n * size / _fastest(functools.partial(add, x))  # bytes that a ring sends from each device
    said = f"{bandwidth / 1e9:,.2f} GB/s from each of {n:,} devices"
    if link is None or on_cpu:
        return Finding(name, OK, said, figure=bandwidth)
    said += f", {bandwidth / link.bandwidth:.0%} of the link"
    return at_least(name, bandwidth / link.bandwidth, LINK_SHARE, said, f"something is wrong with {blame}")


def _fastest(work: Callable[[], jax.Array]) -> float:
    """Returns the least seconds that a piece of work takes, after a first time that compiles it."""
    work().block_until_ready()
    best = math.inf
    for _ in range(REPEATS):
        begun = time.perf_counter()
        work().block_until_ready()
        best = min(best, time.perf_counter() - begun)
    return best
