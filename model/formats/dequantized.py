"""The parameters of a model as a GGUF file of some form gives them back: what the file computes with, apart from sums in another order."""

from types import MappingProxyType

import gguf
import numpy as np
from flax.traverse_util import flatten_dict
from jax.sharding import Mesh

from varietas.model.config import ModelConfig
from varietas.model.decoder import Params
from varietas.model.formats.gguf import GGUFTensor, Importances, gguf_tensors
from varietas.model.formats.quants import form_of, ggml_type, rounded, size_of
from varietas.model.formats.tensors import Tensor
from varietas.model.formats.weights import on_disk, placed


def as_in_file(params: Params, cfg: ModelConfig, form: str, mesh: Mesh, importances: Importances = MappingProxyType({})) -> Params:
    """Rounds parameters as a GGUF file of a form does, and returns them as float32.

    Args:
        params: The parameters, on any mesh of this process.
        cfg: The shape of the model.
        form: One of `quants.FILE_TYPES`.
        mesh: Where the result goes.
        importances: By which weights are rounded; those that are missing count the same.

    Raises:
        ValueError: If llama.cpp has no model that computes the same, or a number has no place in the form.
    """
    arrays = flatten_dict(params)
    held: dict[str, list[GGUFTensor]] = {}
    for tensor in gguf_tensors(cfg):
        for source in tensor.sources:
            held.setdefault(source.name, []).append(tensor)

    def given_back(tensor: GGUFTensor, x: np.ndarray) -> np.ndarray:
        part = np.ascontiguousarray(tensor.of_source(x, cfg))
        kind = form_of(tensor.name, part.shape, form)
        whole = gguf.quants.dequantize(rounded(part, kind, tensor.name, tensor.importance(importances)), ggml_type(kind))
        return np.asarray(whole, np.float32).reshape(part.shape)

    def value(tensor: Tensor) -> np.ndarray:
        x = np.ascontiguousarray(on_disk(tensor, arrays), np.float32)
        if tensor.name not in held:  # a field of the file
            return x
        first, *others = held[tensor.name]
        if not first.half:  # tied embeddings may stand there twice
            return given_back(first, x)
        keys, values = given_back(first, x), given_back(others[0], x)
        return np.concatenate([keys.swapaxes(1, 2), values], axis=1).reshape(x.shape)

    return placed(cfg, mesh, value)


def bytes_in_file(cfg: ModelConfig, form: str) -> int:
    """Returns the bytes of all tensors of a GGUF file."""
    return sum(size_of(tensor.shape, form_of(tensor.name, tensor.shape, form)) for tensor in gguf_tensors(cfg))
