"""The default corpus is made once, whoever is first."""

from pathlib import Path

import pytest

from varietas.data.prepare import prepare
from varietas.data.prepare.default import default_corpus
from varietas.data.tokenizer import training


def test_processes_that_make_it_at_once_do_not_disturb_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the processes of a first run do."""
    others: list[Path] = []

    def made(records: object, model: bytes, out: Path) -> None:
        out.mkdir(parents=True)
        (out / "manifest.json").write_bytes(model)
        if not others:  # while the first is at work, another one begins and comes first
            others.append(out)
            monkeypatch.setattr("os.getpid", lambda: 7)
            others.append(default_corpus(1024))

    monkeypatch.setenv("VARIETAS_CACHE", str(tmp_path))
    monkeypatch.setattr(training, "train", lambda *_: b"pieces")
    monkeypatch.setattr(prepare, "prepare_documents", made)
    assert default_corpus(1024) == others[1] != others[0]
    assert [path.name for path in (tmp_path / "corpora").iterdir()] == ["eld-v3-1024"]
    assert (others[1] / "manifest.json").read_bytes() == b"pieces"
