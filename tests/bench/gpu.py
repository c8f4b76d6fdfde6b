"""Measures tokens per second and model flops utilisation of EuroLLM 1.7B's training step on one GPU, with synthetic rows.

    python tests/bench/gpu.py [--rows 8] [--steps 20] [--remat dots]

It needs jax for CUDA, flax and optax, and downloads or installs nothing. Each row holds documents of mixed lengths, as packed rows do.
It measures cuDNN's attention and ours, prints the figures of both, and writes docs/benchmarks-gpu.json.
"""

import argparse
import os
import statistics
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[2]
sys.path.insert(0, str(REPO / ".pkg"))
os.environ.setdefault("XLA_CLIENT_MEM_FRACTION", "0.92")

try:
    import jax
    import numpy as np

    from varietas.data.files import write_json
    from varietas.model.config import ModelConfig
    from varietas.model.flops import train_flops_per_token
    from varietas.model.sharding import batch_sharding, make_mesh
    from varietas.train.experiment import OptimConfig
    from varietas.train.peak import peak_flops
    from varietas.train.step import abstract_state, compile_step, init_state, make_step
except ModuleNotFoundError as error:
    sys.exit(f"{sys.executable} has no {error.name}; run: pip install 'jax[cuda13]' flax optax, or make bench-gpu PYTHON=…")

OPTIM = OptimConfig(
    peak_lr=3e-4, schedule="wsd", warmup_steps=2000, decay_fraction=0.1, final_lr_fraction=0.1, beta1=0.9, beta2=0.95, eps=1e-8,
    weight_decay=0.1, clip_norm=1.0, z_loss=1e-4,
)  # fmt: skip
N_LANGUAGES = 40
SHAPE = {
    "vocab_size": 128_000, "n_layers": 24, "d_model": 2048, "d_ff": 5632, "n_heads": 16, "n_kv_heads": 8, "d_head": 0, "rope_theta": 1e4,
    "norm_eps": 1e-5, "init_std": 0.02, "tied_embeddings": False, "qk_norm": False, "dtype": "bfloat16", "loss_chunk": 512,
}  # fmt: skip


def rows(n: int, seq_len: int, vocab_size: int) -> dict[str, np.ndarray]:
    """Returns n packed rows of random tokens, with about six documents in each."""
    rng = np.random.default_rng(0)
    begins = np.sort(rng.integers(0, seq_len, (n, 5)), axis=1)
    segments = 1 + (np.arange(seq_len) >= begins[:, :, None]).sum(1).astype(np.int32)
    first = np.where(np.diff(segments, axis=1, prepend=0) > 0, np.arange(seq_len), 0)
    positions = np.arange(seq_len) - np.maximum.accumulate(first, axis=1)
    tokens = rng.integers(0, vocab_size, (n, seq_len))
    columns = {"tokens": tokens, "segments": segments, "positions": positions, "languages": segments % N_LANGUAGES}
    return {name: values.astype(np.int32) for name, values in columns.items()}


def measure(config: ModelConfig, n_rows: int, seq_len: int, steps: int) -> dict[str, Any]:
    """Compiles the step, takes three steps to warm up, and measures `steps` more."""
    mesh = make_mesh(1, 1, 1, jax.devices()[:1])
    begun = time.perf_counter()
    step = compile_step(make_step(config, OPTIM, 1_000_000, N_LANGUAGES), abstract_state(config, OPTIM, mesh), n_rows, seq_len, mesh)
    compiled = time.perf_counter() - begun
    state = init_state(config, OPTIM, mesh, 0)
    batch = {name: jax.device_put(x, batch_sharding(mesh)) for name, x in rows(n_rows, seq_len, config.vocab_size).items()}
    seconds = []
    for n in range(steps + 3):
        begun = time.perf_counter()
        state, metrics = step(state, batch, np.int32(n), np.float32(np.inf))
        loss = float(metrics["loss"])
        seconds.append(time.perf_counter() - begun)
    median = statistics.median(seconds[3:])
    tokens = n_rows * seq_len / median
    memory: Any = step.memory_analysis()
    return {
        "compile_seconds": round(compiled, 1),
        "step_seconds": round(median, 4),
        "tokens_per_second": round(tokens),
        "mfu": round(tokens * train_flops_per_token(config, seq_len) / peak, 4) if (peak := peak_flops(mesh)) else None,
        "peak_gib": round(memory.peak_memory_in_bytes / 2**30, 1),
        "loss": round(loss, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--seq_len", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--remat", nargs="+", default=["dots", "full"])
    args = parser.parse_args()
    device = jax.devices()[0]
    if device.platform != "gpu":
        sys.exit(f"gpu.py needs a GPU that jax can use, found {device.device_kind}; install jax for CUDA (jax[cuda13])")
    found = {}
    for remat in args.remat:
        for attention in ("cudnn", "blocks"):
            config = ModelConfig(**SHAPE, max_seq_len=args.seq_len, remat=remat, attention=attention)  # type: ignore[arg-type]
            try:
                found[f"{attention}, remat {remat}"] = measure(config, args.rows, args.seq_len, args.steps)
            except (jax.errors.JaxRuntimeError, RuntimeError, ValueError) as error:
                found[f"{attention}, remat {remat}"] = {"error": " ".join(str(error).split())[:300]}
            print(f"{attention}, remat {remat}: {found[f'{attention}, remat {remat}']}", flush=True)
    if all("error" in one for one in found.values()):
        sys.exit("nothing could be measured; on a GPU with less memory, try --rows 4 or --remat full")
    what = f"EuroLLM 1.7B, {args.rows} rows of {args.seq_len} tokens"
    record = {"date": str(date.today()), "device": device.device_kind, "jax": jax.__version__, "what": what, "found": found}
    write_json(REPO / "docs" / "benchmarks-gpu.json", record)


if __name__ == "__main__":
    main()
