"""`varietas audit check`: checks a proof, with nothing but the public key of who signed the run."""

import argparse

from rich.console import Console

from varietas.data.files import read_json
from varietas.launch.audit import opened
from varietas.launch.flags import path

SUMMARY = "check a proof with nothing but the public key of who signed the run"
EXAMPLE = "varietas audit check proof.json --key key.pub"


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("proof", type=path, metavar="PROOF.json", help="what `varietas audit prove` wrote")
    parser.add_argument("--key", type=path, required=True, metavar="KEY.pub", help="the public key, from a place that you trust")
    parser.add_argument("--text", type=path, metavar="FILE", help="whether the proof is of the text of this file")
    opened.add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.data.audit.proof import check, is_of_text
    from varietas.data.ledger.signing import public_key

    proof, key = read_json(args.proof, "it is damaged or cut short"), public_key(args.key)
    shown, fault = list[str](), ""
    try:
        for sentence in check(proof, key):
            shown.append(sentence)
        if args.text and not is_of_text(proof, args.text.read_bytes().decode("utf-8")):
            raise ValueError(f"it is about another text than that of {args.text}")
    except ValueError as error:
        fault = str(error)
    if args.json:
        opened.print_json({"valid": not fault, "shows": shown, "fault": fault})
    else:
        for sentence in shown:
            console.print(sentence, markup=False, highlight=False, soft_wrap=True)
        console.print(f"DOES NOT HOLD: {fault}" if fault else "the proof holds", markup=False, highlight=False, soft_wrap=True)
    return 1 if fault else 0
