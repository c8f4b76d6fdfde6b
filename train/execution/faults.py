"""Steps that go wrong, because their loss or gradient is not a number or their loss is far above those before, and devices that do.

The compiled step leaves the state as it is then (`step.guarded`). The same step is computed again, from the same rows: if its result
differs, a device is faulty, and nothing that it computed is kept. Otherwise the rows or the model are the cause, and the config says what
follows.
"""

import math
from collections.abc import Sequence

import numpy as np

from varietas.train.step import Metrics

WINDOW = 128  # losses that a new one is compared with
FEWEST = 32  # losses before which nothing is a spike
SPIKE = 8.0  # robust standard deviations above the median
LEAST_DEVIATION = 0.01  # of the median; a smooth curve would otherwise make a spike of every change of the data
DETERMINISTIC = ("xla_gpu_deterministic_ops", "xla_gpu_exclude_nondeterministic_ops")
GPU_TOLERANCE = 1e-3  # bfloat16 has 8 bits; sums over a batch agree far better
IN_A_ROW = 16  # steps that may be left out one after the other: after that, the model has diverged, or the data has changed


class NotFinite(FloatingPointError):
    """The loss or the gradient norm of a step is not a finite number, or the loss is a spike, and training does not go on."""

    def __init__(self, step: int, message: str):
        super().__init__(message)
        self.step = step


class FaultyDevice(RuntimeError):
    """A device computes different results from the same numbers, or holds other parameters than its replicas."""


class RollBack(Exception):
    """The run goes back to a checkpoint before this step, and leaves out the rows from there up to it."""

    def __init__(self, step: int, why: str):
        super().__init__(why)
        self.step, self.why = step, why


def spike_limit(losses: Sequence[tuple[int, float]], step: int) -> float:
    """Returns the loss above which a step is a spike.

    That is SPIKE standard deviations above the median of the losses before it, where 1.4826 times the median absolute deviation stands for
    the standard deviation (Rousseeuw and Croux, 1993).

    Args:
        losses: Steps before this one and their losses, ascending; more than WINDOW of them if there are more. Steps may be missing.
        step: The step. The one before it does not count, since its loss is not known when this one begins.

    Returns:
        The limit; infinity if there are fewer than FEWEST losses.
    """
    before = np.array([loss for n, loss in losses if n < step - 1][-WINDOW:])
    if len(before) < FEWEST:
        return math.inf
    median = float(np.median(before))
    deviation = 1.4826 * float(np.median(np.abs(before - median)))
    return median + SPIKE * max(deviation, LEAST_DEVIATION * median)


def tolerance(platform: str, xla_flags: str) -> float:
    """Returns by which fraction two computations of a step may differ on healthy devices: 0 where they have the same bits.

    GPUs sum in another order each time, unless XLA is told not to.

    Args:
        platform: Of the devices.
        xla_flags: The value of XLA_FLAGS.
    """
    exact = platform != "gpu" or any(f"{flag}=true" in xla_flags for flag in DETERMINISTIC)
    return 0.0 if exact else GPU_TOLERANCE


def agree(one: Metrics, other: Metrics, fraction: float) -> bool:
    """Whether two computations of a step had the same result, up to a fraction, in all but whether it was used."""
    return all(np.allclose(one[name], other[name], fraction, 0.0, equal_nan=True) for name in one if name != "applied")
