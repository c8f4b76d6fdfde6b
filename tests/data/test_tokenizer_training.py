"""What the trainer is fed, and what comes of it when that goes wrong."""

from collections import Counter
from collections.abc import Iterator
from itertools import count

import numpy as np
import pytest
import sentencepiece as spm

from varietas.data import tokenizer
from varietas.data.default import training_documents
from varietas.data.documents import Document

DOCUMENTS = [Document(str(i), "ces_Latn", f"Věta {i} o {i * i} slovech.\n\tA dost." * (1 + i % 5)) for i in range(200)]


@pytest.fixture(scope="module")
def processor() -> spm.SentencePieceProcessor:
    return tokenizer.load(tokenizer.train(lambda: DOCUMENTS, 330))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("sample_bytes", [30_000, 10**9])
def test_languages_enter_with_their_bytes_to_the_power_of_alpha(alpha: float, sample_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(spm.SentencePieceTrainer, "train", lambda **options: lines.extend(options["sentence_iterator"]))
    n_documents = {"a": 1000, "b": 100, "c": 10}
    documents = [Document("", code, f"{code}é" * 20) for code, n in n_documents.items() for _ in range(n)]
    tokenizer.train(lambda: documents, 300, f"alpha:{alpha}", sample_bytes=sample_bytes)
    given = Counter(line[0] for line in lines)
    share = np.array([60.0 * n for n in n_documents.values()]) ** alpha
    expected = share / share.sum() * min(sample_bytes, 60 * 1110) / 60
    assert [given[code] for code in n_documents] == pytest.approx(expected, abs=1.001)


def test_no_text_is_lost_for_its_length_or_for_a_nul(monkeypatch: pytest.MonkeyPatch) -> None:
    """SentencePiece skips lines over its limit, and ends a line at a NUL."""
    lines: list[str] = []
    monkeypatch.setattr(spm.SentencePieceTrainer, "train", lambda **options: lines.extend(options["sentence_iterator"]))
    text = "".join(chr(0x10400 + i % 80) for i in range(50_000))  # four bytes each
    tokenizer.train(lambda: [Document("", "a", text[:9] + "\0" + text[9:] + "\nb")], 300)
    assert "".join(lines) == text + "b" and lines[-1] == "b"
    assert max(len(line.encode()) for line in lines) <= tokenizer.LINE_BYTES


@pytest.mark.parametrize("error", [OSError("disk on fire"), KeyboardInterrupt()])
def test_what_reading_raises_is_not_blamed_on_the_vocabulary(error: BaseException) -> None:
    """Texts are read twice; SentencePiece reads the second time, and would make one error of all."""
    earlier_reads = count()

    def documents() -> Iterator[Document]:
        yield from DOCUMENTS
        if next(earlier_reads):
            raise error

    with pytest.raises(type(error)) as raised:
        tokenizer.train(documents, 330)
    assert raised.value is error


def test_newline_and_tab_are_pieces_of_their_own(processor: spm.SentencePieceProcessor) -> None:
    assert processor.encode_as_pieces("\n\n\t") == ["\n", "\n", "\t"]


def test_every_byte_has_a_piece(processor: spm.SentencePieceProcessor) -> None:
    assert sum(processor.is_byte(i) for i in range(330)) == 256
    text = "".join(chr(point) for point in range(0x10FFFF) if point % 1009 == 0 and not 0xD800 <= point < 0xE000)
    assert processor.decode(processor.encode(text)) == text and processor.unk_id() not in processor.encode(text)


@pytest.mark.parametrize("size", [tokenizer.SMALLEST_VOCABULARY, 500, 1000])
def test_vocabulary_is_exactly_as_large_as_asked(size: int) -> None:
    documents = [Document("", "a", "aaaa")] if size < 300 else training_documents()[:84]
    assert tokenizer.load(tokenizer.train(lambda: documents, size)).get_piece_size() == size


def test_any_ids_are_handed_out_as_they_are_decoded(processor: spm.SentencePieceProcessor) -> None:
    """Also halves of characters and special tokens, as a model that has learnt little gives them."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        ids = np.where(rng.random(12) < 0.5, rng.integers(0, 330, 12), rng.integers(150, 278, 12)).tolist()
        decoder = tokenizer.Incremental(processor)
        parts = [decoder.add(token) for token in ids] + [decoder.end()]
        assert "".join(parts) == processor.decode(ids)


def test_fertility_counts_by_language(processor: spm.SentencePieceProcessor) -> None:
    documents = [Document("", "b", "dvě věty\n tady"), Document("", "a", "ž"), Document("", "b", " ")]
    found = tokenizer.fertility(processor, documents)
    n_tokens = len(processor.encode(documents[0].text)) + len(processor.encode(" "))
    assert list(found) == ["a", "b"] and found["b"] == tokenizer.Fertility(17, 3, n_tokens, found["b"].fallback)
    assert found["b"].tokens_per_word == n_tokens / 3 and found["b"].bytes_per_token == 17 / n_tokens
