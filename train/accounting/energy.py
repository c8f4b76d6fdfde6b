"""The energy that a run takes: counters of the hardware where they can be read, otherwise the power of the machine by its figures.

Only counters that cover what computes are used: the processors of a node whose GPUs cannot be measured would be a small part of the truth.
Imports no jax.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

CRAY = Path("/sys/cray/pm_counters/energy")  # of a whole node of HPE Cray EX, such as LUMI: "123 J 456 us"
POWERCAP = Path("/sys/class/powercap")
NVML, AMD, RAPL, PM_COUNTERS = "NVML", "AMD SMI", "RAPL", "pm_counters"
ESTIMATE = "estimate"  # the source of what is not measured
NAMES = {NVML: "GPUs (NVML)", AMD: "GPUs (AMD SMI)", RAPL: "processors (RAPL)", PM_COUNTERS: "nodes (pm_counters)"}
OF_NODE = (RAPL, PM_COUNTERS)  # sources that count a node, whichever of its processes asks
VISIBLE = {NVML: ("CUDA_VISIBLE_DEVICES",), AMD: ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")}  # the second renumbers for the first


@dataclass(frozen=True)
class Counter:
    """A counter of energy."""

    source: str
    read: Callable[[], float]  # J; raises an error if that fails
    wraps_at: float = 0.0  # J after which it begins again at zero; 0: never


class Meter:
    """Adds up what counters count from now on. Call `joules` every few minutes at least: those of processors wrap."""

    def __init__(self, counters: Iterable[Counter]):
        self._last: dict[Counter, float] = {}
        for counter in counters:
            with contextlib.suppress(Exception):
                self._last[counter] = counter.read()
        self._joules = dict.fromkeys((counter.source for counter in self._last), 0.0)

    def joules(self) -> dict[str, float]:
        """Returns the energy of each source, in J. What a counter cannot say now, it says the next time."""
        for counter, last in self._last.items():
            with contextlib.suppress(Exception):  # of the maker's library, or OSError
                now = counter.read()
                self._joules[counter.source] += now - last if now >= last else max(0.0, now - last + counter.wraps_at)
                self._last[counter] = now
        return dict(self._joules)


def counters(platform: str, devices: Sequence[int], environment: Mapping[str, str] = os.environ) -> list[Counter]:
    """Returns the counters of this node that cover the devices of this process.

    Args:
        platform: `platform` of jax's devices.
        devices: The numbers of this process's devices on its node, as jax counts them (`local_hardware_id`).
        environment: Environment variables, which may hide devices from jax.
    """
    if node := _cray():
        return node
    if platform == "cpu":
        return _rapl()
    if platform in ("gpu", "cuda", "rocm"):
        for source, of_devices in ((NVML, _nvidia), (AMD, _amd)):
            with contextlib.suppress(Exception):  # the package, the driver or the counter is missing
                return [*of_devices(_names(devices, source, environment)), *_rapl()]
    return []


def combined(words: Iterable[tuple[str, Mapping[str, float]]]) -> dict[str, float]:
    """Adds up the energy of all processes.

    Args:
        words: The host of each process, and its energy by source, in J.

    Returns:
        The energy by source. A source that is missing on some node would be a part of the truth only, so it is left out.
    """
    words = list(words)
    hosts = {host for host, _ in words}
    total: dict[str, float] = {}
    for source in sorted({source for _, joules in words for source in joules}):
        found = [(host, joules[source]) for host, joules in words if source in joules]
        if {host for host, _ in found} != hosts or (source not in OF_NODE and len(found) < len(words)):
            continue
        total[source] = sum(dict(sorted(found)).values()) if source in OF_NODE else sum(value for _, value in found)
    return total


def _cray() -> list[Counter]:
    def read() -> float:
        return float(CRAY.read_text().split()[0])

    return _readable([Counter(PM_COUNTERS, read)])


def _rapl() -> list[Counter]:
    """Processors and their memory. Most systems let only root read them."""
    found = []
    for zone in sorted(POWERCAP.glob("intel-rapl:*")):  # also of AMD's processors
        with contextlib.suppress(OSError, ValueError):
            if (zone / "name").read_text().strip().startswith(("package", "dram")):
                most = int((zone / "max_energy_range_uj").read_text())
                found.append(Counter(RAPL, partial(_microjoules, zone / "energy_uj"), most / 1e6))
    return _readable(found)


def _microjoules(file: Path) -> float:
    return int(file.read_text()) / 1e6


def _readable(found: list[Counter]) -> list[Counter]:
    """Returns all of the counters, or none if one of them cannot be read."""
    try:
        for counter in found:
            counter.read()
    except (OSError, ValueError, IndexError):
        return []
    return found


def _names(devices: Sequence[int], source: str, environment: Mapping[str, str]) -> list[str]:
    """Returns the number or the UUID of each device outside of jax. Raises IndexError if a variable does not list it."""
    names = [str(device) for device in devices]
    for variable in VISIBLE[source]:
        if listed := [name.strip() for name in environment.get(variable, "").split(",") if name.strip()]:
            names = [listed[int(name)] for name in names]
    return names


def _nvidia(names: Sequence[str]) -> list[Counter]:
    nvml: Any = import_module("pynvml")  # of nvidia-ml-py
    nvml.nvmlInit()
    handles = [nvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdigit() else nvml.nvmlDeviceGetHandleByUUID(name) for name in names]

    def read(handle: Any) -> float:
        return nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3

    return _tried([Counter(NVML, partial(read, handle)) for handle in handles])


def _amd(names: Sequence[str]) -> list[Counter]:
    smi: Any = import_module("amdsmi")
    smi.amdsmi_init()
    handles = smi.amdsmi_get_processor_handles()

    def read(name: str) -> float:
        found = smi.amdsmi_get_energy_count(handles[int(name)])
        return found.get("energy_accumulator", found.get("power")) * found["counter_resolution"] / 1e6  # the second before ROCm 6.1

    return _tried([Counter(AMD, partial(read, name)) for name in names])


def _tried(found: list[Counter]) -> list[Counter]:
    """Raises the error of a counter that cannot be read."""
    for counter in found:
        counter.read()
    return found
