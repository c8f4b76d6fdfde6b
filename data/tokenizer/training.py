"""Trains SentencePiece BPE models with byte fallback and without normalisation, on languages in chosen shares.

Decoding returns every string unchanged, except for U+2581, SentencePiece's own mark for a space.
"""

import io
import math
import re
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import sentencepiece as spm

from varietas.data.text.documents import Document
from varietas.data.tokenizer.model import counter, load
from varietas.data.tokenizer.parallel import Parallel
from varietas.data.tokenizer.parity import BYTES_A_PIECE, POOL_PART, Round, search
from varietas.data.unimax import unimax

UNK, BOS, EOS, PAD = range(4)
RESERVED = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", *(f"<|reserved_{i}|>" for i in range(12)))
SMALLEST_VOCABULARY = 4 + len(RESERVED) + 2 + 256 + 1  # special tokens, newline and tab, bytes, one piece
SAMPLE_BYTES = 200_000_000
UNIMAX_EPOCHS = 4.0
START_ALPHA = 0.3  # gives the shares with which the parity search begins
LINE_BYTES = 4096
POOL_PIECE = 4096  # characters


def train(
    documents: Callable[[], Iterable[Document]],
    vocab_size: int,
    sampling: str = "alpha:0.3",
    texts: Parallel | None = None,
    sample_bytes: int = SAMPLE_BYTES,
    progress: Callable[[Round], None] = lambda result: None,
) -> bytes:
    """Trains a SentencePiece model.

    Args:
        documents: Returns the training text. It is called twice, and its documents are streamed each time.
        vocab_size: Exact number of pieces.
        sampling: How much of each language the model learns from; small languages are repeated. "alpha:X": in proportion to n^X for n
            bytes (Conneau et al., 2020). "unimax": as evenly as possible, but no language more than 4 times (Chung et al., 2023).
            "parity": so that the same content takes about as many tokens in every language (see parity.py).
        texts: Parallel text with which "parity" measures, if there is any.
        sample_bytes: Maximum number of bytes to train on.
        progress: Called with every round of "parity".

    Returns:
        The content of the model file.

    Raises:
        ValueError: If there is no text or too little for so many pieces, or if `sampling` has another form.
    """
    check_vocab_size(vocab_size)
    strategy, alpha = parse_sampling(sampling)
    size: dict[str, int] = {}
    for document in documents():
        size[document.lang] = size.get(document.lang, 0) + len(document.text.encode())
    if not size:
        raise ValueError("no text to train a tokenizer on: the input holds no document")
    sample_bytes = min(sum(size.values()), sample_bytes)
    if strategy == "unimax":
        bytes_of = dict(zip(size, unimax(np.array([float(n) for n in size.values()]), sample_bytes, UNIMAX_EPOCHS), strict=True))
    else:
        bytes_of = {lang: float(n) ** alpha for lang, n in size.items()}
    shares = {lang: n / sum(bytes_of.values()) for lang, n in bytes_of.items()}
    if strategy == "parity":
        sample_bytes = min(sample_bytes, BYTES_A_PIECE * vocab_size)

        def train_on(sample: Iterable[Document]) -> tuple[bytes, Callable[[str], int]]:
            model = _train_on(_lines(sample), vocab_size, sum(size.values()))
            return model, counter(load(model))

        return search(_pool(documents(), size, sample_bytes // POOL_PART), shares, train_on, sample_bytes, texts, progress).model
    copies = {lang: sample_bytes * share / size[lang] for lang, share in shares.items()}
    return _train_on(_sample(documents(), copies), vocab_size, sum(size.values()))


def check_vocab_size(vocab_size: int) -> None:
    """Raises ValueError if a vocabulary of this size has no room for bytes and special tokens."""
    if vocab_size < SMALLEST_VOCABULARY:
        raise ValueError(
            f"vocab_size={vocab_size} is too small: bytes and special tokens alone need {SMALLEST_VOCABULARY}; "
            f"set vocab_size={SMALLEST_VOCABULARY} or more"
        )


def parse_sampling(text: str) -> tuple[str, float]:
    """Parses "alpha:0.3", "unimax" or "parity" into a strategy and its alpha.

    Raises:
        ValueError: If the text is anything else.
    """
    strategy, _, number = text.partition(":")
    if strategy in ("unimax", "parity") and not number:
        return strategy, START_ALPHA
    try:
        if strategy == "alpha" and 0 <= (alpha := float(number)) <= 1:
            return strategy, alpha
    except ValueError:
        pass
    raise ValueError(f"--sampling {text}: expected alpha:X with X from 0 to 1, unimax, or parity")


def _pool(documents: Iterable[Document], size: dict[str, int], pool_bytes: int) -> dict[str, list[str]]:
    """Returns about `pool_bytes` of each language, taken from all over its text, in parts of at most POOL_PIECE characters."""
    pool: dict[str, list[str]] = {lang: [] for lang in size}
    owed = dict.fromkeys(size, 1.0)
    for document in documents:
        for at in range(0, len(document.text), POOL_PIECE):
            owed[document.lang] += min(1.0, pool_bytes / size[document.lang])
            if owed[document.lang] >= 1:
                owed[document.lang] -= 1
                pool[document.lang].append(document.text[at : at + POOL_PIECE])
    return pool


def _train_on(lines: Iterator[str], vocab_size: int, total: int) -> bytes:
    """Trains SentencePiece on these lines. `total` is the size of all text in bytes, for the error message."""
    model, raised = io.BytesIO(), list[BaseException]()
    try:
        spm.SentencePieceTrainer.train(
            sentence_iterator=_noting(lines, raised),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            byte_fallback=True,
            split_digits=True,
            allow_whitespace_only_pieces=True,
            character_coverage=0.9999,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            user_defined_symbols=["\n", "\t"],
            control_symbols=list(RESERVED),
            unk_id=UNK,
            bos_id=BOS,
            eos_id=EOS,
            pad_id=PAD,
            max_sentence_length=2 * LINE_BYTES,
            minloglevel=2,
        )
    except RuntimeError as error:
        if raised:
            raise raised[0] from None
        raise ValueError(f"vocab_size={vocab_size} does not fit {total:,} bytes of text: {_advice(str(error))}") from None
    return model.getvalue()


def _advice(said: str) -> str:
    """Translates what SentencePiece said about the vocabulary size into terms of our flags."""
    if least := re.search(r"required_chars\. \d+ vs (\d+)", said):
        return f"its different characters and the special tokens alone need {least[1]}; set vocab_size={int(least[1]) + 1} or more"
    if most := re.search(r"value <= (\d+)", said):
        return f"it yields no more pieces; set vocab_size={most[1]} or less"
    return said.rsplit("] ", 1)[-1].strip()


def _sample(documents: Iterable[Document], copies: dict[str, float]) -> Iterator[str]:
    """Yields the lines of documents, each document as often as the share of its language requires, spread evenly by error diffusion."""
    owed = dict.fromkeys(copies, 0.0)
    for document in documents:
        owed[document.lang] += copies[document.lang]
        times = math.floor(owed[document.lang])
        owed[document.lang] -= times
        for _ in range(times):
            yield from _lines([document])


def _lines(documents: Iterable[Document]) -> Iterator[str]:
    """Yields the lines of documents, in parts that SentencePiece accepts."""
    for document in documents:
        for line in document.text.split("\n"):
            yield from _short(line)


def _noting(lines: Iterator[str], raised: list[BaseException]) -> Iterator[str]:
    """Yields the lines, and keeps any exception of reading them, even Ctrl-C, because SentencePiece turns it into a RuntimeError."""
    try:
        yield from lines
    except BaseException as error:
        raised.append(error)
        raise


def _short(line: str) -> Iterator[str]:
    """Yields a line in parts that SentencePiece does not skip as too long, without NUL, which would end the trainer's string."""
    line = line.replace("\0", "")
    step = LINE_BYTES // 4
    for at in range(0, len(line), step):
        yield line[at : at + step]
