"""How the numbers of a GGUF file are kept: plain floats, 8 bits or 4 bits a weight.

A 4-bit file keeps its embedding and its output matrix at 6 bits. Vectors, such as the scales of norms, are always float32, and so are the
routers of experts. The package gguf rounds to Q8_0 and Q4_0.
"""

import math
from collections.abc import Sequence

import gguf
import jax
import jax.numpy as jnp
import numpy as np

from varietas.model.formats.gguf import EMBEDDING, OUTPUT, ROUTER
from varietas.model.linear.fits import ROUNDINGS, Fit, best, fits, relative, whole_numbers

FILE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7, "q4_k": 14, "bf16": 32}  # the numbers of llama.cpp
BLOCKS = {"q8_0": 32, "q4_0": 32, "q4_k": 256, "q6_k": 256}  # a row is a whole number of blocks
LARGEST = 3.3e38  # in magnitude, of bfloat16
CHUNK = 1024  # blocks that are rounded at once, so that the compiled program serves every tensor
MOVES = np.array([(scale, low) for scale in (-1, 0, 1) for low in (-1, 0, 1)], np.float32)


def form_of(name: str, shape: Sequence[int], wanted: str) -> str:
    """Returns the form of a tensor in a file of the form `wanted`."""
    if len(shape) == 1 or name.endswith(ROUTER):
        return "f32"
    forms = (*(["q6_k"] if wanted.startswith("q4") and name in (EMBEDDING, OUTPUT) else [wanted]), "q8_0", "f16")
    return next(form for form in forms if shape[-1] % BLOCKS.get(form, 1) == 0)


def ggml_type(form: str) -> gguf.GGMLQuantizationType:
    """Returns what the package gguf calls a form."""
    return gguf.GGMLQuantizationType[form.upper()]


def size_of(shape: Sequence[int], form: str) -> int:
    """Returns the bytes of a tensor."""
    weights, size = gguf.GGML_QUANT_SIZES[ggml_type(form)]
    return math.prod(shape) // weights * size


def rounded(x: np.ndarray, form: str, name: str, importance: np.ndarray | None = None) -> np.ndarray:
    """Returns a tensor as it stands in the file.

    Args:
        x: The tensor, float32.
        form: From `form_of`.
        name: Its name, for the error message.
        importance: The mean square of each input of a matrix (columns,), by which the errors of its weights count, so that its outputs have
            the smallest error; None if all count the same. Only Q4_K reads it.

    Raises:
        ValueError: If a number is not finite, or too large for float16.
    """
    largest = max(x.max(), -x.min())  # without a copy of all magnitudes
    if not largest <= (LARGEST if form in ("f32", "bf16") else 65504):
        raise ValueError(f"{name} holds {largest:g}, which {form} cannot express; export another checkpoint, or --quantize bf16")
    if form == "bf16":
        return x.astype(jnp.bfloat16).view(np.uint8)
    if form not in ("q4_k", "q6_k"):
        return gguf.quants.quantize(x, ggml_type(form))
    columns = np.ones(x.shape[-1]) if importance is None else relative(importance)
    blocks, weights, parts = x.reshape(-1, 256), columns.astype(np.float32).reshape(-1, 256), []
    for at in range(0, len(blocks), CHUNK):
        part = blocks[at : at + CHUNK]
        padded = np.pad(part, ((0, CHUNK - len(part)), (0, 0)))
        whole = _q4_k(padded, weights[np.arange(at, at + CHUNK) % len(weights)]) if form == "q4_k" else _q6_k(padded)
        parts.append(np.asarray(whole)[: len(part)])
    return np.concatenate(parts).reshape(*x.shape[:-1], -1)


@jax.jit
def _q6_k(x: jax.Array) -> jax.Array:
    """Rounds blocks (blocks, 256) to Q6_K: (blocks, 210), uint8.

    A block has 16 parts of 16 weights, each `scale * q` with q from -32 to 31. The block keeps the scales as multiples from -127 to 127 of
    a float16.
    """
    x = x.reshape(-1, 16, 16)
    extreme = jnp.take_along_axis(x, jnp.abs(x).argmax(-1, keepdims=True), axis=-1)

    def fit(rounding: jax.Array) -> Fit:
        q = _around(x, -extreme / (32 + rounding))
        sum_qq, sum_qx = (q * q).sum(-1), (q * x).sum(-1)
        scale = jnp.where(sum_qq > 0, sum_qx / sum_qq, 0)
        return -scale * sum_qx, scale, scale  # the squared error, less that of zero

    scale = best(fit, ROUNDINGS)[1]
    unit = (jnp.abs(scale).max(-1, keepdims=True) / 127).astype(jnp.float16)
    whole = jnp.clip(jnp.round(scale / jnp.where(unit > 0, unit, 1)), -127, 127)
    q = (_around(x, (unit * whole)[..., None]) + 32).astype(jnp.uint8).reshape(-1, 2, 128)
    low = q[:, :, :64] & 15 | q[:, :, 64:] << 4
    high = (q.reshape(-1, 2, 4, 32) >> 4 << jnp.array([0, 2, 4, 6], jnp.uint8)[:, None]).sum(2, dtype=jnp.uint8)
    return jnp.concatenate([low.reshape(-1, 128), high.reshape(-1, 64), whole.astype(jnp.int8).view(jnp.uint8), _bytes(unit)], axis=-1)


def _around(x: jax.Array, unit: jax.Array) -> jax.Array:
    """Returns x as a whole number of units, from -32 to 31; 0 if the unit is 0."""
    return jnp.where(unit == 0, 0, jnp.clip(jnp.round(x / jnp.where(unit == 0, 1, unit)), -32, 31))


@jax.jit
def _q4_k(x: jax.Array, weights: jax.Array) -> jax.Array:
    """Rounds blocks (blocks, 256) to Q4_K: (blocks, 144), uint8. Squared errors count by the weights, (blocks, 256).

    A block has 8 parts of 32 weights, each `scale * q - low` with q from 0 to 15. The block keeps the scales and lows as multiples from 0
    to 63 of two float16.
    """
    x, weights = x.reshape(-1, 8, 32), weights.reshape(-1, 8, 32)
    found = fits(x, weights)
    units = [(fit.max(-1, keepdims=True) / 63).astype(jnp.float16) for fit in found]
    unit_scale, unit_low = (unit.astype(jnp.float32) for unit in units)
    near_scale, near_low = (whole_numbers(fit, unit, 63) for fit, unit in zip(found, (unit_scale, unit_low), strict=True))

    def numbers(scale: jax.Array, low: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns the whole numbers of the weights, and the squared error."""
        scale, low = (unit_scale * scale)[..., None], (unit_low * low)[..., None]
        q = whole_numbers(x + low, scale, 15)
        return q, (weights * (scale * q - low - x) ** 2).sum(-1)

    def moved(move: jax.Array) -> Fit:
        scale, low = jnp.clip(near_scale + move[0], 0, 63), jnp.clip(near_low + move[1], 0, 63)
        return numbers(scale, low)[1], scale, low

    _, scale, low = best(moved, MOVES)
    q = numbers(scale, low)[0].astype(jnp.uint8).reshape(-1, 4, 2, 32)
    scale, low = scale.astype(jnp.uint8), low.astype(jnp.uint8)
    upper_bits = [y[:, :4] | y[:, 4:] >> 4 << 6 for y in (scale, low)]
    packed = [*upper_bits, scale[:, 4:] & 15 | low[:, 4:] << 4, (q[:, :, 0] | q[:, :, 1] << 4).reshape(-1, 128)]
    return jnp.concatenate([*map(_bytes, units), *packed], axis=-1)


def _bytes(unit: jax.Array) -> jax.Array:
    """Returns float16 (blocks, 1) as bytes (blocks, 2)."""
    return jax.lax.bitcast_convert_type(unit, jnp.uint8).reshape(-1, 2)
