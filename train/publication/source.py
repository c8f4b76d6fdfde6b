"""The source code that made a model, as a tar archive: the same code gives the same bytes."""

import gzip
import io
import os
import tarfile
from importlib import metadata
from pathlib import Path

import varietas
from varietas.data.packages import source_digest

SUFFIXES = (".py", ".json", ".def", ".md")


def archive() -> tuple[str, bytes]:
    """Returns the name and the content of an archive (.tar.gz) of the code of ours that this process runs, with its licence."""
    package = Path(varietas.__file__).parent
    found = (Path(folder) / name for folder, _, names in os.walk(package, followlinks=True) for name in names if name.endswith(SUFFIXES))
    files = {f"varietas/{file.relative_to(package).as_posix()}": file for file in found} | _license(package)
    top = f"varietas-{varietas.__version__}-{source_digest()[:12]}"
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as out:
        for path, file in sorted(files.items()):
            entry, content = tarfile.TarInfo(f"{top}/{path}"), file.read_bytes()
            entry.size, entry.mode = len(content), 0o644
            out.addfile(entry, io.BytesIO(content))
    return f"{top}.tar.gz", gzip.compress(tar.getvalue(), mtime=0)


def _license(package: Path) -> dict[str, Path]:
    """Returns the licence and the build file of a clone, or the licence of an installed package, by path in the archive."""
    clone = (package / "train").resolve().parent
    if (clone / "pyproject.toml").exists():
        return {name: clone / name for name in ("LICENSE", "pyproject.toml", "README.md")}
    found = (Path(str(file.locate())) for file in metadata.files("varietas") or () if file.name == "LICENSE")
    return {file.name: file for file in found}
