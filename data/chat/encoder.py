"""Encodes conversations and preferences as data/tokenizer/encode.py does texts, and finds out whether a folder is of these or of texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from varietas.data.chat.marks import mark, marked_type, without_marks
from varietas.data.chat.template import FILE, Chat, Unusable, template_of
from varietas.data.files import write_atomically
from varietas.data.text.conversation import Turns
from varietas.data.text.documents import Document
from varietas.data.tokenizer.encode import Encoder
from varietas.data.tokenizer.model import Tokenizer, file_in, file_name, load


@dataclass(frozen=True)
class ChatModel:
    """What makes ids of conversations.

    Attributes:
        tokenizer: The content of a tokenizer, as `data.tokenizer.model.load` takes it.
        template: Its chat template.
    """

    tokenizer: bytes
    template: str


def tokenizer_and_template(model: bytes | ChatModel) -> tuple[bytes, str | None]:
    """Returns the content of a tokenizer and its chat template, None without one."""
    return (model.tokenizer, model.template) if isinstance(model, ChatModel) else (model, None)


def chat_model(tokenizer: bytes, template: str) -> ChatModel:
    """Returns a tokenizer with its chat template. Raises ValueError if the template cannot be used with it."""
    Chat(load(tokenizer), template)
    return ChatModel(tokenizer, template)


class ChatEncoder:
    """Encodes conversations as `Encoder` does texts, with marks on what is not learned."""

    keeps_everything = True  # a template adds text, so ids are not decoded to see what was lost

    def __init__(self, processor: Tokenizer, template: str):
        self.processor, self.dtype, self._template = processor, marked_type(processor.get_piece_size()), template

    @cached_property
    def _chat(self) -> Chat:  # takes a while, and who only moves ids does not need it
        return Chat(self.processor, self._template)

    plain = staticmethod(without_marks)

    def __call__(self, documents: Sequence[Document]) -> list[bytes | str]:
        """Returns the ids of each conversation or preference, as bytes of type `dtype`, or why it cannot be encoded."""
        return [self._encoded(document) for document in documents]

    def _encoded(self, document: Document) -> bytes | str:
        try:
            if document.rejected:
                return self._pair(document.turns, document.rejected)
            ids, learned = self._chat.encode(document.turns)
        except Unusable as error:
            return str(error)
        return mark(ids.astype(self.dtype), learned).tobytes()

    def _pair(self, chosen: Turns, rejected: Turns) -> bytes:
        """Returns the ids of two conversations, one after the other. What both begin with is not learned."""
        (ids, learned), (other, of_other) = self._chat.encode(chosen), self._chat.encode(rejected)
        same = next((n for n, (one, its) in enumerate(zip(ids, other, strict=False)) if one != its), min(len(ids), len(other)))
        learned[:same], of_other[:same] = False, False
        if not (learned.any() and of_other.any()):
            raise Unusable("chosen and rejected differ in nothing that is learned")
        pair = [mark(ids.astype(self.dtype), learned), mark(other.astype(self.dtype), of_other, rejected=True)]
        return np.concatenate(pair).tobytes()


Encode = Encoder | ChatEncoder


def save(model: bytes | ChatModel, folder: Path) -> None:
    """Writes what makes ids to a folder, where `encoder_in` finds it."""
    tokenizer, template = tokenizer_and_template(model)
    write_atomically(folder / file_name(tokenizer), tokenizer)
    if template is not None:
        write_atomically(folder / FILE, template.encode())


def encoder_in(folder: Path) -> Encode:
    """Returns what makes ids in a folder: of conversations if there is a chat template, else of texts."""
    processor, template = load(file_in(folder)), folder / FILE
    return ChatEncoder(processor, template_of(file_in(folder))) if template.exists() else Encoder(processor)
