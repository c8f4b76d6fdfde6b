"""Text of random syllables in two languages, parallel and not."""

from collections.abc import Iterable, Sequence

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from varietas.data.text.documents import Document

LETTERS = {"eng_Latn": ("bcdfghklmnprst", "aeiou"), "ell_Grek": ("βγδζθκλμνπρστ", "αειου")}


def text_of(code: str, seed: int, n: int = 30) -> str:
    """Returns words of random syllables, in which there is always more to learn."""
    rng = np.random.default_rng(seed)
    consonants, vowels = LETTERS[code]
    syllables = [c + v for c in consonants for v in vowels]
    return " ".join("".join(syllables[k] for k in rng.integers(0, len(syllables), 3)) for _ in range(n))


def documents() -> list[Document]:
    """Returns much English and little Greek."""
    counts = {"eng_Latn": 400, "ell_Grek": 25}
    return [Document(f"{i}", code, text_of(code, i)) for code, n in counts.items() for i in range(n)]


def aligned() -> list[Document]:
    return [Document(f"p{i}", code, text_of(code, 1000 + i)) for i in range(40) for code in LETTERS]


def byte_level(texts: Iterable[str], vocab_size: int, special: Sequence[str] = ()) -> Tokenizer:
    """Trains a tokenizer of byte-level BPE, as many released models have it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
