"""Texts that continue prompts up to a string, in batches of similar length."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from varietas.train.benchmarks.tokens import Tokens
from varietas.train.inference.generate import Generator, generate
from varietas.train.inference.sampling import Sampling

AT_ONCE = 32  # prompts of a batch
MARGIN = 8  # tokens before those that could spell a string which ends the text
LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")  # names of one setting; an earlier one wins
NEUTRAL: dict[str, Any] = {"num_beams": 1, "repetition_penalty": 1.0, "num_return_sequences": 1}  # values that change nothing


@dataclass(frozen=True)
class Wanted:
    """How a task wants prompts to be continued.

    Attributes:
        until: Strings that end the text, and do not belong to it.
        max_tokens: New tokens at most.
        temperature: 0 always takes the likeliest token.
        top_p: As in `Sampling`.
    """

    until: tuple[str, ...]
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0


def wanted(settings: Mapping[str, Any], default_length: int) -> Wanted:
    """Returns what `generation_kwargs` of a task mean.

    Args:
        settings: Those of lm_eval: until, max_gen_toks, do_sample, temperature, top_p.
        default_length: New tokens at most if the task does not say.

    Raises:
        ValueError: If there is a setting that is not known here.
    """
    until = settings.get("until") or ()
    known = {"until", "do_sample", "temperature", "top_p", "top_k", *LENGTHS}
    if other := {key: value for key, value in settings.items() if key not in known and NEUTRAL.get(key) != value}:
        raise ValueError(f"generation_kwargs has {other}, but texts are made with {', '.join(sorted(known - {'top_k'}))} only")
    temperature = float(settings.get("temperature") or 0.0)
    if settings.get("do_sample") is False:
        temperature = 0.0
    elif settings.get("do_sample") and "temperature" not in settings:
        temperature = 1.0
    if temperature and settings.get("top_k"):
        raise ValueError(f"generation_kwargs has top_k={settings['top_k']}, but texts are sampled with temperature and top_p only")
    length = next((int(settings[name]) for name in LENGTHS if settings.get(name) is not None), default_length)
    top_p = float(settings.get("top_p") or 1.0) if temperature else 1.0
    return Wanted((until,) if isinstance(until, str) else tuple(filter(None, until)), length, temperature, top_p)


def continued(
    model: Generator, tokens: Tokens, prompts: Sequence[Sequence[int]], want: Wanted, advance: Callable[[int], None] = lambda n: None
) -> list[str]:
    """Continues prompts.

    Args:
        model: From `generate.generator`.
        tokens: The tokenizer.
        prompts: Token ids of each prompt. They leave room for `want.max_tokens` in the model's context.
        want: How.
        advance: Called with the number of prompts that have been continued since the last call; what it raises ends the computation.

    Returns:
        The text that follows each prompt.
    """
    texts = [""] * len(prompts)
    longest_first = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    for begin in range(0, len(prompts), AT_ONCE):
        batch = longest_first[begin : begin + AT_ONCE]
        size = next(n for n in (1, 2, 4, 8, 16, AT_ONCE) if n >= len(batch))
        rows = [prompts[i] for i in batch] + [prompts[batch[-1]]] * (size - len(batch))
        # With `begin` as the seed, no two prompts have the same random choices.
        sampling = Sampling(want.max_tokens, want.temperature, want.top_p, seed=begin)
        made: list[list[int]] = [[] for _ in batch]
        going = set(range(len(batch)))
        for step in generate(model, rows, sampling, tokens.ends, tokens.processor.get_piece_size()):
            for row in list(going):
                if (token := step[row]) is None:
                    going.remove(row)
                    continue
                made[row].append(token)
                if _ends(tokens, made[row], want.until):
                    going.remove(row)
            if not going:
                break
        for row, i in enumerate(batch):
            texts[i] = cut(tokens.decode(made[row]), want.until)
        advance(len(batch))
    return texts


def _ends(tokens: Tokens, made: Sequence[int], until: Sequence[str]) -> bool:
    """Whether one of these strings has just been written: it may begin in one token and end in another. A token has a byte or more."""
    if not until:
        return False
    tail = tokens.decode(made[-(max(len(end.encode()) for end in until) + MARGIN) :])
    return any(end in tail for end in until)


def cut(text: str, until: Sequence[str]) -> str:
    """Returns a text up to the first of these strings."""
    for end in until:
        text = text.partition(end)[0]
    return text
