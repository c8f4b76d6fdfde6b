"""How many floating-point operations a traced program does: those of its matrix products, with what is computed again.

The formula of model/flops.py says what a model needs; this says what the step does to get it. Both go into a run's environment.json.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr


def counted_flops(program: ClosedJaxpr) -> float:
    """Returns the floating-point operations of all matrix products of a traced program, on all devices together.

    A multiply-add counts as two. Loops count as often as they run, those of unknown length once; of branches the dearest counts. Parts that
    each device does for itself (`shard_map`) count for every device.
    """
    return _of(program.jaxpr)


def _of(jaxpr: Jaxpr) -> float:
    return sum(PRODUCTS[eqn.primitive.name](eqn) if eqn.primitive.name in PRODUCTS else _within(eqn) for eqn in jaxpr.eqns)


def _within(eqn: Any) -> float:
    """Returns the operations of the programs that an instruction runs: a loop, a branch, a call."""
    name, params = eqn.primitive.name, eqn.params
    counts = [_of(getattr(inner, "jaxpr", inner)) for inner in _programs(params)]
    if name == "cond":
        return max(counts, default=0.0)
    if name == "scan":
        return params["length"] * sum(counts)
    if name == "shard_map":
        return sum(counts) * math.prod(params["mesh"].shape[axis] for axis in params["newly_manual_axes"])
    return sum(counts)


def _programs(params: Mapping[str, Any]) -> list[Any]:
    values = [each for value in params.values() for each in (value if isinstance(value, (tuple, list)) else (value,))]
    return [value for value in values if isinstance(value, (ClosedJaxpr, Jaxpr))]


def _dot_general(eqn: Any) -> float:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    left = eqn.invars[0].aval.shape
    return 2.0 * math.prod(eqn.outvars[0].aval.shape) * math.prod(left[axis] for axis in contracted)


def _ragged_dot(eqn: Any) -> float:
    """Each row meets one matrix. If rows are what is summed over, those of a group give one of the results."""
    numbers = eqn.params["ragged_dot_dimension_numbers"]
    (contracted, _), _ = numbers.dot_dimension_numbers
    out, left = eqn.outvars[0].aval.shape, eqn.invars[0].aval.shape
    groups = out[0] if set(numbers.lhs_ragged_dimensions) <= set(contracted) else 1
    return 2.0 * math.prod(out) * math.prod(left[axis] for axis in contracted) / groups


def _flash_attention(eqn: Any) -> float:
    """cuDNN's kernel: two products forward and five backward (Dao et al., 2022), of which causal attention needs half."""
    (B, L, N, H), S = eqn.invars[0].aval.shape, eqn.invars[1].aval.shape[1]
    return (5 if "bwd" in eqn.primitive.name else 2) * 2.0 * B * N * L * S * H / 2


PRODUCTS: Mapping[str, Callable[[Any], float]] = {
    "dot_general": _dot_general,
    "ragged_dot_general": _ragged_dot,
    "dot_product_attention_fwd_wrapper": _flash_attention,
    "dot_product_attention_bwd_wrapper": _flash_attention,
}
