"""`varietas extend`: more pieces for a tokenizer and its model."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from varietas.launch.flags import add_input, add_run, not_empty, positive_int
from varietas.launch.tables import align_right

if TYPE_CHECKING:
    from varietas.data.tokenizer.model import Fertility

SUMMARY = "make a run of a model with more pieces, so that text takes fewer tokens"
EXAMPLE = "varietas extend --from runs/eurollm --run runs/baltic --input 'lit/*.jsonl' 'lav/*.jsonl' --pieces 8000"


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="source", type=not_empty, required=True, metavar="RUN[@STEP]", help="the model")
    add_run(parser)
    parser.add_argument("--pieces", type=positive_int, required=True, metavar="N", help="new pieces")
    add_input(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.launch.inputs import documents_of, reading_of
    from varietas.launch.models.extending import extend

    documents = documents_of("--input", args.input, console, reading_of(args))
    with console.status("adding pieces"):
        before, after = extend(args.source, args.run, documents, args.pieces, args.cpu_devices)
    console.print(extension_table(before, after))
    console.print(f"{args.pieces:,} more pieces: {args.run}; prepare text with its tokenizer, then train with --init_from", soft_wrap=True)
    return 0


def extension_table(before: "Mapping[str, Fertility]", after: "Mapping[str, Fertility]") -> Table:
    """Tables how many tokens a word takes before and after, the language that takes most after it first."""
    from varietas.data.text.languages import name

    table = Table("language", "", "tokens/word before", "after", "tokens saved", "bytes", box=None, pad_edge=False)
    align_right(table, 2, 3, 4, 5)
    for code, row in sorted(after.items(), key=lambda item: -item[1].tokens_per_word):
        old, saved = before[code], 1 - row.tokens / max(1, before[code].tokens)
        words = (f"{each.tokens_per_word:.2f}" for each in (old, row))
        table.add_row(code, name(code), *words, f"{saved:.0%}", f"{row.bytes:,}")
    return table
