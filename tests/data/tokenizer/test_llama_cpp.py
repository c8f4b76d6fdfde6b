"""The vocabulary of a GGUF file gives the ids of the SentencePiece model, or is refused. The release's tests ask llama.cpp itself."""

from pathlib import Path

import pytest
import sentencepiece as spm
from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]
from test_tokenizer_json import random_texts, train

from varietas.data.text.embedded import parallel_documents
from varietas.data.tokenizer.llama_cpp import CONTROL, UNUSED, USER_DEFINED, check_equal, encoder, vocabulary
from varietas.data.tokenizer.model import load
from varietas.data.tokenizer.tokenizer_json import ODD_TEXTS


@pytest.fixture(scope="module")
def processor(corpus_folder: Path) -> spm.SentencePieceProcessor:
    return load(corpus_folder / "tokenizer.model")


def changed(processor: spm.SentencePieceProcessor, *pieces: tuple[str, int]) -> spm.SentencePieceProcessor:
    """Returns the tokenizer with other texts and types for its last pieces."""
    proto = ModelProto.FromString(processor.serialized_model_proto())
    for piece, (text, kind) in zip(reversed(proto.pieces), pieces, strict=False):
        piece.piece, piece.type = text, kind
    return spm.SentencePieceProcessor(model_proto=proto.SerializeToString())


def test_ids_are_the_same_for_every_text(processor: spm.SentencePieceProcessor) -> None:
    encode = encoder(vocabulary(processor, 1024))
    for text in (*ODD_TEXTS, *(document.text for document in parallel_documents()), *random_texts(1000)):
        assert encode(text) == processor.encode(text)


def test_rows_without_a_piece_become_tokens_that_no_text_has(processor: spm.SentencePieceProcessor) -> None:
    vocab = vocabulary(processor, 1031)
    assert vocab.tokens[1024:] == tuple(f"[PAD{i}]" for i in range(1024, 1031)) and set(vocab.types[1024:]) == {UNUSED}
    assert len(vocab.scores) == len(vocab.types) == len(set(vocab.tokens)) == 1031
    assert encoder(vocab)("[PAD1024]") == processor.encode("[PAD1024]")
    with pytest.raises(ValueError, match=r"the tokenizer has 1,024 pieces, but the model has embeddings for 1,000"):
        vocabulary(processor, 1000)


def test_a_space_in_front_is_kept() -> None:
    processor = train(add_dummy_prefix=True)
    vocab = vocabulary(processor, 700)
    assert vocab.space_first and not vocabulary(train(add_dummy_prefix=False), 700).space_first
    check_equal(processor, vocab, [text for text in random_texts(500) if text])


def test_own_symbols_with_spaces_are_found(processor: spm.SentencePieceProcessor) -> None:
    own = changed(processor, ("▁▁▁▁", USER_DEFINED), ("▁▁", USER_DEFINED), ("<b>", USER_DEFINED))
    vocab = vocabulary(own, 1024)
    assert vocab.tokens[-3:] == ("<b>", "  ", "    ")
    for text in ("a       b", "x <b>  </b>", "<b><b>    \n  "):
        assert encoder(vocab)(text) == own.encode(text) != processor.encode(text)


def test_a_special_token_that_llama_cpp_would_read_in_a_text_is_refused(processor: spm.SentencePieceProcessor) -> None:
    """llama.cpp merges "</s" and ">" to the token of that text."""
    other = changed(processor, ("</s", 1), ("</", 1))
    with pytest.raises(ValueError, match=r"llama.cpp would give other ids than the tokenizer for the text '</s> <s><unk><pad>'"):
        check_equal(other, vocabulary(other, 1024), [])
    named = changed(processor, ("<|x|>", CONTROL), ("<|x|", 1), ("<|x", 1), ("<|", 1))
    with pytest.raises(ValueError, match=r"than the tokenizer for the text '<unk> <s> </s> <pad> <\|system\|>"):
        check_equal(named, vocabulary(named, 1024), [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_type": "unigram"}, "is not of the type BPE, which GGUF cannot express exactly"),
        ({"byte_fallback": False}, "has no byte fallback"),
        ({"normalization_rule_name": "nmt_nfkc"}, "normalises text"),
    ],
)
def test_a_tokenizer_without_an_exact_counterpart_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vocabulary(train(**options), 700)


def test_pieces_that_llama_cpp_has_no_place_for_are_refused(processor: spm.SentencePieceProcessor) -> None:
    with pytest.raises(ValueError, match="pieces that it never uses"):
        vocabulary(changed(processor, ("never", UNUSED)), 1024)
    with pytest.raises(ValueError, match="two pieces of the same text"):
        vocabulary(changed(processor, ("[PAD1024]", 1)), 1025)
