"""Every string comes back; small languages are not starved."""

from pathlib import Path

import pytest
import sentencepiece as spm

from varietas.data import tokenizer
from varietas.data.default import parallel_documents
from varietas.data.documents import Document


@pytest.fixture(scope="module")
def processor(corpus_folder: Path) -> spm.SentencePieceProcessor:
    return tokenizer.load(corpus_folder / "tokenizer.model")


STRINGS = [
    "", " ", "  ", " a", "a ", "a  b", "\n", "\n\n a\n", "\t\ta\t", "\0", "a\0b", "👩‍👩‍👧‍👦 🇪🇺 👍🏽", "ｆｕｌｌ　ｗｉｄｔｈ", "ﬁ ﬂ",
    "e\u0301 é",
    "a\u2028b\u2029c\u0085",
    "𐌰𐌱𐌲 𐍈", "1234 5.6", "<s></s><pad><|user|>", "\u00a0\u200b\ufeff", "\ufffd", "مرحبا", "你好", "\r\n",
]  # fmt: skip


@pytest.mark.parametrize("text", STRINGS)
def test_every_string_comes_back(processor: spm.SentencePieceProcessor, text: str) -> None:
    assert processor.decode(processor.encode(text)) == text


def test_every_language_comes_back(processor: spm.SentencePieceProcessor) -> None:
    for document in parallel_documents():
        assert processor.decode(processor.encode(document.text)) == document.text


def test_sentencepieces_own_mark_is_a_space(processor: spm.SentencePieceProcessor) -> None:
    assert processor.decode(processor.encode("a\u2581b")) == "a b"


def test_special_tokens(processor: spm.SentencePieceProcessor) -> None:
    assert [processor.unk_id(), processor.bos_id(), processor.eos_id(), processor.pad_id()] == [0, 1, 2, 3]
    assert all(processor.is_control(processor.piece_to_id(piece)) for piece in tokenizer.RESERVED)
    ids = processor.encode("".join(tokenizer.RESERVED) + "<s>")  # text cannot forge them
    assert not any(processor.is_control(i) for i in ids)
    assert processor.get_piece_size() == 1024


def test_digits_stand_alone(processor: spm.SentencePieceProcessor) -> None:
    assert [p for p in processor.encode_as_pieces("x 2026") if p.strip("▁").isdigit()] == ["2", "0", "2", "6"]


def test_alpha_is_fair_to_the_small() -> None:
    large, small = "Die Menschenrechte gelten überall und immer. ", "Адамзат укуктары бардык жерде сакталат. "
    documents = [Document(str(i), "deu_Latn", large + str(i)) for i in range(2000)] + [Document("k", "kir_Cyrl", small)]
    per_word = {}
    for alpha in (0.0, 1.0):
        processor = tokenizer.load(tokenizer.train(lambda: documents, 330, f"alpha:{alpha}"))
        per_word[alpha] = tokenizer.fertility(processor, documents)["kir_Cyrl"].tokens_per_word
    assert per_word[0.0] < per_word[1.0]


def test_training_is_repeatable() -> None:
    documents = [Document(str(i), "ces_Latn", f"Věta {i * 7919 % 1000} a dost.") for i in range(500)]
    assert tokenizer.train(lambda: documents, 300) == tokenizer.train(lambda: documents, 300)


@pytest.mark.parametrize(("size", "says"), [(100, "too small"), (50_000, "does not fit")])
def test_vocabulary_that_cannot_be(size: int, says: str) -> None:
    documents = [Document("1", "ces_Latn", "Málo textu.")]
    with pytest.raises(ValueError, match=says) as error:
        tokenizer.train(lambda: documents, size)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [285, 50_000])
def test_the_size_that_the_error_names_works(size: int) -> None:
    documents = [Document("1", "ces_Latn", "Příliš žluťoučký kůň úpěl ďábelské ódy. " * 9)]
    with pytest.raises(ValueError, match="set vocab_size=") as error:
        tokenizer.train(lambda: documents, size)
    advised = int(str(error.value).split("set vocab_size=")[1].split()[0])
    assert tokenizer.load(tokenizer.train(lambda: documents, advised)).get_piece_size() == advised


def test_no_text() -> None:
    with pytest.raises(ValueError, match="no text"):
        tokenizer.train(list, 1000)


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "bad.model").write_bytes(b"not a model")
    for name, says in (("bad.model", "no SentencePiece model"), ("none.model", "no such file")):
        with pytest.raises(ValueError, match=says):
            tokenizer.load(tmp_path / name)


@pytest.mark.parametrize("text", ["Příliš žluťoučký kůň 👩‍👩‍👧‍👦!", "你好 ab", "a  b\n\nc"])
def test_text_is_handed_out_in_whole_characters(processor: spm.SentencePieceProcessor, text: str) -> None:
    decoder = tokenizer.Incremental(processor)
    pieces = [decoder.add(token) for token in processor.encode(text)]
    assert "".join(pieces) + decoder.end() == text and not any("\ufffd" in piece for piece in pieces)
