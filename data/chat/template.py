"""Conversations to token ids, by the chat template of a tokenizer as transformers has it, and which of these tokens are learned.

Unlike transformers, it does not tell templates the date (`strftime_now`), which would change the tokens from day to day.

A template is a Jinja program that makes one text of the turns. It comes from elsewhere, so it runs in Jinja's sandbox: it reads the turns
and the names of special tokens, and nothing else. The names of special tokens in that text become these tokens. So a turn that spells such
a name, which would pass for the end of the turn, is refused.

Learned is what the template marks as `generation`. If it marks nothing, that is what the assistant's turn adds to the text: its words and
the token that ends it, but not the tokens that ask for it.
"""

import json
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from varietas.data.files import read_json
from varietas.data.text.conversation import Turns
from varietas.data.tokenizer.model import Tokenizer, file_in, load
from varietas.data.tokenizer.tokenizer_json import hub_tokenizer
from varietas.data.tokenizer.training import RESERVED

FILE = "chat_template.jinja"
RELEASE = "release"  # of a run: files of the release that it was imported from
OWN = (  # of tokenizers that `varietas tokenizer` has trained
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message.role + '|>' + message.content + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
BEGINS, ENDS = "\0(", "\0)"  # around what a template marks as `generation`; no text has a NUL


class Unusable(ValueError):
    """A template cannot be used, or refuses a conversation."""


def own_template(run: Path) -> bytes | None:
    """Returns the chat template of the conversations that a run has learned, as it is in its folder; None if it has learned none."""
    return (run / FILE).read_bytes() if (run / FILE).exists() else None


def template_in(folder: Path) -> str | None:
    """Returns the chat template of a run, a corpus or a release: that in the folder, or in RELEASE there; None if it has none.

    Raises:
        ValueError: If it cannot be read.
    """
    for place in (folder, folder / RELEASE):
        if (file := place / FILE).exists():
            try:
                return file.read_text("utf-8")
            except UnicodeDecodeError:
                raise ValueError(f"{file} is not UTF-8; get it again") from None
        file = place / "tokenizer_config.json"
        found = read_json(file, "download it again").get("chat_template") if file.exists() else None
        if isinstance(found, list):  # several by name
            found = next((entry.get("template") for entry in found if isinstance(entry, dict) and entry.get("name") == "default"), None)
        if isinstance(found, str):
            return found
    return None


def template_of(tokenizer: Path) -> str:
    """Returns the chat template in the folder of a tokenizer, or OWN for a tokenizer of ours.

    Raises:
        ValueError: If there is none.
    """
    if (found := template_in(tokenizer.parent)) is not None:
        return found
    processor = load(tokenizer)
    if all(processor.id_to_piece(processor.piece_to_id(name)) == name for name in RESERVED[:4]):
        return OWN
    raise ValueError(f"no chat template beside {tokenizer}; put the {FILE} of the model there")


class Chat:
    """The chat template of a tokenizer.

    Args:
        processor: The tokenizer.
        template: The template.

    Raises:
        Unusable: If it is not a template.
        ValueError: If a SentencePiece model has no exact counterpart in which special tokens can be told from text.
        ModuleNotFoundError: If a package that templates need is not installed.
    """

    def __init__(self, processor: Tokenizer, template: str):
        try:
            import jinja2
            from jinja2.sandbox import ImmutableSandboxedEnvironment
        except ModuleNotFoundError:
            raise ModuleNotFoundError("chat templates need the package jinja2; run: pip install 'varietas[data]'") from None
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_generation(), "jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _json
        environment.globals["raise_exception"] = _refuse
        try:
            self._template = environment.from_string(template)
        except jinja2.TemplateSyntaxError as error:
            raise Unusable(f"{FILE} is not a chat template: line {error.lineno}: {error.message}") from None
        self.processor, self.template = processor, template
        self._hub = hub_tokenizer(processor)
        self._names = {f"{role}_token": self._hub.id_to_piece(piece) for role, piece in self._hub.roles.items() if piece >= 0}
        self._special = re.compile("|".join(map(re.escape, self._hub.special)) or "(?!)")

    def render(self, turns: Turns, asks: bool = False) -> str:
        """Returns the text of a conversation, with BEGINS and ENDS if the template has marks.

        Args:
            turns: The conversation.
            asks: Whether to add what asks the assistant for its turn.

        Raises:
            Unusable: If the template refuses it.
        """
        messages = [{"role": role, "content": content} for role, content in turns]
        try:
            return self._template.render(messages=messages, add_generation_prompt=asks, tools=None, documents=None, **self._names)
        except Unusable:
            raise
        except Exception as error:  # of a program that comes from elsewhere
            raise Unusable(f"the chat template fails: {str(error)[:120]}") from None

    def prompt_text(self, turns: Turns, goes_on: bool = False) -> str:
        """Returns the text of a conversation up to where the assistant goes on, without marks.

        Args:
            turns: The conversation.
            goes_on: Whether the last turn is the beginning of what the assistant says. Its content ends the text then.

        Raises:
            Unusable: If the template refuses it, or leaves out the last turn.
        """
        text = _without_brackets(self.render(turns, asks=not goes_on))
        if not goes_on:
            return text
        last = turns[-1][1]
        begin = text.rfind(last.strip())
        if begin < 0:
            raise Unusable("the chat template leaves out the beginning of the assistant's turn")
        kept = last.lstrip() if text.startswith(last.lstrip(), begin) else last.strip()
        return text[: begin + len(kept)]

    def learned_spans(self, turns: Turns) -> tuple[str, list[tuple[int, int]]]:
        """Returns the text of a conversation, and the parts of it that are learned, as [begin, end) in characters.

        Raises:
            Unusable: If it cannot be learned from.
        """
        if spelled := self._spelled(turns):
            raise Unusable(f"a turn spells the special token {spelled}")
        whole = self.render(turns)
        if BEGINS in whole:
            pieces = re.split(r"\0[()]", whole)  # every second one was between brackets
            ends = np.cumsum([len(piece) for piece in pieces]).tolist()
            spans = [(ends[n - 1], ends[n]) for n in range(1, len(pieces), 2)]
            whole = "".join(pieces)
        else:
            spans = list(self._added(turns, whole))
        if not spans:
            raise Unusable("the chat template does not keep the assistant's turns apart")
        return whole, spans

    def _spelled(self, turns: Turns) -> str:
        """Returns the first special token that a turn spells, "" if none does."""
        return next((found[0] for _, content in turns if (found := self._special.search(content))), "")

    def _added(self, turns: Turns, whole: str) -> Iterator[tuple[int, int]]:
        """Yields what each turn of the assistant adds. A turn that the template changes once others follow is left out."""
        for at, (role, content) in enumerate(turns):
            if role == "assistant" and content.strip():
                before, after = self.render(turns[:at], asks=True), self.render(turns[: at + 1])
                if after.startswith(before) and whole.startswith(after) and len(before) < len(after):
                    yield len(before), len(after)

    def encode(self, turns: Turns) -> tuple[np.ndarray, np.ndarray]:
        """Returns the ids of a conversation, int64 (n,), and whether each is learned, bool (n,).

        Raises:
            Unusable: If it cannot be learned from.
        """
        text, spans = self.learned_spans(turns)
        ((ids, begins),) = self._hub.encode_rendered([text])
        at = np.array(begins)
        mine = np.zeros(len(ids), bool)
        for begin, end in spans:
            mine |= (at >= begin) & (at < end)
        if not mine.any():
            raise Unusable("the chat template marks nothing that the assistant says")
        return np.array(ids), mine

    def prompt(self, turns: Turns) -> list[int]:
        """Returns the ids of a conversation that the assistant is to continue. Raises Unusable if the template refuses it."""
        if spelled := self._spelled(turns):
            raise Unusable(f"the prompt spells the special token {spelled}; leave it out")
        return self._hub.encode_rendered([self.prompt_text(turns)])[0][0]

    @cached_property
    def end_id(self) -> int:
        """The token that ends a turn of the assistant: the first special one after its content."""
        marker = "\0-"  # no text has a NUL
        text = _without_brackets(self.render((("user", "a"), ("assistant", marker))))
        special = {self._hub.piece_to_id(name) for name in self._hub.special}
        ids = self._hub.encode_rendered([text.partition(marker)[2]])[0][0]
        return next((piece for piece in ids if piece in special), self.processor.eos_id())


def chat_in(folder: Path) -> Chat:
    """Returns the tokenizer of a run or a release with its chat template. Raises ValueError if there is none."""
    file = file_in(folder)
    return Chat(load(file), template_of(file))


def chat_prompts(folder: Path, prompts: Sequence[str]) -> tuple[list[list[int]], tuple[int]]:
    """Returns the ids of conversations in which a user has said one thing, and the token that ends the answer.

    Args:
        folder: A run or a release, with its chat template.
        prompts: What the user says in each.

    Raises:
        ValueError: If there is no chat template, or it refuses a prompt.
    """
    chat = chat_in(folder)
    return [chat.prompt((("user", prompt),)) for prompt in prompts], (chat.end_id,)


def _without_brackets(text: str) -> str:
    return text.replace(BEGINS, "").replace(ENDS, "")


def _refuse(message: str) -> str:
    """What templates call to refuse a conversation."""
    raise Unusable(f"the chat template refuses it: {message[:120]}")


def _json(value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _generation() -> type:
    """Returns the extension of Jinja for `{% generation %}`, by which templates mark what the assistant has generated."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012  # as the base class has it

        def parse(self, parser: Any) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("marked"), [], [], body).set_lineno(line)

        def marked(self, caller: Any) -> str:
            return f"{BEGINS}{caller()}{ENDS}"

    return Generation
