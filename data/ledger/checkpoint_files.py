"""The files of a checkpoint, by their SHA-256: what a line of checkpoints.jsonl says of a checkpoint that another trainer wrote.

{"step": 5, "steps": {…}, "files": {"../checkpoints/5/model.pt": "9f2c…"}, …}
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from varietas.data.files import digest_of

READERS = 4  # at a time: hashing a file keeps one core busy


def digests_of(files: Iterable[str | Path], folder: str | Path) -> dict[str, str]:
    """Returns the SHA-256 of each file in hexadecimal digits, by its path relative to a folder.

    Args:
        files: Files, or folders whose files are meant.
        folder: That of the ledger. It and the files may move together.

    Raises:
        ValueError: If there is no file.
        OSError: If one cannot be read.
    """
    named = [Path(file) for file in files]
    found = sorted({path for file in named for path in (file.rglob("*") if file.is_dir() else [file]) if not path.is_dir()})
    if not found:
        raise ValueError(f"a checkpoint of no files: {', '.join(map(str, named)) or 'none was named'}; name its files or its folder")
    names = [Path(os.path.relpath(file, folder)).as_posix() for file in found]
    with ThreadPoolExecutor(READERS) as pool:
        return dict(zip(names, pool.map(digest_of, found), strict=True))


def faults_of(files: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Yields what is wrong with files that `digests_of` has named; nothing if none of them is left.

    Args:
        files: What `digests_of` returned.
        folder: That of the ledger.
    """
    there = {name: (folder / name).is_file() for name in files}
    for name, digest in files.items() if any(there.values()) else ():
        if not there[name]:
            yield f"{folder / name} is missing"
        elif digest_of(folder / name) != digest:
            yield f"{folder / name} is not the file that the ledger has"
