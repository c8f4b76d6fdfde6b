"""A tokenizer.json of byte-level BPE as llama.cpp keeps it in a GGUF file.

llama.cpp does not read from the file how text is split into words: it has that in its program, under a name. So only splits are known here
whose ids tests have found to be the same.
"""

from collections.abc import Mapping
from typing import Any

from varietas.data.tokenizer.hub import HubTokenizer
from varietas.data.tokenizer.llama_cpp import CONTROL, NORMAL, UNUSED, USER_DEFINED

LLAMA_3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BYTES = {"type": "ByteLevel", "add_prefix_space": False}
SPLIT = {"type": "Split", "pattern": {"Regex": LLAMA_3}, "behavior": "Isolated", "invert": False}
# The name in llama.cpp, the pre-tokenizer, and whether a word that is a token is taken as it is.
SPLITS: tuple[tuple[str, Mapping[str, Any], bool], ...] = (
    ("gpt-2", {**BYTES, "use_regex": True}, False),
    ("llama-bpe", {"type": "Sequence", "pretokenizers": [SPLIT, {**BYTES, "use_regex": False}]}, True),
)
CHANGES_WORDS = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")


def byte_level_fields(processor: HubTokenizer, vocab_size: int) -> dict[str, Any]:
    """Returns the fields of a GGUF file for a tokenizer.json. Rows of the embedding without a token become tokens that no text has.

    Args:
        processor: The tokenizer.
        vocab_size: The number of rows of the model's embedding.

    Raises:
        ValueError: If the tokenizer has no counterpart in llama.cpp that is known to give the same ids.
    """
    content, model = processor.json, processor.json["model"]
    if model.get("type") != "BPE" or any(model.get(name) for name in CHANGES_WORDS):
        raise ValueError("the tokenizer.json is not plain byte-level BPE, so llama.cpp may give other ids; only --format hf exports it")
    added = content.get("added_tokens") or []
    of_id = {number: text for text, number in model["vocab"].items()} | {token["id"]: token["content"] for token in added}
    kinds = {token["id"]: CONTROL if token["special"] else USER_DEFINED for token in added}
    own = [token["content"] for token in added if not token["special"]]
    way = _plain(content.get("pre_tokenizer") or {}), bool(model.get("ignore_merges"))
    pre = next((name for name, split, whole in SPLITS if (split, whole) == way), None)
    tokens = [of_id.get(i, f"[PAD{i}]") for i in range(vocab_size)]
    for fits, what in (
        (content.get("normalizer") is None, "normalises text"),
        (pre, "splits text into words in a way that is not known to give the same ids there"),
        (
            not any(token.get(flag) for token in added for flag in ("lstrip", "rstrip", "single_word")),
            "has tokens that take spaces",
        ),
        (not any(_overlap(one, other) for one in own for other in own), "has symbols of its own that overlap"),
        (len(set(tokens)) == vocab_size and max(of_id) < vocab_size, "has a token twice, or more tokens than the model has embeddings"),
    ):
        if not fits:
            raise ValueError(f"the tokenizer.json {what}, so llama.cpp may give other ids; only --format hf exports it")
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [kinds.get(i, NORMAL if i in of_id else UNUSED) for i in range(vocab_size)],
        "tokenizer.ggml.merges": [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]],
    }


def _plain(step: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a pre-tokenizer that ids depend on."""
    settings = {name: value for name, value in step.items() if name != "trim_offsets"}
    if "pretokenizers" in settings:
        settings["pretokenizers"] = [_plain(inner) for inner in settings["pretokenizers"]]
    return settings


def _overlap(one: str, other: str) -> bool:
    """Whether the end of a symbol is the beginning of another one: programs differ in which of the two they find."""
    return one != other and any(other.startswith(one[-n:]) for n in range(1, min(len(one), len(other))))
