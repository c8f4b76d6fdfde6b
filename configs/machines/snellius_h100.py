"""Snellius, the nodes with H100. Checkpoints that are written in the background may be damaged on its GPFS (autoexp)."""

from varietas.configs.machines.base import NETWORK_LATENCY, XLA_MEMORY, Link, Queue, Slurm, h100, memory_of

MACHINE = h100(
    name="snellius_h100",
    place="SURF, Amsterdam, Netherlands",
    device="NVIDIA H100 SXM 94 GB",
    nodes=88,  # as cores, memory and time limit: SURF's page on the partitions of Snellius
    devices_per_node=4,
    memory=memory_of(94),
    memory_bandwidth=2.4e12,  # HBM2e (m)
    between=Link(25e9, NETWORK_LATENCY),  # 4 × NDR200 for a node (m)
    power=3600.0,  # (e): 4 × 700 W, two processors
    pue=1.2,  # (e)
    carbon=268.0,  # OWID, Netherlands
    cores=64,
    node_memory=720 * 2**30,
    container="apptainer",  # (m)
    slurm=Slurm(queues=(Queue("gpu_h100", "5-00:00:00", 88),)),
    environment=(XLA_MEMORY,),
)
