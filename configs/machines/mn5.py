"""MareNostrum 5 ACC. Login nodes have no internet either: data and containers come through the transfer nodes."""

from varietas.configs.machines.base import NETWORK_LATENCY, XLA_MEMORY, Link, Queue, Setting, Slurm, h100, memory_of

MACHINE = h100(
    name="mn5",
    place="BSC, Barcelona, Spain",
    device="NVIDIA H100 SXM 64 GB, made for MareNostrum 5",
    nodes=1120,  # (m)
    devices_per_node=4,
    memory=memory_of(64),
    memory_bandwidth=2.0e12,  # HBM2e instead of HBM3 (m)
    between=Link(25e9, NETWORK_LATENCY),  # 4 × NDR200 for a node (m)
    power=3710.0,  # TOP500: 4,159 kW (m) / 1,120
    pue=1.08,  # a study of MareNostrum 5 by BSC names it as the lowest value
    carbon=174.0,  # OWID, Spain
    cores=80,
    node_memory=500 * 10**9,  # of 512 GB (m)
    container="singularity",  # autoexp
    slurm=Slurm(
        queues=(Queue("acc", "72:00:00", 100, "acc_ehpc"), Queue("acc", "2:00:00", 8, "acc_debug")),  # public job scripts
        account="ehpcN",
        devices="--gres=gpu",
        modules=("load singularity",),
    ),
    environment=(
        Setting("NCCL_IB_HCA", "mlx5_0,mlx5_1,mlx5_4,mlx5_5", "the four adapters that connect GPUs (autoexp)"),
        Setting("NCCL_SOCKET_IFNAME", "ib0,ib1,ib2,ib3", "the first contact goes over InfiniBand too (autoexp)"),
        Setting("NCCL_NVLS_ENABLE", "0", "in-network sums of NVLink fail here (autoexp)"),
        XLA_MEMORY,
    ),
)
