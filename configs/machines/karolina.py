"""Karolina, the accelerated nodes: eight devices on one NVSwitch."""

from varietas.configs.machines.base import NETWORK_LATENCY, Link, Queue, Slurm, a100_40

MACHINE = a100_40(
    name="karolina",
    place="IT4Innovations, Ostrava, Czechia",
    nodes=72,  # (m), as the devices, links, cores and memory of a node
    devices_per_node=8,
    between=Link(12.5e9, NETWORK_LATENCY),  # 4 × HDR200 for 8 devices
    power=4320.0,  # TOP500: 311 kW (m) / 72
    pue=1.2,  # (e)
    carbon=450.0,  # OWID, Czechia
    cores=128,
    node_memory=1000 * 10**9,
    container="apptainer",  # (m)
    slurm=Slurm(queues=(Queue("qgpu", "48:00:00", 16),), account="OPEN-… or EU-…"),  # (m)
)
