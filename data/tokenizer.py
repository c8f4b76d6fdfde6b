"""SentencePiece BPE with byte fallback and no normalisation, trained on languages in shares that can be chosen.

Every string comes back as it was, but for U+2581, which is SentencePiece's own mark for a space.
"""

import io
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencepiece as spm

from varietas.data.documents import Document
from varietas.data.files import write_atomically
from varietas.data.mixture import unimax
from varietas.data.parallel import Parallel
from varietas.data.parity import BYTES_A_PIECE, POOL_PART, Round, counter, search

UNK, BOS, EOS, PAD = range(4)
RESERVED = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", *(f"<|reserved_{i}|>" for i in range(12)))
SMALLEST_VOCABULARY = 4 + len(RESERVED) + 2 + 256 + 1  # specials, newline and tab, bytes, one piece
SAMPLE_BYTES = 200_000_000
UNIMAX_EPOCHS = 4.0
START_ALPHA = 0.3  # where the parity search begins
LINE_BYTES = 4096
POOL_PIECE = 4096  # characters


@dataclass(frozen=True)
class Fertility:
    """How a tokenizer treats one language."""

    bytes: int
    words: int
    tokens: int
    fallback: int  # tokens that are single bytes

    @property
    def tokens_per_word(self) -> float:
        return self.tokens / max(1, self.words)

    @property
    def bytes_per_token(self) -> float:
        return self.bytes / max(1, self.tokens)


def train(
    documents: Callable[[], Iterable[Document]],
    vocab_size: int,
    sampling: str = "alpha:0.3",
    texts: Parallel | None = None,
    sample_bytes: int = SAMPLE_BYTES,
    progress: Callable[[Round], None] = lambda result: None,
) -> bytes:
    """A SentencePiece model of exactly `vocab_size` pieces. `documents` is called two or three times and streamed each time.

    `sampling` says how much of each language it learns from, small ones by repetition: "alpha:X", p ∝ n^X of their n bytes (Conneau et
    al., 2020); "unimax", all alike but none more than 4 times (Chung et al., 2023); "parity", so that the same content takes as many
    tokens in each as can be (see parity.py), of which `texts` are a measure, if there are any.
    Raises ValueError if there is no text, or too little for so many pieces, or no such sampling.
    """
    if vocab_size < SMALLEST_VOCABULARY:
        raise ValueError(f"vocab_size={vocab_size} is too small: bytes and special tokens alone need {SMALLEST_VOCABULARY}")
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


def parse_sampling(text: str) -> tuple[str, float]:
    """`"alpha:0.3"`, `"unimax"` or `"parity"` as strategy and alpha. Raises ValueError on anything else."""
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
    """About `pool_bytes` of each language, from all over its text, in pieces of at most POOL_PIECE characters."""
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
    """SentencePiece on these lines; `total` bytes there are, for what is said when they do not do."""
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
    """What SentencePiece said of the size, in terms of our flags."""
    if least := re.search(r"required_chars\. \d+ vs (\d+)", said):
        return f"its different characters and the special tokens alone need {least[1]}; set vocab_size={int(least[1]) + 1} or more"
    if most := re.search(r"value <= (\d+)", said):
        return f"it holds no more; set vocab_size={most[1]} or less"
    return said.rsplit("] ", 1)[-1].strip()


def _sample(documents: Iterable[Document], copies: dict[str, float]) -> Iterator[str]:
    """Lines of the documents, each document as often as its language's share asks for, evenly by error diffusion."""
    owed = dict.fromkeys(copies, 0.0)
    for document in documents:
        owed[document.lang] += copies[document.lang]
        times = math.floor(owed[document.lang])
        owed[document.lang] -= times
        for _ in range(times):
            yield from _lines([document])


def _lines(documents: Iterable[Document]) -> Iterator[str]:
    """The lines of documents, in pieces that SentencePiece takes."""
    for document in documents:
        for line in document.text.split("\n"):
            yield from _short(line)


def _noting(lines: Iterator[str], raised: list[BaseException]) -> Iterator[str]:
    """Keeps what reading the lines raises, Ctrl-C too: SentencePiece would make a RuntimeError of it."""
    try:
        yield from lines
    except BaseException as error:
        raised.append(error)
        raise


def _short(line: str) -> Iterator[str]:
    """A line in pieces that SentencePiece does not skip as too long. NUL would end the trainer's string."""
    line = line.replace("\0", "")
    step = LINE_BYTES // 4
    for at in range(0, len(line), step):
        yield line[at : at + step]


def load(model: Path | bytes) -> spm.SentencePieceProcessor:
    """Opens a model file or the bytes of one. Raises ValueError if it is none or lacks bos or eos."""
    name = model if isinstance(model, Path) else "the tokenizer"
    try:
        content = model.read_bytes() if isinstance(model, Path) else model
        processor = spm.SentencePieceProcessor(model_proto=content)
    except FileNotFoundError:
        raise ValueError(f"{name}: no such file; train a tokenizer with `varietas tokenizer --out {name}`") from None
    except OSError as error:
        raise ValueError(f"{name} cannot be read ({error.strerror})") from None
    except RuntimeError:
        raise ValueError(f"{name} is no SentencePiece model; train one with `varietas tokenizer`") from None
    for role, piece_id in (("bos", processor.bos_id()), ("eos", processor.eos_id())):
        if piece_id < 0:
            raise ValueError(f"{name} has no {role} token; train a tokenizer with `varietas tokenizer`")
    return processor


class Incremental:
    """Decodes ids as they come: hands out text as soon as its bytes make whole characters."""

    def __init__(self, processor: spm.SentencePieceProcessor):
        self._processor = processor
        self._ids: list[int] = []
        self._shown = 0

    def add(self, token: int) -> str:
        """The text that this token makes certain; "" while a character is incomplete."""
        self._ids.append(token)
        text = self._processor.decode(self._ids)
        return self._advance(text.rstrip("\ufffd"))

    def end(self) -> str:
        """What is left, incomplete characters as U+FFFD."""
        return self._advance(self._processor.decode(self._ids))

    def _advance(self, text: str) -> str:
        new, self._shown = text[self._shown :], max(self._shown, len(text))
        return new


def fertility(processor: spm.SentencePieceProcessor, documents: Iterable[Document]) -> dict[str, Fertility]:
    """Bytes, words (between white space), tokens and byte fallbacks of each language."""
    counts: dict[str, list[int]] = {}
    single = frozenset(piece for piece in range(processor.get_piece_size()) if processor.is_byte(piece))
    for document in documents:
        count = counts.setdefault(document.lang, [0, 0, 0, 0])
        ids = processor.encode(document.text)
        count[0] += len(document.text.encode())
        count[1] += len(document.text.split())
        count[2] += len(ids)
        count[3] += sum(map(single.__contains__, ids))
    return {lang: Fertility(*count) for lang, count in sorted(counts.items())}


def save(model: bytes, path: Path) -> None:
    write_atomically(path, model)
