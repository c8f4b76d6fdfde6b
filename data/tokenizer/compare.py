"""Compares tokenizers on parallel text: ours, any SentencePiece model, and any tokenizer.json of Hugging Face."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from varietas.data.tokenizer.model import from_bytes
from varietas.data.tokenizer.parallel import Parallel, premiums
from varietas.data.tokenizer.parity import estimated


@dataclass(frozen=True)
class Compared:
    """What the comparison needs of a tokenizer."""

    name: str
    n_pieces: int
    encode: Callable[[str], list[int]]
    fallback: frozenset[int]  # ids of pieces that are bytes rather than characters


@dataclass(frozen=True)
class Treatment:
    """How a tokenizer treats the text of one language."""

    language: str
    bytes: int
    words: int  # separated by white space
    tokens: int
    premium: float  # tokens over those that English needs for the same content (Petrov et al., 2023)
    fallback: float  # share of tokens that are single bytes or parts of characters
    continued: float  # share of words that take more than one token

    @property
    def tokens_per_word(self) -> float:
        return self.tokens / max(1, self.words)

    @property
    def bytes_per_token(self) -> float:
        return self.bytes / max(1, self.tokens)


def load(path: Path) -> Compared:
    """Opens a SentencePiece model or a tokenizer.json.

    Raises:
        ValueError: If the file is neither.
        ModuleNotFoundError: If a tokenizer.json needs the package tokenizers and it is not installed.
    """
    name = path.stem if path.stem != "tokenizer" else path.absolute().parent.name
    try:
        tokenizer = from_bytes(path.read_bytes())
    except OSError as error:
        raise ValueError(f"--report {path} cannot be read ({error.strerror})") from None
    except RuntimeError as error:
        raise ValueError(f"--report {path} is neither a SentencePiece model nor a tokenizer.json ({error})") from None
    n = tokenizer.get_piece_size()
    return Compared(name, n, tokenizer.encode, frozenset(piece for piece in range(n) if tokenizer.is_byte(piece)))


def compare(tokenizer: Compared, texts: Parallel, parallel: bool = True) -> list[Treatment]:
    """Measures how a tokenizer treats each language.

    Args:
        tokenizer: The tokenizer.
        texts: Text of each language.
        parallel: Whether the texts are parallel. If not, premiums are estimated from a table of how many bytes each language needs for
            the same content (see parity.py), and languages that the table lacks are left out.

    Returns:
        One entry per language, the highest premium first.
    """

    def count(text: str) -> int:
        return len(tokenizer.encode(text))

    premium = premiums(texts, count) if parallel else estimated({code: list(mine.values()) for code, mine in texts.items()}, count)
    rows = []
    for code, mine in texts.items():
        if code not in premium:
            continue
        joined = list(mine.values())
        ids = [piece for text in joined for piece in tokenizer.encode(text)]
        words = [word for text in joined for word in text.split()]
        rows.append(
            Treatment(
                language=code,
                bytes=sum(len(text.encode()) for text in joined),
                words=len(words),
                tokens=len(ids),
                premium=premium[code],
                fallback=sum(piece in tokenizer.fallback for piece in ids) / max(1, len(ids)),
                continued=sum(len(tokenizer.encode(f"{word} {word}")) > 2 for word in words) / max(1, len(words)),
            )
        )
    return sorted(rows, key=lambda row: -row.premium)
