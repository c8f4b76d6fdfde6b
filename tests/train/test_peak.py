"""The peak FLOP/s of devices, by the names that jax gives them."""

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from varietas.model.sharding import make_mesh
from varietas.train.peak import peak_flops


def mesh_of(kind: str, n: int) -> Any:
    devices = np.array([SimpleNamespace(device_kind=kind, platform="gpu" if "NVIDIA" in kind else "tpu")] * n)
    return SimpleNamespace(devices=devices, size=n)


@pytest.mark.parametrize(
    ("kind", "teraflops"),  # bfloat16 without sparsity, from the makers' data sheets
    [
        ("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H100 PCIe", 756), ("NVIDIA A100-SXM-64GB", 312), ("NVIDIA GH200 120GB", 989),
        ("NVIDIA GB200", 2500), ("NVIDIA B200", 2250), ("TPU v4", 275), ("TPU v5 lite", 197), ("TPU v5", 459), ("TPU v5p", 459),
        ("TPU v6 lite", 918),
    ],
)  # fmt: skip
def test_the_peak_of_known_devices_is_that_of_their_data_sheets(kind: str, teraflops: float) -> None:
    assert [peak_flops(mesh_of(kind, n)) for n in (1, 4)] == [teraflops * 1e12, 4 * teraflops * 1e12]


def test_an_unknown_accelerator_has_no_peak() -> None:
    assert peak_flops(mesh_of("NVIDIA X900", 4)) is None


def test_virtual_devices_share_the_measured_peak_of_the_cpu() -> None:
    peak = peak_flops(make_mesh(8, 1, 1))
    assert jax.device_count() == 8
    assert peak is not None and 1e9 < peak < 1e14
