"""The same file twice among the inputs: found whatever its names are, and without reading more than is needed."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import fsspec
import pytest

from varietas.data.prepare import plan
from varietas.data.prepare.plan import BEGINNING, PARTS_OF_A_FILE, parts_of, without_copies
from varietas.data.text.fields import Reading


@pytest.fixture
def bytes_read(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How much of each file was read."""
    counts = Counter[str]()
    digest = plan._digest

    def counting(file: str, size: int | None = None) -> bytes:
        whole = fsspec.open(file, "rb").open().read()
        counts[Path(file).name] += len(whole) if size is None else min(size, len(whole))
        return digest(file, size)

    monkeypatch.setattr(plan, "_digest", counting)
    return counts


def write(folder: Path, **contents: bytes) -> list[str]:
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in contents]


def test_copies_and_links_are_found_and_the_first_stays(tmp_path: Path) -> None:
    large = os.urandom(BEGINNING + 1000)
    a, b, c, d = write(tmp_path, a=large, b=b"short", c=large, d=large[:-1] + b"!")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "soft").symlink_to(tmp_path / "b")
    os.link(a, tmp_path / "hard")
    soft, hard, detour = str(tmp_path / "folder" / "soft"), str(tmp_path / "hard"), f"{tmp_path}/folder/../b"
    assert without_copies([a, b, c, soft, d, hard, detour, f"file://{b}"]) == (
        [a, b, d],
        [(c, a), (soft, b), (hard, a), (detour, b), (f"file://{b}", b)],
    )


def test_urls_are_compared_by_content() -> None:
    contents = {"a": b"x" * 100, "b": b"y" * 100, "c": b"x" * 100, "d": b"x" * 99}
    for name, content in contents.items():
        with fsspec.open(f"memory://copies/{name}", "wb") as file:
            file.write(content)
    a, b, c, d = (f"memory://copies/{name}" for name in contents)
    assert without_copies([a, b, c, d]) == ([a, b, d], [(c, a)])


def test_no_more_is_read_than_tells_files_apart(bytes_read: Counter[str], tmp_path: Path) -> None:
    begin = os.urandom(BEGINNING)
    files = write(
        tmp_path,
        alone=begin + b"1" * 50_000,
        other=b"!" + begin + b"2" * 49_999 + b"2",  # of a size of its own
        same_size=b"?" + begin[1:] + b"1" * 60_000,
        same_size_too=b"!" + begin[1:] + b"1" * 60_000,
        begins_alike=begin + b"1" * 70_000,
        begins_alike_too=begin + b"2" * 70_000,
    )
    (tmp_path / "link").symlink_to(tmp_path / "alone")
    assert without_copies([*files, str(tmp_path / "link")]) == (files, [(str(tmp_path / "link"), files[0])])
    assert bytes_read["other"] == 0 and bytes_read["alone"] <= BEGINNING
    assert bytes_read["same_size"] == bytes_read["same_size_too"] == BEGINNING
    assert bytes_read["begins_alike"] == bytes_read["begins_alike_too"] == BEGINNING + BEGINNING + 70_000


def test_empty_files_and_splits_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def never(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(plan, "size_and_stamp", never)
    files = [*write(tmp_path, a=b"", b=b""), "tfds:x", "tfds:y"]
    assert without_copies(files) == (files, [])


def test_parts_are_of_nearly_the_same_size_and_cover_each_file(tmp_path: Path) -> None:
    files = write(tmp_path, large=bytes(1050), small=bytes(199), empty=b"", huge=bytes(100 * (PARTS_OF_A_FILE + 5)))
    parts = parts_of(files, 100, Reading("ces_Latn"))
    of = {file: [part for part in parts if part.file == file] for file in files}
    assert [len(of[file]) for file in files] == [10, 1, 1, PARTS_OF_A_FILE]
    for file, size in zip(files, (1050, 199, 0, 100 * (PARTS_OF_A_FILE + 5)), strict=True):
        assert [part.begin for part in of[file]] == [sum(part.size for part in of[file][:k]) for k in range(len(of[file]))]
        assert [part.end for part in of[file]] == [*(part.begin for part in of[file][1:]), None]  # the last one takes what is appended
        assert sum(part.size for part in of[file]) == size
        assert max(part.size for part in of[file]) - min(part.size for part in of[file]) <= 1
    assert {part.reading for part in parts} == {Reading("ces_Latn")}
