"""The sizes of the mesh axes follow from the config and the number of devices."""

import math

import pytest

from varietas.launch.config import load_config
from varietas.launch.mesh import check_processes, cpu_devices, resolve_mesh


@pytest.mark.parametrize(
    ("overrides", "sizes"),
    [
        ([], (8, 1, 1)),
        (["--config.model.d_model=1024"], (2, 4, 1)),
        (["--config.model.d_model=1024", "--config.mesh.tensor=4"], (1, 2, 4)),
        (["--config.model.d_model=1024", "--config.mesh.data=1"], (1, 8, 1)),
        (["--config.mesh.fsdp=4"], (2, 4, 1)),
        (["--config.mesh.data=2"], (2, 4, 1)),
        (["--config.mesh.tensor=2", "--config.mesh.data=4"], (4, 1, 2)),
    ],
)
def test_open_axes_take_the_devices_that_are_left(overrides: list[str], sizes: tuple[int, int, int]) -> None:
    assert resolve_mesh(load_config("tiny", overrides), 8) == sizes


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["--config.mesh.data=3", "--config.mesh.fsdp=4"], "data=3 × fsdp=4 × tensor=1 needs 12 devices, found 8; set mesh.data=2"),
        (["--config.mesh.data=2", "--config.mesh.fsdp=8"], "needs 16 devices, found 8; set mesh.data=1"),
        (["--config.mesh.fsdp=3"], "devices, found 8"),
        (["--config.mesh.data=3", "--config.mesh.fsdp=5"], "found 8; set mesh.data=1 and mesh.fsdp=-1"),
        (["--config.mesh.fsdp=0"], "mesh.fsdp=0 must be 1 or more"),
        (["--config.train.batch_size=6"], "train.batch_size=6 does not divide over data=8 × fsdp=1 devices; set train.batch_size=8"),
        (["--config.mesh.tensor=8", "--config.model.n_kv_heads=4"], "mesh.tensor=8 does not divide model.n_kv_heads=4; set mesh.tensor=4"),
    ],
)
def test_a_mesh_that_does_not_fit_is_told_with_one_that_does(overrides: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        resolve_mesh(load_config("tiny", overrides), 8)
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "cores", "devices"),
    [
        ([], 2, 1),
        ([], 16, 8),
        ([], 1, 1),
        (["--config.mesh.fsdp=4"], 2, 4),
        (["--config.train.batch_size=12"], 14, 6),  # of 7, the batch would not divide
        (["--config.train.batch_size=12", "--config.mesh.fsdp=-1", "--config.mesh.data=1"], 12, 4),  # 6 would not divide d_model=64
        (["--config.train.batch_size=15", "--config.mesh.tensor=2"], 30, 10),
        (["--config.mesh.data=1", "--config.mesh.fsdp=1", "--config.mesh.tensor=-1", "--config.model.n_kv_heads=4"], 16, 4),
    ],
)
def test_the_virtual_devices_chosen_fit_the_config(overrides: list[str], cores: int, devices: int) -> None:
    config = load_config("tiny", overrides)
    assert cpu_devices(config, cores) == devices
    assert math.prod(resolve_mesh(config, devices)) == devices


def test_processes_over_which_the_batches_of_a_run_do_not_divide_are_told_how_many_do() -> None:
    config = load_config("tiny", ["--config.train.batch_size=8"])
    for processes, devices in ((1, 3), (2, 3), (4, 2), (8, 1)):
        check_processes(config, processes, devices)
    with pytest.raises(ValueError, match=r"8 rows .* do not divide over 7 processes; start 4"):
        check_processes(config, 7, 1)
    with pytest.raises(ValueError, match=r"4 rows .* do not divide over 6 processes; start 4"):
        check_processes(load_config("tiny", ["--config.train.batch_size=8", "--config.train.grad_accum=2"]), 6, 4)
