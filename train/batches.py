"""This process's part of each batch: which rows it reads, how much memory they take, and how they come onto its devices."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from varietas.data.stream.loader import BYTES_PER_TOKEN, Parts, count
from varietas.data.stream.stream import Rows
from varietas.model.sharding import batch_sharding
from varietas.train.step import Batch

AT_ONCE = 3  # batches in the memory of the host: one in use, one ready, one being read


def local_rows(mesh: Mesh, batch_size: int) -> Parts:
    """Returns the rows of the global batch that lie on this process's devices, as `rows_on` does."""
    return rows_on(mesh.local_devices, mesh, batch_size)


def rows_on(devices: Sequence[jax.Device], mesh: Mesh, batch_size: int) -> Parts:
    """Returns the rows of the global batch that lie on these devices, as parts (first, last), last exclusive, ascending.

    Several devices may hold the same rows. On a torus, the rows of a process need not be neighbours.
    """
    indices: Any = batch_sharding(mesh).devices_indices_map((batch_size, 1))
    parts: list[tuple[int, int]] = []
    for first, last in sorted({indices[device][0].indices(batch_size)[:2] for device in devices}):
        if parts and parts[-1][1] == first:  # read together what lies together
            first = parts.pop()[0]
        parts.append((first, last))
    return tuple(parts)


def host_bytes(mesh: Mesh, batch_size: int, seq_len: int) -> int:
    """Returns how much memory of the host the batches take that are read ahead, in bytes."""
    return AT_ONCE * BYTES_PER_TOKEN * count(local_rows(mesh, batch_size)) * seq_len


def sharded(local: Iterator[Rows], mesh: Mesh, batch_size: int) -> Iterator[Batch]:
    """Puts this process's rows of each batch onto its devices, as shards of global arrays."""
    sharding, parts = batch_sharding(mesh), local_rows(mesh, batch_size)
    place = {row: n for n, row in enumerate(row for first, last in parts for row in range(first, last))}  # of a row among those read

    def put(rows: np.ndarray) -> jax.Array:
        def part(index: Any) -> np.ndarray:
            first, last, _ = index[0].indices(batch_size)
            return rows[place[first] : place[first] + last - first]

        return jax.make_array_from_callback((batch_size, rows.shape[1]), sharding, part)

    for rows in local:
        yield {name: put(values) for name, values in rows.items()}
