"""Encodes conversations as data/tokenizer/encode.py does texts, and finds out which of the two a folder asks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from varietas.data.chat.marks import mark, marked_type, without_marks
from varietas.data.chat.template import FILE, Chat, Unusable
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
        """Returns the ids of each conversation, as bytes of type `dtype`, or why it cannot be encoded."""
        return [self._encoded(document.turns) for document in documents]

    def _encoded(self, turns: Turns) -> bytes | str:
        try:
            ids, learned = self._chat.encode(turns)
        except Unusable as error:
            return str(error)
        return mark(ids.astype(self.dtype), learned).tobytes()


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
    return ChatEncoder(processor, template.read_text("utf-8")) if template.exists() else Encoder(processor)
