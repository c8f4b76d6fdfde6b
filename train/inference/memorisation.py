"""Which excerpts of training text a model repeats: prompted with the first tokens, it writes exactly those that follow.

This is extraction as Carlini et al. (2022, "Quantifying memorization across neural language models") define it: greedy, and word for word.
"""

from collections.abc import Callable, Sequence

import numpy as np

from varietas.train.inference.generate import Generator, generate
from varietas.train.inference.sampling import Sampling


def repeated(
    model: Generator,
    excerpts: Sequence[Sequence[int]],
    n_prompt: int,
    n_pieces: int,
    batch_size: int,
    done: Callable[[int], None] = lambda n: None,
) -> np.ndarray:
    """Returns how many tokens after each prompt the model writes as they are, int64 (excerpts,).

    Args:
        model: From `generate.generator`.
        excerpts: Token ids, all of one length (excerpts, length).
        n_prompt: How many of these are the prompt.
        n_pieces: Pieces of the tokenizer.
        batch_size: Prompts that are continued at a time.
        done: Called with the number of excerpts that are finished.

    Raises:
        ValueError: If the excerpts are longer than the model's context.
    """
    ids = np.array(excerpts, np.int64).reshape(len(excerpts), -1)
    found = np.zeros(len(ids), np.int64)
    for begin in range(0, len(ids), batch_size):
        part = ids[begin : begin + batch_size]
        rows = np.resize(part, (batch_size, part.shape[1]))  # always as many, so that one program serves
        sampling = Sampling(max_tokens=ids.shape[1] - n_prompt)
        written = np.array(list(generate(model, rows[:, :n_prompt].tolist(), sampling, (), n_pieces)), np.int64).T
        same = written[: len(part)] == part[:, n_prompt:]
        found[begin : begin + len(part)] = np.cumprod(same, axis=1).sum(1)
        done(min(begin + batch_size, len(ids)))
    return found
