"""`varietas audit commit` and `seal`, on a corpus of an older version."""

import argparse
import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.differences import of_roots, of_shard
from varietas.launch.audit import commit, seal


def call(verb: ModuleType, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    verb.add_flags(parser)
    return verb.run(parser.parse_args(arguments), Console(width=200))


def test_an_older_corpus_is_committed_to_and_sealed(corpus_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = Path(shutil.copytree(corpus_folder, tmp_path / "c"))
    before = json.loads((old / "manifest.json").read_text())
    del before["commitment"]
    (old / "manifest.json").write_text(json.dumps(before))
    shutil.rmtree(old / "commitment")
    with pytest.raises(ValueError, match=rf"{old} has no commitment; `varietas audit commit --corpus {old}` makes one"):
        call(seal, "--corpus", str(old), "--out", str(tmp_path / "public"))
    assert call(commit, "--corpus", str(old), "--workers", "2", "--json") == 0
    corpus = Corpus(old)
    assert json.loads(capsys.readouterr().out) == corpus.manifest["commitment"] and corpus.manifest.items() >= before.items()
    assert not [*of_roots(corpus), *(line for code in corpus.languages for line in of_shard(corpus, code, 0))]
    assert {path.name for path in old.iterdir()} == {path.name for path in corpus_folder.iterdir()}
    with pytest.raises(ValueError, match="has a commitment already; it is never made anew"):
        call(commit, "--corpus", str(old))
    assert call(seal, "--corpus", str(old), "--out", str(tmp_path / "public")) == 0
    said = capsys.readouterr().out
    assert f"{corpus.manifest['documents']:,} documents" in said and f"root {corpus.manifest['commitment']['root']}" in said
    assert Corpus(tmp_path / "public").sealed
