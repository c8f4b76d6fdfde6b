"""What single tokens add to a text, as bytes: they may end in the middle of a character."""

from functools import lru_cache

from varietas.data.tokenizer.hub import BYTE, HubTokenizer
from varietas.data.tokenizer.model import Tokenizer

SPACE = "\u2581"


def token_bytes(processor: Tokenizer, token: int) -> bytes:
    """Returns what a token adds to a text; nothing for a special token, whose name is no text."""
    piece = processor.id_to_piece(token)
    if isinstance(processor, HubTokenizer):
        if piece in processor.special:
            return b""
        if processor.has_byte_alphabet:
            alphabet = _alphabet()
            return bytes(alphabet[character] for character in piece) if set(piece) <= alphabet.keys() else piece.encode()
    elif processor.is_control(token) or processor.is_unknown(token):
        return b""
    return bytes([int(piece[3:5], 16)]) if BYTE.fullmatch(piece) else piece.replace(SPACE, " ").encode()


def token_name(processor: Tokenizer, token: int) -> str:
    """Returns a token as text: what it adds, the name of a special token, or `bytes:\\xe2` for bytes that are no whole characters."""
    added = token_bytes(processor, token)
    try:
        return added.decode() or processor.id_to_piece(token)
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in added)


@lru_cache(maxsize=1)
def _alphabet() -> dict[str, int]:
    """Returns the characters by which byte-level tokenizers write bytes, as GPT-2 has them (Radford et al., 2019)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
