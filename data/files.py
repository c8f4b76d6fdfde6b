"""Whole files or none: written under a temporary name, then renamed."""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces `path` with `content`; a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def cache_folder() -> Path:
    """Where things that can be made again are kept: $VARIETAS_CACHE, else varietas/ in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("VARIETAS_CACHE") or Path(base) / "varietas")


def raise_if_of_the_system(error: Exception) -> None:
    """A disk or a network that fails is no damage of a file: what could not be read now may be read later."""
    if isinstance(error, OSError) and error.errno:
        raise error


def discard(folder: Path) -> None:
    """Removes a folder in which someone may still be writing: it moves away first, so that they can neither finish it nor make it anew."""
    away = Path(tempfile.mkdtemp(prefix=".discarded.", dir=folder.parent))
    with contextlib.suppress(OSError):
        folder.rename(away / folder.name)
    shutil.rmtree(away, ignore_errors=True)


@contextmanager
def alone(file: Path, what: str) -> Iterator[None]:
    """Holds a lock on `file` (made, and removed at the end). Raises ValueError that says `what` is at work if another process holds it.

    The system lets go of it when the process ends, however it ends. On a file system without locks nothing is checked.
    """
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another {what} is at work (it holds {file}); wait for it or end it") from None
        except OSError:
            pass
        try:
            yield
        finally:
            file.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its name at the end, or vanishes on an error.

    If someone else made `path` in the meantime, theirs stays. Raises FileExistsError at the end if `path` is something else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    partial.chmod(0o755)
    try:
        yield partial
        try:
            partial.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
