"""A text that is continued: what is asked of it, what is known of it, and what of it is sent."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from varietas.train.serving.step import Likelihoods
from varietas.train.serving.writer import Writer


@dataclass(frozen=True)
class Asked:
    """What is asked of one text.

    Attributes:
        prompt: Its token ids.
        max_tokens: How many new tokens at most; 0 for the likelihoods of the prompt only.
        ends: Tokens that end it.
        stops: Texts that end it. They do not belong to it.
        temperature: 0 always takes the likeliest token; higher values sample more evenly.
        top_p: Samples from the smallest set of tokens that holds this much probability.
        seed: Of the random choices.
        row: Texts with the same seed and different rows get different random choices.
        likelihoods: Whether the likelihoods of new tokens are told.
        of_prompt: Whether those of the prompt's tokens are.
    """

    prompt: tuple[int, ...]
    max_tokens: int
    ends: tuple[int, ...] = ()
    stops: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    row: int = 0
    likelihoods: bool = False
    of_prompt: bool = False


class Likelihood(NamedTuple):
    """How likely a token was."""

    token: int
    log: float | None  # None for the first token of a text
    top: tuple[tuple[int, float], ...]  # the likeliest tokens, the first one most


class Piece(NamedTuple):
    """What is new of a text."""

    text: str = ""
    tokens: int = 0  # how many new tokens that takes
    likelihoods: tuple[Likelihood, ...] = ()  # of these tokens; with `of_prompt`, those of the prompt come before the first
    finish: str = ""  # in the last piece: "stop" (an end or a stop), "length", or "failed"


class Text:
    """A text that waits or is being continued. Only the engine changes it."""

    def __init__(self, asked: Asked, writer: Writer):
        self.asked = asked
        self.tokens = list(asked.prompt)  # the new ones are added
        self.computed = 0  # how many of them have keys and values in the cache
        self.pages: list[int] = []
        self.turn = 0  # when it was read last, in chunks of all prompts
        self.key = np.zeros(2, np.uint32)
        self.done = False  # whether no more tokens are wanted
        self.ended = False  # whether the last piece has been sent, or nobody wants it
        self._writer = writer
        self._told = 0 if asked.of_prompt else len(asked.prompt)  # tokens whose likelihoods are known, or need not be
        self._held = Piece()

    @property
    def new(self) -> int:
        """How many tokens have been chosen."""
        return len(self.tokens) - len(self.asked.prompt)

    @property
    def left(self) -> int:
        """How many tokens are not in the cache yet."""
        return len(self.tokens) - self.computed

    def of_targets(self, n: int, found: Likelihoods | None) -> tuple[Likelihood, ...]:
        """Returns the likelihoods of the prompt that a step has found which computed `n` tokens: those of the tokens after them.

        After a text has lost its pages, a step finds some again, which are left out. `found` may be None if the prompt has none after them.
        """
        first = tuple([Likelihood(self.tokens[0], None, ())] if self._told == 0 else [])
        begin, end = max(self._told, 1), min(self.computed + n + 1, len(self.asked.prompt))
        self._told = max(self._told, end)
        return first + tuple(likelihood(self.tokens[at], at - self.computed - 1, found) for at in range(begin, end) if found)

    def piece(self, token: int | None, likelihoods: tuple[Likelihood, ...], finish: str) -> Piece | None:
        """Takes what a step has found, and returns what may be sent; None if that is nothing yet.

        Args:
            token: The new token; None if there is none.
            likelihoods: What is told of this token and of the prompt.
            finish: Why the text ends here; "" if it goes on.
        """
        text = "" if token is None else self._writer.add(token)
        if self._writer.stopped:
            finish = "stop"
        elif finish:
            text += self._writer.end()
        held = self._held
        piece = Piece(held.text + text, held.tokens + (token is not None), held.likelihoods + likelihoods, finish)
        if not (text or finish):
            self._held = piece
            return None
        self._held = Piece()
        self.done = self.ended = bool(finish)
        return piece


def likelihood(token: int, at: int, found: Likelihoods) -> Likelihood:
    """Returns the likelihood at an index of arrays (n,) and (n, top) of numpy."""
    top = zip(found.ids[at].tolist(), found.top[at].tolist(), strict=True)
    return Likelihood(token, float(found.own[at]), tuple(top))
