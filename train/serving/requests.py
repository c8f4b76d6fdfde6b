"""Requests as OpenAI's clients send them: which fields there are, and what is refused.

A field that would change the answer and that we do not have is refused by name. One that cannot change it is ignored.
"""

import json
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from varietas.data.hints import nearest
from varietas.train.serving.step import MOST_TOP

MOST_CHOICES = 128  # answers to one prompt
MOST_STOPS = 16
# Fields that cannot change the answer.
IGNORED = (
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "parallel_tool_calls",
    "prediction",
)  # fmt: skip
# Fields that we do not have, with the values that change nothing. Null changes nothing anywhere.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "presence_penalty": (0,), "frequency_penalty": (0,), "repetition_penalty": (1,), "logit_bias": ({},), "best_of": (1,), "suffix": ("",),
    "top_k": (0, -1), "min_p": (0,), "tools": ([],), "tool_choice": ("none", "auto"), "functions": ([],), "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},), "modalities": (["text"],), "ignore_eos": (False,),
}  # fmt: skip

Parsed = TypeVar("Parsed", bound="Common")
Probability = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
Alternatives = Annotated[int, Field(ge=0, le=MOST_TOP)]
Tokens = Annotated[int, Field(ge=0)]


class Refused(Exception):
    """A request is not answered.

    Args:
        message: Why, and what to do.
        field: The field that is to blame.
        status: Of HTTP.
        code: OpenAI's name for the mistake.
        retry_after: Seconds after which the same request may be answered.
    """

    def __init__(self, message: str, field: str | None = None, status: int = 400, code: str | None = None, retry_after: int | None = None):
        super().__init__(message)
        self.field, self.status, self.code, self.retry_after = field, status, code, retry_after

    @property
    def body(self) -> dict[str, Any]:
        """The error as OpenAI writes it."""
        kind = "server_error" if self.status >= 500 else "rate_limit_error" if self.status == 429 else "invalid_request_error"
        return {"error": {"message": str(self), "type": kind, "param": self.field, "code": self.code}}


class StreamOptions(BaseModel):
    """`stream_options`."""

    model_config = ConfigDict(strict=True, extra="ignore")
    include_usage: bool | None = None


class Common(BaseModel):
    """What both kinds of requests have. Null stands for the default."""

    model_config = ConfigDict(strict=True, extra="allow")
    model: str | None = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    stop: str | list[str] | None = None
    max_tokens: Tokens | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    seed: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        if value is None or isinstance(value, str) or (isinstance(value, list) and all(isinstance(stop, str) for stop in value)):
            return value
        raise ValueError("expected a text or a list of texts")

    @property
    def choices(self) -> int:
        """How many answers to each prompt."""
        return self.n or 1

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end an answer."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if len(stops) > MOST_STOPS:
            raise Refused(f"stop: expected at most {MOST_STOPS} texts, found {len(stops)}", "stop")
        return tuple(stop for stop in stops if stop)

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with the numbers of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)


class CompletionRequest(Common):
    """The body of POST /v1/completions."""

    prompt: list[str] | list[list[int]]
    echo: bool | None = None
    logprobs: Alternatives | None = None

    @field_validator("prompt", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        several = isinstance(value, list) and value and all(isinstance(part, (str, list)) for part in value)
        prompts = value if several else [value]
        if all(isinstance(prompt, str) for prompt in prompts):
            return prompts
        if all(isinstance(prompt, list) and prompt and all(type(token) is int for token in prompt) for prompt in prompts):
            return prompts
        raise ValueError("expected a text, a list of texts, a list of token ids or a list of such lists")


class ChatRequest(Common):
    """The body of POST /v1/chat/completions."""

    messages: list[dict[str, Any]] = Field(min_length=1)
    max_completion_tokens: Tokens | None = None
    logprobs: bool | None = None
    top_logprobs: Alternatives | None = None


def parse(kind: type[Parsed], body: bytes) -> Parsed:
    """Reads the body of a request.

    Raises:
        Refused: If it is not what its kind asks for. The message names the field.
    """
    try:
        request = kind.model_validate_json(body)
    except ValidationError as error:
        raise _refused(error) from None
    for field, value in (request.model_extra or {}).items():
        if field not in IGNORED and value is not None and value not in NEUTRAL.get(field, ()):
            raise _unknown(field, value, kind)
    return request


def _refused(error: ValidationError) -> Refused:
    """Says in one line what is wrong first."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if not field:
        return Refused(f"the body is not a JSON object that can be read: {first['msg']}")
    if first["type"] == "missing":
        return Refused(f"{field}: the field is missing", field)
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    wanted = message if message.startswith("expected") else f"expected {message}"
    return Refused(f"{field}: {wanted}, found {_shown(first['input'])}", field)


def _unknown(field: str, value: Any, kind: type[BaseModel]) -> Refused:
    if field in NEUTRAL:
        return Refused(f"{field}={_shown(value)} is not supported; leave it out", field)
    near = nearest(field[:80], list(kind.model_fields), 0.6)
    return Refused(f"there is no field {field[:80]!r}; {f'did you mean {near}?' if near else 'leave it out'}", field[:80])


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}…"
