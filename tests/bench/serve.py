"""Measures tokens per second of `varietas serve`, for one client and for sixteen, beside transformers.

    python tests/bench/serve.py [--rounds 3] [--only small]

Ours are asked over HTTP, with the prompts as token ids. transformers continues the same prompts by `generate`, without HTTP: all prompts of
a batch together, padded on the left, until the last of them has ended. Both have the same shapes with random weights in float32, and always
take the likeliest token.

- `even`: as many requests as clients, each with a prompt of 128 tokens and 64 new ones. A batch wastes nothing on these.
- `mixed`: 32 requests with prompts of 16 to 192 tokens and 8 to 96 new ones. Sixteen clients each send the next one as soon as theirs is
  answered; transformers takes sixteen at a time.
"""

import asyncio
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
from contenders import spawn
from figures import arguments, shared_config, write

from varietas.model.config import ModelConfig
from varietas.model.formats.config_json import config_json

SIZES = {  # of the model
    "small": [],  # config.py, 8.9 M parameters
    "large": [f"--config.model.{field}" for field in ("n_layers=12", "d_model=768", "d_ff=2048", "n_heads=12", "n_kv_heads=4")],  # 89 M
}
CONTEXT = 512
Requests = list[tuple[list[int], int]]  # prompts, and how many new tokens each is continued by
Contender = Callable[[Requests, int], float]  # the seconds that these requests of so many clients take


def requests(kind: str, clients: int, vocab_size: int) -> Requests:
    rng = np.random.default_rng(0)
    if kind == "even":
        lengths = [(128, 64)] * clients
    else:
        lengths = list(zip(rng.integers(16, 193, 32).tolist(), rng.integers(8, 97, 32).tolist(), strict=True))
    return [(rng.integers(3, vocab_size, prompt).tolist(), new) for prompt, new in lengths]


def varietas(config: Any) -> Contender:
    from dataclasses import replace

    from rich.console import Console

    from varietas.data.prepare.default import default_corpus
    from varietas.data.tokenizer.model import file_in, load
    from varietas.launch import backend
    from varietas.model.sharding import make_mesh
    from varietas.train.inference.generate import generator
    from varietas.train.inference.network import Network
    from varietas.train.serving.pages import PAGE
    from varietas.train.serving.prompts import Served
    from varietas.train.serving.server import listen, serve
    from varietas.train.serving.service import Service
    from varietas.train.serving.step import Programs
    from varietas.train.step import fresh_params

    backend.start(1)
    model = replace(ModelConfig(**config.model), max_seq_len=CONTEXT)
    processor, pages = load(file_in(default_corpus(config.data.embedded_vocab_size))), 16 * CONTEXT // PAGE
    mesh = make_mesh(1, 1, 1)
    ready = generator(Network(fresh_params(model, mesh, 0), model, mesh))
    programs = Programs(ready, processor.get_piece_size(), pages, 16, CONTEXT)
    service = Service(Served("bench", 0, "bench", 0, CONTEXT, processor, "it is random"), programs, pages, 16, 100)
    listener = listen("127.0.0.1", 0)
    threading.Thread(target=serve, args=(service, listener, None, Console(quiet=True)), daemon=True).start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/completions"

    async def ask(wanted: Requests, clients: int) -> None:
        left = iter(wanted)
        async with httpx.AsyncClient(timeout=600) as client:

            async def one_after_the_other() -> None:
                for prompt, new in left:
                    found = await client.post(url, json={"prompt": prompt, "max_tokens": new, "temperature": 0})
                    made = found.json()["usage"]["completion_tokens"]
                    assert made == new, f"{made} instead of {new} tokens: the random model has ended a text"

            await asyncio.gather(*(one_after_the_other() for _ in range(clients)))

    while not service.alive:
        time.sleep(0.1)

    def run(wanted: Requests, clients: int) -> float:
        begun = time.perf_counter()
        asyncio.run(ask(wanted, clients))
        return time.perf_counter() - begun

    return run


def transformers(config: Any) -> Contender:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = config_json(ModelConfig(**config.model), "float32", {})
    model = LlamaForCausalLM(LlamaConfig(**shape)).eval()
    model.generation_config.eos_token_id = None

    def run(wanted: Requests, clients: int) -> float:
        begun = time.perf_counter()
        for first in range(0, len(wanted), clients):
            batch = wanted[first : first + clients]
            longest = max(len(prompt) for prompt, _ in batch)
            ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt, _ in batch])
            mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt, _ in batch])
            with torch.inference_mode():
                new = max(new for _, new in batch)
                model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=new, do_sample=False, pad_token_id=0)
        return time.perf_counter() - begun

    return run


CONTENDERS = {"varietas": varietas, "transformers": transformers}


def work(name: str, config: Any, connection: Any) -> None:
    run = CONTENDERS[name](config)
    while (wanted := connection.recv()) is not None:
        connection.send(run(*wanted))


def main() -> None:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--only", choices=SIZES, help="the size of the model (default: one after the other)")
    args = parser.parse_args()
    ratios, lines = dict[str, float](), list[str]()
    for size in [args.only] if args.only else SIZES:
        config = shared_config(SIZES[size])
        ends = {name: spawn(work, name, config, ours=name == "varietas") for name in CONTENDERS}
        found: dict[tuple[str, str, int], list[float]] = {}
        for n in range(args.rounds + 1):  # the first round warms up
            for kind, clients in (("even", 1), ("even", 16), ("mixed", 16)):
                wanted = requests(kind, clients, config.model.vocab_size)
                for name, (end, _) in ends.items():
                    end.send((wanted, clients))
                    seconds = end.recv()
                    if n:
                        found.setdefault((name, kind, clients), []).append(sum(new for _, new in wanted) / seconds)
            print(f"{size}: round {n} of {args.rounds}", file=sys.stderr)
        for end, process in ends.values():
            end.send(None)
            process.terminate()
        speeds = {key: statistics.median(values) for key, values in found.items()}
        lines += [
            f"{size:6} {name:13} {kind:6} {clients:2} clients {speed:8,.0f} new tokens/s" for (name, kind, clients), speed in speeds.items()
        ]
        ratios |= {
            f"serve_{size}_{kind}_{clients}_vs_transformers": speed / speeds["transformers", kind, clients]
            for (name, kind, clients), speed in speeds.items()
            if name == "varietas"
        }
    write(args.json, ratios, lines)


if __name__ == "__main__":
    main()
