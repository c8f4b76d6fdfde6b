"""JUPITER Booster. Its processors are Arm (aarch64), so wheels and containers have to be too."""

from varietas.configs.machines.base import NETWORK_LATENCY, NVLINK_LATENCY, XLA_MEMORY, Link, Machine, Queue, Setting, Slurm, memory_of

MACHINE = Machine(
    name="jupiter",
    place="JSC, Jülich, Germany",
    device="NVIDIA GH200 96 GB",
    platform="cuda",
    compiler="gh200",
    nodes=5884,  # (m)
    devices_per_node=4,
    memory=memory_of(96),
    peak=989.4e12,  # autoexp, REPORT.md
    attainable=0.52,
    memory_bandwidth=4.0e12,
    within=Link(450e9, NVLINK_LATENCY),  # NVLink 4: 18 links of 25 GB/s, 6 to each other device
    between=Link(25e9, NETWORK_LATENCY),  # 4 × NDR200 for a node (m)
    power=2680.0,  # TOP500, November 2025: 15,794 kW (m) / 5,884
    pue=1.05,  # (e): warm water
    carbon=381.0,  # OWID, Germany
    cores=288,
    node_memory=480 * 10**9,  # 4 × 120 GB (m)
    container="apptainer",  # autoexp
    slurm=Slurm(
        queues=(Queue("booster", "12:00:00", 5884),),  # the time that autoexp uses; no limit of nodes is known
        account="name of the project",
        devices="--gres=gpu",
    ),
    environment=(
        Setting("NCCL_SOCKET_IFNAME", "ib0", "the first contact goes over InfiniBand too (autoexp)"),
        Setting("NCCL_IB_HCA", "mlx5_0,mlx5_1,mlx5_2,mlx5_3", "the four adapters that connect GPUs (autoexp)"),
        Setting("NCCL_PROTO", "Simple", "other protocols were unstable (autoexp)"),
        XLA_MEMORY,
    ),
)
