"""Reads and writes the parameters of a model as safetensors, one tensor at a time.

Reading puts each tensor onto the devices before the next is read, so the host needs memory for the largest tensor only. Nothing is
unpickled.
"""

import json
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from varietas.model.config import ModelConfig
from varietas.model.decoder import Params, graph_and_shapes
from varietas.model.formats.tensors import Tensor, constants, tensors
from varietas.model.sharding import param_shardings

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
FLOATS = ("F32", "BF16", "F16")
IGNORED = "rotary_emb.inv_freq"  # older releases store the rotary frequencies, which follow from config.json
FILE_BYTES = 5 * 10**9  # of a file, as in transformers


def read(folder: Path, cfg: ModelConfig, architecture: str, mesh: Mesh) -> Params:
    """Reads the parameters of a model of transformers onto a mesh.

    Args:
        folder: The folder with model.safetensors, or with several files and their index.
        cfg: The shape of the model.
        architecture: The architecture that config.json names.
        mesh: Where the parameters go.

    Returns:
        The parameters, float32, with the shardings of `param_shardings`.

    Raises:
        ValueError: If a file or tensor is missing, damaged, not known, or of another shape or dtype.
    """
    where, wanted, fixed = files_of(folder), tensors(cfg), constants(cfg, architecture)
    known = {tensor.name for tensor in wanted} | set(fixed)
    if missing := [name for name in known if name not in where and not (name in fixed and fixed[name].ndim)]:
        raise ValueError(f"{folder}: the tensor {min(missing)} is missing, and {len(missing) - 1} others; is the download complete?")
    copies = {"lm_head.weight"} if cfg.tied_embeddings else set()
    if unknown := [name for name in where if name not in known | copies and not name.endswith(IGNORED) and not _predicts_more(name, cfg)]:
        raise ValueError(f"{where[min(unknown)]}: the tensor {min(unknown)} is not known for {architecture}, and would be lost")
    for name, value in fixed.items():
        if name in where and not np.allclose(load(where[name], name, value.shape).astype(np.float32), value, rtol=1e-2, atol=0):
            raise ValueError(f"{where[name]}: {name} is not {value.flat[0]:g}, the only value that is known here")
    return placed(cfg, mesh, lambda tensor: load(where[tensor.name], tensor.name, tensor.shape))


def _predicts_more(name: str, cfg: ModelConfig) -> bool:
    """Whether a tensor belongs to the layers that DeepSeek's releases have besides, which predict more than the next token."""
    layer = name.removeprefix("model.layers.").partition(".")[0]
    return bool(cfg.kv_rank) and layer.isdigit() and int(layer) >= cfg.n_layers


def placed(cfg: ModelConfig, mesh: Mesh, value: Callable[[Tensor], np.ndarray]) -> Params:
    """Puts the parameters of a model onto a mesh, one tensor after the other.

    Args:
        cfg: The shape of the model.
        mesh: Where the parameters go.
        value: Returns a tensor as it lies on disk.

    Returns:
        The parameters, float32, with the shardings of `param_shardings`.
    """
    _, shapes = graph_and_shapes(cfg)
    wanted_shapes, shardings = flatten_dict(shapes), flatten_dict(param_shardings(shapes, mesh))
    params: dict[tuple[str, ...], jax.Array] = {}
    for tensor in tensors(cfg):
        shape, sharding, disk = wanted_shapes[tensor.path].shape, shardings[tensor.path], value(tensor)
        if not tensor.place:
            params[tensor.path] = _on_devices(tensor.from_disk(disk, shape), sharding)
            continue
        if tensor.path not in params:
            params[tensor.path] = jax.jit(partial(jnp.zeros, shape, jnp.float32), out_shardings=sharding)()
        n = len(tensor.place)
        part = _on_devices(tensor.from_disk(disk, shape[n:]), NamedSharding(mesh, PartitionSpec(*sharding.spec[n:])))
        params[tensor.path] = _with_part(params[tensor.path], part, np.array(tensor.place, np.int32))
    return unflatten_dict(params)


def files_of(folder: Path) -> dict[str, Path]:
    """Returns the file of each tensor of a folder.

    Raises:
        ValueError: If there are no safetensors, an index is damaged or leaves the folder, or a file is missing or damaged.
    """
    if (folder / INDEX).exists():
        index = folder / INDEX
        try:
            names = {str(name): str(file) for name, file in json.loads(index.read_text("utf-8"))["weight_map"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f"{index} is not an index of safetensors (a JSON object with weight_map); download it again") from None
        for shard in sorted(set(names.values())):
            if PurePosixPath(shard).name != shard or not shard.endswith(".safetensors"):
                raise ValueError(f"{index} names the file {shard!r}; expected the name of a .safetensors file in the same folder")
            if not (folder / shard).exists():
                raise ValueError(f"{folder / shard} is missing, but {INDEX} names it; is the download complete?")
        where = {name: folder / file for name, file in names.items()}
        for file in sorted(set(where.values())):
            for name in {name for name, holder in where.items() if holder == file} - set(_names(file)):
                raise ValueError(f"{file} does not hold the tensor {name}, which {INDEX} says it does")
        return where
    if (folder / SINGLE).exists():
        return {name: folder / SINGLE for name in _names(folder / SINGLE)}
    if pickles := sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt")):
        raise ValueError(
            f"{folder} holds {pickles[0]}, a pickle, which can run any code and is never opened; get the release as safetensors, or "
            "write it so where you trust it: AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(OUT)"
        )
    raise ValueError(f"{folder} has neither {SINGLE} nor {INDEX}")


def _names(file: Path) -> list[str]:
    with _opened(file) as content:
        return list(content.keys())


def _opened(file: Path) -> Any:
    try:
        return safe_open(file, framework="numpy")
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged or cut short ({error}); download it again") from None


def load(file: Path, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a tensor as it lies on disk.

    Raises:
        ValueError: If it has another shape or is not a float.
    """
    with _opened(file) as content:
        found = content.get_slice(name)
        if tuple(found.get_shape()) != shape:
            raise ValueError(f"{file}: {name} has the shape {tuple(found.get_shape())}, but config.json asks for {shape}")
        if found.get_dtype() not in FLOATS:
            raise ValueError(f"{file}: {name} is of the dtype {found.get_dtype()}; expected one of {', '.join(FLOATS)}")
        return content.get_tensor(name)


def _on_devices(x: np.ndarray, sharding: NamedSharding) -> jax.Array:
    """Puts an array onto the devices; each receives only its own part. It is made float32 there."""
    return jax.make_array_from_callback(x.shape, sharding, lambda index: np.ascontiguousarray(x[index])).astype(jnp.float32)


@partial(jax.jit, donate_argnums=0)
def _with_part(stacked: jax.Array, part: jax.Array, index: jax.Array) -> jax.Array:
    starts = [*index, *[jnp.int32(0)] * part.ndim]
    return jax.lax.dynamic_update_slice(stacked, part.reshape((1,) * len(index) + part.shape), starts)


def write(folder: Path, params: Params, cfg: ModelConfig, architecture: str, dtype: str, file_bytes: int = FILE_BYTES) -> None:
    """Writes parameters as transformers reads them: one file, or several with an index.

    Args:
        folder: An existing folder.
        params: The parameters, on any mesh of this process.
        cfg: The shape of the model.
        architecture: The architecture whose names are written.
        dtype: The dtype on disk: float32, bfloat16 or float16.
        file_bytes: Bytes of a file, at most, unless one tensor alone has more. The host needs as much memory.

    Raises:
        ValueError: If a number is not finite, or too large for the dtype.
    """
    wanted, fixed = {tensor.name: tensor for tensor in tensors(cfg)}, constants(cfg, architecture)
    itemsize = jnp.dtype(dtype).itemsize
    sizes = {name: math.prod(tensor.shape) * itemsize for name, tensor in wanted.items()}
    sizes |= {name: value.size * itemsize for name, value in fixed.items()}
    files, arrays = _in_files(sizes, file_bytes), flatten_dict(params)

    def value(name: str) -> np.ndarray:
        if name in fixed:
            return fixed[name].astype(dtype)
        x = on_disk(wanted[name], arrays)
        largest = np.abs(x).max()
        if not largest <= jnp.finfo(dtype).max:
            raise ValueError(f"{name} holds {largest:g}, which {dtype} cannot express; export another checkpoint, or --dtype bfloat16")
        return x.astype(dtype)

    holder: dict[str, str] = {}
    for number, names in enumerate(files, 1):
        file = SINGLE if len(files) == 1 else f"model-{number:05d}-of-{len(files):05d}.safetensors"
        save_file({name: value(name) for name in names}, folder / file, metadata={"format": "pt"})
        (folder / file).chmod(0o644)  # safetensors makes it readable for its owner alone
        holder |= dict.fromkeys(names, file)
    if len(files) > 1:
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": dict(sorted(holder.items()))}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", "utf-8")


def on_disk(tensor: Tensor, arrays: Mapping[tuple[str, ...], jax.Array]) -> np.ndarray:
    """Returns a tensor as transformers has it on disk, float32. `arrays` are our parameters by path."""
    array = arrays[tensor.path]
    return tensor.to_disk(np.asarray(array[tensor.place] if tensor.place else array))


def _in_files(sizes: Mapping[str, int], file_bytes: int) -> list[list[str]]:
    """Returns the names of the tensors of each file, in their order."""
    files: list[list[str]] = [[]]
    size = 0
    for name, of_tensor in sizes.items():
        if files[-1] and size + of_tensor > file_bytes:
            files.append([])
            size = 0
        files[-1].append(name)
        size += of_tensor
    return files
