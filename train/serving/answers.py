"""Answers as OpenAI's clients expect them: completions, chat completions, and their parts in a stream."""

import codecs
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from varietas.data.tokenizer.model import Tokenizer
from varietas.data.tokenizer.pieces import token_bytes, token_name
from varietas.train.serving.texts import Likelihood, Piece


@dataclass(frozen=True)
class Heading:
    """What all parts of an answer have in common."""

    chat: bool
    model: str
    fingerprint: str  # of the parameters
    top: int | None  # likeliest tokens that are told; None: no likelihoods
    id: str
    created: int  # Unix time


def heading(chat: bool, model: str, fingerprint: str, top: int | None) -> Heading:
    """Returns the heading of a new answer."""
    return Heading(chat, model, fingerprint, top, f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}", int(time.time()))


class Choice:
    """One choice of an answer as its pieces come."""

    def __init__(self, head: Heading, processor: Tokenizer, index: int, echoed: str = ""):
        self._head, self._processor, self._index = head, processor, index
        self._echoed, self._offset = echoed, 0  # characters of the text before the next token

    def part(self, piece: Piece) -> dict[str, Any]:
        """Returns a piece as a choice of a stream."""
        return self._choice(piece, "delta", {"content": piece.text})

    def whole(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        """Returns all pieces as a choice."""
        likelihoods = tuple(likelihood for piece in pieces for likelihood in piece.likelihoods)
        all_ = Piece("".join(piece.text for piece in pieces), sum(piece.tokens for piece in pieces), likelihoods, pieces[-1].finish)
        return self._choice(all_, "message", {"role": "assistant", "content": all_.text, "refusal": None})

    def _choice(self, piece: Piece, name: str, content: dict[str, Any]) -> dict[str, Any]:
        text, self._echoed = self._echoed + piece.text, ""
        told = self._head.top is not None
        likelihoods: dict[str, Any] | None
        filled: dict[str, Any]
        if self._head.chat:
            likelihoods = {"content": [self._of_chat(one) for one in piece.likelihoods], "refusal": None} if told else None
            filled = {name: content}
        else:
            likelihoods = self._of_completion(piece.likelihoods) if told else None
            filled = {"text": text}
        return {"index": self._index, **filled, "logprobs": likelihoods, "finish_reason": piece.finish or None}

    def _of_chat(self, one: Likelihood) -> dict[str, Any]:
        return {**self._token(one.token, one.log), "top_logprobs": [self._token(*other) for other in one.top[: self._head.top]]}

    def _token(self, token: int, log: float | None) -> dict[str, Any]:
        return {"token": token_name(self._processor, token), "logprob": log, "bytes": list(token_bytes(self._processor, token))}

    def _of_completion(self, told: Sequence[Likelihood]) -> dict[str, Any]:
        """Returns what is told of tokens. Of tokens with the same text, `top_logprobs` has the likelier one."""
        offsets, decode = list[int](), codecs.getincrementaldecoder("utf-8")("replace").decode
        for one in told:
            offsets.append(self._offset)
            self._offset += len(decode(token_bytes(self._processor, one.token)))
        return {
            "tokens": [token_name(self._processor, one.token) for one in told],
            "token_logprobs": [one.log for one in told],
            "top_logprobs": [None if one.log is None else self._top(one) for one in told],
            "text_offset": offsets,
        }

    def _top(self, one: Likelihood) -> dict[str, float]:
        """The likeliest tokens and the token itself, by their text."""
        top = dict[str, float]()
        for token, log in (*one.top[: self._head.top], (one.token, one.log or 0.0)):
            top.setdefault(token_name(self._processor, token), log)
        return top


def answer(head: Heading, choices: Sequence[dict[str, Any]], usage: dict[str, int]) -> dict[str, Any]:
    """Returns the body of an answer."""
    return {**_common(head, False), "choices": choices, "usage": usage}


def beginning(head: Heading, index: int) -> dict[str, Any]:
    """Returns the part of a chat stream that says who speaks."""
    choice = {"index": index, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
    return {**_common(head, True), "choices": [choice]}


def part(head: Heading, choice: dict[str, Any]) -> dict[str, Any]:
    """Returns a part of a stream."""
    return {**_common(head, True), "choices": [choice]}


def ending(head: Heading, usage: dict[str, int]) -> dict[str, Any]:
    """Returns the part of a stream that tells the numbers of tokens."""
    return {**_common(head, True), "choices": [], "usage": usage}


def usage(prompt: int, new: int) -> dict[str, int]:
    """Returns the numbers of tokens as OpenAI has them."""
    return {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}


def event(body: dict[str, Any]) -> bytes:
    """Returns a server-sent event."""
    return f"data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


DONE = b"data: [DONE]\n\n"


def _common(head: Heading, stream: bool) -> dict[str, Any]:
    kind = f"chat.completion{'.chunk' * stream}" if head.chat else "text_completion"
    return {"id": head.id, "object": kind, "created": head.created, "model": head.model, "system_fingerprint": head.fingerprint}
