"""Counters of energy: which are read, what they count, and what is not counted rather than counted by half."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from varietas.train.accounting import energy
from varietas.train.accounting.energy import Counter, Meter, combined, counters


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any counter."""
    monkeypatch.setattr(energy, "CRAY", tmp_path / "pm_counters" / "energy")
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "powercap")
    for name in ("pynvml", "amdsmi"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed


def zone(folder: Path, name: str, microjoules: int, most: int = 262_143_328_850) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file, value in (("name", name), ("energy_uj", microjoules), ("max_energy_range_uj", most)):
        (folder / file).write_text(f"{value}\n")
    return folder / "energy_uj"


def nvml(monkeypatch: pytest.MonkeyPatch, millijoules: dict[str, int]) -> None:
    """NVIDIA's library with GPUs by number or UUID."""

    def handle(name: int | str) -> str:
        if str(name) not in millijoules:
            raise RuntimeError("NVML_ERROR_NOT_FOUND")
        return str(name)

    fake = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=handle,
        nvmlDeviceGetHandleByUUID=handle,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: millijoules[handle],
    )
    monkeypatch.setitem(sys.modules, "pynvml", fake)


def test_processors_and_their_memory_are_counted_once_and_over_their_wrap(tmp_path: Path) -> None:
    package = zone(tmp_path / "powercap" / "intel-rapl:0", "package-0", 999_000_000, most=1_000_000_000)
    dram = zone(tmp_path / "powercap" / "intel-rapl:0:2", "dram", 5_000_000)
    others = [
        zone(tmp_path / "powercap" / "intel-rapl:0:0", "core", 1),  # a part of the package
        zone(tmp_path / "powercap" / "intel-rapl:1", "psys", 1),  # holds the package
        zone(tmp_path / "powercap" / "intel-rapl-mmio:0", "package-0", 1),  # the package again
    ]
    meter = Meter(counters("cpu", [0, 1]))
    assert meter.joules() == {"RAPL": 0.0}
    for other in others:
        other.write_text("50000000\n")
    package.write_text("2000000\n")  # 3 J later
    dram.write_text("5500000\n")
    assert meter.joules() == {"RAPL": pytest.approx(3.5)}
    package.write_text("7000000\n")
    assert meter.joules() == {"RAPL": pytest.approx(8.5)}


def test_processors_that_only_root_may_read_are_not_counted_by_half(tmp_path: Path) -> None:
    zone(tmp_path / "powercap" / "intel-rapl:0", "package-0", 10)
    file = zone(tmp_path / "powercap" / "intel-rapl:1", "package-1", 10)
    assert len(counters("cpu", [0])) == 2
    file.unlink()
    file.mkdir()  # also root cannot read it
    assert counters("cpu", [0]) == []


def test_the_gpus_of_this_process_are_counted_under_the_names_that_the_driver_gives_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    millijoules = {"0": 1_000, "1": 2_000, "3": 3_000, "GPU-77": 9_000}
    nvml(monkeypatch, millijoules)
    visible = Meter(counters("gpu", [0, 2], {"CUDA_VISIBLE_DEVICES": "3, 0,GPU-77"}))
    all_of_them = Meter(counters("cuda", [0, 1], {}))
    zone(tmp_path / "powercap" / "intel-rapl:0", "package-0", 0)
    with_processors = Meter(counters("gpu", [1], {}))
    millijoules |= {"0": 1_500, "1": 2_250, "3": 4_000, "GPU-77": 11_000}
    assert visible.joules() == {"NVML": pytest.approx(3.0)}  # 1 of "3" and 2 of GPU-77
    assert all_of_them.joules() == {"NVML": pytest.approx(0.75)}
    assert with_processors.joules() == {"NVML": pytest.approx(0.25), "RAPL": 0.0}


def test_amds_gpus_are_counted_in_units_of_their_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = [100, 200, 300]
    fake = SimpleNamespace(
        amdsmi_init=lambda: None,
        amdsmi_get_processor_handles=lambda: ["a", "b", "c"],
        amdsmi_get_energy_count=lambda handle: {"energy_accumulator": ticks["abc".index(handle)], "counter_resolution": 15.25},
    )
    monkeypatch.setitem(sys.modules, "amdsmi", fake)
    meter = Meter(counters("rocm", [1], {"ROCR_VISIBLE_DEVICES": "0,2", "HIP_VISIBLE_DEVICES": "0,1"}))
    ticks[1], ticks[2] = 10**9, 300 + 1_000_000
    assert meter.joules() == {"AMD SMI": pytest.approx(15.25)}


def test_processors_alone_do_not_stand_for_accelerators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone(tmp_path / "powercap" / "intel-rapl:0", "package-0", 0)
    assert [counters(platform, [0], {}) for platform in ("gpu", "tpu")] == [[], []]
    nvml(monkeypatch, {"0": 1})
    assert counters("gpu", [0, 1], {}) == []  # one of two GPUs would be half of the truth
    assert counters("gpu", [3], {"CUDA_VISIBLE_DEVICES": "0"}) == []


def test_the_counter_of_a_whole_node_stands_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch, {"0": 1})
    zone(tmp_path / "powercap" / "intel-rapl:0", "package-0", 0)
    (tmp_path / "pm_counters").mkdir()
    (tmp_path / "pm_counters" / "energy").write_text("1000 J 1795802762000000 us\n")
    meter = Meter(counters("gpu", [0], {}))
    (tmp_path / "pm_counters" / "energy").write_text("3500 J 1795802763000000 us\n")
    assert meter.joules() == {"pm_counters": 2500.0}


def test_what_a_counter_could_not_say_it_says_later() -> None:
    said: list[Any] = [10.0, OSError("busy"), 16.0]

    def read() -> float:
        now = said.pop(0)
        if isinstance(now, Exception):
            raise now
        return float(now)

    meter = Meter([Counter("NVML", read)])
    assert [meter.joules(), meter.joules()] == [{"NVML": 0.0}, {"NVML": 6.0}]


def test_energy_of_several_processes_counts_each_node_once() -> None:
    gpus, node = {"NVML": 5.0, "RAPL": 2.0}, {"NVML": 6.0, "RAPL": 2.5}
    assert combined([("a", gpus), ("a", node), ("b", gpus)]) == {"NVML": 16.0, "RAPL": 4.5}
    assert combined([("a", gpus), ("b", {"NVML": 1.0})]) == {"NVML": 6.0}  # a node whose processors cannot be read
    assert combined([("a", gpus), ("a", {"RAPL": 2.0})]) == {"RAPL": 2.0}  # a process whose GPUs cannot be
    assert combined([("a", {"estimate": 5.0}), ("b", {"estimate": 6.0})]) == {"estimate": 11.0}
