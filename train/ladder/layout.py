"""The runs of a ladder: smaller models on fewer tokens, in the shape of the model that they speak for, within a budget of operations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from varietas.model.config import ModelConfig
from varietas.model.flops import count_params, train_flops_per_token

N_SIZES = 3
LENGTHS = (1.0, 0.5, 0.25)  # of the runs of a size, over the longest
RATIO = 2.0  # of the parameters of neighbouring sizes, about
FEWEST_STEPS = 20  # of a run
WIDTH_MULTIPLE = 8  # of the feed-forward part


@dataclass(frozen=True)
class Rung:
    """A run of a ladder."""

    model: ModelConfig
    steps: int
    tokens: int  # of all steps
    flops: float

    @classmethod
    def of(cls, model: ModelConfig, steps: int, rows: int, seq_len: int) -> "Rung":
        """Returns a run of `steps` steps of `rows` rows of `seq_len` tokens."""
        tokens = steps * rows * seq_len
        return cls(model, steps, tokens, tokens * train_flops_per_token(model, seq_len))

    @property
    def name(self) -> str:
        """That of its folder: width, layers and steps."""
        return f"width{self.model.d_model}-layers{self.model.n_layers}-steps{self.steps}"

    @property
    def n_params(self) -> int:
        """The parameters that a token meets."""
        return count_params(self.model, active=True)


def rungs(model: ModelConfig, steps: int, rows: int, seq_len: int, budget: float) -> list[Rung]:
    """Lays out a ladder: three sizes times three numbers of tokens, the cheapest first.

    The largest run has about the same part of the model's parameters as of its tokens.

    Args:
        model: The shape of the model that the ladder speaks for.
        steps: How many steps that model is to be trained for.
        rows: Rows of a step.
        seq_len: Tokens of a row.
        budget: Floating-point operations of all runs together, at most.

    Raises:
        ValueError: If the model is too small to have smaller ones, its steps are too few to have shorter runs, or the budget is too small
            or has room for the model itself.
    """
    fewest = round(FEWEST_STEPS / LENGTHS[-1])
    if steps <= fewest:
        raise ValueError(f"train.steps={steps} is too few for a ladder, whose longest runs have {fewest} steps or more; give more")
    shapes = shrunk(model)
    if len(shapes) < N_SIZES:
        raise ValueError(
            f"model.n_kv_heads={model.n_kv_heads} is too small for a ladder: {N_SIZES} smaller models need {N_SIZES + 1} or more"
        )
    whole = Rung.of(model, steps, rows, seq_len)
    least, ladders = float("inf"), list[tuple[float, list[Rung]]]()
    for largest in shapes[N_SIZES - 1 :]:
        sizes = _sizes(shapes, largest)
        a_step = sum(Rung.of(size, 1, rows, seq_len).flops for size in sizes) * sum(LENGTHS)
        longest = int(budget / a_step)
        least = min(least, a_step * FEWEST_STEPS / LENGTHS[-1])
        found = [Rung.of(size, round(longest * part), rows, seq_len) for size in sizes for part in LENGTHS]
        if round(longest * LENGTHS[-1]) >= FEWEST_STEPS and longest < steps:
            ladders.append((abs(math.log(longest / steps * whole.n_params / found[0].n_params)), found))
    if budget < least:
        raise ValueError(f"a budget of {budget:.3g} FLOP is too small for a ladder of this model; give {least:.2g} or more")
    if not ladders:
        raise ValueError(f"a budget of {budget:.3g} FLOP is enough for runs as long as the model's own, which takes {whole.flops:.3g}")
    return sorted(min(ladders, key=lambda ladder: ladder[0])[1], key=lambda rung: rung.flops)


def _sizes(shapes: Sequence[ModelConfig], largest: ModelConfig) -> list[ModelConfig]:
    """Returns the largest shape and two smaller ones, each with about half the parameters of the one before."""
    sizes, left = [largest], [shape for shape in shapes if shape.d_model < largest.d_model]
    for n in range(1, N_SIZES):
        wanted = count_params(largest, active=True) / RATIO**n
        fitting = left[N_SIZES - 1 - n :]  # which leaves enough for the sizes that follow
        sizes.append(min(fitting, key=lambda shape: abs(math.log(count_params(shape, active=True) / wanted))))
        left = [shape for shape in left if shape.d_model < sizes[-1].d_model]
    return sizes


def shrunk(model: ModelConfig) -> Sequence[ModelConfig]:
    """Returns smaller models of the same shape, the smallest first: widths of whole heads, with layers and feed-forward in proportion.

    The width of a head, and how many query heads share a key-value head, stay.
    """
    group = model.n_heads // model.n_kv_heads
    found = []
    for n_kv_heads in range(1, model.n_kv_heads):
        part = n_kv_heads / model.n_kv_heads
        d_ff, d_expert = (
            max(WIDTH_MULTIPLE, round(size * part / WIDTH_MULTIPLE) * WIDTH_MULTIPLE) for size in (model.d_ff, model.d_expert)
        )
        found.append(
            replace(
                model,
                d_model=round(model.d_model * part),
                n_heads=n_kv_heads * group,
                n_kv_heads=n_kv_heads,
                d_head=model.head_dim,
                d_ff=d_ff,
                d_expert=d_expert,
                n_layers=max(1 + bool(model.n_dense_layers), round(model.n_layers * part)),
                n_dense_layers=min(model.n_dense_layers, 1),
            )
        )
    return found
