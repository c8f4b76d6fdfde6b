"""Which rows of a batch, and which device, made a step go wrong. Compiled only when that has happened, or for regular checks."""

import functools
import socket
from collections import Counter
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from varietas.model.config import ModelConfig
from varietas.model.decoder import Build, Decoder, Params, bind, graph_and_shapes
from varietas.model.linear.lora import applied
from varietas.model.loss import cross_entropy
from varietas.model.sharding import AXES, batch_sharding, param_shardings, replicated
from varietas.train.experiment import Experiment
from varietas.train.processes import exchange
from varietas.train.run_folder.digest import by_path, checksum
from varietas.train.step import Batch, in_parts, next_tokens

TIMES = 3  # computations of the loss of each row: two that agree tell which of three is wrong


def row_losses(exp: Experiment, mesh: Mesh, params: Params, batch: Batch, build: Build = Decoder) -> np.ndarray:
    """Computes the loss of each row on its own, several times.

    Returns:
        Mean negative log-likelihood per target in nats, float32 (TIMES, B). It is 0 for a row without targets.
    """
    of_all = _of_rows(exp.model, exp.grad_accum, mesh, build)
    with jax.set_mesh(mesh):
        return np.stack([np.asarray(of_all(params, batch)) for _ in range(TIMES)])


@functools.lru_cache(1)  # steps often go wrong one after the other
def _of_rows(model: ModelConfig, grad_accum: int, mesh: Mesh, build: Build) -> Callable[[Params, Batch], jax.Array]:
    """Returns a compiled function from parameters and a batch to the losses of its rows."""
    graph, _ = graph_and_shapes(model, build)

    def of_part(params: Params, batch: Batch) -> jax.Array:
        decoder = bind(graph, applied(params, model))
        targets, mask, _ = next_tokens(batch)
        hidden = decoder(batch["tokens"], batch["segments"], batch["positions"])
        _, nll = cross_entropy(hidden, decoder.head_DV, targets, mask, 0.0, model.loss_chunk)
        return (nll * mask).sum(1) / jnp.maximum(mask.sum(1), 1.0)

    def of_all(params: Params, batch: Batch) -> jax.Array:
        return jax.lax.map(functools.partial(of_part, params), in_parts(batch, grad_accum)).swapaxes(0, 1).reshape(-1)

    return jax.jit(of_all, out_shardings=replicated(mesh))


def bad_rows(losses: np.ndarray, limit: float) -> np.ndarray:
    """Returns the rows, ascending, whose loss is not a number or above `limit`; none if the fault does not show in single rows.

    Args:
        losses: From `row_losses`.
        limit: Infinity if only the numbers that are not finite count.
    """
    return np.flatnonzero(~np.isfinite(losses[0]) | (losses[0] > limit))


def unsteady_devices(losses: np.ndarray, mesh: Mesh, fraction: float) -> list[jax.Device]:
    """Returns the devices that compute the losses of rows which differ from one time to the next by more than a fraction."""
    unsteady = np.flatnonzero(~np.all(np.isclose(losses, losses[0], fraction, 0.0, equal_nan=True), axis=0))
    where = batch_sharding(mesh).devices_indices_map((losses.shape[1], 1))
    rows = {device: range(losses.shape[1])[index[0]] for device, index in where.items()}
    return [device for device in mesh.devices.flat if any(row in rows[device] for row in unsteady)]


def unlike_replicas(params: Params, mesh: Mesh) -> list[jax.Device]:
    """Returns the devices whose copies of parameters differ from the copies that most others hold; all of them if there is no majority."""
    sums, unlike = np.asarray(_checksums_of(mesh)(params)), set[jax.Device]()
    for i, sharding in enumerate(by_path(param_shardings(params, mesh)).values()):
        for part in _holders(sharding, mesh).values():
            held = Counter(sums[place][i].tobytes() for place in part)
            (usual, n), *_ = held.most_common(1)
            if len(held) > 1:
                unlike |= {mesh.devices[place] for place in part if 2 * n <= len(part) or sums[place][i].tobytes() != usual}
    return [device for device in mesh.devices.flat if device in unlike]


@functools.lru_cache(1)  # it is called again every few steps
def _checksums_of(mesh: Mesh) -> Callable[[Params], jax.Array]:
    """Returns a compiled function from parameters to the checksums of what each device holds: (data, fsdp, tensor, parameters, 2)."""

    def of_device(params: Params) -> jax.Array:
        return jnp.stack([checksum(x) for x in by_path(params).values()])[None, None, None]

    def of_all(params: Params) -> jax.Array:
        specs = jax.tree.map(lambda sharding: sharding.spec, param_shardings(params, mesh))
        return jax.shard_map(of_device, mesh=mesh, in_specs=(specs,), out_specs=PartitionSpec(*AXES), check_vma=False)(params)

    return jax.jit(of_all, out_shardings=replicated(mesh))


def _holders(sharding: NamedSharding, mesh: Mesh) -> dict[tuple[int, ...], list[tuple[int, ...]]]:
    """Returns the places in the mesh of the devices that hold the same part of a parameter, for each part."""
    used = {axis for axes in sharding.spec for axis in ((axes,) if isinstance(axes, str) else axes or ())}
    split = [n for n, axis in enumerate(AXES) if axis in used]
    parts: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for place in np.ndindex(mesh.devices.shape):
        parts.setdefault(tuple(place[n] for n in split), []).append(place)
    return parts


def names(devices: list[jax.Device]) -> str:
    """Names devices, process by process, with their hosts. All processes call it together."""
    hosts, of = exchange(socket.gethostname()), dict[int, list[str]]()
    for device in devices:
        of.setdefault(device.process_index, []).append(str(device))
    listed = [f"{', '.join(held)} of process {process} on {hosts[process]}" for process, held in sorted(of.items())]
    return "; ".join(listed[:8]) + ("; …" if len(listed) > 8 else "")
