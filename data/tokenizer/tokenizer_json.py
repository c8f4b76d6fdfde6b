"""tokenizer.json of Hugging Face's `tokenizers` from a SentencePiece model, with the same ids for every text.

SentencePiece merges the two neighbours whose merged piece has the highest score. Byte pair encoding of Hugging Face merges the pair that
comes first in a list. So the list holds each way to put a piece together from two others, ordered by the scores of the pieces.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import sentencepiece as spm
from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

from varietas.data.tokenizer.hub import KEY, HubTokenizer
from varietas.data.tokenizer.model import Tokenizer

SPACE = "\u2581"
# What tokenizers have disagreed on: line ends, blanks, joiners, the mark of a space, names of special tokens, letters outside of any piece.
ODD_TEXTS = (
    "", " ", "\n\t\n", "a  b   c", " leading and trailing ", "x\u2581y", "</s> <s><unk><pad>", "👩\u200d👩\u200d👧\u200d👦 👍🏽", "\u0000",
    "ﬁne ½ ＡＢＣ", "e\u0301 \u00e9", "\u202eabc", "𐌰𐌱𐌲", "1234567890 3.14", "ababababab aaaaaaa bababab", "\r\n", "a\u00a0b",
)  # fmt: skip


def tokenizer_json(processor: Tokenizer) -> dict[str, Any]:
    """Returns the content of tokenizer.json.

    Raises:
        ValueError: If the model normalises text, or is of a kind that has no exact counterpart.
    """
    if isinstance(processor, HubTokenizer):
        return processor.json
    proto = plain_bpe(processor, "tokenizer.json")
    prefix = proto.normalizer_spec.add_dummy_prefix
    added = [
        {"id": i, "content": piece.piece, "special": piece.type != piece.USER_DEFINED}
        for i, piece in enumerate(proto.pieces)
        if piece.type in (piece.UNKNOWN, piece.CONTROL, piece.USER_DEFINED)
    ]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    bos = processor.id_to_piece(processor.bos_id())
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{**token, **flags} for token in added],
        "normalizer": {"type": "Sequence", "normalizers": [*([{"type": "Prepend", "prepend": SPACE}] if prefix else []), spaces]},
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [
                *({"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}),
                *({"SpecialToken": {"id": bos, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}),
            ],
            "special_tokens": {bos: {"id": bos, "ids": [processor.bos_id()], "tokens": [bos]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                *([{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefix else []),
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": processor.id_to_piece(processor.unk_id()),
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {piece.piece: i for i, piece in enumerate(proto.pieces)},
            "merges": [list(pair) for pair in merges(proto)],
        },
    }


def hub_tokenizer(processor: Tokenizer) -> HubTokenizer:
    """Returns a tokenizer with the same ids, which can tell the names of special tokens from text.

    Raises:
        ValueError: If the tokenizer has no exact counterpart.
        ModuleNotFoundError: If the package tokenizers is not installed.
    """
    if isinstance(processor, HubTokenizer):
        return processor
    roles = {"bos": processor.bos_id(), "eos": processor.eos_id(), "unk": processor.unk_id(), "pad": processor.pad_id()}
    return HubTokenizer(json.dumps({**tokenizer_json(processor), KEY: roles}).encode())


def plain_bpe(processor: spm.SentencePieceProcessor, form: str) -> ModelProto:
    """Returns the content of a SentencePiece model of the kind that other formats can express exactly.

    Args:
        processor: The tokenizer.
        form: The other format, for the error message.

    Raises:
        ValueError: If the model normalises text, or is of a kind that has no exact counterpart.
    """
    proto = ModelProto.FromString(processor.serialized_model_proto())
    trainer, normalizer = proto.trainer_spec, proto.normalizer_spec
    own_symbols = any(piece.type == piece.USER_DEFINED for piece in proto.pieces)
    for fits, what in (
        (trainer.model_type == trainer.BPE, "is not of the type BPE"),
        (trainer.byte_fallback, "has no byte fallback"),
        (not normalizer.precompiled_charsmap and not normalizer.remove_extra_whitespaces, "normalises text"),
        (normalizer.escape_whitespaces and not trainer.treat_whitespace_as_suffix, "does not mark spaces as usual"),
        (not (normalizer.add_dummy_prefix and own_symbols), "puts a space in front and has symbols of its own"),
    ):
        if not fits:
            raise ValueError(f"the tokenizer {what}, which {form} cannot express exactly; `varietas tokenizer` trains one that fits")
    return proto


def merges(proto: ModelProto) -> Iterator[tuple[str, str]]:
    """Yields the pairs of pieces that make a piece, those of the piece with the highest score first."""
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type == piece.NORMAL}
    for piece in sorted(scores, key=lambda piece: -scores[piece]):
        for at in range(1, len(piece)):
            if piece[:at] in scores and piece[at:] in scores:
                yield piece[:at], piece[at:]


def tokenizer_config(processor: Tokenizer, max_seq_len: int, chats: bool = False) -> dict[str, Any]:
    """Returns the content of tokenizer_config.json; of a model with a chat template, which writes special tokens by name, with `chats`."""
    roles = {"bos": processor.bos_id(), "eos": processor.eos_id(), "unk": processor.unk_id(), "pad": processor.pad_id()}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{role}_token": processor.id_to_piece(i) for role, i in roles.items() if i >= 0},
        "add_bos_token": True,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_seq_len,
        "split_special_tokens": not chats,  # a text that says "</s>" does not end
    }


def check_equal(processor: Tokenizer, content: dict[str, Any], texts: Iterable[str]) -> None:
    """Checks that a tokenizer.json gives the ids of the tokenizer for these texts and for ODD_TEXTS.

    Raises:
        ValueError: If it does not, with the first text for which that is so.
        ModuleNotFoundError: If the package tokenizers is not installed.
    """
    text = first_difference(processor, HubTokenizer(json.dumps(content).encode()), texts)
    if text is not None:
        raise ValueError(f"tokenizer.json would give other ids than the tokenizer for the text {text[:60]!r}; nothing is exported")


def first_difference(one: Tokenizer, other: Tokenizer, texts: Iterable[str]) -> str | None:
    """Returns the first of ODD_TEXTS and these texts for which two tokenizers have different ids; None if there is none."""
    return next((text for text in (*ODD_TEXTS, *texts) if one.encode(text) != other.encode(text)), None)
