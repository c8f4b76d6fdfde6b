"""Measures tokens per second of generation, of the prompt (prefill) and of what follows (decode), beside transformers.

    python tests/bench/generation.py [--rounds 3] [--config.model.d_model=384 …]

All models have the same shape and random weights in float32; ours also rounded to int8 and int4. Prompts have 128 tokens, 64 new ones are
decoded greedily, and batches have 1 and 8 prompts.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from contenders import spawn
from figures import arguments, shared_config, write

from varietas.model.config import ModelConfig
from varietas.model.formats.config_json import config_json

PROMPT, NEW = 128, 64
Timed = Callable[[np.ndarray], tuple[float, float]]  # takes prompts; returns the seconds to the first token, and for all further ones


def varietas(config: Any, form: str = "") -> Timed:
    from varietas.launch import backend
    from varietas.model.linear.quantize import quantize
    from varietas.model.sharding import make_mesh
    from varietas.train.inference.generate import generate, generator
    from varietas.train.inference.network import Network
    from varietas.train.inference.sampling import Sampling
    from varietas.train.step import fresh_params

    backend.start(1)
    model, mesh = ModelConfig(**config.model), make_mesh(1, 1, 1)
    params = fresh_params(model, mesh, 0)
    ready = generator(Network(quantize(params, form, mesh) if form else params, model, mesh))

    def run(prompts: np.ndarray) -> tuple[float, float]:
        begun = time.perf_counter()
        tokens = generate(ready, prompts.tolist(), Sampling(NEW), ())
        next(tokens)
        first = time.perf_counter()
        for _ in tokens:
            pass
        return first - begun, time.perf_counter() - first

    return run


def transformers(config: Any) -> Timed:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(**config_json(ModelConfig(**config.model), "float32", {}))).eval()

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


CONTENDERS = {
    "varietas": varietas,
    "int8": partial(varietas, form="int8"),
    "int4": partial(varietas, form="int4"),
    "transformers": transformers,
}


def serve(name: str, config: Any, connection: Any) -> None:
    run = CONTENDERS[name](config)
    while (batch := connection.recv()) is not None:
        connection.send(run(np.random.default_rng(0).integers(3, config.model.vocab_size, (batch, PROMPT))))


def main() -> None:
    args, fields = arguments(__doc__, rounds=3).parse_known_args()
    config = shared_config(fields)
    ends = {name: spawn(serve, name, config, ours=name != "transformers")[0] for name in CONTENDERS}
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for n in range(args.rounds + 1):  # the first round compiles
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
        f"{what}_batch_{batch}{mark}_vs_{other}": speeds[name, batch][k] / speeds[other, batch][k]
        for name, mark, other in (("varietas", "", "transformers"), ("int8", "_int8", "varietas"), ("int4", "_int4", "varietas"))
        for batch in (1, 8)
        for k, what in enumerate(("prefill", "decode"))
    }
    write(args.json, ratios, lines)


if __name__ == "__main__":
    main()
