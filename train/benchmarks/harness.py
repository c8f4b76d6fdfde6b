"""A model of ours as lm_eval asks models: likelihoods of continuations and of whole texts, and texts that continue a prompt.

What is asked of the model is what lm_eval's own `hf` model is asked of the exported model: where context and continuation meet, what
begins a text, what is left out of one that is too long.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import jax
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from varietas.data.chat.template import Unusable
from varietas.train.benchmarks.continuation import Wanted, continued, wanted
from varietas.train.benchmarks.likelihood import Request, fit, likelihoods
from varietas.train.benchmarks.tokens import Tokens
from varietas.train.inference.generate import Generator
from varietas.train.processes import exchange

USUAL_LENGTH = 256  # new tokens at most, if a task does not say


class Progress(Protocol):
    """Where progress is told."""

    def task(self, name: str) -> None:
        """Says that the next task begins."""

    def begin(self, what: str, total: int) -> None:
        """Says what is computed now, and how many answers it gives."""

    def advance(self, n: int) -> None:
        """Says that `n` more of them are there."""


class VarietasLM(TemplateLM):
    """A model with its tokenizer.

    Args:
        name: What the model is called.
        model: From `generate.generator`.
        tokens: Its tokenizer.
        progress: Where progress is told.
    """

    def __init__(self, name: str, model: Generator, tokens: Tokens, progress: Progress):
        super().__init__()
        self.name, self.model, self.tokens, self.progress = name, model, tokens, progress
        self.max_length = model.config.max_seq_len
        self.n_cut = 0  # contexts that have lost their beginning since this was last set to 0
        self._encode = lru_cache(maxsize=256)(lambda text, begins: tuple(tokens.encode(text, begins)))  # options share their context

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self.tokens.processor.eos_id()

    @property
    def prefix_token_id(self) -> int:
        """The token that stands for an empty context."""
        return self.tokens.prefix

    @property
    def tokenizer_name(self) -> str:
        """The name of the model, whose tokenizer it is."""
        return self.name

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Returns the chat template if one is applied."""
        return self.tokens.chat.template if self.tokens.chat and chat_template else None

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Returns a conversation as text.

        Args:
            chat_history: Turns, each with `role` and `content`.
            add_generation_prompt: Whether the assistant begins a turn; otherwise it goes on with the last one.

        Raises:
            ValueError: If the template refuses the conversation, with its system prompt and without it.
        """
        chat = self.tokens.chat
        if chat is None:
            raise ValueError(f"{self.name} is asked with a chat template, but none was loaded")
        turns = tuple((turn["role"], turn["content"]) for turn in chat_history)
        try:
            return chat.prompt_text(turns, not add_generation_prompt)
        except Unusable:
            return chat.prompt_text(tuple(turn for turn in turns if turn[0] != "system"), not add_generation_prompt)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> Sequence[int]:
        """Returns the ids of a text, with what begins a text unless `add_special_tokens` is False."""
        return self._encode(string, add_special_tokens is not False)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Returns the log-likelihood of each continuation after its context, and whether each of its tokens is the likeliest."""
        return super().loglikelihood(requests, disable_tqdm=True)

    def _loglikelihood_tokens(self, requests: Sequence[tuple[Any, Sequence[int], Sequence[int]]], **_: Any) -> list[tuple[float, bool]]:
        return self._answer("likelihoods", [self._request(pair, context, continuation) for pair, context, continuation in requests])

    def _request(self, pair: tuple[str, str], context: Sequence[int], continuation: Sequence[int]) -> Request:
        try:
            request = fit(context, continuation, self.max_length)
        except ValueError as error:
            raise ValueError(f"cannot score the continuation {pair[1][:60]!r} after …{pair[0][-60:]!r}: {error}") from None
        self.n_cut += len(request.context) < len(context)
        return request

    def _answer(self, what: str, requests: list[Request]) -> list[tuple[float, bool]]:
        same_everywhere(requests)
        self.progress.begin(what, len(requests))
        return likelihoods(self.model, requests, self.progress.advance)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Returns the log-likelihood of each text. One that is longer than the context is read in windows, as lm_eval cuts them."""
        windows, owners = list[Request](), list[int]()
        for owner, (text,) in enumerate(request.args for request in requests):
            pairs = get_rolling_token_windows(list(self.tok_encode(text)), self.prefix_token_id, self.max_length, context_len=1)
            for context, continuation in map(make_disjoint_window, pairs):
                windows.append(fit(context, continuation, self.max_length))
                owners.append(owner)
        totals = [0.0] * len(requests)
        for owner, (score, _) in zip(owners, self._answer("whole texts", windows), strict=True):
            totals[owner] += score
        return totals

    def check_length(self, want: Wanted) -> None:
        """Raises ValueError if the model's context is too short for a text of that length."""
        if want.max_tokens >= self.max_length:
            raise ValueError(
                f"asks for {want.max_tokens} new tokens, but the model's context is {self.max_length} tokens; "
                "set max_gen_toks in generation_kwargs to fewer, in a task file of your own (--include_path)"
            )

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Returns the text that continues each prompt, up to one of the strings of `until`."""
        groups = dict[Wanted, list[int]]()
        for i, (_, settings) in enumerate(request.args for request in requests):
            self.check_length(want := wanted(settings, USUAL_LENGTH))
            groups.setdefault(want, []).append(i)
        texts = [""] * len(requests)
        for want, members in groups.items():
            prompts, room = list[list[int]](), self.max_length - want.max_tokens
            for ids in (self.tok_encode(requests[i].args[0]) for i in members):
                self.n_cut += len(ids) > room
                prompts.append(list(ids[-room:]) or [self.prefix_token_id])
            same_everywhere(prompts)
            self.progress.begin("texts", len(members))
            for i, text in zip(members, continued(self.model, self.tokens, prompts, want, self.progress.advance), strict=True):
                texts[i] = text
        return texts


def same_everywhere(requests: Sequence[Any]) -> None:
    """Raises ValueError in all processes if they do not ask the same of the model, which all compute together."""
    if jax.process_count() == 1:
        return
    digest = hashlib.sha256(repr(requests).encode()).hexdigest()
    if len(set(exchange(digest).values())) > 1:
        raise ValueError("the processes have built different requests; the data of the tasks must be the same on every node")
