"""A tokenizer.json becomes fields of a GGUF file, or is refused if llama.cpp might give other ids. The release's tests compare the ids."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from varietas.data.tokenizer.hub import HubTokenizer
from varietas.data.tokenizer.llama_cpp import CONTROL, NORMAL, UNUSED, USER_DEFINED
from varietas.data.tokenizer.llama_cpp_bpe import LLAMA_3, byte_level_fields

GPT_2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
SPLIT = {"type": "Split", "pattern": {"Regex": LLAMA_3}, "behavior": "Isolated", "invert": False}
LLAMA = {"type": "Sequence", "pretokenizers": [SPLIT, {**GPT_2, "use_regex": False}]}


def added(number: int, content: str, special: bool) -> dict[str, Any]:
    return {
        "id": number,
        "content": content,
        "special": special,
        "lstrip": False,
        "rstrip": False,
        "single_word": False,
        "normalized": False,
    }


def content() -> dict[str, Any]:
    return {
        "version": "1.0",
        "added_tokens": [added(0, "<s>", True), added(4, "<own>", False)],
        "normalizer": None,
        "pre_tokenizer": GPT_2,
        "decoder": GPT_2,
        "model": {"type": "BPE", "vocab": {"a": 1, "b": 2, "ab": 3}, "merges": [["a", "b"]]},
    }


def fields(value: dict[str, Any], vocab_size: int = 7) -> dict[str, Any]:
    return byte_level_fields(HubTokenizer(json.dumps(value).encode()), vocab_size)


def test_tokens_and_merges_are_those_of_the_file() -> None:
    assert fields(content()) == {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": ["<s>", "a", "b", "ab", "<own>", "[PAD5]", "[PAD6]"],
        "tokenizer.ggml.token_type": [CONTROL, NORMAL, NORMAL, NORMAL, USER_DEFINED, UNUSED, UNUSED],
        "tokenizer.ggml.merges": ["a b"],
    }
    of_llama = content() | {"pre_tokenizer": LLAMA}
    of_llama["model"] |= {"ignore_merges": True, "merges": ["a b"]}
    assert fields(of_llama)["tokenizer.ggml.pre"] == "llama-bpe" and fields(of_llama)["tokenizer.ggml.merges"] == ["a b"]


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another split": (lambda c: c.update(pre_tokenizer={**GPT_2, "add_prefix_space": True}), "splits text into words in a way"),
    "merges of whole words": (lambda c: c["model"].update(ignore_merges=True), "splits text into words in a way"),
    "no split": (lambda c: c.update(pre_tokenizer=None), "splits text into words in a way"),
    "a normaliser": (lambda c: c.update(normalizer={"type": "NFC"}), "normalises text"),
    "another model": (lambda c: c.update(model={"type": "WordLevel", "vocab": {"a": 1}, "unk_token": "a"}), "is not plain byte-level BPE"),
    "pieces with scores": (lambda c: c.update(model={"type": "Unigram", "vocab": [["a", -1.0]], "unk_id": 0}), "is not plain byte-level"),
    "marks of words": (lambda c: c["model"].update(end_of_word_suffix="</w>"), "is not plain byte-level BPE"),
    "spaces": (lambda c: c["added_tokens"][0].update(lstrip=True), "has tokens that take spaces"),
    "overlap": (lambda c: c["added_tokens"].append(added(5, "n>>", False)), "has symbols of its own that overlap"),
    "too many": (lambda c: c["added_tokens"].append(added(7, "<x>", True)), "or more tokens than the model has embeddings"),
    "twice": (lambda c: c["added_tokens"].append(added(5, "[PAD6]", True)), "has a token twice"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_llama_cpp_may_encode_in_another_way_is_refused(name: str) -> None:
    change, message = CHANGES[name]
    change(value := content())
    with pytest.raises(ValueError, match=f"^the tokenizer.json .*{message}.*, so llama.cpp may give other ids; only --format hf"):
        fields(value)
