"""`varietas import`: makes a run of a model that others have released."""

import argparse

from rich.console import Console

from varietas.launch.flags import add_run, path

SUMMARY = "make a run of a model in the layout of transformers, to evaluate it, generate with it, or train it further"
EXAMPLE = "varietas import --from downloads/EuroLLM-1.7B --run runs/eurollm"


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        dest="source",
        type=path,
        required=True,
        metavar="DIR",
        help="a folder with config.json, safetensors and tokenizer.model or tokenizer.json",
    )
    add_run(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.launch.models.importing import import_model
    from varietas.model.config import ModelConfig
    from varietas.model.flops import count_params

    with console.status(f"importing {args.source}"):
        model = ModelConfig(**import_model(args.source, args.run, args.cpu_devices).model)
    shape = f"{model.n_layers} layers of width {model.d_model:,}, vocabulary {model.vocab_size:,}, context {model.max_seq_len:,}"
    if model.n_expert_layers:
        shape += f", {model.n_experts} experts, of which a token meets {model.n_experts_per_token}"
    console.print(f"{args.run}: {count_params(model) / 1e6:,.1f} M parameters, {shape}", soft_wrap=True)
    console.print(f"next: varietas evaluate --run {args.run}, or train further: --init_from {args.run}", soft_wrap=True)
    return 0
