"""Whole or not at all, whoever else is at it."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from varietas.data.files import cache_folder, new_folder, read_json, write_array, write_atomically


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    for content in (b"first", b"", "druhý".encode()):
        write_atomically(tmp_path / "new" / "a", content)
        assert (tmp_path / "new" / "a").read_bytes() == content
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a"]


def test_a_cache_that_cannot_be_written_is_replaced_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("VARIETAS_CACHE", str(tmp_path / "file" / "cache"))  # not even root can make a folder in a file
    found = cache_folder()
    assert found == cache_folder() == tmp_path / "tmp" / f"varietas-{os.getuid()}" and found.is_dir()
    (warning,) = caplog.messages
    assert str(tmp_path / "file" / "cache") in warning and f"using {found}" in warning
    monkeypatch.setenv("VARIETAS_CACHE", str(tmp_path / "other"))
    assert cache_folder() == tmp_path / "other"


def test_a_file_is_on_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a power failure could leave the name with half of the content, or with none."""
    (tmp_path / "a").write_bytes(b"old")
    usual, seen = os.fsync, list[tuple[int, bytes]]()

    def sync(file: int) -> None:
        seen.append((os.fstat(file).st_size, (tmp_path / "a").read_bytes()))
        usual(file)

    monkeypatch.setattr(os, "fsync", sync)
    write_atomically(tmp_path / "a", b"new content")
    assert seen == [(len(b"new content"), b"old")]
    monkeypatch.setattr(Path, "replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_atomically(tmp_path / "b", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]  # nothing is left of a file that could not get its name


@pytest.mark.parametrize("name", ["XDG_CACHE_HOME", "HOME"])
def test_the_cache_lies_in_the_users_own(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VARIETAS_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(name, str(tmp_path))
    assert cache_folder() == tmp_path / ("varietas" if name == "XDG_CACHE_HOME" else ".cache/varietas") and cache_folder().is_dir()


def test_a_folder_among_temporary_files_that_cannot_be_written_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    taken = tmp_path / f"varietas-{os.getuid()}"
    taken.symlink_to("/proc")  # not even root can write there
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("VARIETAS_CACHE", str(tmp_path / "file" / "another"))
    found = cache_folder()
    assert found.parent == tmp_path and found != taken and found.name.startswith("varietas-")
    (found / "mine").touch()


def make(path: Path, then: object = None) -> None:
    with new_folder(path) as folder:
        (folder / "mine").touch()
        assert not path.exists()
        if isinstance(then, BaseException):
            raise then
        if callable(then):
            then()


def test_a_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    make(tmp_path / "deep" / "a")
    assert [path.name for path in (tmp_path / "deep").rglob("*")] == ["a", "mine"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_an_error_leaves_nothing(error: BaseException, tmp_path: Path) -> None:
    with pytest.raises(type(error)):
        make(tmp_path / "a", error)
    assert list(tmp_path.iterdir()) == []


def test_who_comes_first_stays(tmp_path: Path) -> None:
    make(tmp_path / "a", lambda: make(tmp_path / "a", lambda: None) or (tmp_path / "a" / "theirs").touch())
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "mine", "theirs"]
    with pytest.raises(OSError, match="directory"):
        make(tmp_path / "b", (tmp_path / "b").touch)
    assert (tmp_path / "b").is_file() and sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\x00\x00", "[" * 100_000])
def test_json_that_is_damaged_is_an_error_that_names_the_file_and_the_remedy(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match=r"a\.json (is not valid JSON|does not hold a JSON object).*; restore it from a copy$") as error:
        read_json(tmp_path / "a.json", "restore it from a copy")
    assert str(error.value).startswith(str(tmp_path))
    (tmp_path / "a.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ValueError, match="is not valid JSON"):
        read_json(tmp_path / "a.json", "restore it from a copy")


def test_an_array_is_written_as_numpy_reads_it(tmp_path: Path) -> None:
    write_array(tmp_path / "a.npy", np.arange(6).reshape(2, 3))
    assert np.load(tmp_path / "a.npy").tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_full_disk_is_said_when_an_array_is_written() -> None:
    with pytest.raises(OSError, match="No space left on device"):
        write_array(Path("/dev/full"), np.zeros(10_000))
