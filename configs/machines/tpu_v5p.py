"""Cloud TPU v5p. Not a European machine; it is here since XLA's compiler for it runs anywhere, and for TPU Research Cloud grants."""

from varietas.configs.machines.base import Link, Machine

MACHINE = Machine(
    name="tpu_v5p",
    place="Google Cloud, europe-west4, Netherlands",
    device="TPU v5p",
    platform="tpu",
    compiler="v5p",
    nodes=2240,  # a pod of 8,960 chips
    devices_per_node=4,
    memory=95 * 2**30,
    peak=459e12,
    attainable=0.85,
    memory_bandwidth=2.765e12,
    within=Link(300e9, 1e-6),  # 4,800 Gb/s over six links, in both directions together (e); latency (e)
    between=Link(300e9, 1e-6),  # the same torus: nodes are no border
    power=2600.0,  # (e): not published
    pue=1.1,  # Google's fleet (m)
    carbon=268.0,  # OWID, Netherlands
    cores=208,  # (m)
    node_memory=448 * 10**9,  # (m)
)
