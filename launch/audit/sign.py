"""`varietas audit sign`: signs the ledger of a run as it is now."""

import argparse

from rich.console import Console

from varietas.launch.audit import opened
from varietas.launch.flags import path

SUMMARY = "sign the ledger of a run as it is now; a run that ends does it by itself"
EXAMPLE = "varietas audit sign --run runs/demo --key ledger.key"


def add_flags(parser: argparse.ArgumentParser) -> None:
    opened.add_run(parser)
    parser.add_argument(
        "--key", type=path, metavar="FILE", help="an ed25519 private key in PEM (default: $VARIETAS_KEY, or the one in ~/.config/varietas)"
    )


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.data.ledger.signing import key_id, own_key, private_key
    from varietas.data.ledger.statement import sign_ledger, signed_of
    from varietas.train.run_folder.folder import read_record, saved_steps

    ledger = opened.ledger_of(args.run)
    key = private_key(args.key) if args.key else own_key()
    digest = read_record(args.run, "environment.json").get("parameter_digest") if (args.run / "environment.json").exists() else None
    if digest and digest["step"] != max(saved_steps(args.run), default=None):
        digest = None
    file = sign_ledger(ledger, key, digest)
    said = signed_of(ledger)
    console.print(f"signed {opened.count(said['steps'], 'step')} with key {key_id(key)}: {file}", highlight=False, soft_wrap=True)
    return 0
