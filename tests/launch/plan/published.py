"""Speeds that others have published, as jobs of ours on the same machine, shape and batch.

Where a source does not say how its model was divided, the mesh here is a usual one for that software. FLOP are counted as ours are
(model/flops.py), for speeds given in FLOP/s.
"""

from dataclasses import dataclass, replace

from varietas.configs.machines.base import Link, Machine
from varietas.launch.plan.job import Job
from varietas.launch.plan.machines import load_machine
from varietas.model.config import ModelConfig
from varietas.model.flops import train_flops_per_token
from varietas.train.experiment import OptimConfig

OPTIM = OptimConfig(
    peak_lr=3e-4, schedule="wsd", warmup_steps=2000, decay_fraction=0.1, final_lr_fraction=0.1, beta1=0.9, beta2=0.95, eps=1e-8,
    weight_decay=0.1, clip_norm=1.0, z_loss=1e-4,
)  # fmt: skip
LUMI, LEONARDO, JUPITER, V5P = (load_machine(name) for name in ("lumi", "leonardo", "jupiter", "tpu_v5p"))
DGX_H100 = replace(  # eight devices of 80 GB, an adapter of 400 Gb/s for each
    load_machine("snellius_h100"), device="NVIDIA H100 SXM 80 GB", devices_per_node=8, memory=84_978_434_048, memory_bandwidth=3.35e12,
    between=Link(50e9, 14e-6),
)  # fmt: skip
V6E = replace(
    V5P, device="TPU v6e", peak=918e12, memory=32 * 2**30, memory_bandwidth=1.64e12, within=Link(180e9, 1e-6), between=Link(180e9, 1e-6)
)


@dataclass(frozen=True)
class Published:
    """A published speed.

    Attributes:
        name: Model and software.
        machine: Where.
        job: The job of ours that comes nearest.
        speed: Tokens per second of a device.
        calibrates: Whether `attainable` of the machine was chosen with this figure in view.
    """

    name: str
    machine: Machine
    job: Job
    speed: float
    calibrates: bool = False


def job(
    shape: tuple[int, ...], batch: tuple[int, int], mesh: tuple[int, int, int], remat: str, tied: bool = False, qk_norm: bool = False
) -> Job:
    """Returns a job with attention in one kernel, as all of these have. `shape`: V, R, D, F, N, K, H; `batch`: rows, tokens of a row."""
    V, R, D, F, N, K, H = shape
    model = ModelConfig(
        vocab_size=V, n_layers=R, d_model=D, d_ff=F, n_heads=N, n_kv_heads=K, d_head=H, max_seq_len=batch[1], rope_theta=1e4, norm_eps=1e-5,
        init_std=0.02, tied_embeddings=tied, qk_norm=qk_norm, dtype="bfloat16", remat=remat, attention="cudnn", loss_chunk=512,
    )  # fmt: skip
    return Job(model, OPTIM, batch[1], batch[0], 1, 1000, mesh)


def by_flops(flops: float, job: Job) -> float:
    """Returns the tokens per second of a device of a job that runs at so many FLOP/s."""
    return flops / train_flops_per_token(job.model, job.seq_len)


OPEN_SCI = (50_304, 24, 2048, 8192, 32, 32, 0)
OELLM_2B = (262_144, 24, 2048, 8192, 32, 32, 0)
PRELUDE = (262_144, 36, 4096, 12_288, 32, 8, 128)
QWEN3_2B = (151_936, 28, 2048, 6144, 16, 8, 128)
APERTUS_70B = (131_072, 80, 8192, 28_672, 64, 8, 0)  # as many parameters with a gate as Apertus has without
LLAMA_8B = (128_256, 32, 4096, 14_336, 32, 8, 0)
LLAMA_70B = (128_256, 80, 8192, 28_672, 64, 8, 0)
LLAMA2_70B = (32_000, 80, 8192, 28_672, 64, 8, 0)

_LUMI_2B = job(OPEN_SCI, (16, 4096), (1, 8, 1), "none", qk_norm=True)
_JUPITER_1 = job(OPEN_SCI, (16, 4096), (1, 4, 1), "dots", qk_norm=True)
_JUPITER_2 = job(OPEN_SCI, (32, 4096), (1, 8, 1), "dots", qk_norm=True)
_QWEN_1 = job(QWEN3_2B, (16, 4096), (1, 4, 1), "dots", tied=True, qk_norm=True)
_QWEN_8 = job(QWEN3_2B, (128, 4096), (1, 32, 1), "dots", tied=True, qk_norm=True)

RUNS = (
    Published("Llama 1.8B, Megatron, oellm-autoexp", LUMI, _LUMI_2B, 5_800, True),
    Published("HPLT 2.15B, OpenEuroLLM's reference models", LUMI, job(OELLM_2B, (256, 2048), (8, 8, 1), "none", tied=True), 9_300 / 2),
    Published("Prelude 9B, planned by OpenEuroLLM", LEONARDO, job(PRELUDE, (2048, 4096), (16, 64, 1), "dots", qk_norm=True), 2_800, True),
    Published("Llama 1.8B, Megatron, 1 node", JUPITER, _JUPITER_1, by_flops(412.5e12, _JUPITER_1), True),
    Published("Llama 1.8B, Megatron, 2 nodes", JUPITER, _JUPITER_2, by_flops(405e12, _JUPITER_2)),
    Published("Qwen3 1.7B, 1 node", JUPITER, _QWEN_1, by_flops(285e12, _QWEN_1)),
    Published("Qwen3 1.7B, 8 nodes", JUPITER, _QWEN_8, by_flops(255e12, _QWEN_8)),
    Published("Apertus 70B, Megatron, Alps", JUPITER, job(APERTUS_70B, (4096, 4096), (128, 8, 4), "full"), 694),
    Published("Llama 8B, torchtitan, 8 H100", DGX_H100, job(LLAMA_8B, (8, 8192), (1, 8, 1), "dots"), 6_667, True),
    Published("Llama 8B, torchtitan, 128 H100", DGX_H100, job(LLAMA_8B, (128, 8192), (1, 128, 1), "dots"), 6_514),
    Published("Llama 2 70B, MaxText", V5P, job(LLAMA2_70B, (512, 2048), (1, 64, 1), "full"), 692, True),
    Published("Llama 8B, MaxText, 256 v6e", V6E, job(LLAMA_8B, (768, 8192), (1, 256, 1), "full"), 7_207),
    Published("Llama 70B, MaxText, 256 v6e", V6E, job(LLAMA_70B, (512, 8192), (1, 256, 1), "full"), 960),
)
