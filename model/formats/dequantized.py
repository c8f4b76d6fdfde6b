"""The parameters of a model as a GGUF file of some form gives them back: what the file computes with, apart from sums in another order."""

from types import MappingProxyType

import gguf
import numpy as np
from flax.traverse_util import flatten_dict
from jax.sharding import Mesh

from varietas.model.config import ModelConfig
from varietas.model.decoder import Params
from varietas.model.formats.gguf import Importances, gguf_tensors, importance_of
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
    names = {source.name: tensor.name for tensor in gguf_tensors(cfg) for source in tensor.sources}

    def value(tensor: Tensor) -> np.ndarray:
        x = np.ascontiguousarray(on_disk(tensor, arrays), np.float32)
        if tensor.name not in names:  # a field of the file
            return x
        kind = form_of(names[tensor.name], tensor.shape, form)
        whole = gguf.quants.dequantize(rounded(x, kind, tensor.name, importance_of(tensor, importances)), ggml_type(kind))
        return np.asarray(whole, np.float32).reshape(tensor.shape)

    return placed(cfg, mesh, value)


def bytes_in_file(cfg: ModelConfig, form: str) -> int:
    """Returns the bytes of all tensors of a GGUF file."""
    return sum(size_of(tensor.shape, form_of(tensor.name, tensor.shape, form)) for tensor in gguf_tensors(cfg))
