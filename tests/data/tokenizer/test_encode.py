"""Encoding word by word gives SentencePiece's own ids for any text, and models that do not allow it encode whole texts."""

import io
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import sentencepiece as spm

from varietas.data.text.embedded import parallel_documents
from varietas.data.tokenizer import encode as encode_module
from varietas.data.tokenizer.encode import Encoder, words_stand_alone
from varietas.data.tokenizer.model import load

# Separators and what looks like them, strings that are not words, characters unknown to the model, and pieces of their own.
ODD = [
    *(" ", "  ", "     ", "\n", "\n\n", "\t", "\r\n", "\u2581", "\u00a0", "\u2028", "\u200d", "\0"),
    *("<|system|>", "<s>", "<0x41>", "𐌰𐌱", "👩\u200d👩\u200d👧", "e\u0301", "12 345,67", " of the ", "a" * 3000),
]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    random, words = Random(0), [word for document in parallel_documents() for word in document.text.split(" ")]
    return ["", " ", "\n", *("".join(random.choice(words) + random.choice([" ", *ODD]) for _ in range(60)) for _ in range(500))]


@pytest.fixture
def ours(corpus_folder: Path) -> spm.SentencePieceProcessor:
    return load(corpus_folder / "tokenizer.model")


def trained(**options: Any) -> spm.SentencePieceProcessor:
    """Trains a model with other options than ours."""
    usual = {"model_type": "bpe", "vocab_size": 1500, "byte_fallback": True, "normalization_rule_name": "identity", "minloglevel": 2}
    usual |= {"add_dummy_prefix": False, "remove_extra_whitespaces": False, "user_defined_symbols": ["\n"], "character_coverage": 0.99}
    model = io.BytesIO()
    lines = (line for document in parallel_documents() for line in document.text.split("\n"))
    spm.SentencePieceTrainer.train(sentence_iterator=lines, model_writer=model, **(usual | options))
    return spm.SentencePieceProcessor(model_proto=model.getvalue())


def expected(processor: spm.SentencePieceProcessor, texts: list[str]) -> list[list[int]]:
    return [processor.encode(text, add_bos=True, add_eos=True) for text in texts]


def ids(encode: Encoder, texts: list[str]) -> list[list[int]]:
    return [np.frombuffer(content, encode.dtype).tolist() for content in encode(texts)]


def test_ids_are_those_of_sentencepiece(ours: spm.SentencePieceProcessor, texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode_module, "KEPT_CHARACTERS", 20_000)  # so that words are forgotten several times
    encode = Encoder(ours)
    assert words_stand_alone(ours)
    found = [of_text for at in range(0, len(texts), 50) for of_text in ids(encode, texts[at : at + 50])]
    assert found == expected(ours, texts)
    assert ids(encode, texts[::-1]) == expected(ours, texts[::-1])


@pytest.mark.parametrize(
    "options",
    [
        {"add_dummy_prefix": True},
        {"remove_extra_whitespaces": True},
        {"normalization_rule_name": "nmt_nfkc"},
        {"user_defined_symbols": []},
        {"user_defined_symbols": ["\n", "of the"]},
        {"user_defined_symbols": ["\n", "\n\n"]},
        {"user_defined_symbols": ["\n", "\nof"]},
        {"treat_whitespace_as_suffix": True},
        {"split_by_whitespace": False},
        {"byte_fallback": False},
        {"model_type": "unigram"},
    ],
    ids=str,
)
def test_models_whose_words_depend_on_each_other_encode_whole_texts(options: dict[str, Any], texts: list[str]) -> None:
    processor = trained(**options)
    assert not words_stand_alone(processor)
    assert ids(Encoder(processor), texts[:50]) == expected(processor, texts[:50])


def test_other_models_may_encode_word_by_word_too(texts: list[str]) -> None:
    processor = trained(split_digits=False, split_by_unicode_script=False, allow_whitespace_only_pieces=True)
    assert words_stand_alone(processor)
    assert ids(Encoder(processor), texts) == expected(processor, texts)
