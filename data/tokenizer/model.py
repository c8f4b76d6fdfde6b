"""Using a tokenizer: opening and saving it, counting tokens, and decoding ids as they arrive."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import sentencepiece as spm

from varietas.data.files import write_atomically
from varietas.data.text.documents import Document
from varietas.data.tokenizer.hub import HubTokenizer, with_roles

Tokenizer = spm.SentencePieceProcessor | HubTokenizer
FILES = ("tokenizer.model", "tokenizer.json")  # of a corpus, a run or a release: a SentencePiece model, or else a tokenizer.json


@dataclass(frozen=True)
class Fertility:
    """How many tokens a tokenizer needs for the text of one language."""

    bytes: int
    words: int  # separated by white space
    tokens: int
    fallback: int  # tokens that are single bytes

    @property
    def tokens_per_word(self) -> float:
        return self.tokens / max(1, self.words)

    @property
    def bytes_per_token(self) -> float:
        return self.bytes / max(1, self.tokens)


def load(model: Path | bytes) -> Tokenizer:
    """Opens a SentencePiece model or a tokenizer.json.

    Args:
        model: A file, or its content from `read`.

    Raises:
        ValueError: If this is not a tokenizer, or if it does not say what begins and ends a document.
        ModuleNotFoundError: If a tokenizer.json needs the package tokenizers and it is not installed.
    """
    name = model if isinstance(model, Path) else "the tokenizer"
    try:
        tokenizer = from_bytes(read(model) if isinstance(model, Path) else model)
    except RuntimeError:
        raise ValueError(f"{name} is not a SentencePiece model or a tokenizer.json; train one with `varietas tokenizer`") from None
    for role, piece_id in (("bos", tokenizer.bos_id()), ("eos", tokenizer.eos_id())):
        if piece_id < 0:
            beside = "; the files of the release that say it (tokenizer_config.json, config.json) have to lie beside it"
            advice = beside if isinstance(tokenizer, HubTokenizer) else "; train a tokenizer with `varietas tokenizer`"
            raise ValueError(f"{name} has no {role} token{advice}")
    return tokenizer


def read(file: Path) -> bytes:
    """Returns the content of a tokenizer's file; of a tokenizer.json together with what the files beside it say of its tokens.

    Raises:
        ValueError: If the file cannot be read.
    """
    try:
        return with_roles(file) if file.suffix == ".json" else file.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{file}: no such file; train a tokenizer with `varietas tokenizer --out {file}`") from None
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror})") from None


def file_in(folder: Path) -> Path:
    """Returns the path of the tokenizer in a folder, the first of FILES that is there; that of a SentencePiece model if none is."""
    return next((folder / name for name in FILES if (folder / name).exists()), folder / FILES[0])


def file_name(content: bytes) -> str:
    """Returns which of FILES a tokenizer with this content is."""
    return FILES[content[:1] == b"{"]


def from_bytes(content: bytes) -> Tokenizer:
    """Opens a tokenizer. Raises RuntimeError if it is none, also if it is empty, which SentencePiece's constructor would accept."""
    if file_name(content) == FILES[1]:
        try:
            return HubTokenizer(content)
        except ValueError as error:
            raise RuntimeError(str(error)) from None
    processor = spm.SentencePieceProcessor()
    processor.LoadFromSerializedProto(content)
    return processor


def encode_prompts(processor: Tokenizer, prompts: Iterable[str]) -> list[list[int]]:
    """Returns the ids of each prompt, with bos first.

    Raises:
        ValueError: If a prompt is not valid Unicode.
    """
    ids = []
    for prompt in prompts:
        try:
            prompt.encode()
        except UnicodeEncodeError:
            raise ValueError(f"the prompt {prompt!r} is not valid text; give it in UTF-8") from None
        ids.append(processor.encode(prompt, add_bos=True))
    return ids


class Incremental:
    """Decodes ids as they arrive, and returns text as soon as its bytes form whole characters."""

    CONTEXT = 8  # ids before the new ones that are decoded as well: they decide whether a space belongs to the text

    def __init__(self, processor: Tokenizer, prompt: Sequence[int] = ()):
        """Begins to decode.

        Args:
            processor: The tokenizer.
            prompt: The ids that precede the first one. Their text is not returned.
        """
        self._processor = processor
        self._ids = list(prompt[-self.CONTEXT :])
        self._shown = len(self._processor.decode(self._ids).rstrip("\ufffd"))  # new ids may complete its last character

    def add(self, token: int) -> str:
        """Adds a token and returns the text that it completes, or "" while a character is incomplete."""
        self._ids.append(token)
        text = self._processor.decode(self._ids)
        new = self._advance(text.rstrip("\ufffd"))
        if len(self._ids) > 4 * self.CONTEXT and self._shown == len(text):  # all is shown: what came long ago is not decoded again
            del self._ids[: -self.CONTEXT]
            self._shown = len(self._processor.decode(self._ids))
        return new

    def end(self) -> str:
        """Returns the text that is left, with U+FFFD for incomplete characters."""
        return self._advance(self._processor.decode(self._ids))

    def _advance(self, text: str) -> str:
        new, self._shown = text[self._shown :], max(self._shown, len(text))
        return new


def fertility(processor: Tokenizer, documents: Iterable[Document]) -> dict[str, Fertility]:
    """Counts the bytes, words, tokens and byte-fallback tokens of each language. Languages are sorted by code."""
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
    """Writes a model file, atomically."""
    write_atomically(path, model)


def counter(processor: Tokenizer) -> Callable[[str], int]:
    """Returns a function that counts the tokens of a text."""
    return lambda text: len(processor.encode(text))
