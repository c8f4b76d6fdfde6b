"""tokenizer.json gives the ids of the SentencePiece model: in all languages, for odd texts, and for random characters."""

import io
import json
import random
from pathlib import Path

import pytest
import sentencepiece as spm
import tokenizers

from varietas.data.text.embedded import parallel_documents, training_documents
from varietas.data.tokenizer.model import load
from varietas.data.tokenizer.tokenizer_json import ODD_TEXTS, check_equal, tokenizer_json


@pytest.fixture(scope="module")
def processor(corpus_folder: Path) -> spm.SentencePieceProcessor:
    return load(corpus_folder / "tokenizer.model")


@pytest.fixture(scope="module")
def fast(processor: spm.SentencePieceProcessor) -> "tokenizers.Tokenizer":
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(tokenizer_json(processor)))
    tokenizer.encode_special_tokens = True
    return tokenizer


def train(**options: object) -> spm.SentencePieceProcessor:
    """Trains a small tokenizer as others might have made it."""
    model = io.BytesIO()
    lines = [document.text for document, _ in zip(training_documents(), range(200), strict=False)]
    usual = {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity", "remove_extra_whitespaces": False}
    spm.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, vocab_size=700, minloglevel=2, **{**usual, **options})
    return spm.SentencePieceProcessor(model_proto=model.getvalue())


def random_texts(n: int) -> list[str]:
    rng = random.Random(0)
    characters = sorted(set("".join(document.text for document in parallel_documents()))) + ["\n", "\t", "\u2581", "\U0001f44d", "\ufe0f"]
    few = "abe nst\n"  # repeated pieces, where the order of merges matters
    return ["".join(rng.choices(few if i % 2 else characters, k=rng.randint(1, 40))) for i in range(n)]


def test_ids_are_the_same_in_all_languages(processor: spm.SentencePieceProcessor, fast: "tokenizers.Tokenizer") -> None:
    texts = [document.text for document in parallel_documents()]
    assert [fast.encode(text, add_special_tokens=False).ids for text in texts] == processor.encode(texts)
    assert [fast.decode(ids) for ids in processor.encode(texts)] == texts


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_ids_are_the_same_for_odd_texts(processor: spm.SentencePieceProcessor, fast: "tokenizers.Tokenizer", text: str) -> None:
    assert fast.encode(text, add_special_tokens=False).ids == processor.encode(text)
    assert fast.encode(text).ids == processor.encode(text, add_bos=True)


def test_ids_are_the_same_for_random_texts(processor: spm.SentencePieceProcessor, fast: "tokenizers.Tokenizer") -> None:
    texts = random_texts(3000)
    assert [fast.encode(text, add_special_tokens=False).ids for text in texts] == processor.encode(texts)


def test_a_tokenizer_that_puts_a_space_in_front_is_expressed_too() -> None:
    """SentencePiece's default, and that of every Llama."""
    processor = train(add_dummy_prefix=True)
    content = tokenizer_json(processor)
    check_equal(processor, content, [text for text in random_texts(2000) if text])
    fast = tokenizers.Tokenizer.from_str(json.dumps(content))
    for text in ("Toto je pokus", "  two", "a\nb"):
        assert fast.decode(processor.encode(text)) == text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_type": "unigram"}, "is not of the type BPE"),
        ({"byte_fallback": False}, "has no byte fallback"),
        ({"normalization_rule_name": "nmt_nfkc"}, "normalises text"),
        ({"add_dummy_prefix": True, "user_defined_symbols": ["\n"]}, "puts a space in front and has symbols of its own"),
    ],
)
def test_a_tokenizer_without_an_exact_counterpart_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"the tokenizer {message}, which tokenizer.json cannot express exactly"):
        tokenizer_json(train(**options))


def test_other_ids_are_noticed(processor: spm.SentencePieceProcessor) -> None:
    content = tokenizer_json(processor)
    content["model"]["merges"] = content["model"]["merges"][100:]
    with pytest.raises(ValueError, match=r"tokenizer.json would give other ids than the tokenizer for the text .*; nothing is exported"):
        check_equal(processor, content, [document.text for document in parallel_documents()])
