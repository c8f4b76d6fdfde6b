"""Signed statements, compared with the implementations of in-toto's authors (securesystemslib, in-toto-attestation) and with openssl."""

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from varietas.data.ledger import signing

SAID = signing.statement({"steps.jsonl": "ab" * 32}, "urn:varietas:test:v1", {"step": 7, "words": "žluťoučký"})


@pytest.fixture(scope="module")
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def changed(envelope: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    copy = json.loads(json.dumps(envelope))
    change(copy)
    return copy


def test_bytes_that_are_signed_are_those_of_the_specification() -> None:
    """The test vector of DSSE's protocol.md."""
    signed = signing.encoded_before_signing("http://example.com/HelloWorld", b"hello world")
    assert signed == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_another_implementation_accepts_our_envelope(key: Ed25519PrivateKey) -> None:
    envelope = json.loads(json.dumps(signing.sign(SAID, key)))
    theirs = Envelope.from_dict(envelope)
    ours = SSlibKey.from_crypto(key.public_key())
    assert list(theirs.verify([ours], 1)) == [ours.keyid] == [signing.key_id(key)]
    with pytest.raises(VerificationError):
        theirs.verify([SSlibKey.from_crypto(Ed25519PrivateKey.generate().public_key())], 1)


def test_we_accept_the_envelope_of_another_implementation(key: Ed25519PrivateKey) -> None:
    theirs = Envelope(json.dumps(SAID, indent=3).encode(), signing.PAYLOAD, {})
    theirs.sign(CryptoSigner(key))
    assert signing.verify(theirs.to_dict(), key.public_key()) == SAID


def test_in_toto_reads_our_statement(key: Ed25519PrivateKey) -> None:
    from google.protobuf.json_format import Parse

    payload = base64.b64decode(signing.sign(SAID, key)["payload"])
    read = Statement.copy_from_pb(Parse(payload, statement_pb2.Statement()))
    read.validate()
    assert read.pb.subject[0].digest["sha256"] == "ab" * 32 and read.pb.predicate["words"] == "žluťoučký"


def test_a_statement_comes_back(key: Ed25519PrivateKey) -> None:
    envelope = signing.sign(SAID, key)
    assert signing.verify(envelope, key.public_key()) == SAID
    assert signing.sign(SAID, key) == envelope
    other_alphabet = changed(envelope, lambda e: e.update(payload=e["payload"].replace("+", "-").replace("/", "_")))
    assert signing.verify(other_alphabet, key.public_key()) == SAID


def _with_other_words(envelope: dict[str, Any]) -> None:
    envelope["payload"] = base64.b64encode(base64.b64decode(envelope["payload"]).replace(b":7", b":8")).decode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_with_other_words, "changed after signing"),
        (lambda e: e.update(payloadType="text/plain"), "payloadType is 'text/plain'"),
        (lambda e: e.pop("payloadType"), "payloadType is None"),
        (lambda e: e.pop("payload"), "payload is missing"),
        (lambda e: e.update(payload=e["payload"][:-3]), "payload is missing, cut short or not base64"),
        (lambda e: e["signatures"][0].update(sig="§"), "sig is missing, cut short or not base64"),
        (lambda e: e["signatures"][0].update(sig=[]), "sig is missing, cut short or not base64"),
        (lambda e: e["signatures"][0].update(sig=base64.b64encode(bytes(64)).decode()), "changed after signing"),
        (lambda e: e["signatures"].append(e["signatures"][0]), "2 signatures, expected exactly one"),
        (lambda e: e.update(signatures=[]), "0 signatures"),
        (lambda e: e.update(signatures="x"), "no usable signatures"),
    ],
)
def test_damaged_envelopes_are_refused(key: Ed25519PrivateKey, change: Callable[[dict[str, Any]], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        signing.verify(changed(signing.sign(SAID, key), change), key.public_key(), "statement.dsse.json")


def test_another_key_is_named(key: Ed25519PrivateKey) -> None:
    other = Ed25519PrivateKey.generate()
    with pytest.raises(ValueError, match=f"another key: {signing.key_id(key)}; the one that was given is {signing.key_id(other)}"):
        signing.verify(signing.sign(SAID, key), other.public_key())


def test_only_statements_of_in_toto_are_accepted(key: Ed25519PrivateKey) -> None:
    for payload in (b"[]", b"not JSON", b'{"_type": "https://in-toto.io/Statement/v0.1"}'):
        envelope = Envelope(payload, signing.PAYLOAD, {})
        envelope.sign(CryptoSigner(key))
        with pytest.raises(ValueError, match="no in-toto statement of version 1"):
            signing.verify(envelope.to_dict(), key.public_key())


def test_a_truncated_file_is_told(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    file = tmp_path / "statement.dsse.json"
    file.write_text(json.dumps(signing.sign(SAID, key))[:-20])
    with pytest.raises(ValueError, match=r"statement\.dsse\.json is not valid JSON .* cut short"):
        signing.read_envelope(file)


def test_the_key_is_made_once_and_read_by_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings" / "ledger.key"
    monkeypatch.setenv("VARIETAS_KEY", str(file))
    made = signing.own_key()
    assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
    assert signing.key_id(signing.own_key()) == signing.key_id(made)
    assert [path.name for path in file.parent.iterdir()] == ["ledger.key"]
    public = tmp_path / "key.pub"
    public.write_bytes(signing.public_pem(made))
    assert signing.verify(signing.sign(SAID, made), signing.public_key(public)) == SAID
    monkeypatch.delenv("VARIETAS_KEY")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert signing.key_file() == tmp_path / "varietas" / "ledger.key"


def test_openssl_makes_keys_for_us_and_checks_our_signatures(tmp_path: Path) -> None:
    file = tmp_path / "ledger.key"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", file], check=True)
    file.chmod(0o600)
    envelope = signing.sign(SAID, signing.own_key(file))
    (tmp_path / "public").write_bytes(signing.public_pem(signing.own_key(file)))
    (tmp_path / "signed").write_bytes(signing.encoded_before_signing(signing.PAYLOAD, base64.b64decode(envelope["payload"])))
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    check = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "public", "-rawin", "-in", "signed", "-sigfile", "sig"]
    subprocess.run(check, check=True, cwd=tmp_path, capture_output=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:secret"], "is encrypted; write it without a password"),
        (["genpkey", "-algorithm", "x25519"], "of another kind than ed25519"),
        (["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "of another kind than ed25519"),
    ],
)
def test_unusable_keys_are_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    file = tmp_path / "ledger.key"
    subprocess.run(["openssl", *arguments, "-out", file], check=True)
    file.chmod(0o600)
    with pytest.raises(ValueError, match=message):
        signing.own_key(file)


def test_a_file_that_is_no_key_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ledger.key"
    file.touch(0o600)
    for content in ("", "secret", "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----\n"):
        file.write_text(content)
        with pytest.raises(ValueError, match="is not a private key in PEM"):
            signing.own_key(file)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ledger.key"
    signing.own_key(file)
    for mode in (0o640, 0o604, 0o660):
        file.chmod(mode)
        with pytest.raises(ValueError, match=f"mode {mode:o}\\); run `chmod 600"):
            signing.own_key(file)


def test_a_private_key_is_no_public_one(tmp_path: Path) -> None:
    signing.own_key(tmp_path / "ledger.key")
    with pytest.raises(ValueError, match="which its owner alone should have"):
        signing.public_key(tmp_path / "ledger.key")
    (tmp_path / "key.pub").write_text("-----BEGIN PUBLIC KEY-----\nMCowBQ\n-----END PUBLIC KEY-----\n")
    with pytest.raises(ValueError, match="is not a public key in PEM"):
        signing.public_key(tmp_path / "key.pub")
