"""Which rows of a batch go to which device and to which process."""

from collections import Counter

import jax
import numpy as np
import pytest

from varietas.model.sharding import batch_sharding, make_mesh
from varietas.train.batches import local_rows, rows_on, sharded


@pytest.mark.parametrize("sizes", [(8, 1, 1), (2, 2, 2), (1, 1, 8)])
def test_every_device_gets_its_rows_of_a_batch(sizes: tuple[int, int, int]) -> None:
    mesh, batch = make_mesh(*sizes), {"tokens": np.arange(48).reshape(16, 3), "segments": -np.arange(48).reshape(16, 3)}
    assert local_rows(mesh, 16) == ((0, 16),)  # all devices are this process's
    (found,) = sharded(iter([batch]), mesh, 16)
    for name, rows in batch.items():
        assert np.array_equal(found[name], rows) and found[name].sharding == batch_sharding(mesh)
        parts = mesh.shape["data"] * mesh.shape["fsdp"]
        for shard in found[name].addressable_shards:
            place = np.argwhere(mesh.devices == shard.device)[0]
            part = place[0] * mesh.shape["fsdp"] + place[1]
            assert np.array_equal(shard.data, rows[part * 16 // parts : (part + 1) * 16 // parts])
    assert len(jax.devices()) == 8


# processes, data, fsdp, tensor, and how many processes read each row: more than one where `tensor` crosses processes
MESHES = [
    (2, 2, 1, 1, 1), (2, 1, 2, 1, 1), (2, 1, 1, 2, 2), (2, 2, 2, 1, 1), (2, 2, 1, 2, 1), (2, 1, 2, 2, 1), (2, 1, 1, 8, 2),
    (4, 4, 1, 1, 1), (4, 1, 4, 1, 1), (4, 2, 2, 1, 1), (4, 2, 1, 2, 2), (4, 1, 2, 2, 2), (4, 1, 1, 4, 4), (4, 2, 2, 2, 1),
    (8, 2, 2, 2, 2), (8, 1, 8, 1, 1),
]  # fmt: skip


@pytest.mark.parametrize(("processes", "data", "fsdp", "tensor", "readers"), MESHES)
def test_processes_together_read_every_row_of_a_batch(processes: int, data: int, fsdp: int, tensor: int, readers: int) -> None:
    B, n = 16, data * fsdp * tensor
    mesh = make_mesh(data, fsdp, tensor, jax.devices()[:n])
    of_processes = np.array(jax.devices()[:n]).reshape(processes, -1)  # as `program.mesh_of` orders them
    parts = [rows_on(list(devices), mesh, B) for devices in of_processes]
    read = Counter(row for own in parts for first, last in own for row in range(first, last))
    assert read == dict.fromkeys(range(B), readers)
