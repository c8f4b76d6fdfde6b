"""Leonardo Booster. Its compute nodes have no internet: text and containers have to be there before a job starts."""

from varietas.configs.machines.base import NETWORK_LATENCY, XLA_MEMORY, XLA_OVERLAP, Link, Queue, Setting, Slurm, a100, memory_of

MACHINE = a100(
    name="leonardo",
    place="CINECA, Bologna, Italy",
    device="NVIDIA A100 SXM4 64 GB, made for Leonardo",  # 124 instead of 108 multiprocessors (m): it may be a little faster
    nodes=3456,  # leonardo-supercomputer.cineca.eu/hpc-system, as the cores and the memory
    devices_per_node=4,
    memory=memory_of(64),
    memory_bandwidth=1.64e12,  # (m)
    between=Link(12.5e9, NETWORK_LATENCY),  # 400 Gb/s for a node; busy, it gave 1,024 GPUs down to half (arXiv 2408.14090)
    power=2170.0,  # TOP500: 7,494 kW (m) / 3,456
    pue=1.1,  # design (m)
    carbon=331.0,  # OWID, Italy
    cores=32,
    node_memory=494 * 10**9,  # of 512 GB (m)
    container="singularity",  # autoexp
    slurm=Slurm(
        queues=(  # public job scripts and autoexp; nodes (m)
            Queue("boost_usr_prod", "24:00:00", 64, "normal"),
            Queue("boost_usr_prod", "24:00:00", 256, "boost_qos_bprod"),
            Queue("boost_usr_prod", "4-00:00:00", 8, "boost_qos_lprod"),
            Queue("boost_usr_prod", "00:30:00", 2, "boost_qos_dbg"),
        ),
        account="EUHPC_… or AIFAC_…",
        devices="--gres=gpu",
    ),
    environment=(
        Setting("NCCL_IB_TIMEOUT", "120", "the default gives up while the network is busy (autoexp)"),
        XLA_MEMORY,
        XLA_OVERLAP,
    ),
)
