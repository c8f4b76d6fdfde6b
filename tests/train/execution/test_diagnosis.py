"""Which rows have a bad loss, and which device computes or holds something else than the others (eight devices)."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

import varietas
from varietas.launch.config import load_config
from varietas.launch.resolve import experiment_of
from varietas.model.config import ModelConfig
from varietas.model.decoder import graph_and_shapes
from varietas.model.sharding import batch_sharding, make_mesh, param_shardings
from varietas.train.execution.diagnosis import bad_rows, names, row_losses, unlike_replicas, unsteady_devices
from varietas.train.step import BATCH_FIELDS, fresh_params

MESH_SIZES = [(8, 1, 1), (2, 2, 2), (1, 8, 1)]


def test_the_losses_of_rows_are_those_of_the_first_step(tmp_path: Path, corpus_folder: Path) -> None:
    run = varietas.Run("tiny", {"train.steps": 1, "train.grad_accum": 2, "mesh.fsdp": 2, "mesh.tensor": 2}, folder=tmp_path / "run")
    run.train()
    exp, mesh, rows = experiment_of(run.config), make_mesh(2, 2, 2), run.stream.rows(0, 8)
    batch = {name: jax.device_put(rows[name], batch_sharding(mesh)) for name in BATCH_FIELDS}
    losses = row_losses(exp, mesh, fresh_params(exp.model, mesh, exp.seed), batch)
    targets = ((rows["segments"][:, 1:] > 0) & (rows["segments"][:, 1:] == rows["segments"][:, :-1])).sum(1)
    assert losses.shape == (3, 8) and np.ptp(losses, axis=0).max() == 0
    assert np.average(losses[0], weights=targets) == pytest.approx(run.metrics[0]["loss"], rel=1e-6)


def test_bad_rows_are_not_finite_or_above_the_limit() -> None:
    losses = np.array([[2.0, np.nan, 5.0, np.inf]] * 3)
    assert bad_rows(losses, np.inf).tolist() == [1, 3] and bad_rows(losses, 4.0).tolist() == [1, 2, 3]


def test_devices_are_unsteady_whose_rows_have_another_loss_each_time() -> None:
    mesh = make_mesh(2, 2, 2)
    losses = np.full((3, 8), 2.0)
    losses[:, 1] = np.nan  # each time: the row is bad, not the device
    assert unsteady_devices(losses, mesh, 0.0) == []
    losses[1, 5] = 2.1  # rows 4 and 5 lie on the devices at data=1, fsdp=0
    assert unsteady_devices(losses, mesh, 0.0) == list(mesh.devices[1, 0]) and unsteady_devices(losses, mesh, 0.1) == []


def parameters(mesh: Mesh) -> dict[str, jax.Array]:
    cfg = replace(ModelConfig(**load_config("tiny").model), vocab_size=128)
    return fresh_params(cfg, mesh, 0)


@pytest.mark.parametrize("sizes", MESH_SIZES)
def test_replicas_of_parameters_are_compared(sizes: tuple[int, int, int]) -> None:
    mesh = make_mesh(*sizes)
    params = parameters(mesh)
    assert unlike_replicas(params, mesh) == []
    victim = mesh.devices.flat[5]
    scale = params["final_norm"]["scale_D"]  # type: ignore[index]  # every device holds it whole
    parts = [np.array(shard.data) for shard in scale.addressable_shards]
    for part, shard in zip(parts, scale.addressable_shards, strict=True):
        if shard.device == victim:
            part.view(np.uint32)[3] ^= 1
    arrays = [jax.device_put(part, shard.device) for part, shard in zip(parts, scale.addressable_shards, strict=True)]
    params["final_norm"]["scale_D"] = jax.make_array_from_single_device_arrays(scale.shape, scale.sharding, arrays)  # type: ignore[index]
    assert unlike_replicas(params, mesh) == [victim]


def test_of_two_replicas_that_differ_either_may_be_wrong() -> None:
    mesh = make_mesh(2, 4, 1)
    params = parameters(mesh)
    query = params["layers"]["attention"]["query_DNH"]  # type: ignore[index]  # split over fsdp, so each part is held twice
    arrays = [jax.device_put(np.array(shard.data), shard.device) for shard in query.addressable_shards]
    arrays[6] = arrays[6].at[0, 0, 0, 0].add(1.0)
    changed = jax.make_array_from_single_device_arrays(query.shape, query.sharding, arrays)
    params["layers"]["attention"]["query_DNH"] = changed  # type: ignore[index]
    holder = query.addressable_shards[6].device
    (place,) = np.argwhere(mesh.devices == holder)
    assert unlike_replicas(params, mesh) == list(mesh.devices[:, place[1], 0])


def test_a_device_is_named_with_its_process_and_host() -> None:
    assert names(jax.devices()[1:3]).startswith("cpu:1, cpu:2 of process 0 on ")


def test_every_parameter_has_a_sharding_to_compare_by() -> None:
    cfg = replace(ModelConfig(**load_config("tiny").model), vocab_size=128)
    shapes = graph_and_shapes(cfg)[1]
    assert jax.tree.structure(param_shardings(shapes, make_mesh(2, 2, 2))) == jax.tree.structure(shapes)
