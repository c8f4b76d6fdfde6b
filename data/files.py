"""Files and folders that are written whole or not at all: under a temporary name first, which is then renamed atomically.

The cache folder and the lock between processes are here too.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command line answers mistakes without waiting for it
    import numpy as np

log = logging.getLogger("varietas")


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces `path` with `content`. A reader sees either the old file or the new one, never a part of it."""
    with new_file(path) as partial:
        partial.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically."""
    write_atomically(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def read_json(path: Path, advice: str) -> dict[str, Any]:
    """Reads a JSON object from a file.

    Args:
        path: The file.
        advice: What to do if the file is damaged, for the error message: "restore it from a copy".

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file does not hold a JSON object.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); {advice}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} does not hold a JSON object; {advice}")
    return value


def digest_of(file: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def write_array(path: Path, array: "np.ndarray") -> None:
    """Writes an array as .npy. On a full disk, the error says so, unlike that of np.save."""
    import numpy as np

    content = io.BytesIO()
    np.save(content, array)
    path.write_bytes(content.getbuffer())


def _sync(path: Path) -> None:
    """Waits until a file is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cache_folder() -> Path:
    """Returns the folder for files that can be made again: $VARIETAS_CACHE, or else varietas/ in the user's cache folder.

    If that folder cannot be written to, as in some containers or over a full quota, a folder of the user's own among the system's temporary
    files is used instead, and one warning is logged.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return _writable_cache(os.environ.get("VARIETAS_CACHE") or os.path.join(home, "varietas"))


@cache
def _writable_cache(wanted: str) -> Path:
    try:
        _try_to_write(Path(wanted))
    except OSError as error:
        other = Path(tempfile.gettempdir()) / f"varietas-{os.getuid()}"
        try:
            other.mkdir(mode=0o700, exist_ok=True)
            if other.stat().st_uid != os.getuid():
                raise PermissionError
            _try_to_write(other)
        except OSError:
            other = Path(tempfile.mkdtemp(prefix="varietas-"))
        log.warning("cannot write to the cache %s (%s); using %s instead, set VARIETAS_CACHE to choose", wanted, error.strerror, other)
        return other
    return Path(wanted)


def _try_to_write(folder: Path) -> None:
    """Creates the folder if necessary, and raises OSError if a file with some content cannot be written to it."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(4096))


def split_paths(text: str, separator: str) -> list[str]:
    """Splits a list of paths. A path that exists is taken whole, even if the separator is a part of its name.

    Args:
        text: Paths with separators between them; spaces around a path do not count.
        separator: A comma or a space.

    Returns:
        The paths. Where the text can be read in several ways, the longest path that exists counts.
    """
    pieces, paths = text.split(separator), list[str]()
    while pieces:
        longest = next((n for n in range(len(pieces), 1, -1) if os.path.exists(separator.join(pieces[:n]).strip())), 1)
        paths.append(separator.join(pieces[:longest]).strip())
        pieces = pieces[longest:]
    return [path for path in paths if path]


def reraise_system_error(error: Exception) -> None:
    """Raises `error` again if it comes from the operating system.

    A failing disk or network does not mean that a file is damaged: what cannot be read now may be readable later.
    """
    if isinstance(error, OSError) and error.errno:
        raise error


def discard(folder: Path) -> None:
    """Removes a folder in which another process may still be writing.

    The folder is moved away first, so that the other process can neither finish it nor make it again.
    """
    away = Path(tempfile.mkdtemp(prefix=".discarded.", dir=folder.parent))
    with contextlib.suppress(OSError):
        folder.rename(away / folder.name)
    shutil.rmtree(away, ignore_errors=True)


@contextmanager
def locked(file: Path, what: str) -> Iterator[None]:
    """Holds a lock on `file` while the block runs. The file is made at the beginning and removed at the end.

    The operating system releases the lock when the process ends, however it ends. On a file system without locks, nothing is checked.

    Args:
        file: The lock file.
        what: What the lock protects, for the error message: "prepare --out corpus".

    Raises:
        ValueError: If another process holds the lock.
    """
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another {what} is running (it holds the lock {file}); wait until it ends, or stop it") from None
        except OSError:
            pass
        try:
            yield
        finally:
            file.unlink(missing_ok=True)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yields the path of a temporary file beside `path`, which is renamed to `path` at the end, or removed on an error.

    For files that are too large for `write_atomically`. The block has to make the file and to close it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        _sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path`, which is renamed to `path` at the end, or removed on an error.

    All files are on disk before the folder is renamed, so that they are whole even after a power failure.

    If another process has made the folder `path` in the meantime, that folder stays and this one is removed.

    Raises:
        OSError: At the end, if `path` exists and is not a folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    partial.chmod(0o755)
    try:
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                _sync(file)
        try:
            partial.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
