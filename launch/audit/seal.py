"""`varietas audit seal`: the part of a corpus that can be published."""

import argparse
import json

from rich.console import Console

from varietas.launch.audit import opened
from varietas.launch.flags import not_empty, path

SUMMARY = "write the public part of a corpus, without texts, and without ids and URLs of sealed sources"
EXAMPLE = "varietas audit seal --corpus corpus --out public"


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--corpus", type=path, required=True, metavar="DIR", help="a prepared corpus with a commitment")
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="the folder to write; must not exist")
    parser.add_argument(
        "--source",
        nargs="+",
        type=not_empty,
        action="extend",
        default=[],
        metavar="NAME",
        help="sources to seal (default: all); the others keep ids, URLs and digests",
    )
    opened.add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.data.audit.seal import seal
    from varietas.data.corpus.corpus import Corpus

    manifest = seal(Corpus(args.corpus), args.out, args.source)
    if args.json:
        print(json.dumps({"out": str(args.out), "sealed": manifest["sealed"], **manifest["commitment"]}))
        return 0
    named = ", ".join(source or "(no name)" for source in manifest["sealed"][:10]) + (" …" if manifest["sealed"][10:] else "")
    console.print(f"{args.out}: {manifest['documents']:,} documents in {len(manifest['languages'])} languages", soft_wrap=True)
    console.print(f"sealed: {named}\nroot {manifest['commitment']['root']}", soft_wrap=True)
    return 0
