"""Decoding returns every string, whole or token by token, and text cannot forge special tokens."""

import io
from pathlib import Path

import numpy as np
import pytest
import sentencepiece as spm

from varietas.data.text.documents import Document
from varietas.data.text.embedded import parallel_documents
from varietas.data.tokenizer import training as tokenizer
from varietas.data.tokenizer.model import Fertility, Incremental, fertility, load


@pytest.fixture(scope="module")
def processor(corpus_folder: Path) -> spm.SentencePieceProcessor:
    return load(corpus_folder / "tokenizer.model")


STRINGS = [
    "", " ", "  ", " a", "a ", "a  b", "\n", "\n\n a\n", "\t\ta\t", "\0", "a\0b", "👩‍👩‍👧‍👦 🇪🇺 👍🏽", "ｆｕｌｌ　ｗｉｄｔｈ", "ﬁ ﬂ",
    "e\u0301 é",
    "a\u2028b\u2029c\u0085",
    "𐌰𐌱𐌲 𐍈", "1234 5.6", "<s></s><pad><|user|>", "\u00a0\u200b\ufeff", "\ufffd", "مرحبا", "你好", "\r\n",
]  # fmt: skip


@pytest.mark.parametrize("text", STRINGS)
def test_decoding_returns_every_string(processor: spm.SentencePieceProcessor, text: str) -> None:
    assert processor.decode(processor.encode(text)) == text


def test_decoding_returns_every_language(processor: spm.SentencePieceProcessor) -> None:
    for document in parallel_documents():
        assert processor.decode(processor.encode(document.text)) == document.text


def test_sentencepieces_mark_for_a_space_becomes_a_space(processor: spm.SentencePieceProcessor) -> None:
    assert processor.decode(processor.encode("a\u2581b")) == "a b"


def test_special_tokens_have_fixed_ids_and_text_cannot_forge_them(processor: spm.SentencePieceProcessor) -> None:
    assert [processor.unk_id(), processor.bos_id(), processor.eos_id(), processor.pad_id()] == [0, 1, 2, 3]
    assert all(processor.is_control(processor.piece_to_id(piece)) for piece in tokenizer.RESERVED)
    ids = processor.encode("".join(tokenizer.RESERVED) + "<s>")
    assert not any(processor.is_control(i) for i in ids)
    assert processor.get_piece_size() == 1024


def test_digits_are_single_pieces(processor: spm.SentencePieceProcessor) -> None:
    assert [p for p in processor.encode_as_pieces("x 2026") if p.strip("▁").isdigit()] == ["2", "0", "2", "6"]


def test_files_that_are_not_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.model").write_bytes(b"not a model")
    for name, says in (("bad.model", "not a SentencePiece model"), ("none.model", "no such file")):
        with pytest.raises(ValueError, match=says):
            load(tmp_path / name)


@pytest.mark.parametrize("text", ["Příliš žluťoučký kůň 👩‍👩‍👧‍👦!", "你好 ab", "a  b\n\nc"])
def test_incremental_text_consists_of_whole_characters(processor: spm.SentencePieceProcessor, text: str) -> None:
    decoder = Incremental(processor)
    pieces = [decoder.add(token) for token in processor.encode(text)]
    assert "".join(pieces) + decoder.end() == text and not any("\ufffd" in piece for piece in pieces)


def test_a_continuation_keeps_the_blank_after_its_prompt() -> None:
    """With `add_dummy_prefix`, SentencePiece's default, decoding the continuation alone would drop it."""
    model, lines = io.BytesIO(), ["Toto je pokus o text", "to je jeden pokus", "text je pokus"] * 20
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=50, model_type="bpe", minloglevel=2, add_dummy_prefix=True
    )
    processor = spm.SentencePieceProcessor(model_proto=model.getvalue())
    begun, whole = processor.encode("Toto je"), processor.encode("Toto je pokus o text")
    assert whole[: len(begun)] == begun and processor.decode(whole[len(begun) :]) == "pokus o text"
    decoder = Incremental(processor, begun)
    assert "".join([*map(decoder.add, whole[len(begun) :]), decoder.end()]) == " pokus o text"
    alone = Incremental(processor, [])
    assert "".join([*map(alone.add, whole), alone.end()]) == "Toto je pokus o text"


SENTENCES = [Document(str(i), "ces_Latn", f"Věta {i} o {i * i} slovech.\n\tA dost." * (1 + i % 5)) for i in range(200)]


@pytest.fixture(scope="module")
def small_processor() -> spm.SentencePieceProcessor:
    return load(tokenizer.train(lambda: SENTENCES, 330))


@pytest.mark.parametrize(("n", "times"), [(12, 300), (200, 20)])
def test_incremental_decoding_equals_decoding_at_once(small_processor: spm.SentencePieceProcessor, n: int, times: int) -> None:
    """Holds also for parts of characters and for special tokens, as a model that has learnt little emits them."""
    rng = np.random.default_rng(0)
    for _ in range(times):
        ids = np.where(rng.random(n) < 0.5, rng.integers(0, 330, n), rng.integers(150, 278, n)).tolist()
        decoder = Incremental(small_processor)
        parts = [decoder.add(token) for token in ids] + [decoder.end()]
        assert "".join(parts) == small_processor.decode(ids)


def test_fertility_is_counted_per_language(small_processor: spm.SentencePieceProcessor) -> None:
    documents = [Document("", "b", "dvě věty\n tady"), Document("", "a", "ž"), Document("", "b", " ")]
    found = fertility(small_processor, documents)
    n_tokens = len(small_processor.encode(documents[0].text)) + len(small_processor.encode(" "))
    assert list(found) == ["a", "b"] and found["b"] == Fertility(17, 3, n_tokens, found["b"].fallback)
    assert found["b"].tokens_per_word == n_tokens / 3 and found["b"].bytes_per_token == 17 / n_tokens
