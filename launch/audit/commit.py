"""`varietas audit commit`: the commitment of a corpus that was prepared before corpora had one."""

import argparse
import json

from rich.console import Console

from varietas.launch.audit import opened
from varietas.launch.flags import path, positive_int

SUMMARY = "make the commitment of a corpus that has none, so that its documents can be proved"
EXAMPLE = "varietas audit commit --corpus corpus"


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--corpus", type=path, required=True, metavar="DIR", help="a prepared corpus")
    parser.add_argument("--workers", type=positive_int, metavar="N", help="how many work at a time (default: one a core)")
    opened.add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.data.corpus.commitment import in_manifest
    from varietas.data.prepare.commit import commit
    from varietas.data.prepare.engine import local
    from varietas.launch.backend import cores

    content = commit(args.corpus.resolve(), local(args.workers or cores()))
    roots = in_manifest(content)
    if args.json:
        print(json.dumps(roots))
        return 0
    console.print(f"root {roots['root']}\nsorted root {roots['sorted_root']}", soft_wrap=True)
    console.print(f"{args.corpus / 'commitment' / 'secret'} opens every document: keep it, keep a copy, and keep it to yourself")
    return 0
