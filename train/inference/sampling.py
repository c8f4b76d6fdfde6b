"""What is asked of a generation, checked without jax so that a mistake is answered at once."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    """How text is generated.

    Attributes:
        max_tokens: How many new tokens at most.
        temperature: 0 always takes the likeliest token; higher values sample more evenly.
        top_p: Samples from the smallest set of tokens that holds this much probability (Holtzman et al., 2020).
        seed: Of the random choices.
    """

    max_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def check(self) -> None:
        """Raises ValueError if a value is out of its range."""
        if not (self.temperature >= 0 and 0 < self.top_p <= 1):
            raise ValueError(f"temperature={self.temperature} must be 0 or more and top_p={self.top_p} above 0 and at most 1")
        if not (self.max_tokens >= 1 and 0 <= self.seed < 1 << 64):
            raise ValueError(f"max_tokens={self.max_tokens} must be 1 or more and seed={self.seed} from 0 to 2^64 - 1")


def check_lengths(prompts: Sequence[Sequence[int]], max_tokens: int, context: int) -> None:
    """Raises ValueError if a prompt is empty or leaves no room for `max_tokens` in the model's context."""
    if not prompts or not all(prompts):
        raise ValueError("there is no prompt, or a prompt holds no token; begin each with bos")
    longest = max(map(len, prompts))
    if longest + max_tokens > context:
        room = context - longest
        raise ValueError(
            f"a prompt of {longest} tokens and {max_tokens} new tokens exceed the model's context of {context} tokens; "
            + (f"ask for {room} or fewer" if room > 0 else "shorten the prompt")
        )
