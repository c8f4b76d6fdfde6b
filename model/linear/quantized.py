"""Matrices whose weights are whole numbers of 8 or 4 bits. Activations stay as they are. `quantize` makes them."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Quantized:
    """A matrix as whole numbers, its inputs as one dimension. Layers, or layers and experts, may come first.

    With 8 bits the weights are `numbers * scale`: int8 (…, inputs, *outputs) and float32 (…, *outputs). With 4 bits they are
    `numbers * scale - low`: uint8 (…, groups, GROUP / 2, *outputs), of which each holds the numbers of two inputs, and bfloat16
    (…, groups, *outputs).
    """

    n_outputs: int = field(metadata={"static": True})  # dimensions
    numbers: Any
    scale: Any
    low: Any = None

    def __getitem__(self, index: Any) -> "Quantized":
        """Returns itself for `...`, by which layers read their parameters."""
        assert index is ...
        return self

    def weights(self, dtype: DTypeLike) -> jax.Array:
        """Returns the matrix (…, inputs, *outputs)."""
        at = self.numbers.ndim - self.n_outputs - 1  # the dimension of the inputs, or of those of a group
        if self.low is None:
            return self.numbers.astype(dtype) * jnp.expand_dims(self.scale, at).astype(dtype)
        halves = jnp.stack([self.numbers & 15, self.numbers >> 4], at).astype(jnp.float32)  # (…, groups, 2, GROUP / 2, *outputs)
        scale, low = (jnp.expand_dims(x.astype(jnp.float32), (at, at + 1)) for x in (self.scale, self.low))
        shape = self.numbers.shape
        return (halves * scale - low).astype(dtype).reshape(*shape[: at - 1], -1, *shape[at + 1 :])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class QuantizedTable:
    """An embedding as int8 (V, D), with a scale for each token, float32 (V,)."""

    numbers: Any
    scale: Any

    def __getitem__(self, index: Any) -> "QuantizedTable":
        """Returns itself for `...`, by which layers read their parameters."""
        assert index is ...
        return self

    @property
    def T(self) -> Quantized:
        """The output matrix of tied embeddings."""
        return Quantized(1, self.numbers.T, self.scale)


def is_quantized(x: Any) -> bool:
    """Returns whether a leaf of parameters is a matrix of whole numbers."""
    return isinstance(x, Quantized | QuantizedTable)
