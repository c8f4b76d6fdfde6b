"""A laptop or a server without accelerator, such as the one that this is read on: two cores for each virtual device.

The figures are those of two cores of an EPYC with AVX2 (docs/benchmarks.md); `varietas plan --machine local` counts the cores here.
"""

import os

from varietas.configs.machines.base import Link, Machine

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # of this computer
DEVICES = max(1, CORES // 2)

MACHINE = Machine(
    name="local",
    place="this computer",
    device="two cores of a CPU",
    platform="cpu",
    nodes=1,
    devices_per_node=DEVICES,
    memory=MEMORY // DEVICES,
    peak=60e9,  # float32, measured: 47 to 70 GFLOP/s of two cores with AVX2, 200 with AVX-512
    attainable=0.9,
    memory_bandwidth=10e9,  # (e)
    within=Link(5e9, 20e-6),  # (e)
    between=Link(0.1e9, 100e-6),  # Gigabit Ethernet, should there be several
    power=100.0,  # (e)
    pue=1.0,
    carbon=242.0,  # the mean of the European Union in 2023 (m)
    cores=CORES,
    node_memory=MEMORY,
)
