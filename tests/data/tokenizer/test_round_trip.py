"""What a tokenizer loses is counted on the text that is prepared, and said in one line."""

import io
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece as spm

from varietas.data.clean.cleaning import Cleaning
from varietas.data.prepare.engine import local
from varietas.data.prepare.prepare import prepare, prepare_documents
from varietas.data.text.documents import Document
from varietas.data.text.embedded import parallel_documents
from varietas.data.text.fields import Reading
from varietas.data.tokenizer.model import load
from varietas.data.tokenizer.round_trip import keeps_everything, message, round_trip

LOST = Document("lost", "ces_Latn", "První řádek\nDruhý\tsloupec, ﬁalka")
KEPT = Document("kept", "ces_Latn", "Jedna věta beze změny.")


def trained(**options: Any) -> bytes:
    """Trains a small model with SentencePiece's own defaults, except for these options."""
    model = io.BytesIO()
    lines = [line for document in parallel_documents() for line in document.text.split("\n")]
    usual = {"model_type": "bpe", "vocab_size": 1500, "byte_fallback": True, "character_coverage": 0.99, "minloglevel": 2}
    spm.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, **(usual | options))
    return model.getvalue()


@pytest.fixture(scope="module")
def usual() -> bytes:
    """A model with the usual normalisation, nmt_nfkc."""
    return trained()


def test_prepare_says_what_the_tokenizer_loses(usual: bytes, tmp_path: Path) -> None:
    says = (
        r"of 4 documents that were decoded again, 1 \(25.00%\) are not as before, and 3 of 98 characters \(3.06%\) are gone, most often "
        r"line end 1, tab 1, ﬁ 1; for example, 'První řádek\\nDruhý\\tsloup' comes back as 'První řádek Druhý sloup'"
    )
    assert len(LOST.text) + 3 * len(KEPT.text) == 98
    with pytest.warns(UserWarning, match=says):
        prepare_documents([KEPT, KEPT, LOST, KEPT], usual, tmp_path / "corpus")


def test_all_parts_count(usual: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varietas.data.prepare.prepare.PART_BYTES", 2000)
    files = []
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text("\n\n".join(f"{name} {i} první\ndruhý" for i in range(300)))
        files.append(str(tmp_path / f"{name}.txt"))
    with pytest.warns(UserWarning, match=r"of 600 documents .* 600 \(100.00%\) are not as before, and 600 of .* most often line end 600;"):
        prepare(files, usual, tmp_path / "corpus", Cleaning(), local(1), reading=Reading("ces_Latn"))


def test_nothing_is_said_of_a_tokenizer_that_keeps_everything(corpus_folder: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepare_documents([LOST, KEPT], (corpus_folder / "tokenizer.model").read_bytes(), tmp_path / "corpus")


@pytest.mark.parametrize(
    ("options", "keeps"),
    [
        ({"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "add_dummy_prefix": False}, True),
        ({"normalization_rule_name": "identity", "add_dummy_prefix": False}, False),  # spaces in a row become one
        ({"normalization_rule_name": "nmt_nfkc", "remove_extra_whitespaces": False, "add_dummy_prefix": False}, False),
        (
            {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "add_dummy_prefix": False, "byte_fallback": False},
            False,
        ),
    ],
)
def test_settings_tell_which_models_keep_everything(options: dict[str, Any], keeps: bool) -> None:
    processor = spm.SentencePieceProcessor(model_proto=trained(**options))
    assert keeps_everything(processor) == keeps
    texts = ["dvě  mezery\n\tﬁ ½ 𐌰\r\n", " začátek", "konec ", "\n\n"]
    found = round_trip(processor, texts, [np.array(processor.encode(text)) for text in texts])
    assert (found.changed == 0) == keeps and (message([found]) == "") == keeps


def test_characters_that_come_back_elsewhere_are_not_lost(usual: bytes) -> None:
    """Normalisation changes the order of nothing, but a ligature becomes two letters: one character is lost, and none is made up for it."""
    processor = load(usual)
    found = round_trip(processor, ["ﬁ a ﬁ"], [np.array(processor.encode("ﬁ a ﬁ"))])
    assert found.lost == Counter({"ﬁ": 2}) and found.characters == 5 and found.example == ("ﬁ a ﬁ", "fi a fi")
