"""Which packages are installed, in which version, and which code of ours this is."""

import hashlib
import os
from functools import cache
from importlib import metadata
from pathlib import Path


def version_of(package: str) -> str | None:
    """Returns the version of an installed package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@cache
def source_digest() -> str:
    """Returns a SHA-256 over all files of our own code that this process runs, and their paths. Versions between releases differ in it."""
    package = Path(__file__).parents[1]
    found = hashlib.sha256()
    files = (Path(folder) / name for folder, _, names in os.walk(package, followlinks=True) for name in names if name.endswith(".py"))
    for path, file in sorted((file.relative_to(package).as_posix(), file) for file in files):
        found.update(f"{path}\n".encode() + hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()
