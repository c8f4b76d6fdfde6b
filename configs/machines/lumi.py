"""LUMI-G. An MI250X is two devices, its dies (GCD). XLA compiles for them only where ROCm is installed."""

from varietas.configs.machines.base import XLA_MEMORY, Link, Machine, Queue, Setting, Slurm, memory_of

CORES = (
    "0x00fe000000000000", "0xfe00000000000000", "0x0000000000fe0000", "0x00000000fe000000",
    "0x00000000000000fe", "0x000000000000fe00", "0x000000fe00000000", "0x0000fe0000000000",
)  # fmt: skip  # the seven cores nearest to each device (LUMI AI Guide)

MACHINE = Machine(
    name="lumi",
    place="CSC, Kajaani, Finland",
    device="half of an AMD MI250X (GCD), 64 GB",
    platform="rocm",
    nodes=2978,
    devices_per_node=8,
    memory=memory_of(64),
    peak=191.5e12,
    attainable=0.41,
    memory_bandwidth=1.6e12,
    within=Link(100e9, 3.6e-6),  # (e): 100 to 200 GB/s between modules, 400 within, both ways (LUMI guide); latency: RCCL's tuning.cc
    between=Link(12.5e9, 24e-6),  # 4 × 200 Gb/s for 8 devices; latency: RCCL's tuning.cc
    power=2390.0,  # TOP500: 7,107 kW (m) / 2,978
    pue=1.04,  # (m)
    carbon=79.0,  # OWID, Finland; the site buys hydropower and sells its heat
    cores=56,  # 7 for each device, the eighth is kept for the system (LUMI AI Guide)
    node_memory=480 * 10**9,  # 60 GB for each device (LUMI AI Guide)
    container="singularity",
    slurm=Slurm(
        queues=(  # LUMI guide
            Queue("standard-g", "2-00:00:00", 1024),
            Queue("small-g", "3-00:00:00", 4),
            Queue("dev-g", "3:00:00", 32),  # two jobs of a user, one of which runs
        ),
        account="project_465…",
        srun=(f"--cpu-bind=mask_cpu:{','.join(CORES)}",),
        # What a container has to see of the node: network and file systems (LUMI AI Guide).
        modules=("purge", "use /appl/local/laifs/modules", "load lumi-aif-singularity-bindings"),
    ),
    environment=(
        Setting("NCCL_SOCKET_IFNAME", "hsn0,hsn1,hsn2,hsn3", "the Slingshot adapters; the nodes' Ethernet is slow"),
        Setting("NCCL_NET_GDR_LEVEL", "PHB", "adapters read the memory of devices directly"),
        Setting("HSA_ENABLE_SDMA", "0", "copies between devices are faster without the copy engines"),
        Setting("FI_MR_CACHE_MONITOR", "userfaultfd", "libfabric's default hangs now and then (LUMI AI Guide, pull request 118)"),
        Setting("MIOPEN_USER_DB_PATH", "/tmp/miopen-config-${USER}", "MIOpen's database is SQLite, which Lustre cannot lock"),
        Setting("MIOPEN_CUSTOM_CACHE_DIR", "/tmp/miopen-cache-${USER}", "the same for the kernels that it compiles"),
        XLA_MEMORY,
        Setting(
            "XLA_FLAGS",
            "${XLA_FLAGS:-} --xla_gpu_enable_latency_hiding_scheduler=true",
            "devices compute while arrays are on their way only if XLA is told to arrange that (as on an A100; not tried here)",
        ),
    ),
)
