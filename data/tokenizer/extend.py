"""Adds pieces to a tokenizer, so that languages for which it was not made take fewer tokens. All old pieces keep their ids.

The training of byte pair encoding goes on where it ended (Purason et al., 2025): the most frequent pair of neighbouring pieces in the text,
as the tokenizer encodes it now, becomes a piece, again and again. So every new piece can be reached from old ones. Each language counts the
same, however much text it has.
"""

import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]

from varietas.data.text.documents import Document
from varietas.data.tokenizer.hub import HubTokenizer
from varietas.data.tokenizer.model import Tokenizer, load
from varietas.data.tokenizer.tokenizer_json import SPACE

LONGEST = 16  # characters of a piece, as SentencePiece has it
WEIGHT = 1 << 40  # of a language: whole numbers add up to the same sum in any order


@dataclass(frozen=True)
class Extended:
    """A tokenizer with more pieces than before."""

    content: bytes
    parts: list[list[int]]  # of each new piece: the old pieces that it is made of


def extend(content: bytes, documents: Iterable[Document], n: int) -> Extended:
    """Adds pieces to a tokenizer.

    Args:
        content: The tokenizer, from `model.read`.
        documents: Text in the languages that shall take fewer tokens.
        n: Number of new pieces.

    Raises:
        ValueError: If it is no tokenizer for byte pair encoding, or the text yields fewer pieces.
    """
    tokenizer = load(content)
    names = _mergeable(tokenizer)
    words, weights = _words(tokenizer, documents, names)
    pairs = _grow(words, weights, names, tokenizer.get_piece_size(), n)
    if len(pairs) < n:
        raise ValueError(f"the text yields only {len(pairs):,} new pieces; ask for fewer, or give more text")
    parts: dict[int, list[int]] = {}
    for new, (one, other) in enumerate(pairs, tokenizer.get_piece_size()):
        parts[new] = parts.get(one, [one]) + parts.get(other, [other])
    spelled = [(names[one], names[other]) for one, other in pairs]
    write = _in_json if isinstance(tokenizer, HubTokenizer) else _in_model
    return Extended(write(content, spelled), list(parts.values()))


def _mergeable(tokenizer: Tokenizer) -> dict[int, str]:
    """Returns the names of the pieces that may become a part of others: no bytes, and no tokens that have a meaning of their own."""
    if isinstance(tokenizer, HubTokenizer):
        model, added = tokenizer.json["model"], {token["id"] for token in tokenizer.json.get("added_tokens") or ()}
        if model.get("type") != "BPE" or model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
            raise ValueError("the tokenizer is not of the type BPE; only such a tokenizer can be extended")
        bytes_of = model.get("byte_fallback", False)
        return {i: name for name, i in model["vocab"].items() if i not in added and not (bytes_of and tokenizer.is_byte(i))}
    proto = ModelProto.FromString(tokenizer.serialized_model_proto())
    if proto.trainer_spec.model_type != proto.trainer_spec.BPE:
        raise ValueError("the tokenizer is not of the type BPE; only such a tokenizer can be extended")
    return {i: piece.piece for i, piece in enumerate(proto.pieces) if piece.type == piece.NORMAL}


def _words(tokenizer: Tokenizer, documents: Iterable[Document], names: Mapping[int, str]) -> tuple[list[list[int]], list[int]]:
    """Returns the different words of a text as the tokenizer encodes them, without those of one piece, and the weight of each."""
    counts: dict[str, Counter[tuple[int, ...]]] = {}
    totals: Counter[str] = Counter()
    for document in documents:
        count = counts.setdefault(document.lang, Counter())
        for word in _split(tokenizer, document.text, names):
            totals[document.lang] += len(word)
            if len(word) > 1:
                count[word] += 1
    weight: Counter[tuple[int, ...]] = Counter()
    for lang, count in counts.items():
        for word, times in count.items():
            weight[word] += times * (WEIGHT // max(1, totals[lang]))
    return list(map(list, weight)), list(weight.values())


def _split(tokenizer: Tokenizer, text: str, names: Mapping[int, str]) -> Iterator[tuple[int, ...]]:
    """Yields the ids of each word. Merges do not cross from one word into the next, nor over a piece that is not in `names`."""
    encoded = tokenizer.words(text) if isinstance(tokenizer, HubTokenizer) else [(piece, 0) for piece in tokenizer.encode(text)]
    word: list[int] = []
    last = 0
    for piece, number in encoded:
        name = names.get(piece)
        if word and (name is None or number != last or name.startswith(SPACE)):
            yield tuple(word)
            word = []
        if name is not None:
            word.append(piece)
        last = number
    if word:
        yield tuple(word)


def _grow(words: list[list[int]], weights: Sequence[int], names: dict[int, str], size: int, n: int) -> list[tuple[int, int]]:
    """Merges the most frequent pair of pieces, n times, or until there is none.

    Args:
        words: The pieces of each word, in which pairs are merged here.
        weights: How often each word occurs.
        names: The name of each piece, to which the new ones are added here.
        size: The id of the first new piece.
        n: Number of merges.

    Returns:
        The pair of each new piece.
    """
    frequency: Counter[tuple[int, int]] = Counter()
    where: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for k, word in enumerate(words):
        for pair in pairwise(word):
            frequency[pair] += weights[k]
            where[pair].add(k)
    taken, merged = set(names.values()), list[tuple[int, int]]()
    heap = [(-times, pair) for pair, times in frequency.items()]
    heapq.heapify(heap)
    while heap and len(merged) < n:
        times, pair = heapq.heappop(heap)
        name = names[pair[0]] + names[pair[1]]
        if -times != frequency[pair] or not times or name in taken or len(name) > LONGEST:
            continue  # a merge has changed its frequency, which is in the heap too
        new = size + len(merged)
        names[new] = name
        taken.add(name)
        merged.append(pair)
        changed: set[tuple[int, int]] = set()
        for k in where.pop(pair):
            for old in pairwise(words[k]):
                frequency[old] -= weights[k]
                changed.add(old)
            words[k] = _joined(words[k], pair, new)
            for found in pairwise(words[k]):
                frequency[found] += weights[k]
                where[found].add(k)
                changed.add(found)
        for each in changed:
            if frequency[each]:
                heapq.heappush(heap, (-frequency[each], each))
    return merged


def _joined(word: Sequence[int], pair: tuple[int, int], new: int) -> list[int]:
    """Returns a word in which each occurrence of a pair, from the left, is one piece."""
    found: list[int] = []
    at = 0
    while at < len(word):
        if tuple(word[at : at + 2]) == pair:
            found.append(new)
            at += 2
        else:
            found.append(word[at])
            at += 1
    return found


def _in_model(content: bytes, pairs: Sequence[tuple[str, str]]) -> bytes:
    """Returns a SentencePiece model with the pieces of these pairs, which are merged after all others."""
    proto = ModelProto.FromString(content)
    lowest = min(piece.score for piece in proto.pieces if piece.type == piece.NORMAL)
    for k, (one, other) in enumerate(pairs, 1):
        proto.pieces.add(piece=one + other, score=lowest - k)
    proto.trainer_spec.vocab_size = len(proto.pieces)
    return bytes(proto.SerializeToString())


def _in_json(content: bytes, pairs: Sequence[tuple[str, str]]) -> bytes:
    """Returns a tokenizer.json with the pieces of these pairs, which are merged after all others."""
    full: dict[str, Any] = json.loads(content)
    model, size = full["model"], HubTokenizer(content).get_piece_size()
    as_text = bool(model["merges"]) and isinstance(model["merges"][0], str)
    for k, (one, other) in enumerate(pairs):
        model["vocab"][one + other] = size + k
        model["merges"].append(f"{one} {other}" if as_text else [one, other])
    return json.dumps(full, ensure_ascii=False).encode()
