"""From a request to what is asked of each text: prompts as token ids, how long and how they are continued."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from varietas.data.chat.template import Chat, Unusable
from varietas.data.text.conversation import turn_of
from varietas.data.tokenizer.model import Tokenizer, encode_prompts
from varietas.train.serving.requests import ChatRequest, Common, CompletionRequest, Refused
from varietas.train.serving.texts import Asked

COMPLETION_TOKENS = 16  # new tokens of a completion, if the request does not say, as in OpenAI's


@dataclass(frozen=True)
class Served:
    """The model that is served.

    Attributes:
        name: What clients call it.
        step: After how many steps it was saved.
        fingerprint: Says in answers which parameters they come from.
        created: When the server began, in Unix time.
        context: The longest text, in tokens.
        processor: The tokenizer.
        chat: The chat template; or why there is none.
    """

    name: str
    step: int
    fingerprint: str
    created: int
    context: int
    processor: Tokenizer
    chat: Chat | str

    @property
    def pieces(self) -> int:
        """The number of token ids."""
        return self.processor.get_piece_size()

    def check_characters(self, characters: int, field: str) -> None:
        """Refuses a text that cannot fit, before it is encoded. A character is at least a 256th of a token."""
        if characters > 256 * self.context:
            raise Refused(f"{field}: {characters:,} characters are far more than the context of {self.context:,} tokens", field)


def of_completion(served: Served, request: CompletionRequest) -> list[Asked]:
    """Returns what is asked of each text of a completion, all choices of a prompt one after the other. Raises Refused."""
    new = COMPLETION_TOKENS if request.max_tokens is None else request.max_tokens
    if new == 0 and not request.echo:
        raise Refused("max_tokens=0 is for the likelihoods of a prompt, with echo=true; ask for 1 or more", "max_tokens")
    told = request.logprobs is not None
    ends = (served.processor.eos_id(),)
    asked = [
        _asked(served, request, prompt, new, "max_tokens", "prompt", ends) for prompt in (_ids(served, prompt) for prompt in request.prompt)
    ]
    usual = [replace(one, likelihoods=told, of_prompt=told and bool(request.echo)) for one in asked for _ in range(request.choices)]
    return [replace(one, row=row) for row, one in enumerate(usual)]


def _ids(served: Served, prompt: str | list[int]) -> Sequence[int]:
    if isinstance(prompt, str):
        served.check_characters(len(prompt), "prompt")
        return encode_prompts(served.processor, [prompt])[0]
    if max(prompt) >= served.pieces or min(prompt) < 0:
        raise Refused(f"prompt: token ids are from 0 to {served.pieces - 1:,}, found {max(prompt, key=abs):,}", "prompt")
    return prompt


def of_chat(served: Served, request: ChatRequest) -> list[Asked]:
    """Returns what is asked of each choice of a chat completion. Raises Refused."""
    chat = served.chat
    if isinstance(chat, str):
        raise Refused(f"the model has no chat template ({chat}); use /v1/completions", "messages")
    if request.top_logprobs and not request.logprobs:
        raise Refused("top_logprobs needs logprobs=true", "top_logprobs")
    turns = []
    for number, message in enumerate(request.messages):
        try:
            turns.append(turn_of(message))
        except ValueError as error:
            raise Refused(f"messages.{number}: {error}", f"messages.{number}") from None
    served.check_characters(sum(len(content) for _, content in turns), "messages")
    try:
        ids, end = chat.prompt(tuple(turns)), chat.end_id
    except Unusable as error:
        raise Refused(f"messages: {error}", "messages") from None
    field, new = "max_completion_tokens", request.max_completion_tokens
    if new is None:
        field, new = "max_tokens", request.max_tokens
    if new == 0:
        raise Refused(f"{field}: expected 1 or more, found 0", field)
    one = _asked(served, request, ids, new, field, "messages", (served.processor.eos_id(), end))
    return [replace(one, row=row, likelihoods=bool(request.logprobs)) for row in range(request.choices)]


def _asked(
    served: Served, request: Common, ids: Sequence[int], new: int | None, length_field: str, prompt_field: str, ends: tuple[int, ...]
) -> Asked:
    """Returns what is asked of one choice; `new` is None for as many tokens as the context has room for."""
    room, wanted = served.context - len(ids), 1 if new is None else new
    if wanted > room:
        what = f"the context is {served.context:,} tokens, but the prompt has {len(ids):,}, and {wanted:,} more are asked for"
        advice = f"set {length_field} to {room:,} or less" if room > 0 else "shorten the prompt"
        raise Refused(f"{what}; {advice}", length_field if room > 0 else prompt_field, code="context_length_exceeded")
    return Asked(
        prompt=tuple(ids),
        max_tokens=room if new is None else new,
        ends=ends,
        stops=request.stops,
        temperature=1.0 if request.temperature is None else request.temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        seed=secrets.randbits(63) if request.seed is None else request.seed % (1 << 64),
    )
