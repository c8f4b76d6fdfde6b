"""Deucalion, the GPU partition with 40 GB a device. A copy with memory_of(80) and normal-a100-80 is the other one."""

from varietas.configs.machines.base import NETWORK_LATENCY, Link, Queue, Slurm, a100_40

MACHINE = a100_40(
    name="deucalion",
    place="MACC, Guimarães, Portugal",
    nodes=33,  # (m): both partitions
    devices_per_node=4,
    between=Link(12.5e9, NETWORK_LATENCY),  # 2 × HDR200 for a node (m)
    power=2400.0,  # (e): 4 × 400 W, two processors
    pue=1.2,  # (e)
    carbon=166.0,  # OWID, Portugal
    cores=128,  # (m)
    node_memory=500 * 10**9,  # (m)
    container="singularity",  # (m)
    slurm=Slurm(
        queues=(Queue("normal-a100-40", "48:00:00", 4), Queue("dev-a100-40", "4:00:00", 4)),  # public job scripts
        account="F…g",
    ),
)
