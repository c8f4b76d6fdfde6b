"""Encodes many texts as SentencePiece does, but each word only once.

Byte pair encoding merges neighbouring pieces into larger ones (Sennrich et al., 2016). If no piece of a model continues after a space,
and line ends are pieces of their own, then no merge crosses from one word into the next, and the ids of a word do not depend on its
surroundings. Words are then looked up in a table, and only new words are encoded. With other models, whole texts are encoded.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise

import numpy as np
from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

from varietas.data.tokenizer.hub import HubTokenizer
from varietas.data.tokenizer.model import Tokenizer
from varietas.data.tokenizer.round_trip import keeps_everything

KEPT_CHARACTERS = 1 << 22  # in all remembered words, some 100 MB of memory; beyond that, all are forgotten
WORDS_A_CALL = 64  # new words that SentencePiece encodes as one text

_WORD = re.compile("[ \u2581]*[^ \u2581\n]+|\n|[ \u2581]+")  # U+2581 is SentencePiece's mark for a space


def id_type(processor: Tokenizer) -> np.dtype:
    """Returns the little-endian type of token ids: two bytes if all ids fit, else four."""
    return np.dtype("<u2" if processor.get_piece_size() <= 1 << 16 else "<u4")


def words_stand_alone(processor: Tokenizer) -> bool:
    """Returns whether texts may be encoded word by word. That holds for models made by `varietas tokenizer`, and for some others."""
    if isinstance(processor, HubTokenizer):
        return False
    model = ModelProto.FromString(processor.serialized_model_proto())
    pieces = [piece.piece for piece in model.pieces if piece.type in (piece.NORMAL, piece.USER_DEFINED, piece.UNUSED)]
    return (
        model.trainer_spec.model_type == model.trainer_spec.BPE
        and keeps_everything(processor)
        and "\n" in {piece.piece for piece in model.pieces if piece.type == piece.USER_DEFINED}
        and not any(("\n" in piece and piece != "\n") or re.search("[^ \u2581][ \u2581]", piece) for piece in pieces)
    )


def _gaps(pieces: list[bytes | None]) -> Iterator[int]:
    """Yields the indices of words that are not known yet."""
    at = -1
    with suppress(ValueError):  # no further None
        while True:
            yield (at := pieces.index(None, at + 1))


class Encoder:
    """Encodes texts into the same ids as SentencePiece, with bos and eos, in about half of the time. It remembers the words it has seen."""

    def __init__(self, processor: Tokenizer):
        self.dtype, self.processor, self.keeps_everything = id_type(processor), processor, keeps_everything(processor)
        self._line_end = processor.piece_to_id("\n")
        self._by_word = words_stand_alone(processor)
        self._bos, self._eos = (self._bytes([piece]) for piece in (processor.bos_id(), processor.eos_id()))
        self._known: dict[str, bytes] = {}
        self._characters = 0

    def __call__(self, texts: list[str]) -> list[bytes]:
        """Returns the ids of each text, as bytes of type `dtype`."""
        if not self._by_word:
            return [self._bytes(ids) for ids in self.processor.encode(texts, add_bos=True, add_eos=True, num_threads=1)]
        split = [_WORD.findall(text) for text in texts]
        if self._characters > KEPT_CHARACTERS:
            self._known, self._characters = {}, 0
        found = [list(map(self._known.get, words)) for words in split]
        gaps = [list(_gaps(pieces)) for pieces in found]
        self._learn({words[at] for words, new in zip(split, gaps, strict=True) for at in new})
        for words, pieces, new in zip(split, found, gaps, strict=True):
            for at in new:
                pieces[at] = self._known[words[at]]
        return [b"".join((self._bos, *pieces, self._eos)) for pieces in found]  # type: ignore[arg-type]

    def plain(self, ids: np.ndarray) -> np.ndarray:
        """Returns token ids as they are: those of texts have no marks."""
        return ids

    def _learn(self, new: set[str]) -> None:
        """Encodes new words and remembers their ids."""
        assert not isinstance(self.processor, HubTokenizer)  # its words are not told apart
        words = list(new - {"\n"})
        self._characters += sum(map(len, words))
        self._known["\n"] = self._bytes([self._line_end])
        calls = [words[at : at + WORDS_A_CALL] for at in range(0, len(words), WORDS_A_CALL)]
        encoded = self.processor.encode(["".join(word + "\n" for word in call) for call in calls], num_threads=1, return_type="numpy")
        for call, ids in zip(calls, encoded, strict=True):
            content, size = self._bytes(ids), self.dtype.itemsize
            ends = np.flatnonzero(ids == self._line_end).tolist()
            bounds = pairwise([-1, *ends])
            self._known.update(zip(call, (content[(last + 1) * size : end * size] for last, end in bounds), strict=True))

    def _bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        return np.asarray(ids).astype(self.dtype).tobytes()
