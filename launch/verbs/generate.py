"""`varietas generate`: continues prompts with the newest checkpoint of a run."""

import argparse
from itertools import chain

from rich.console import Console

from varietas.launch.flags import add_processes, add_run, add_small, positive_int, seed

SUMMARY = "continue a text; several --prompt are continued together"
EXAMPLE = 'varietas generate --run runs/demo --prompt "Všichni lidé" --temperature 0.7 --top_p 0.9'


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_processes(parser)
    add_small(parser)
    parser.add_argument("--prompt", action="append", metavar="TEXT", help="the text to continue (default: start a new one)")
    parser.add_argument("--chat", action="store_true", help="answer each --prompt as what a user says, by the chat template of the model")
    parser.add_argument("--max_tokens", type=positive_int, default=64, metavar="N", help="new tokens (default: %(default)s)")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 always takes the likeliest token (default: %(default)s)")
    parser.add_argument(
        "--top_p", type=float, default=1.0, help="sample from the likeliest tokens that hold this much probability (default: %(default)s)"
    )
    parser.add_argument("--seed", type=seed, default=0, help="of the random choices (default: %(default)s)")


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.launch.inputs import small_of
    from varietas.launch.run import Run
    from varietas.train.inference.sampling import Sampling

    if args.chat and not all(args.prompt or [""]):
        raise ValueError("--chat answers what --prompt says; add --prompt TEXT")
    prompts = args.prompt or [""]
    sampling = Sampling(args.max_tokens, args.temperature, args.top_p, args.seed)
    opened = Run.open(args.run, args.cpu_devices, console=console, small=small_of(args, console))
    pieces = opened.continuations(prompts, sampling, args.chat)
    if len(prompts) == 1:
        first = next(pieces, (0, ""))  # raises what is wrong with the prompt before the prompt is shown
        console.out(prompts[0], style="bold", end="\n\n" if args.chat else "", highlight=False)
        try:
            for _, text in chain([first], pieces):
                print(text, end="", flush=True)
        finally:
            print()  # also after Ctrl-C: what the shell prints next stands on a line of its own
        return 0
    texts = [""] * len(prompts)
    for row, text in pieces:
        texts[row] += text
    for prompt, text in zip(prompts, texts, strict=True):
        console.out(prompt, style="bold", end="\n" if args.chat else "", highlight=False)
        print(text, end="\n\n")
    return 0
