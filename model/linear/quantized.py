"""Matrices whose weights are whole numbers of 8 or 4 bits. Activations stay as they are. `quantize` makes them."""

from dataclasses import dataclass, field
from typing import Any, Self

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike


class InPlaceOfArray:
    """What may stand in place of a parameter's array."""

    def __getitem__(self, index: Any) -> Self:
        """Returns itself for `...`, by which layers read their parameters."""
        assert index is ...
        return self


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Quantized(InPlaceOfArray):
    """A matrix as whole numbers, its inputs as one dimension. Layers, or layers and experts, may come first.

    With 8 bits the weights are `numbers * scale`: int8 (…, inputs, *outputs) and float32 (…, *outputs). With 4 bits they are
    `numbers * scale - low`: uint8 (…, groups, GROUP / 2, *outputs), of which each holds the numbers of two inputs, and bfloat16
    (…, groups, *outputs).
    """

    n_outputs: int = field(metadata={"static": True})  # dimensions
    numbers: Any
    scale: Any
    low: Any = None

    def weights(self, dtype: DTypeLike) -> jax.Array:
        """Returns the matrix (…, inputs, *outputs)."""
        at = self.numbers.ndim - self.n_outputs - 1  # the dimension of the inputs, or of those of a group
        if self.low is None:
            return self.numbers.astype(dtype) * jnp.expand_dims(self.scale, at).astype(dtype)
        shape = self.numbers.shape
        return jnp.stack(self.halves(dtype), at).reshape(*shape[: at - 1], -1, *shape[at + 1 :])

    def halves(self, dtype: DTypeLike) -> list[jax.Array]:
        """Returns, with 4 bits, the weights of the first and of the second half of each group, each (…, groups, GROUP / 2, *outputs)."""
        at = self.numbers.ndim - self.n_outputs - 1
        scale, low = (jnp.expand_dims(x.astype(jnp.float32), at) for x in (self.scale, self.low))
        return [(numbers.astype(jnp.float32) * scale - low).astype(dtype) for numbers in (self.numbers & 15, self.numbers >> 4)]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class QuantizedTable(InPlaceOfArray):
    """An embedding as int8 (V, D), with a scale for each token, float32 (V,)."""

    numbers: Any
    scale: Any

    @property
    def T(self) -> Quantized:
        """The output matrix of tied embeddings."""
        return Quantized(1, self.numbers.T, self.scale)


def is_quantized(x: Any) -> bool:
    """Returns whether a leaf of parameters is a matrix of whole numbers."""
    return isinstance(x, Quantized | QuantizedTable)
