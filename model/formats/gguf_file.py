"""Writes a GGUF file: fields, a table of tensors, and the tensors. Each is rounded only when it is written."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import gguf
import numpy as np
from flax.traverse_util import flatten_dict

from varietas.model.config import ModelConfig
from varietas.model.decoder import Params
from varietas.model.formats.gguf import Field, Importances, architecture_of, gguf_tensors, metadata
from varietas.model.formats.quants import FILE_TYPES, form_of, ggml_type, rounded, size_of


def write(
    file: Path, cfg: ModelConfig, params: Params, form: str, fields: Mapping[str, Field], importances: Importances = MappingProxyType({})
) -> Iterator[str]:
    """Writes a model. The host needs memory for the largest tensor only, in float32 and rounded.

    Args:
        file: The new file.
        cfg: The shape of the model.
        params: The parameters, on any mesh of this process.
        form: How weights are kept: one of `quants.FILE_TYPES`.
        fields: What the file says besides the shape: its name, the tokenizer.
        importances: By which weights are rounded; those that are missing count the same.

    Yields:
        The name of each tensor after it is written. The file is complete when all have been taken.

    Raises:
        ValueError: If llama.cpp has no model that computes the same, or a number has no place in the form.
    """
    tensors, arrays = gguf_tensors(cfg), flatten_dict(params)
    forms = {tensor.name: form_of(tensor.name, tensor.shape, form) for tensor in tensors}
    writer = gguf.GGUFWriter(file, architecture_of(cfg))
    kept = {"general.file_type": FILE_TYPES[form], "general.quantization_version": gguf.GGML_QUANT_VERSION}
    for name, value in {**fields, **kept, **metadata(cfg, arrays)}.items():
        _add(writer, name, value)
    for tensor in tensors:
        kind = forms[tensor.name]
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), size_of(tensor.shape, kind), ggml_type(kind))
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in tensors:
            rows = rounded(tensor.value(arrays, cfg), forms[tensor.name], tensor.name, tensor.importance(importances))
            writer.write_tensor_data(rows)
            yield tensor.name
    finally:
        writer.close()


def _add(writer: gguf.GGUFWriter, name: str, value: Field) -> None:
    """Adds a field. A whole number is unsigned, as llama.cpp expects it."""
    kinds = gguf.GGUFValueType
    kind = kinds.ARRAY if isinstance(value, (list, tuple)) else kinds.UINT32 if type(value) is int else kinds.get_type(value)
    writer.add_key_value(name, value, kind)
