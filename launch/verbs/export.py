"""`varietas export`: writes the weights of a run in a format that other programs read."""

import argparse

from rich.console import Console

from varietas.launch.flags import FORMS, add_calibrate, add_run, non_negative_int, path

SUMMARY = "write the weights of a run as transformers, vLLM or llama.cpp load them"
EXAMPLE = "varietas export --run runs/demo --format gguf --quantize q4_k --out releases/demo.gguf"

DTYPES = ("float32", "bfloat16", "float16")


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument(
        "--format",
        choices=("hf", "gguf"),
        default="hf",
        help="hf: safetensors with config.json and tokenizer (default); gguf: one file for llama.cpp, with the tokenizer inside",
    )
    parser.add_argument("--out", type=path, required=True, metavar="PATH", help="a new folder for hf, a new file for gguf")
    parser.add_argument("--step", type=non_negative_int, metavar="N", help="the checkpoint after N steps (default: the newest)")
    parser.add_argument("--dtype", choices=DTYPES, help="of the weights, for hf (default: that of the run's model.dtype)")
    parser.add_argument(
        "--quantize",
        choices=FORMS,
        help="of the weights, for gguf: whole floats, 8.5 bits a weight (q8_0) or 4.5 bits (q4_k, or q4_0, which is rougher but known to "
        "more programs); default: that of the run's model.dtype",
    )
    add_calibrate(parser, "q4_k")


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.launch.inputs import documents_of
    from varietas.launch.run import Run

    if args.out.exists():
        raise ValueError(f"--out {args.out} exists; name a new {'folder' if args.format == 'hf' else 'file'}")
    if args.format == "hf" and args.quantize:
        raise ValueError(f"--quantize {args.quantize} is for --format gguf; give --dtype for hf")
    if args.format == "gguf" and args.dtype:
        raise ValueError(f"--dtype {args.dtype} is for --format hf; give --quantize for gguf")
    if args.calibrate is not None and args.quantize != "q4_k":
        raise ValueError("--calibrate is for --format gguf --quantize q4_k; other forms are not calibrated")
    documents = None if args.calibrate is None else documents_of("--calibrate", args.calibrate, console)
    opened = Run.open(args.run, args.cpu_devices, console=console)
    if args.format == "gguf":
        opened.export_gguf(args.out, args.step, args.quantize, documents and documents())
        size, loader = args.out.stat().st_size, f"llama.cpp runs it: llama-completion -m {args.out} -p 'TEXT'"
    else:
        with console.status("exporting"):
            opened.export(args.out, args.step, args.dtype)
        size = sum(file.stat().st_size for file in args.out.iterdir())
        loader = "transformers loads it with AutoModelForCausalLM.from_pretrained"
    console.print(f"{args.out}: {size / 1e6:,.1f} MB; {loader}", soft_wrap=True)
    return 0
