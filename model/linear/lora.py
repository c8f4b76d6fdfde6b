"""Low-rank adapters (Hu et al., 2021): in place of a matrix W, W + (alpha / rank) A B is used, and only A and B are trained.

They stand beside the model's own parameters, under the name `adapters`: `down` (A) and `up` (B) of each matrix, with the rank as dimension
U. B begins at zero, so a model begins as it was. Products use A and B by themselves (model/linear/product.py).
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from varietas.model.config import ModelConfig, lora_words
from varietas.model.linear.quantized import InPlaceOfArray, Quantized
from varietas.model.sharding import STACKS, dims_of, sides

ADAPTERS = "adapters"
Params = dict[str, Any]
Keys = tuple[str, ...]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LowRank(InPlaceOfArray):
    """A matrix with its adapter. Arrays may have the layers R in front."""

    dims: str = field(metadata={"static": True})  # letters of the matrix
    matrix: Any
    down: Any
    up: Any  # the scale included


def halves(dims: str) -> tuple[str, str]:
    """Returns the letters of A and B for those of a matrix: "DNH" -> ("DU", "UNH"), "EDX" -> ("EDU", "EUX")."""
    inputs, outputs = ("".join(dims[axis] for axis in side) for side in sides(dims))
    front = dims[: len(dims) - len(inputs) - len(outputs)]
    return f"{front}{inputs}U", f"{front}U{outputs}"


def whole(w: Any) -> jax.Array:
    """Returns a matrix; the sum, if it has an adapter; float32, if it is quantized. The inputs of a quantized one are one dimension."""
    if isinstance(w, Quantized):
        return w.weights(jnp.float32)
    if not isinstance(w, LowRank):
        return w
    down, up = halves(w.dims)
    return w.matrix + jnp.einsum(f"...{down},...{up}->...{w.dims}", w.down, w.up)


def linear_layers(params: Params) -> dict[Keys, Any]:
    """Returns the matrices that may have an adapter, by their paths: all of layers but routers."""
    found = {tuple(str(part.key) for part in path): x for path, x in jax.tree_util.tree_leaves_with_path(params)}
    return {
        keys: x
        for keys, x in found.items()
        if keys[0] in STACKS and len(dims_of(keys)) > 2 and not any(word in keys[-1] for word in ("bias", "router"))
    }


def names(keys: Keys) -> set[str]:
    """Returns the names of a matrix and of the parts of a layer that it is in."""
    return {*keys[1:-1], keys[-1].rpartition("_")[0]}


def with_adapters(params: Params, cfg: ModelConfig, make: Callable[[str, tuple[int, ...], int], Any]) -> Params:
    """Returns parameters with those of the adapters that a config asks for, if it does.

    Args:
        params: Parameters, or their shapes, without adapters.
        cfg: The shape of the model.
        make: Returns A (`down`) or B (`up`) from its name, its shape, layers first, and the number of inputs of the matrix.

    Raises:
        ValueError: If `model.lora_on` names what there is not, or nothing.
    """
    if not cfg.lora_rank:
        return params
    adapters, found = dict[str, Any](), linear_layers(params)
    known = sorted({name for keys in found for name in names(keys)})
    for word in lora_words(cfg.lora_on):
        if word not in known:
            raise ValueError(f"model.lora_on: no linear layer is called {word!r}; there are {', '.join(known)}")
    if not lora_words(cfg.lora_on):
        raise ValueError(f"model.lora_on={cfg.lora_on!r} names no linear layer; there are {', '.join(known)}")
    for keys, matrix in found.items():
        if names(keys).isdisjoint(lora_words(cfg.lora_on)):
            continue
        dims = dims_of(keys)
        size, node = {**dict(zip(dims, matrix.shape, strict=True)), "U": cfg.lora_rank}, adapters
        n_inputs = math.prod(matrix.shape[axis] for axis in sides(dims)[0])
        for key in keys:
            node = node.setdefault(key, {})
        for name, letters in zip(("down", "up"), halves(dims[1:]), strict=True):
            node[f"{name}_{letters}"] = make(name, tuple(size[letter] for letter in "R" + letters), n_inputs)
    return {**params, ADAPTERS: adapters}


def adapter_shapes(params: Params, cfg: ModelConfig) -> Params:
    """Returns the shapes of parameters with those of adapters."""
    return with_adapters(params, cfg, lambda name, shape, n_inputs: jax.ShapeDtypeStruct(shape, jnp.float32))


def fresh_adapters(params: Params, cfg: ModelConfig, key: jax.Array) -> Params:
    """Returns parameters with adapters as they begin: A normal with a variance of 1 / inputs, and B zero."""
    number = itertools.count(1)

    def make(name: str, shape: tuple[int, ...], n_inputs: int) -> jax.Array:
        own = jax.random.fold_in(key, next(number))
        if name == "up":
            return jnp.zeros(shape, jnp.float32)
        return jax.random.normal(own, shape, jnp.float32) / math.sqrt(n_inputs)

    return with_adapters(params, cfg, make)


def without_adapters(params: Params) -> Params:
    """Returns the model's own parameters."""
    return {name: x for name, x in params.items() if name != ADAPTERS}


def trained(params: Params) -> Params:
    """Returns the parameters that are trained: the adapters if there are any, else all."""
    return params.get(ADAPTERS, params)


def with_trained(params: Params, new: Params) -> Params:
    """Returns parameters with others in place of those that `trained` returns."""
    return {**params, ADAPTERS: new} if ADAPTERS in params else new


def applied(params: Params, cfg: ModelConfig) -> Params:
    """Returns parameters as layers read them: a LowRank in place of each matrix that has an adapter."""
    return _joined(params, cfg, lambda w: w)


def merged(params: Params, cfg: ModelConfig) -> Params:
    """Returns the parameters of the same model without adapters."""
    return _joined(params, cfg, whole)


def _joined(params: Params, cfg: ModelConfig, join: Callable[[LowRank], Any]) -> Params:
    if ADAPTERS not in params:
        return params

    def at(keys: Keys, own: Any, adapter: Any) -> Params | LowRank | jax.Array:
        if isinstance(own, Mapping):
            return {name: at((*keys, name), value, (adapter or {}).get(name)) for name, value in own.items()}
        if not adapter:
            return own
        dims = dims_of(keys).removeprefix("R")
        down, up = halves(dims)
        return join(LowRank(dims, own, adapter[f"down_{down}"], adapter[f"up_{up}"] * (cfg.lora_alpha / cfg.lora_rank)))

    joined = at((), without_adapters(params), params[ADAPTERS])
    assert isinstance(joined, dict)
    return joined
