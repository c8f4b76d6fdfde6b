"""The bytes of tokens, put together, are the text that they encode."""

import json
from itertools import islice

import pytest
from texts import byte_level

from varietas.data.text.embedded import parallel_documents, training_documents
from varietas.data.tokenizer.hub import HubTokenizer
from varietas.data.tokenizer.model import Tokenizer, from_bytes
from varietas.data.tokenizer.pieces import token_bytes, token_name
from varietas.data.tokenizer.tokenizer_json import ODD_TEXTS, tokenizer_json
from varietas.data.tokenizer.training import train


@pytest.fixture(scope="module", params=["SentencePiece", "its tokenizer.json", "byte-level"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    if request.param == "byte-level":
        library = byte_level((d.text for d in islice(training_documents(), 300)), 700, ("<s>", "</s>"))
        return HubTokenizer(json.dumps({**json.loads(library.to_str()), "varietas": {"bos": 0, "eos": 1}}).encode())
    processor = from_bytes(train(lambda: islice(training_documents(), 300), 700))
    return processor if request.param == "SentencePiece" else HubTokenizer(json.dumps(tokenizer_json(processor)).encode())


def test_bytes_put_together_are_the_text(tokenizer: Tokenizer) -> None:
    for text in (*(document.text for document in parallel_documents()), *ODD_TEXTS):
        found = b"".join(token_bytes(tokenizer, token) for token in tokenizer.encode(text))
        assert found.decode().replace("\u2581", " ") == text.replace("\u2581", " ")


def test_special_tokens_are_no_text_and_have_a_name(tokenizer: Tokenizer) -> None:
    for name in ("<s>", "</s>"):
        token = tokenizer.piece_to_id(name)
        assert (token_bytes(tokenizer, token), token_name(tokenizer, token)) == (b"", name)


def test_bytes_that_are_no_characters_are_named_as_openai_does(tokenizer: Tokenizer) -> None:
    names = [token_name(tokenizer, token) for token in tokenizer.encode("𐌰")]
    assert "".join(names) == "".join(f"bytes:\\x{byte:02x}" for byte in "𐌰".encode())
    assert "".join(token_name(tokenizer, token) for token in tokenizer.encode(" je to")).strip() == "je to"
