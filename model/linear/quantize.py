"""Rounds the matrices of a model to whole numbers of 8 or 4 bits.

`int8` has a scale for each output. `int4` has a scale and a low for each 32 inputs of an output. With `int4`, the embedding and the output
matrix stay at 8 bits, and so do matrices whose number of inputs is no multiple of 32. Routers, biases and norms are not touched.
"""

import math
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from varietas.model.linear.fits import fits, relative, whole_numbers
from varietas.model.linear.lora import Keys, linear_layers
from varietas.model.linear.quantized import Quantized, QuantizedTable
from varietas.model.sharding import RULES, dims_of, sides, spec

GROUP = 32  # inputs that share a scale with int4


def quantize(
    params: Mapping[str, Any], form: str, mesh: Mesh, importances: Mapping[Keys, np.ndarray] = MappingProxyType({})
) -> dict[str, Any]:
    """Returns parameters with matrices of whole numbers, as `product` and `embed` read them. Others stay as they are.

    Args:
        params: The parameters, without adapters.
        form: int8 or int4.
        mesh: Where they are.
        importances: The mean square of each input, (layers, *inputs), by which the errors of weights count with int4 (see
            train/release/calibrating.py); those that are missing count the same.
    """
    layers = linear_layers(dict(params))

    def one(path: tuple[Any, ...], x: jax.Array) -> jax.Array | Quantized | QuantizedTable:
        keys = tuple(str(part.key) for part in path)
        dims = dims_of(keys)
        if keys not in layers and dims not in ("VD", "DV"):
            return x
        if dims == "VD":
            where = QuantizedTable(*(NamedSharding(mesh, spec(letters)) for letters in (dims, "V")))
            return jax.jit(_table, out_shardings=where)(x)
        n_inputs = math.prod(x.shape[axis] for axis in sides(dims)[0])
        if form == "int8" or dims == "DV" or n_inputs % GROUP:
            return jax.jit(partial(_int8, dims), out_shardings=_places(mesh, dims))(x)
        importance = relative(importances[keys].reshape(len(x), -1)) if keys in importances else np.ones((len(x), n_inputs))
        return jax.jit(partial(_int4, dims), out_shardings=_places(mesh, dims, n_inputs // GROUP))(x, importance.astype(np.float32))

    return jax.tree_util.tree_map_with_path(one, dict(params))


def _places(mesh: Mesh, dims: str, groups: int = 0) -> Any:
    """Returns the shardings of a Quantized with these letters, as the matrix. Groups that do not divide over the devices are not split."""
    inputs, outputs = sides(dims)
    front, first, outs = dims[: inputs[0]], dims[inputs[0]], dims[outputs[0] :]
    if not groups:
        return Quantized(len(outs), *(NamedSharding(mesh, spec(letters)) for letters in (front + first + outs, front + outs)))
    if groups % math.prod(mesh.shape[axis] for axis in RULES[first][0]):
        first = "H"  # a dimension that is not split
    scale, at = spec(front + first + outs), len(front) + 1
    of_scale = NamedSharding(mesh, scale)
    return Quantized(len(outs), NamedSharding(mesh, PartitionSpec(*scale[:at], None, *scale[at:])), of_scale, of_scale)


def _flat(dims: str, x: jax.Array) -> tuple[jax.Array, int]:
    """Returns a matrix with its inputs as one dimension, and which dimension that is."""
    inputs, outputs = sides(dims)
    return x.reshape(*x.shape[: inputs[0]], -1, *x.shape[outputs[0] :]), inputs[0]


def _table(x: jax.Array) -> QuantizedTable:
    numbers, scale = _rounded(x, 1)
    return QuantizedTable(numbers, scale)


def _int8(dims: str, x: jax.Array) -> Quantized:
    flat, at = _flat(dims, x)
    return Quantized(flat.ndim - at - 1, *_rounded(flat, at))


def _rounded(x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Returns int8 from -127 to 127, and the scales, without `axis`."""
    scale = jnp.abs(x).max(axis, keepdims=True) / 127
    return jnp.round(x / jnp.where(scale > 0, scale, 1)).astype(jnp.int8), scale.squeeze(axis)


def _int4(dims: str, x: jax.Array, importance: jax.Array) -> Quantized:
    """Rounds layer by layer, since the search takes several times the memory of a matrix. `importance` is (layers, inputs)."""
    flat, at = _flat(dims, x)

    def of_layer(layer: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
        last = jnp.moveaxis(layer[0], at - 1, -1)
        parts = last.reshape(*last.shape[:-1], -1, GROUP)
        near = fits(parts, jnp.broadcast_to(layer[1].reshape(-1, GROUP), parts.shape))
        scale, low = (y.astype(jnp.bfloat16) for y in near)
        q = whole_numbers(parts + low[..., None], scale[..., None].astype(jnp.float32), 15).astype(jnp.uint8)
        packed = jnp.moveaxis(q[..., : GROUP // 2] | q[..., GROUP // 2 :] << 4, (-2, -1), (at - 1, at))
        return packed, *(jnp.moveaxis(y, -1, at - 1) for y in (scale, low))

    return Quantized(flat.ndim - at - 1, *jax.lax.map(of_layer, (flat, importance)))
