"""`varietas fences`: the thresholds of quality rules, from good text of each language."""

import argparse
from pathlib import Path

from rich.console import Console

from varietas.launch.flags import add_input, path

SUMMARY = "fit the thresholds of quality rules to good text, for `prepare --config.clean.fences`"
EXAMPLE = "varietas fences --input 'good/*.jsonl' --out fences.json"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_input(parser)
    parser.add_argument("--out", type=path, required=True, metavar="FILE", help="the file to write; must not exist")
    parser.add_argument("--about", default="", metavar="TEXT", help="what the text is, which the file will say")


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.data.clean.fences import fitted, save
    from varietas.data.text.documents import Document
    from varietas.launch.inputs import reading_of, records_of

    out: Path = args.out
    if out.exists():
        raise ValueError(f"--out {out} exists; name a new file or remove it")
    records = records_of("--input", args.input, reading_of(args))
    content = fitted((record for record in records() if isinstance(record, Document)), args.about)
    save(content, out)
    console.print(f"{out}: fences of {len(content['languages'])} languages", soft_wrap=True)
    return 0
