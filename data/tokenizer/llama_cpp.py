"""A SentencePiece model as llama.cpp keeps it in a GGUF file, and the ids that llama.cpp gives for a text.

Both merge the two neighbours whose merged piece has the highest score. But llama.cpp may merge to any token of the file, even to "</s>",
and cuts out symbols of one's own in an order of its own. So ids are compared before anything is written.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import sentencepiece as spm

from varietas.data.tokenizer.tokenizer_json import ODD_TEXTS, SPACE, plain_bpe

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # types of tokens: SentencePiece and GGUF count them alike


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a GGUF file, by id."""

    tokens: tuple[str, ...]
    scores: tuple[float, ...]
    types: tuple[int, ...]
    space_first: bool  # whether a space is put in front of a text


def vocabulary(processor: spm.SentencePieceProcessor, vocab_size: int) -> Vocabulary:
    """Returns the vocabulary for a model. Rows of its embedding for which there is no piece become tokens that no text has.

    Args:
        processor: The tokenizer.
        vocab_size: The number of rows of the model's embedding.

    Raises:
        ValueError: If the tokenizer has no exact counterpart in llama.cpp, or more pieces than the model has rows.
    """
    proto = plain_bpe(processor, "GGUF")
    pieces = list(proto.pieces)
    if any(piece.type == UNUSED for piece in pieces):
        raise ValueError(
            "the tokenizer has pieces that it never uses, which GGUF cannot express; `varietas tokenizer` trains one that fits"
        )
    if len(pieces) > vocab_size:
        raise ValueError(f"the tokenizer has {len(pieces):,} pieces, but the model has embeddings for {vocab_size:,}")
    # llama.cpp looks for symbols of one's own before it marks spaces.
    tokens = [piece.piece.replace(SPACE, " ") if piece.type == USER_DEFINED else piece.piece for piece in pieces]
    padding = [f"[PAD{i}]" for i in range(len(pieces), vocab_size)]
    if len(set(tokens + padding)) < vocab_size:
        raise ValueError("the tokenizer has two pieces of the same text, which llama.cpp does not load")
    return Vocabulary(
        (*tokens, *padding),
        (*(piece.score for piece in pieces), *(0.0 for _ in padding)),
        (*(piece.type for piece in pieces), *(UNUSED for _ in padding)),
        proto.normalizer_spec.add_dummy_prefix,
    )


def sentencepiece_fields(processor: spm.SentencePieceProcessor, vocab_size: int, texts: Iterable[str]) -> dict[str, Any]:
    """Returns the fields of a GGUF file for a SentencePiece model. The ids of these texts are compared.

    Raises:
        ValueError: If the tokenizer has no exact counterpart in llama.cpp.
    """
    vocab = vocabulary(processor, vocab_size)
    check_equal(processor, vocab, texts)
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": vocab.tokens,
        "tokenizer.ggml.scores": vocab.scores,
        "tokenizer.ggml.token_type": vocab.types,
        "tokenizer.ggml.add_space_prefix": vocab.space_first,
    }


def encoder(vocab: Vocabulary) -> Callable[[str], list[int]]:
    """Returns a function that gives the ids of a text as llama.cpp does when names of special tokens are plain text."""
    ids = {token: i for i, token in enumerate(vocab.tokens)}
    of_byte = [ids[f"<0x{byte:02X}>"] for byte in range(256)]
    own = sorted((token for token, kind in zip(vocab.tokens, vocab.types, strict=True) if kind == USER_DEFINED), key=len, reverse=True)

    def encode(text: str) -> list[int]:
        parts: list[str | int] = [text] if text else []
        for symbol in own:
            parts = [cut for part in parts for cut in (_cut(part, symbol, ids[symbol]) if isinstance(part, str) else (part,))]
        found: list[int] = []
        for part in parts:
            if isinstance(part, int):
                found.append(part)
                continue
            for symbol in _merged((" " * vocab.space_first + part).replace(" ", SPACE), ids, vocab.scores):
                found += [ids[symbol]] if symbol in ids else [of_byte[byte] for byte in symbol.encode()]
        return found

    return encode


def _cut(text: str, symbol: str, symbol_id: int) -> Iterator[str | int]:
    """Yields the parts of a text between symbols, and the id for each symbol."""
    for i, part in enumerate(text.split(symbol)):
        if i:
            yield symbol_id
        if part:
            yield part


def _merged(text: str, ids: dict[str, int], scores: tuple[float, ...]) -> Iterator[str]:
    """Yields the symbols that are left when no two neighbours form a token any more."""
    symbols = list(text)
    after, before = [*range(1, len(text)), -1], [*range(-1, len(text) - 1)]
    queue: list[tuple[float, int, int, int]] = []

    def consider(left: int, right: int) -> None:
        if left >= 0 and right >= 0 and (token := ids.get(symbols[left] + symbols[right])) is not None:
            heapq.heappush(queue, (-scores[token], left, right, len(symbols[left]) + len(symbols[right])))

    for right in range(1, len(text)):
        consider(right - 1, right)
    while queue:
        _, left, right, length = heapq.heappop(queue)
        if not symbols[left] or not symbols[right] or len(symbols[left]) + len(symbols[right]) != length:
            continue  # one of the two has been merged since
        symbols[left] += symbols[right]
        symbols[right] = ""
        after[left] = after[right]
        if after[right] >= 0:
            before[after[right]] = left
        consider(before[left], left)
        consider(left, after[left])
    yield from (symbol for symbol in symbols if symbol)


def check_equal(processor: spm.SentencePieceProcessor, vocab: Vocabulary, texts: Iterable[str]) -> None:
    """Checks that llama.cpp gives the ids of the SentencePiece model for these texts, for ODD_TEXTS and for names of special tokens.

    Raises:
        ValueError: If it does not, with the first text for which that is so.
    """
    encode = encoder(vocab)
    special = " ".join(token for token, kind in zip(vocab.tokens, vocab.types, strict=True) if kind in (UNKNOWN, CONTROL))
    own = [token for token, kind in zip(vocab.tokens, vocab.types, strict=True) if kind == USER_DEFINED]
    for text in (*ODD_TEXTS, special, "".join(own), "".join(reversed(own)), *texts):
        if encode(text) != processor.encode(text):
            raise ValueError(f"llama.cpp would give other ids than the tokenizer for the text {text[:60]!r}; nothing is exported")
