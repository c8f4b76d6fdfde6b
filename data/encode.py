"""SentencePiece's ids of many texts, each word encoded once.

Byte pair encoding merges neighbouring pieces into larger ones (Sennrich et al., 2016). If no piece of a model goes on behind a space, and
line ends are pieces of their own, no merge reaches from one word into the next, and what becomes of a word does not depend on where it
stands. Then words are looked up, and only new ones are encoded. Where that does not hold, whole texts are.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise

import numpy as np
import sentencepiece as spm
from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

KEPT_CHARACTERS = 1 << 22  # of words: some 100 MB of memory; when there are more, all are forgotten
WORDS_A_CALL = 64

_WORD = re.compile("[ \u2581]*[^ \u2581\n]+|\n|[ \u2581]+")  # U+2581 is SentencePiece's mark for a space


def id_type(processor: spm.SentencePieceProcessor) -> np.dtype:
    return np.dtype("<u2" if processor.get_piece_size() <= 1 << 16 else "<u4")


def words_stand_alone(processor: spm.SentencePieceProcessor) -> bool:
    """Whether texts may be encoded word by word: models that `varietas tokenizer` makes, and others whose pieces allow it."""
    model = ModelProto.FromString(processor.serialized_model_proto())
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    as_it_is = not (normalizer.precompiled_charsmap or normalizer.add_dummy_prefix or normalizer.remove_extra_whitespaces)
    pieces = [piece.piece for piece in model.pieces if piece.type in (piece.NORMAL, piece.USER_DEFINED, piece.UNUSED)]
    return (
        trainer.model_type == trainer.BPE
        and trainer.byte_fallback
        and as_it_is
        and normalizer.escape_whitespaces
        and "\n" in {piece.piece for piece in model.pieces if piece.type == piece.USER_DEFINED}
        and not any(("\n" in piece and piece != "\n") or re.search("[^ \u2581][ \u2581]", piece) for piece in pieces)
    )


def _gaps(pieces: list[bytes | None]) -> Iterator[int]:
    at = -1
    with suppress(ValueError):  # no further None
        while True:
            yield (at := pieces.index(None, at + 1))


class Encoder:
    """Texts to ids with bos and eos, as bytes of `dtype`: SentencePiece's own, in about half of the time. Remembers words."""

    def __init__(self, processor: spm.SentencePieceProcessor):
        self.dtype = id_type(processor)
        self._processor, self._line_end = processor, processor.piece_to_id("\n")
        self._by_word = words_stand_alone(processor)
        self._bos, self._eos = (self._bytes([piece]) for piece in (processor.bos_id(), processor.eos_id()))
        self._known: dict[str, bytes] = {}
        self._characters = 0

    def __call__(self, texts: list[str]) -> list[bytes]:
        if not self._by_word:
            return [self._bytes(ids) for ids in self._processor.encode(texts, add_bos=True, add_eos=True, num_threads=1)]
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

    def _learn(self, new: set[str]) -> None:
        words = list(new - {"\n"})
        self._characters += sum(map(len, words))
        self._known["\n"] = self._bytes([self._line_end])
        calls = [words[at : at + WORDS_A_CALL] for at in range(0, len(words), WORDS_A_CALL)]
        encoded = self._processor.encode(["".join(word + "\n" for word in call) for call in calls], num_threads=1, return_type="numpy")
        for call, ids in zip(calls, encoded, strict=True):
            content, size = self._bytes(ids), self.dtype.itemsize
            ends = np.flatnonzero(ids == self._line_end).tolist()
            bounds = pairwise([-1, *ends])
            self._known.update(zip(call, (content[(last + 1) * size : end * size] for last, end in bounds), strict=True))

    def _bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        return np.asarray(ids).astype(self.dtype).tobytes()
