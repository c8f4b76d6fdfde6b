"""Vega, the GPU partition."""

from varietas.configs.machines.base import NETWORK_LATENCY, Link, Queue, Slurm, a100_40

MACHINE = a100_40(
    name="vega",
    place="IZUM, Maribor, Slovenia",
    nodes=60,  # as the processors and the adapters: en-doc.vega.izum.si/architecture
    devices_per_node=4,
    between=Link(12.5e9, NETWORK_LATENCY),  # two dual-port adapters of 2 × 100 Gb/s for a node
    power=2300.0,  # (e): 4 × 400 W, two processors of 280 W
    pue=1.15,  # design (m)
    carbon=231.0,  # OWID, Slovenia
    cores=128,
    node_memory=500 * 10**9,  # of 512 GB
    container="singularity",  # (m)
    slurm=Slurm(queues=(Queue("gpu", "4-00:00:00", 60),)),  # (m)
)
