"""What a tokenizer loses of the text that it encodes: whether each document comes back when its ids are decoded.

Tokenizers made by `varietas tokenizer` keep everything. Others may lose line ends, tabs, ligatures or repeated spaces: the usual
normalisation of SentencePiece, nmt_nfkc, replaces them.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

from varietas.data.tokenizer.hub import HubTokenizer
from varietas.data.tokenizer.model import Tokenizer

AROUND = 12  # characters of an example before and after the first difference
NAMED = 3  # number of lost characters that are named


@dataclass(frozen=True)
class RoundTrip:
    """How much of some documents came back after encoding and decoding."""

    documents: int = 0
    changed: int = 0  # documents that did not come back as they were
    characters: int = 0
    lost: Counter[str] = field(default_factory=Counter)  # how often each character did not come back
    example: Sequence[str] = ()  # around the first difference: the text before and after

    def __add__(self, other: "RoundTrip") -> "RoundTrip":
        return RoundTrip(
            self.documents + other.documents,
            self.changed + other.changed,
            self.characters + other.characters,
            self.lost + other.lost,
            self.example or other.example,
        )


def keeps_everything(processor: Tokenizer) -> bool:
    """Returns whether it follows from the settings of a model that every text comes back, except for U+2581, its mark for a space."""
    if isinstance(processor, HubTokenizer):
        return processor.keeps_everything
    model = ModelProto.FromString(processor.serialized_model_proto())
    normalizer = model.normalizer_spec
    replaces = normalizer.precompiled_charsmap or model.denormalizer_spec.precompiled_charsmap
    changes_spaces = normalizer.add_dummy_prefix or normalizer.remove_extra_whitespaces or not normalizer.escape_whitespaces
    return bool(model.trainer_spec.byte_fallback and not replaces and not changes_spaces)


def round_trip(processor: Tokenizer, texts: Sequence[str], encoded: Sequence[np.ndarray]) -> RoundTrip:
    """Compares texts with what their ids decode to.

    Args:
        processor: The tokenizer.
        texts: Some texts.
        encoded: The ids of each text.
    """
    pairs = [(text, processor.decode(ids.tolist())) for text, ids in zip(texts, encoded, strict=True)]
    changed = [pair for pair in pairs if pair[0] != pair[1]]
    lost = sum((Counter(before) - Counter(after) for before, after in changed), Counter[str]())
    return RoundTrip(len(texts), len(changed), sum(map(len, texts)), lost, _first_difference(*changed[0]) if changed else ())


def _first_difference(before: str, after: str) -> tuple[str, str]:
    """Returns both texts around the first place where they differ."""
    at = next((at for at, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after)))
    around = slice(max(0, at - AROUND), at + AROUND)
    return before[around], after[around]


def message(parts: Iterable[RoundTrip]) -> str:
    """Says in one line what a tokenizer lost of some documents, or returns "" if all came back."""
    found = reduce(RoundTrip.__add__, parts, RoundTrip())
    if not found.changed:
        return ""
    before, after = found.example
    most = ", ".join(f"{_called(character)} {n:,}" for character, n in found.lost.most_common(NAMED))
    return (
        f"the tokenizer loses text: of {found.documents:,} documents that were decoded again, {found.changed:,} "
        f"({found.changed / found.documents:.2%}) are not as before, and {found.lost.total():,} of {found.characters:,} characters "
        f"({found.lost.total() / max(1, found.characters):.2%}) are gone{f', most often {most}' if most else ''}; for example, {before!r} "
        f"comes back as {after!r}. A model trained on these tokens cannot write such text; `varietas tokenizer` makes one that keeps it"
    )


def _called(character: str) -> str:
    """Returns a name for a character that can be read in a message."""
    names = {"\n": "line end", "\t": "tab", "\r": "carriage return", " ": "space"}
    return names.get(character, character if character.isprintable() else f"U+{ord(character):04X}")
