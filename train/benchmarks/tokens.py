"""Text to token ids and back as transformers does it with the model that `export` writes, so that scores are those of lm_eval's `hf` model.

What stands before a text, and whether a text that spells a special token means that token, depends on the files of the release.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from varietas.data.chat.template import FILE as TEMPLATE
from varietas.data.chat.template import RELEASE, Chat, chat_in
from varietas.data.files import read_json
from varietas.data.tokenizer.hub import HubTokenizer
from varietas.data.tokenizer.model import Tokenizer, file_in, load
from varietas.data.tokenizer.tokenizer_json import hub_tokenizer


@dataclass(frozen=True)
class Tokens:
    """The tokenizer of a run.

    Attributes:
        processor: Encodes and decodes.
        special: Encodes text in which the names of special tokens mean these tokens; None if they are text like any other.
        begins: Ids that stand before every text.
        prefix: The id that stands for no text: bos, or else eos.
        ends: Ids that end a text which is generated.
        chat: The chat template; None if it is not applied.
    """

    processor: Tokenizer
    special: HubTokenizer | None
    begins: tuple[int, ...]
    prefix: int
    ends: tuple[int, ...]
    chat: Chat | None = None

    def encode(self, text: str, begins: bool = True) -> list[int]:
        """Returns the ids of a text.

        Args:
            text: The text.
            begins: Whether `self.begins` comes first. It does not where the text itself begins with the name of `prefix`, as chat templates
                write it.
        """
        own = begins and not text.startswith(self.processor.id_to_piece(self.prefix))
        ids = self.special.encode_rendered([text])[0][0] if self.special else self.processor.encode(text)
        return [*(self.begins if own else ()), *ids]

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of ids, without special tokens."""
        return self.processor.decode(list(ids))


def tokens_of(run: Path, chat: bool = False) -> Tokens:
    """Returns the tokenizer of a run.

    Args:
        run: The run's folder.
        chat: Whether its chat template is applied.

    Raises:
        ValueError: If the tokenizer cannot be read, or there is no chat template although `chat` is set.
    """
    template = chat_in(run) if chat or (run / TEMPLATE).exists() else None
    processor = template.processor if template else load(file_in(run))
    said = _said(run, "tokenizer_config.json")
    names_are_tokens = template is not None or (said is not None and not said.get("split_special_tokens", False))
    bos: tuple[int, ...] = (processor.bos_id(),)
    begins = tuple(processor.begins) if isinstance(processor, HubTokenizer) else bos  # where there is tokenizer.json, it alone decides
    special = hub_tokenizer(processor) if names_are_tokens else None
    return Tokens(processor, special, begins, bos[0], _ends(run, processor, template), template if chat else None)


def _ends(run: Path, processor: Tokenizer, template: Chat | None) -> tuple[int, ...]:
    """Returns the ids that end a text: eos, what the release says, and what ends an answer if the model has learned conversations."""
    named = (_said(run, "generation_config.json") or {}).get("eos_token_id")
    listed = named if isinstance(named, list) else [] if named is None else [named]
    answers = [template.end_id] if template else []
    return tuple(sorted({processor.eos_id(), *listed, *answers}))


def _said(run: Path, name: str) -> dict[str, Any] | None:
    """Returns what a file of the release says; None if the run was not imported, or its release had no such file."""
    file = run / RELEASE / name
    return read_json(file, "import the model again") if file.exists() else None
