"""MeluXina, the accelerator module."""

from varietas.configs.machines.base import NETWORK_LATENCY, Link, Queue, Slurm, a100_40

MACHINE = a100_40(
    name="meluxina",
    place="LuxProvide, Bissen, Luxembourg",
    nodes=200,  # (m)
    devices_per_node=4,  # as the cores: docs.lxp.lu
    between=Link(12.5e9, NETWORK_LATENCY),  # 2 × HDR200 for a node (m)
    power=1950.0,  # TOP500: 390 kW (m) / 200
    pue=1.2,  # (e)
    carbon=105.0,  # OWID, Luxembourg, which imports most of its power: that is not counted
    cores=64,
    node_memory=500 * 10**9,  # of 512 GB (m)
    container="apptainer",  # (m)
    slurm=Slurm(queues=(Queue("gpu", "48:00:00", 200, "default"),), account="pN"),  # limits (m)
)
