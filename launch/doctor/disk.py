"""How fast the file system of a folder writes, reads and makes files."""

import os
import shutil
import socket
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from varietas.launch.doctor.finding import BROKEN, OK, SLOW, Finding, at_least

BYTES = 256 << 20  # written and read
BLOCK = 8 << 20
FILES = 20  # small ones
SLOWEST_WRITE, SLOWEST_READ = 100e6, 200e6  # bytes per second of one process; a parallel file system gives a GB/s
SLOWEST_FILE = 0.1  # seconds to make a small file
LEAST_FREE = 100e9  # bytes: a checkpoint of a model with 9 B parameters has 110 GB
GB = 1e9


def disk(folder: Path) -> list[Finding]:
    """Measures the file system of a folder with a temporary file, which is removed.

    Args:
        folder: The folder.
    """
    name = f"disk {folder}"
    if not folder.is_dir():
        return [Finding(name, BROKEN, "there is no such folder", "name one that exists: --folder DIR")]
    free = shutil.disk_usage(folder).free
    space = f"{free / GB:,.0f} GB free"
    try:
        with tempfile.TemporaryDirectory(prefix=f".varietas-doctor-{socket.gethostname()}-", dir=folder) as inside:
            write, read = _speed(Path(inside) / "large")
            small = _small_files(Path(inside))
    except OSError as error:
        return [Finding(name, BROKEN, f"{error.strerror or error}, {space}", "check who may write there, the quota and the space left")]
    found = at_least(
        name,
        min(write / SLOWEST_WRITE, read / SLOWEST_READ, SLOWEST_FILE / small),
        1.0,
        f"writes {write / 1e6:,.0f} MB/s, reads {read / 1e6:,.0f} MB/s, {small * 1e3:,.1f} ms for a small file, {space}",
        "put runs and corpora on the parallel file system (scratch), not in the home folder; if it is there, ask whether it is degraded",
    )
    if found.state == OK and free < LEAST_FREE:
        found = Finding(name, SLOW, found.said, "a checkpoint takes 12 bytes for each parameter, and checkpoint.keep of them are kept")
    return [replace(found, figure=None, own=True)]  # a file system that all share serves one node faster than another


def _speed(file: Path) -> tuple[float, float]:
    """Writes and reads a file. Returns bytes per second of both; what was written is on the disk, and is read from there."""
    block = os.urandom(BLOCK)
    begun = time.perf_counter()
    with file.open("wb", buffering=0) as out:
        for _ in range(BYTES // BLOCK):
            out.write(block)
        os.fsync(out.fileno())
    written = time.perf_counter() - begun
    with file.open("rb", buffering=0) as source:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        begun = time.perf_counter()
        while source.read(BLOCK):
            pass
    return BYTES / written, BYTES / (time.perf_counter() - begun)


def _small_files(folder: Path) -> float:
    """Returns the seconds that it takes to make a small file."""
    begun = time.perf_counter()
    for number in range(FILES):
        with (folder / str(number)).open("wb") as out:
            out.write(b"x" * 1000)
            os.fsync(out.fileno())
    return (time.perf_counter() - begun) / FILES
