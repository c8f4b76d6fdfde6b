"""Whole or not at all, whoever else is at it."""

from pathlib import Path

import pytest

from varietas.data.files import new_folder, write_atomically


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    for content in (b"first", b"", "druhý".encode()):
        write_atomically(tmp_path / "new" / "a", content)
        assert (tmp_path / "new" / "a").read_bytes() == content
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a"]


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
