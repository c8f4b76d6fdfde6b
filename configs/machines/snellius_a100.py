"""Snellius, the nodes with A100. Checkpoints that are written in the background may be damaged on its GPFS (autoexp)."""

from varietas.configs.machines.base import NETWORK_LATENCY, Link, Queue, Slurm, a100_40

MACHINE = a100_40(
    name="snellius_a100",
    place="SURF, Amsterdam, Netherlands",
    nodes=63,  # as cores, memory and time limit: SURF's page on the partitions of Snellius
    devices_per_node=4,
    between=Link(12.5e9, NETWORK_LATENCY),  # 2 × HDR200 for a node (m)
    power=2300.0,  # (e): 4 × 400 W, two processors
    pue=1.2,  # (e)
    carbon=268.0,  # OWID, Netherlands
    cores=72,
    node_memory=480 * 2**30,
    container="apptainer",  # (m)
    slurm=Slurm(queues=(Queue("gpu_a100", "5-00:00:00", 63),)),
)
