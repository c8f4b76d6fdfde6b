"""The comparison of tokenizers counts as their own libraries do."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sentencepiece as spm
from texts import aligned, byte_level, documents
from tokenizers import Tokenizer

from varietas.data.text.documents import Document
from varietas.data.tokenizer import compare
from varietas.data.tokenizer import training as tokenizer
from varietas.data.tokenizer.parallel import parallel


@pytest.fixture(scope="module")
def models_of(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizers")
    (folder / "ours.model").write_bytes(tokenizer.train(documents, 400))
    theirs = byte_level((d.text for d in documents()), 300)
    (folder / "theirs").mkdir()
    theirs.save(str(folder / "theirs" / "tokenizer.json"))
    (folder / "broken.json").write_text("{}")
    (folder / "noise.model").write_bytes(b"\x01noise")
    return folder


def test_the_comparison_counts_as_the_libraries_do(models_of: Path) -> None:
    texts = parallel(aligned())
    ours = spm.SentencePieceProcessor(model_file=str(models_of / "ours.model"))
    theirs = Tokenizer.from_file(str(models_of / "theirs" / "tokenizer.json"))
    counts: dict[str, Callable[[str], int]] = {
        "ours.model": lambda text: len(ours.encode(text)),
        "theirs/tokenizer.json": lambda text: len(theirs.encode(text).ids),
    }
    for file, count in counts.items():
        rows = compare.compare(compare.load(models_of / file), texts)
        assert [row.language for row in rows] == ["ell_Grek", "eng_Latn"] and rows[1].premium == 1
        for row in rows:
            mine = texts[row.language].values()
            assert row.tokens == sum(map(count, mine)) and row.words == 30 * 40
            assert row.continued == pytest.approx(np.mean([count(" " + word) > 1 for text in mine for word in text.split()]))
            assert row.bytes_per_token == sum(len(text.encode()) for text in mine) / row.tokens
    assert compare.load(models_of / "theirs" / "tokenizer.json").name == "theirs"


def test_fallback_counts_tokens_that_are_not_whole_characters(models_of: Path) -> None:
    texts = parallel([Document("1", "eng_Latn", "the house"), Document("1", "cmn_Hans", "中文")])
    for file in ("ours.model", "theirs/tokenizer.json"):
        found = {row.language: row.fallback for row in compare.compare(compare.load(models_of / file), texts)}
        assert found["eng_Latn"] == 0 and found["cmn_Hans"] == 1


@pytest.mark.parametrize("name", ["broken.json", "noise.model", "missing.model"])
def test_files_that_are_not_tokenizers_are_refused(name: str, models_of: Path) -> None:
    with pytest.raises(ValueError, match=name):
        compare.load(models_of / name)
