"""Measures how long benchmarks of lm_eval take, beside lm_eval's own `hf` model with transformers on the same CPU.

    python tests/bench/harness.py [--rounds 3]

Both have the same requests, the same tokenizer and the same shape with random weights in float32: that of the demo, and one of 0.1 B
parameters. The requests are those of lm_eval's tasks: four options after a long context, options of one letter after such a context,
whole texts in windows, and prompts to continue. `hf` takes them one by one and eight at once; the faster of the two counts.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from contenders import spawn
from figures import arguments, documents, shared_config, write

from varietas.data.prepare.default import default_corpus
from varietas.data.tokenizer.model import load
from varietas.launch.resolve import with_values
from varietas.model.config import ModelConfig
from varietas.model.formats.config_json import config_json

Timed = Callable[[str, int], float]  # takes a kind of requests and how many; returns seconds
DEMO = {"model.n_heads": 4, "model.n_kv_heads": 4, "model.tied_embeddings": True, "model.max_seq_len": 1024}
LARGER = {**DEMO, "model.n_layers": 12, "model.d_model": 768, "model.d_ff": 2048, "model.n_heads": 12, "model.n_kv_heads": 12}
SIZES = {"demo": DEMO, "0.1B": {**LARGER, "model.tied_embeddings": False}}
KINDS = {"options": 24, "letters": 24, "texts": 12, "generation": 16}  # requests of the small model; of the larger one a quarter
WORDS = 300  # of a context
NEW = 32  # tokens of a continuation


def requests(kind: str, n: int) -> list[Any]:
    """Returns requests of lm_eval."""
    from lm_eval.api.instance import Instance

    texts = [text.split() for _, text in documents(4 * n, median_chars=12_000)]
    texts = [words for words in texts if len(words) > 2 * WORDS][:n]
    lengths = np.random.default_rng(1).integers(WORDS // 2, WORDS, len(texts))
    made = []
    for words, length in zip(texts, lengths, strict=True):
        context = " ".join(words[:length])
        if kind == "options":
            made += [("loglikelihood", (context, " " + " ".join(words[length + 8 * k : length + 8 * k + 8]))) for k in range(4)]
        elif kind == "letters":
            made += [("loglikelihood", (context, f" {letter}")) for letter in "ABCD"]
        elif kind == "texts":
            made.append(("loglikelihood_rolling", (" ".join(words),)))
        else:
            made.append(("generate_until", (context, {"until": ["\n\n"], "max_gen_toks": NEW})))
    return [Instance(request_type=how, doc={}, arguments=what, idx=i) for i, (how, what) in enumerate(made)]


def asked(model: Any, kind: str, n: int) -> float:
    """Returns the seconds that a model takes to answer."""
    made = requests(kind, n)
    begun = time.perf_counter()
    getattr(model, made[0].request_type)(made, disable_tqdm=True)
    return time.perf_counter() - begun


def varietas(config: Any) -> Timed:
    from varietas.launch import backend
    from varietas.model.sharding import make_mesh
    from varietas.train.benchmarks.harness import VarietasLM
    from varietas.train.benchmarks.tokens import Tokens
    from varietas.train.inference.generate import generator
    from varietas.train.inference.network import Network
    from varietas.train.step import fresh_params

    class Silent:
        def task(self, name: str) -> None: ...

        def begin(self, what: str, total: int) -> None: ...

        def advance(self, n: int) -> None: ...

    backend.start(1)
    shape, mesh = ModelConfig(**config.model), make_mesh(1, 1, 1)
    processor = load(default_corpus(config.data.embedded_vocab_size) / "tokenizer.model")
    tokens = Tokens(processor, None, (processor.bos_id(),), processor.bos_id(), ())
    model = VarietasLM("random", generator(Network(fresh_params(shape, mesh, 0), shape, mesh)), tokens, Silent())
    return lambda kind, n: asked(model, kind, n)


def hf(config: Any, batch_size: int) -> Timed:
    import json

    import torch
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from varietas.data.tokenizer.tokenizer_json import tokenizer_config, tokenizer_json

    processor, shape = load(default_corpus(config.data.embedded_vocab_size) / "tokenizer.model"), ModelConfig(**config.model)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in (
            ("tokenizer.json", tokenizer_json(processor)),
            ("tokenizer_config.json", tokenizer_config(processor, shape.max_seq_len)),
        ):
            (Path(folder) / name).write_text(json.dumps(content))
        tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    network = LlamaForCausalLM(LlamaConfig(**config_json(shape, "float32", {"bos": 1, "eos": None, "pad": 3}))).eval()
    model = HFLM(pretrained=network, tokenizer=tokenizer, batch_size=batch_size)
    return lambda kind, n: asked(model, kind, n)


CONTENDERS: dict[str, Callable[[Any], Timed]] = {
    "varietas": varietas,
    "hf": lambda config: hf(config, 1),
    "hf, 8 at once": lambda config: hf(config, 8),
}


def serve(name: str, config: Any, connection: Any) -> None:
    run = CONTENDERS[name](config)
    while (what := connection.recv()) is not None:
        connection.send(run(*what))


def main() -> None:
    args, fields = arguments(__doc__, rounds=3).parse_known_args()
    lines, ratios = [], {}
    for size, shape in SIZES.items():
        config = with_values(shared_config(fields), shape)
        ends = {name: spawn(serve, name, config, ours=name == "varietas")[0] for name in CONTENDERS}
        for kind, n in KINDS.items():
            n = n if size == "demo" else max(4, n // 4)
            found: dict[str, list[float]] = {name: [] for name in CONTENDERS}
            for _ in range(args.rounds + 1):  # the first round compiles
                for name, end in ends.items():
                    end.send((kind, n))
                    found[name].append(end.recv())
            seconds = {name: statistics.median(times[1:]) for name, times in found.items()}
            lines += [f"{size:5} {kind:10} {name:14} {x:8.2f} s (first {found[name][0]:.2f} s)" for name, x in seconds.items()]
            ratios[f"harness_{size}_{kind}_vs_hf"] = min(x for name, x in seconds.items() if name != "varietas") / seconds["varietas"]
        for end in ends.values():
            end.send(None)
    write(args.json, ratios, lines)


if __name__ == "__main__":
    main()
