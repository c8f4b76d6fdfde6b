"""Tokens a second of generation, beside transformers with the same shape: the prompt (prefill) and what follows it (decode).

    python tests/bench/generation.py [--rounds 3] [--config.model.d_model=384 …]

Prompts of 128 tokens, 64 new ones, greedy, float32, batches of 1 and 8; weights are random.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from contenders import spawn
from figures import arguments, shared_config, write
from llama import llama_shape

from varietas.model.config import ModelConfig

PROMPT, NEW = 128, 64
Timed = Callable[[np.ndarray], tuple[float, float]]  # prompts -> seconds to the first token, and for all that follow


def varietas(config: Any) -> Timed:
    from varietas.launch import backend
    from varietas.model.sharding import make_mesh
    from varietas.train.generate import generate, weights_of
    from varietas.train.step import fresh_params

    backend.start(1)
    model, mesh = ModelConfig(**config.model), make_mesh(1, 1, 1)
    weights = weights_of(fresh_params(model, mesh, 0), model)

    def run(prompts: np.ndarray) -> tuple[float, float]:
        begun = time.perf_counter()
        tokens = generate(weights, model, prompts.tolist(), NEW, -1, mesh)
        next(tokens)
        first = time.perf_counter()
        for _ in tokens:
            pass
        return first - begun, time.perf_counter() - first

    return run


def transformers(config: Any) -> Timed:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(**llama_shape(ModelConfig(**config.model)))).eval()

    def run(prompts: np.ndarray) -> tuple[float, float]:
        ids = torch.from_numpy(prompts).long()
        with torch.inference_mode():
            past, times = None, [time.perf_counter()]
            for _ in range(NEW):
                out = model(input_ids=ids, past_key_values=past, use_cache=True, logits_to_keep=1)
                past, ids = out.past_key_values, out.logits[:, -1].argmax(-1, keepdim=True)
                times.append(time.perf_counter())
        return times[1] - times[0], times[-1] - times[1]

    return run


CONTENDERS = {"varietas": varietas, "transformers": transformers}


def serve(name: str, config: Any, connection: Any) -> None:
    run = CONTENDERS[name](config)
    while (batch := connection.recv()) is not None:
        connection.send(run(np.random.default_rng(0).integers(3, config.model.vocab_size, (batch, PROMPT))))


def main() -> None:
    args, fields = arguments(__doc__, rounds=3).parse_known_args()
    config = shared_config(fields)
    ends = {name: spawn(serve, name, config, ours=name == "varietas")[0] for name in CONTENDERS}
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for n in range(args.rounds + 1):  # the first compiles
        for batch in (1, 8):
            for name, end in ends.items():
                end.send(batch)
                seconds = end.recv()
                if n:
                    found.setdefault((name, batch), []).append(seconds)
    for end in ends.values():
        end.send(None)
    lines, speeds = [], {}
    for (name, batch), values in found.items():
        prefill = batch * PROMPT / statistics.median(first for first, _ in values)
        decode = batch * (NEW - 1) / statistics.median(rest for _, rest in values)
        speeds[name, batch] = prefill, decode
        lines.append(f"{name:14} batch {batch}: prefill {prefill:8,.0f} tokens/s, decode {decode:8,.0f} tokens/s")
    ratios = {
        f"{what}_batch_{batch}_vs_transformers": speeds["varietas", batch][k] / speeds["transformers", batch][k]
        for batch in (1, 8)
        for k, what in enumerate(("prefill", "decode"))
    }
    write(args.json, ratios, lines)


if __name__ == "__main__":
    main()
