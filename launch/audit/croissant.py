"""`varietas audit croissant`: the metadata of a corpus for catalogues of datasets."""

import argparse

from rich.console import Console

from varietas.launch.flags import path

SUMMARY = "write the metadata of a corpus in the format Croissant, which catalogues of datasets read"
EXAMPLE = "varietas audit croissant --corpus corpus --out corpus/croissant.json"


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--corpus", type=path, required=True, metavar="DIR", help="a prepared corpus")
    parser.add_argument("--out", type=path, metavar="FILE", help="the file to write (default: croissant.json in the corpus)")


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.data.corpus.corpus import Corpus
    from varietas.data.files import write_json
    from varietas.data.summary.croissant import croissant

    out = args.out or args.corpus / "croissant.json"
    write_json(out, croissant(Corpus(args.corpus)))
    console.print(f"metadata: {out}", soft_wrap=True)
    return 0
