"""What is signed of a ledger: how long its two logs are and their roots, what its rows follow from, and the digest of the parameters.

The statement is that of in-toto, in a DSSE envelope (signing.py). A run that goes on after it was signed has lines that are not signed yet.
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from varietas.data.files import write_atomically, write_json
from varietas.data.ledger import signing
from varietas.data.ledger.log import BrokenLog, Head, Record, head_of, lines
from varietas.data.ledger.merkle import MerkleTree
from varietas.data.ledger.steps import CHECKPOINTS, STEPS

ENVELOPE, KEY = "statement.dsse.json", "key.pub"
KIND = "urn:varietas:training-ledger:v1"


def sign_ledger(folder: str | Path, key: Ed25519PrivateKey, parameters: dict[str, Any] | None = None) -> Path:
    """Signs a ledger as it is now, and returns the path of the envelope. The public key is written beside it.

    Args:
        folder: The folder of the ledger.
        key: Who signs.
        parameters: `step` and `sha256` of the parameters, if they are known.

    Raises:
        ValueError: If there is no ledger.
        BrokenLog: If it was changed.
    """
    folder = Path(folder)
    contexts, steps = list[dict[str, Any]](), 0

    def see(record: Record) -> None:
        nonlocal steps
        if "context" in record:
            contexts.append({"step": record["step"], **record["context"]})
        else:
            steps = record["step"] + 1

    logs = {STEPS: _log(folder / STEPS, see)}
    if (folder / CHECKPOINTS).exists():
        logs[CHECKPOINTS] = _log(folder / CHECKPOINTS)
    subject = {name: log["sha256"] for name, log in logs.items()} | ({"parameters": parameters["sha256"]} if parameters else {})
    predicate = {
        "logs": logs,
        "steps": steps,
        "contexts": contexts,
        "parameters": parameters,
        "signed": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(folder / ENVELOPE, signing.sign(signing.statement(subject, KIND, predicate), key))
    write_atomically(folder / KEY, signing.public_pem(key))
    return folder / ENVELOPE


def _log(file: Path, see: Callable[[Record], None] = lambda _: None) -> dict[str, Any]:
    """Returns how many lines a log has, the root of the tree over them, and the SHA-256 of the file. `see` is called with each record."""
    tree, content = MerkleTree(), hashlib.sha256()
    for line in lines(file, tree):
        see(line.record)
        content.update(line.text + b"\n")
    return {"size": tree.size, "root": tree.root().hex(), "sha256": content.hexdigest()}


def signed_of(folder: Path, key: Ed25519PublicKey | None = None) -> dict[str, Any]:
    """Returns what was signed of a ledger (the predicate), after a check of the signature.

    Args:
        folder: The folder of the ledger.
        key: Whose signature is expected; None for the key that lies in the folder, which proves only that nothing was changed since.

    Raises:
        ValueError: If there is no statement, or it is damaged, of another kind or signed by another key.
    """
    try:
        envelope = signing.read_envelope(folder / ENVELOPE)
        signed = signing.verify(envelope, key or signing.public_key(folder / KEY), str(folder / ENVELOPE))
    except FileNotFoundError:
        if not (folder / ENVELOPE).exists() and not (folder / KEY).exists():
            raise ValueError(f"{folder} is not signed; `varietas audit sign` signs it") from None
        missing, other = (KEY, ENVELOPE) if (folder / ENVELOPE).exists() else (ENVELOPE, KEY)
        raise ValueError(f"{folder / missing} is missing, although {other} is there: restore it, or get the key from who signed") from None
    if signed["predicateType"] != KIND:
        raise ValueError(f"{folder / ENVELOPE}: it is a statement of kind {signed['predicateType']}, expected {KIND}")
    return dict(signed["predicate"])


def check_signed(folder: Path, signed: dict[str, Any]) -> None:
    """Checks that the logs of a ledger begin with what was signed.

    Args:
        folder: The folder of the ledger.
        signed: What `signed_of` returned.

    Raises:
        BrokenLog: If they do not.
        ValueError: If a log is missing.
    """
    for name, head in signed["logs"].items():
        if head_of(folder / name, head["size"]) != Head(head["size"], head["root"]):
            raise BrokenLog(
                f"{folder / name}: its first {head['size']:,} lines are not those that were signed on {signed['signed']}; each fits those "
                "before it, so the log was written anew: restore it from a copy"
            )
