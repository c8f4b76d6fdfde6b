"""The source code that made a model, as a tar archive: the same code gives the same bytes."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import varietas
from varietas.data.packages import source_digest

SUFFIXES = (".py", ".json", ".def", ".md")


def archive() -> tuple[str, bytes]:
    """Returns the name and the content of an archive (.tar.gz) of the code of ours that this process runs."""
    package = Path(varietas.__file__).parent
    files = [Path(folder) / name for folder, _, names in os.walk(package, followlinks=True) for name in names if name.endswith(SUFFIXES)]
    top = f"varietas-{varietas.__version__}-{source_digest()[:12]}"
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as out:
        for file in sorted(files, key=lambda file: file.relative_to(package).as_posix()):
            entry = tarfile.TarInfo(f"{top}/varietas/{file.relative_to(package).as_posix()}")
            content = file.read_bytes()
            entry.size, entry.mode = len(content), 0o644
            out.addfile(entry, io.BytesIO(content))
    return f"{top}.tar.gz", gzip.compress(tar.getvalue(), mtime=0)
