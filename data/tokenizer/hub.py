"""A tokenizer.json of Hugging Face's `tokenizers`, with the methods of a SentencePiece model.

Such a file does not say which of its tokens begin and end a document, and which one pads. The files beside it do. What they say is kept
with the content, under the key `varietas`, so that a corpus and a run hold all that they need in one file.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from varietas.data.files import read_json

KEY = "varietas"
ROLES = ("bos", "eos", "unk", "pad")
BYTE = re.compile(r"<0x[0-9A-F]{2}>")


class HubTokenizer:
    """A tokenizer.json with those methods of a SentencePieceProcessor that we use, under the same names.

    Text that spells the name of a special token is encoded as text. Decoding leaves special tokens out. A tokenizer without a token that
    begins a document begins it with the one that ends documents.

    Args:
        content: The content of the file, perhaps with the ids of ROLES under KEY.

    Raises:
        ValueError: If this is not a tokenizer.json.
        ModuleNotFoundError: If the package tokenizers is not installed.
    """

    def __init__(self, content: bytes):
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # `prepare` has processes of its own
        try:
            from tokenizers import Tokenizer
        except ModuleNotFoundError:
            raise ModuleNotFoundError("a tokenizer.json needs the package tokenizers; run: pip install 'varietas[data]'") from None
        try:
            self.json: dict[str, Any] = json.loads(content)
            self.roles: dict[str, int] = self.json.pop(KEY, {})  # ids of ROLES that the file names
            self._tokenizer = Tokenizer.from_str(json.dumps(self.json))
        except Exception as error:  # the package raises no more specific error
            raise ValueError(f"not a tokenizer.json ({str(error)[:120]})") from None
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._size = 1 + max(self._tokenizer.get_vocab().values(), default=-1)
        self._bos, self._eos, self._unk, self._pad = (self.roles.get(role, -1) for role in ROLES)
        self._bos = self._eos if self._bos < 0 else self._bos

    @overload
    def encode(self, text: str, add_bos: bool = ..., add_eos: bool = ..., num_threads: int = ...) -> list[int]: ...

    @overload
    def encode(self, text: list[str], add_bos: bool = ..., add_eos: bool = ..., num_threads: int = ...) -> list[list[int]]: ...

    def encode(
        self, text: str | list[str], add_bos: bool = False, add_eos: bool = False, num_threads: int = 1
    ) -> list[int] | list[list[int]]:
        """Returns the ids of a text, or of each of several. They are encoded in this thread, whatever `num_threads` says."""
        before, after = [self._bos] * add_bos, [self._eos] * add_eos
        if isinstance(text, str):
            return [*before, *self._tokenizer.encode(text, add_special_tokens=False).ids, *after]
        return [[*before, *one.ids, *after] for one in self._tokenizer.encode_batch_fast(text, add_special_tokens=False)]

    def encode_rendered(self, texts: list[str]) -> list[tuple[list[int], list[int]]]:
        """Returns the ids of each text, and the character at which each id begins. The names of special tokens stand for these tokens."""
        self._tokenizer.encode_special_tokens = False
        try:
            found = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        finally:
            self._tokenizer.encode_special_tokens = True
        return [(one.ids, [begin for begin, _ in one.offsets]) for one in found]

    @property
    def begins(self) -> list[int]:
        """The ids that the file itself puts before a text, for programs that follow it, such as transformers."""
        found = self._tokenizer.encode("a")
        return found.ids[: next((at for at, text in enumerate(found.sequence_ids) if text is not None), 0)]

    @property
    def special(self) -> list[str]:
        """The names of special tokens."""
        return [token["content"] for token in self.json.get("added_tokens") or () if token.get("special")]

    def words(self, text: str) -> list[tuple[int, int]]:
        """Returns the ids of a text, each with the number of its word. Merges do not cross from one word into the next."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return list(zip(encoding.ids, (0 if number is None else number for number in encoding.word_ids), strict=True))

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of ids. Ids that are no tokens are left out."""
        return str(self._tokenizer.decode(list(ids)))

    def get_piece_size(self) -> int:
        """Returns the number of ids: one more than the highest."""
        return self._size

    def bos_id(self) -> int:
        """Returns the id that begins a document, or -1."""
        return self._bos

    def eos_id(self) -> int:
        """Returns the id that ends a document, or -1."""
        return self._eos

    def unk_id(self) -> int:
        """Returns the id of what cannot be encoded, or -1."""
        return self._unk

    def pad_id(self) -> int:
        """Returns the id that fills rows, or -1."""
        return self._pad

    def id_to_piece(self, piece: int) -> str:
        """Returns the name of a token, or "" if there is none."""
        return (self._tokenizer.id_to_token(piece) or "") if piece >= 0 else ""

    def piece_to_id(self, piece: str) -> int:
        """Returns the id of a token, or that of what cannot be encoded."""
        found = self._tokenizer.token_to_id(piece)
        return self._unk if found is None else found

    def is_byte(self, piece: int) -> bool:
        """Whether a token is a byte, or bytes that are no whole characters."""
        return bool(BYTE.fullmatch(self.id_to_piece(piece))) or "\ufffd" in self.decode([piece])

    @property
    def keeps_everything(self) -> bool:
        """Whether it follows from the settings that every text comes back: its bytes are the alphabet, and nothing else is done to it."""
        steps = self.json.get("pre_tokenizer") or {}
        bytes_of = [step for step in steps.get("pretokenizers", [steps]) if step.get("type") == "ByteLevel"]
        plain = not any(step.get("add_prefix_space") for step in bytes_of)
        return bool(bytes_of) and plain and self.has_byte_alphabet and self.json.get("normalizer") is None

    @property
    def has_byte_alphabet(self) -> bool:
        """Whether tokens are written in characters that stand for bytes, as GPT-2 has them."""
        return (self.json.get("decoder") or {}).get("type") == "ByteLevel"


def with_roles(file: Path) -> bytes:
    """Returns the content of a tokenizer.json together with the ids of its ROLES, which the files beside it say.

    Raises:
        ValueError: If the file or one beside it is not valid JSON.
    """
    content = _object(file)
    if KEY not in content:
        names = {token["content"]: token["id"] for token in content.get("added_tokens") or ()}
        beside = [_object(file.with_name(name)) for name in ("tokenizer_config.json", "special_tokens_map.json", "config.json")]
        roles = {role: _id(role, beside, names) for role in ROLES}
        content[KEY] = {role: number for role, number in roles.items() if number is not None}
    return json.dumps(content, ensure_ascii=False).encode()


def _object(file: Path) -> dict[str, Any]:
    """Returns the JSON object in a file; an empty one if there is no such file."""
    try:
        return read_json(file, "download it again")
    except FileNotFoundError:
        return {}


def _id(role: str, beside: Sequence[Mapping[str, Any]], names: Mapping[str, int]) -> int | None:
    """Returns the id of the token that has a role in the first file which says it."""
    for content in beside:
        token = content.get(f"{role}_token")
        if (name := str(token.get("content") if isinstance(token, dict) else token)) in names:
            return names[name]
        number = content.get(f"{role}_token_id")
        if isinstance(number := number[0] if isinstance(number, list) and number else number, int):
            return number
    return None
