"""Tokenizers beside each other on parallel text: ours, any SentencePiece model, any tokenizer.json of Hugging Face."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sentencepiece as spm

from varietas.data.parallel import Parallel, premiums
from varietas.data.parity import estimated

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


@dataclass(frozen=True)
class Encoder:
    """A tokenizer as far as the comparison needs it."""

    name: str
    n_pieces: int
    encode: Callable[[str], list[int]]
    fallback: frozenset[int]  # pieces that are bytes and no characters


@dataclass(frozen=True)
class Treatment:
    """What a tokenizer makes of one language."""

    language: str
    bytes: int
    words: int  # between white space
    tokens: int
    premium: float  # tokens over those that English needs for the same content (Petrov et al., 2023)
    fallback: float  # share of tokens that are single bytes or halves of characters
    continued: float  # share of words that take more than one token

    @property
    def tokens_per_word(self) -> float:
        return self.tokens / max(1, self.words)

    @property
    def bytes_per_token(self) -> float:
        return self.bytes / max(1, self.tokens)


def load(path: Path) -> Encoder:
    """Opens a SentencePiece model, or a tokenizer.json. Raises ValueError if it is neither."""
    name = path.stem if path.stem != "tokenizer" else path.absolute().parent.name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"--report {path} cannot be read ({error.strerror})") from None
    if content[:1] == b"{":
        return _hugging_face(name, path, content)
    try:
        processor = spm.SentencePieceProcessor(model_proto=content)
    except RuntimeError:
        raise ValueError(f"--report {path} is neither a SentencePiece model nor a tokenizer.json") from None
    n = processor.get_piece_size()
    return Encoder(name, n, processor.encode, frozenset(piece for piece in range(n) if processor.is_byte(piece)))


def _hugging_face(name: str, path: Path, content: bytes) -> Encoder:
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError:
        raise ModuleNotFoundError("a tokenizer.json needs the package tokenizers; run: pip install 'varietas[data]'") from None
    try:
        tokenizer = Tokenizer.from_str(content.decode())
    except Exception as error:  # the package raises nothing more special
        raise ValueError(f"--report {path} is no tokenizer.json ({str(error)[:120]})") from None
    n = tokenizer.get_vocab_size()
    fallback = frozenset(k for k in range(n) if _BYTE.fullmatch(tokenizer.id_to_token(k) or "") or "\ufffd" in tokenizer.decode([k]))
    return Encoder(name, n, lambda text: tokenizer.encode(text, add_special_tokens=False).ids, fallback)


def compare(encoder: Encoder, texts: Parallel, parallel: bool = True) -> list[Treatment]:
    """Each language of the texts, that with the highest premium first.

    If they are not parallel the premium is estimated, from how many bytes each language needs for the same content, as the table of
    parity.py has it; languages that it lacks are left out.
    """

    def count(text: str) -> int:
        return len(encoder.encode(text))

    premium = premiums(texts, count) if parallel else estimated({code: list(mine.values()) for code, mine in texts.items()}, count)
    rows = []
    for code, mine in texts.items():
        if code not in premium:
            continue
        joined = list(mine.values())
        ids = [piece for text in joined for piece in encoder.encode(text)]
        words = [word for text in joined for word in text.split()]
        rows.append(
            Treatment(
                language=code,
                bytes=sum(len(text.encode()) for text in joined),
                words=len(words),
                tokens=len(ids),
                premium=premium[code],
                fallback=sum(piece in encoder.fallback for piece in ids) / max(1, len(ids)),
                continued=sum(len(encoder.encode(f"{word} {word}")) > 2 for word in words) / max(1, len(words)),
            )
        )
    return sorted(rows, key=lambda row: -row.premium)
