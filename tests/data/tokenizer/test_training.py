"""The text that the trainer receives, the tokenizer that it makes, and errors while it reads."""

from collections import Counter
from collections.abc import Iterator
from itertools import count

import numpy as np
import pytest
import sentencepiece as spm
from texts import documents

from varietas.data.text.documents import Document
from varietas.data.text.embedded import training_documents
from varietas.data.tokenizer import training as tokenizer
from varietas.data.tokenizer.model import fertility, load

DOCUMENTS = [Document(str(i), "ces_Latn", f"Věta {i} o {i * i} slovech.\n\tA dost." * (1 + i % 5)) for i in range(200)]


@pytest.fixture(scope="module")
def processor() -> spm.SentencePieceProcessor:
    return load(tokenizer.train(lambda: DOCUMENTS, 330))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("sample_bytes", [30_000, 10**9])
def test_languages_are_sampled_by_bytes_to_the_power_of_alpha(alpha: float, sample_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(spm.SentencePieceTrainer, "train", lambda **options: lines.extend(options["sentence_iterator"]))
    n_documents = {"a": 1000, "b": 100, "c": 10}
    documents = [Document("", code, f"{code}é" * 20) for code, n in n_documents.items() for _ in range(n)]
    tokenizer.train(lambda: documents, 300, f"alpha:{alpha}", sample_bytes=sample_bytes)
    given = Counter(line[0] for line in lines)
    share = np.array([60.0 * n for n in n_documents.values()]) ** alpha
    expected = share / share.sum() * min(sample_bytes, 60 * 1110) / 60
    assert [given[code] for code in n_documents] == pytest.approx(expected, abs=1.001)


def test_neither_long_lines_nor_nul_lose_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """SentencePiece skips lines that are too long, and ends a line at NUL."""
    lines: list[str] = []
    monkeypatch.setattr(spm.SentencePieceTrainer, "train", lambda **options: lines.extend(options["sentence_iterator"]))
    text = "".join(chr(0x10400 + i % 80) for i in range(50_000))  # four bytes each
    tokenizer.train(lambda: [Document("", "a", text[:9] + "\0" + text[9:] + "\nb")], 300)
    assert "".join(lines) == text + "b" and lines[-1] == "b"
    assert max(len(line.encode()) for line in lines) <= tokenizer.LINE_BYTES


@pytest.mark.parametrize("error", [OSError("disk on fire"), KeyboardInterrupt()])
def test_errors_while_reading_are_raised_unchanged(error: BaseException) -> None:
    """Texts are read twice. SentencePiece reads them the second time, and turns every exception into the same error."""
    earlier_reads = count()

    def documents() -> Iterator[Document]:
        yield from DOCUMENTS
        if next(earlier_reads):
            raise error

    with pytest.raises(type(error)) as raised:
        tokenizer.train(documents, 330)
    assert raised.value is error


def test_newline_and_tab_are_single_pieces(processor: spm.SentencePieceProcessor) -> None:
    assert processor.encode_as_pieces("\n\n\t") == ["\n", "\n", "\t"]


def test_every_byte_has_a_piece(processor: spm.SentencePieceProcessor) -> None:
    assert sum(processor.is_byte(i) for i in range(330)) == 256
    text = "".join(chr(point) for point in range(0x10FFFF) if point % 1009 == 0 and not 0xD800 <= point < 0xE000)
    assert processor.decode(processor.encode(text)) == text and processor.unk_id() not in processor.encode(text)


@pytest.mark.parametrize("size", [tokenizer.SMALLEST_VOCABULARY, 500, 1000])
def test_the_vocabulary_has_exactly_the_wanted_size(size: int) -> None:
    documents = [Document("", "a", "aaaa")] if size < 300 else list(training_documents())[:84]
    assert load(tokenizer.train(lambda: documents, size)).get_piece_size() == size


def test_a_smaller_alpha_helps_small_languages() -> None:
    large, small = "Die Menschenrechte gelten überall und immer. ", "Адамзат укуктары бардык жерде сакталат. "
    documents = [Document(str(i), "deu_Latn", large + str(i)) for i in range(2000)] + [Document("k", "kir_Cyrl", small)]
    per_word = {}
    for alpha in (0.0, 1.0):
        processor = load(tokenizer.train(lambda: documents, 330, f"alpha:{alpha}"))
        per_word[alpha] = fertility(processor, documents)["kir_Cyrl"].tokens_per_word
    assert per_word[0.0] < per_word[1.0]


def test_training_is_repeatable() -> None:
    documents = [Document(str(i), "ces_Latn", f"Věta {i * 7919 % 1000} a dost.") for i in range(500)]
    assert tokenizer.train(lambda: documents, 300) == tokenizer.train(lambda: documents, 300)


@pytest.mark.parametrize(("size", "says"), [(100, "too small"), (50_000, "does not fit")])
def test_impossible_vocabulary_sizes_are_refused(size: int, says: str) -> None:
    documents = [Document("1", "ces_Latn", "Málo textu.")]
    with pytest.raises(ValueError, match=says) as error:
        tokenizer.train(lambda: documents, size)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [285, 50_000])
def test_the_size_named_by_the_error_works(size: int) -> None:
    documents = [Document("1", "ces_Latn", "Příliš žluťoučký kůň úpěl ďábelské ódy. " * 9)]
    with pytest.raises(ValueError, match="set vocab_size=") as error:
        tokenizer.train(lambda: documents, size)
    advised = int(str(error.value).split("set vocab_size=")[1].split()[0])
    assert load(tokenizer.train(lambda: documents, advised)).get_piece_size() == advised


def test_training_without_text_is_refused() -> None:
    with pytest.raises(ValueError, match="no text"):
        tokenizer.train(list, 1000)


@pytest.mark.parametrize("sampling", ["alpha", "alpha:2", "alpha:x", "unimaxx", "parity:1"])
def test_unknown_samplings_are_refused(sampling: str) -> None:
    with pytest.raises(ValueError, match="expected alpha:X"):
        tokenizer.train(documents, 400, sampling)


def test_unimax_repeats_small_languages_four_times(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(spm.SentencePieceTrainer, "train", lambda **options: lines.extend(options["sentence_iterator"]))
    texts = [Document("", "b", "b" * 100)] * 90 + [Document("", "a", "a" * 100)] * 10
    tokenizer.train(lambda: texts, 300, "unimax")
    assert sum(line[0] == "a" for line in lines) == pytest.approx(40, abs=1)
    assert sum(line[0] == "b" for line in lines) == pytest.approx(60, abs=1)


def test_code_and_emoji_are_encoded_sensibly() -> None:
    code = "def f(x):\n    if x:\n        return x + 1  # ok\n\tpass\n"
    processor = load(tokenizer.train(lambda: [Document("", "eng_Latn", f"{code}{i} " * 3) for i in range(300)], 340))
    pieces = processor.encode_as_pieces("\n        return 2026")
    assert "▁▁▁▁▁▁▁▁" in pieces or pieces[1].startswith("▁" * 4)
    assert pieces[-4:] == ["2", "0", "2", "6"] and pieces[0] == "\n"
    for text in (code, "🇪🇺 👩‍👩‍👧 é  \u00a0ß", "a\tb\n\n  c", "中文 العربية"):
        assert processor.decode(processor.encode(text)) == text
