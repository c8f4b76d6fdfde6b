"""What shows that a release is whole and whose it is: SHA256SUMS, and a signature by OpenSSF Model Signing."""

import shutil
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from varietas.data.files import digest_of

SUMS, SIGNATURE, PUBLIC_KEY = "SHA256SUMS", "model.sig", "model.pub"
CURVES = ("secp256r1", "secp384r1", "secp521r1")
MAKE_KEY = "make one with `openssl ecparam -name prime256v1 -genkey -noout -out release.key`"


def sizes(folder: Path) -> dict[str, int]:
    """Returns the size in bytes of each file of a folder, by path, sorted."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}


def digests(folder: Path) -> dict[str, tuple[str, int]]:
    """Returns the SHA-256 and the size in bytes of each file of a folder, by path, sorted."""
    return {path: (digest_of(folder / path), size) for path, size in sizes(folder).items()}


def lines(files: Mapping[str, tuple[str, int]]) -> str:
    """Returns the content of SHA256SUMS, which `sha256sum --check` reads."""
    return "".join(f"{digest}  {path}\n" for path, (digest, _) in sorted(files.items()))


def check_key(file: Path) -> bytes:
    """Returns the public key in PEM that belongs to a private key of Model Signing.

    Raises:
        ValueError: If the file is no unencrypted private key of a curve that Model Signing knows.
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If the package model-signing is not installed.
    """
    if find_spec("model_signing") is None:
        raise ModuleNotFoundError("releases are signed with the package model-signing; install it: pip install 'varietas[release]'")
    try:
        key = load_pem_private_key(file.read_bytes(), None)
    except TypeError:
        raise ValueError(f"--key {file} is encrypted; write it without a password with `openssl pkey -in {file} -out NEW`") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"--key {file} is not a private key in PEM; {MAKE_KEY}") from None
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise ValueError(f"--key {file} is not a key of one of the curves {', '.join(CURVES)}, which Model Signing asks for; {MAKE_KEY}")
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def sign(release: Path, key: Path) -> None:
    """Signs all files of a release with Model Signing, as `model_signing verify key` checks it. `check_key` comes before.

    The signature holds the name of the folder.
    """
    from model_signing import hashing, signing

    signer = signing.Config().use_elliptic_key_signer(private_key=key)
    signer.set_hashing_config(hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False))
    with tempfile.TemporaryDirectory(dir=release.absolute().parent) as aside:  # it may not lie in the folder while that is signed
        signer.sign(release, Path(aside) / SIGNATURE)
        shutil.move(Path(aside) / SIGNATURE, release / SIGNATURE)
