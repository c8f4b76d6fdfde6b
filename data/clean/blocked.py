"""Lists of domains whose pages are left out, such as those of UT1: text files with a domain on each line, and comments after `#`."""

from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from varietas.data.files import split_paths


def is_blocked(url: str, files: str) -> bool:
    """Returns whether the host of a URL, or a domain that it belongs to, is in one of the files.

    Args:
        url: The URL, "" if it is not known.
        files: Paths, with spaces between them.

    Raises:
        ValueError: If a file cannot be read as text.
    """
    try:
        host = (urlsplit(url).hostname or "").removesuffix(".")
    except ValueError:  # not a URL
        return False
    parts = host.split(".")
    return bool(host) and any(".".join(parts[n:]) in _domains(files) for n in range(len(parts)))


def domain_lists(files: str) -> list[str]:
    """Returns the paths of these files. Raises ValueError if one is not there; globs and URLs are not expanded."""
    paths = split_paths(files, " ")
    for path in paths:
        if not Path(path).is_file():
            raise ValueError(f"clean.blocked: there is no file {path}; give text files with a domain on each line")
    return paths


@cache
def _domains(files: str) -> frozenset[str]:
    found = set[str]()
    for file in split_paths(files, " "):
        try:
            lines = Path(file).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"clean.blocked: {file} cannot be read ({error}); give text files with a domain on each line") from None
        found |= {domain.lower().removesuffix(".") for line in lines if (domain := line.partition("#")[0].strip())}
    return frozenset(found)
