"""Accelerators that jax does not use are found and mended, on computers that these tests make up."""

from pathlib import Path

import pytest

from varietas.launch import backend
from varietas.launch.doctor import hardware
from varietas.launch.doctor.finding import BROKEN, OK, SLOW


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for PCI devices and one for programs, instead of this computer's; no plugin of jax."""
    (tmp_path / "pci").mkdir()
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(hardware, "PCI", tmp_path / "pci")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(hardware, "plugin", lambda platform: None)
    return tmp_path


def add_device(computer: Path, vendor: str, kind: str = "0x030200") -> None:
    device = computer / "pci" / f"0000:{len(list((computer / 'pci').iterdir())):02}"
    device.mkdir()
    (device / "vendor").write_text(vendor + "\n")
    (device / "class").write_text(kind + "\n")


def nvidia_smi(computer: Path, *lines: str, status: int = 0) -> None:
    file = computer / "bin" / "nvidia-smi"
    file.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines) + f"exit {status}\n")
    file.chmod(0o755)


def test_a_computer_without_accelerator(computer: Path) -> None:
    add_device(computer, "0x10de", "0x040300")  # the sound output of a graphics card
    add_device(computer, "0x1002", "0x030000")  # a laptop's graphics, without compute driver
    assert hardware.accelerators() is None and hardware.unused("cpu") is None and hardware.driver() is None


def test_gpus_without_plugin(computer: Path) -> None:
    for _ in range(4):
        add_device(computer, "0x10de")
    found = hardware.unused("cpu")
    assert found is not None and found.state == BROKEN
    assert found.said == "this computer has 4 NVIDIA devices, but jax runs on the CPU" and found.todo == "pip install 'varietas[cuda]'"
    assert hardware.unused("gpu") is None  # jax uses them


@pytest.mark.parametrize(
    ("version", "driver", "says", "todo"),
    [
        ("0.9.0", "580.65", "jax-cuda13-plugin 0.9.0 is not of jaxlib 0.10.2", "pip install 'jax-cuda13-plugin==0.10.2'"),
        ("0.10.2", "535.216.01", "the driver 535.216.01 is too old for jax-cuda13-plugin", "pip install 'varietas[cuda12]'"),
        ("0.10.2", "580.65.06", "although jax-cuda13-plugin 0.10.2 is installed", "start it with --nv; unset JAX_PLATFORMS"),
    ],
)
def test_gpus_with_a_plugin_that_does_not_work(
    computer: Path, monkeypatch: pytest.MonkeyPatch, version: str, driver: str, says: str, todo: str
) -> None:
    add_device(computer, "0x10de")
    nvidia_smi(computer, driver)
    monkeypatch.setattr(hardware, "plugin", lambda platform: ("jax-cuda13-plugin", version))
    monkeypatch.setattr(hardware.metadata, "version", lambda name: "0.10.2")
    found = hardware.unused("cpu")
    assert found is not None and found.state == BROKEN and says in found.said and todo in found.todo


@pytest.mark.parametrize(
    ("lines", "state", "says"),
    [
        (["580.65, NVIDIA H100, 4, 41, 0"] * 4, OK, "NVIDIA 580.65, 4 × NVIDIA H100"),
        (["580.65, NVIDIA H100, 4, 41, 0", "580.65, NVIDIA H100, 4, 41, 7"], BROKEN, "GPU 1 (NVIDIA H100) has 7 memory errors"),
        (["580.65, NVIDIA H100, 61000, 41, 0"], SLOW, "61000 MiB of GPU 0 are in use already"),
        (["580.65, NVIDIA H100, 4, 90, 0"], SLOW, "GPU 0 has 90 °C"),
        (["580.65, NVIDIA A100, 4, [N/A], [N/A]"], OK, "NVIDIA 580.65, 1 × NVIDIA A100"),
    ],
)
def test_the_health_of_nvidia_devices(computer: Path, lines: list[str], state: str, says: str) -> None:
    add_device(computer, "0x10de")
    nvidia_smi(computer, *lines)
    found = hardware.driver()
    assert found is not None and found.state == state and says in found.said and bool(found.todo) == (state != OK)


def test_a_driver_that_does_not_answer(computer: Path) -> None:
    add_device(computer, "0x10de")
    nvidia_smi(computer, "NVIDIA-SMI has failed", status=9)
    found = hardware.driver()
    assert found is not None and found.state == BROKEN and "take another node" in found.todo


def test_training_on_the_cpu_beside_a_gpu_is_not_silent(
    computer: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add_device(computer, "0x10de")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    backend.start(None)
    assert "1 NVIDIA device, but jax runs on the CPU; pip install 'varietas[cuda]'" in caplog.text
    caplog.clear()
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")  # as the user wants it
    backend.start(None)
    assert not caplog.text
