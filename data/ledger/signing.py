"""Signed statements: an in-toto statement in a DSSE envelope, signed with ed25519, as tools of other projects check it too.

A statement names files or other things by their SHA-256 (its subject), and says something of them (its predicate). The envelope holds the
bytes of the statement as they were signed, so nothing depends on how JSON is written.
Formats: in-toto Statement v1 (https://in-toto.io/Statement/v1), DSSE v1 (https://github.com/secure-systems-lab/dsse), keys in PEM.
"""

import base64
import contextlib
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from varietas.data.files import read_json

STATEMENT = "https://in-toto.io/Statement/v1"
PAYLOAD = "application/vnd.in-toto+json"
CONVERT = "make one with `openssl genpkey -algorithm ed25519`"


def key_file() -> Path:
    """Returns where the private key of this user is: $VARIETAS_KEY, or else ledger.key in varietas/ of the user's settings."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(os.environ.get("VARIETAS_KEY") or os.path.join(home, "varietas", "ledger.key"))


def own_key(file: Path | None = None) -> Ed25519PrivateKey:
    """Returns the private key in `file`, or else in `key_file()`; it is made if there is no such file.

    Raises:
        ValueError: If others may read the file, or it is no unencrypted ed25519 key in PEM (PKCS #8).
        OSError: If it cannot be read or written.
    """
    file = file or key_file()
    if not file.exists():
        _make_key(file)
    return private_key(file)


def private_key(file: Path) -> Ed25519PrivateKey:
    """Reads a private key. Raises as `own_key` does, and FileNotFoundError without such a file."""
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        raise ValueError(f"{file}: others may read or change this private key (mode {mode:o}); run `chmod 600 {file}`")
    try:
        key = load_pem_private_key(file.read_bytes(), None)
    except TypeError:
        raise ValueError(
            f"{file} is encrypted; write it without a password with `openssl pkey -in {file} -out NEW`, and let only yourself read it"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"{file} is not a private key in PEM (PKCS #8); {CONVERT}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{file} is a private key of another kind than ed25519; {CONVERT}")
    return key


def public_key(file: Path) -> Ed25519PublicKey:
    """Reads a public key in PEM. Raises ValueError if it is none, and FileNotFoundError without such a file."""
    content = file.read_bytes()
    if b"PRIVATE KEY" in content:
        raise ValueError(f"{file} is a private key, which its owner alone should have; expected the public key (key.pub)")
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"{file} is not a public key in PEM, as `openssl pkey -in PRIVATE -pubout` writes it") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"{file} is a public key of another kind than ed25519")
    return key


def public_pem(key: Ed25519PrivateKey | Ed25519PublicKey) -> bytes:
    """Returns the public key in PEM (SubjectPublicKeyInfo)."""
    return _public(key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def key_id(key: Ed25519PrivateKey | Ed25519PublicKey) -> str:
    """Returns the name of a key in signatures, as in-toto and TUF compute it: a SHA-256 of the public key."""
    value = {"keytype": "ed25519", "keyval": {"public": _public(key).public_bytes_raw().hex()}, "scheme": "ed25519"}
    return hashlib.sha256(_compact(value)).hexdigest()


def statement(subject: Mapping[str, str], predicate_type: str, predicate: Mapping[str, Any]) -> dict[str, Any]:
    """Makes an in-toto statement.

    Args:
        subject: What is spoken of, by name: its SHA-256 in hex.
        predicate_type: The kind of the predicate, as a URI.
        predicate: What is said of the subject.
    """
    named = [{"name": name, "digest": {"sha256": digest}} for name, digest in subject.items()]
    return {"_type": STATEMENT, "subject": named, "predicateType": predicate_type, "predicate": dict(predicate)}


def sign(signed: Mapping[str, Any], key: Ed25519PrivateKey) -> dict[str, Any]:
    """Returns the DSSE envelope of a statement. The same statement and key give the same envelope."""
    payload = _compact(signed)
    signature = {"keyid": key_id(key), "sig": _encoded(key.sign(encoded_before_signing(PAYLOAD, payload)))}
    return {"payload": _encoded(payload), "payloadType": PAYLOAD, "signatures": [signature]}


def verify(envelope: Mapping[str, Any], key: Ed25519PublicKey, name: str = "envelope") -> dict[str, Any]:
    """Returns the statement in an envelope that `key` has signed.

    Args:
        envelope: The envelope, as `read_envelope` returns it.
        key: The public key of who should have signed it.
        name: What to call the envelope in messages, such as its file.

    Raises:
        ValueError: If the envelope is incomplete or of another kind, has several signatures, or is not signed with this key; or if its
            content was changed after it had been signed.
    """
    kind, signatures = envelope.get("payloadType"), envelope.get("signatures")
    if kind != PAYLOAD:
        raise ValueError(f"{name}: payloadType is {kind!r}, expected {PAYLOAD}: it holds no in-toto statement")
    if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], Mapping):
        found = f"{len(signatures)} signatures" if isinstance(signatures, list) and len(signatures) != 1 else "no usable signatures"
        raise ValueError(f"{name}: it has {found}, expected exactly one")
    payload = _decoded(envelope.get("payload"), name, "payload")
    signature, signer = _decoded(signatures[0].get("sig"), name, "signatures.sig"), signatures[0].get("keyid")
    try:
        key.verify(signature, encoded_before_signing(PAYLOAD, payload))
    except InvalidSignature:
        if signer and signer != key_id(key):
            raise ValueError(f"{name} is signed with another key: {str(signer)[:64]}; the one that was given is {key_id(key)}") from None
        raise ValueError(f"{name}: the signature does not fit the content; one of them was changed after signing") from None
    with contextlib.suppress(ValueError, RecursionError):
        signed = json.loads(payload)
        if isinstance(signed, dict) and signed.get("_type") == STATEMENT and all(map(signed.get, ("subject", "predicateType"))):
            return signed
    raise ValueError(f"{name}: what is signed is no in-toto statement of version 1")


def read_envelope(file: Path) -> dict[str, Any]:
    """Reads an envelope from a file. Raises ValueError if it is no JSON object, and FileNotFoundError without such a file."""
    return read_json(file, "it is damaged or cut short; restore it from a copy")


def encoded_before_signing(kind: str, payload: bytes) -> bytes:
    """Returns the bytes that are signed: DSSE's PAE, which tells payloads of different kinds apart."""
    return b"DSSEv1 %d %b %d %b" % (len(kind.encode()), kind.encode(), len(payload), payload)


def _make_key(file: Path) -> None:
    """Writes a new private key with mode 600. If another process is first, its key stays."""
    content = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # which only its owner may read
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(partial, file)
    finally:
        os.unlink(partial)


def _public(key: Ed25519PrivateKey | Ed25519PublicKey) -> Ed25519PublicKey:

    return key.public_key() if isinstance(key, Ed25519PrivateKey) else key


def _compact(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _decoded(text: object, name: str, field: str) -> bytes:
    """Decodes base64 of either alphabet, as DSSE demands. Raises ValueError if it is none."""
    try:
        if isinstance(text, str) and text:
            return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except ValueError:
        pass
    raise ValueError(f"{name}: {field} is missing, cut short or not base64")
