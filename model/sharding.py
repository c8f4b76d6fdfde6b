"""The sharding of every array, as one table from dimension letters to mesh axes. No model writes a PartitionSpec of its own.

The letters at the end of a parameter's name are its dimensions (`query_DNH`), so its sharding follows from its name. A layer that a user
adds is sharded without further code. All parameters under one of STACKS have the layer dimension R in front.

Experts are split over `tensor`. The devices of that axis have the same tokens, so each computes what its own experts add to them, and one
sum puts that together, as in a dense feed-forward part: no token travels, and none is dropped.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from varietas.model.linear.quantized import is_quantized

T = TypeVar("T")

AXES = ("data", "fsdp", "tensor")
STACKS = ("dense_layers", "layers")  # the names under which parameters of layers are stacked

# letter: (mesh axes in parameters, mesh axes in activations)
RULES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "B": ((), ("data", "fsdp")),  # batch
    "L": ((), ()),  # sequence
    "D": (("fsdp",), ()),  # model width
    "N": (("tensor",), ("tensor",)),  # query heads
    "K": (("tensor",), ("tensor",)),  # key and value heads
    "H": ((), ()),  # head width
    "F": (("tensor",), ("tensor",)),  # feed-forward width
    "E": (("tensor",), ("tensor",)),  # experts
    "X": ((), ()),  # width of an expert
    "Q": ((), ()),  # width of a narrow vector that a product makes
    "Z": (("fsdp",), ()),  # the same where a product begins with it
    "V": (("tensor",), ("tensor",)),  # vocabulary
    "R": ((), ()),  # layers
    "U": ((), ()),  # rank of an adapter
    "1": ((), ()),  # a single value
}


def make_mesh(data: int, fsdp: int, tensor: int, devices: list[jax.Device] | None = None) -> Mesh:
    """Arranges devices in a mesh with the axes `data`, `fsdp` and `tensor`.

    Args:
        data: Size of the axis `data`.
        fsdp: Size of the axis `fsdp`.
        tensor: Size of the axis `tensor`.
        devices: The devices to use; by default all of them.

    Raises:
        ValueError: If the sizes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    if data * fsdp * tensor != len(devices):
        raise ValueError(
            f"mesh data={data} × fsdp={fsdp} × tensor={tensor} needs {data * fsdp * tensor} devices, found {len(devices)}; "
            "set sizes whose product is the number of devices"
        )
    placed = mesh_utils.create_device_mesh((data, fsdp, tensor), devices, allow_split_physical_axes=True)  # follows the torus of a TPU
    return Mesh(placed, AXES, axis_types=(AxisType.Auto,) * 3)


def spec(dims: str, activation: bool = False) -> PartitionSpec:
    """Returns the PartitionSpec of an array.

    Args:
        dims: Its dimension letters.
        activation: Whether it is an activation; otherwise it is a parameter.

    Raises:
        ValueError: If a letter is unknown or the array would use a mesh axis twice.
    """
    return PartitionSpec(*(axes or None for axes in _axes(dims, activation)))


def _axes(dims: str, activation: bool = False) -> list[tuple[str, ...]]:
    """Returns the mesh axes that each dimension is split over.

    A parameter with one dimension, the scale of a norm, is replicated on every device: gathering it would take longer than keeping it.
    """
    unknown = [letter for letter in dims if letter not in RULES]
    if unknown:
        raise ValueError(f"dimension {unknown[0]!r} of {dims!r} is not in the sharding table; it knows {''.join(RULES)}")
    whole = not activation and not _is_matrix(dims)
    axes = [() if whole else RULES[letter][activation] for letter in dims]
    used = [axis for group in axes for axis in group]
    if len(used) != len(set(used)):
        raise ValueError(f"dimensions {dims!r} use a mesh axis twice: {axes}")
    return axes


def _no_mesh() -> bool:
    return jax.sharding.get_abstract_mesh().empty


def constrain(x: jax.Array, dims: str) -> jax.Array:
    """Constrains an activation with these dimension letters to its sharding on the active mesh. Without an active mesh, returns it."""
    if _no_mesh():
        return x
    return jax.lax.with_sharding_constraint(x, spec(dims, activation=True))


def on_all(x: jax.Array) -> jax.Array:
    """Puts the whole of `x` on every device of the active mesh, so that every process can read it. Without an active mesh, returns it."""
    return x if _no_mesh() else jax.lax.with_sharding_constraint(x, PartitionSpec())


def gathered(w: jax.Array, dims: str, dtype: Any) -> jax.Array:
    """Gathers a parameter over `fsdp` and casts it to the dtype that products are computed in.

    The constraint is explicit, so that XLA gathers the parameter once for all its uses, and in the narrower dtype.

    Args:
        w: The parameter, or its part of one layer.
        dims: Its dimension letters.
        dtype: The compute dtype.

    Returns:
        The parameter, still split over `tensor`.
    """
    return constrain(w.astype(dtype), dims)


def weights_split() -> bool:
    """Returns whether the active mesh splits parameters over `fsdp`, so that they are gathered before use."""
    return jax.sharding.get_abstract_mesh().shape.get("fsdp", 1) > 1


def batch_shards() -> int:
    """Returns how many parts the active mesh splits a batch into; 1 without an active mesh."""
    shape = jax.sharding.get_abstract_mesh().shape
    return math.prod(shape.get(axis, 1) for axis in RULES["B"][1])


def sum_over_batch(x: jax.Array, dims: str) -> jax.Array:
    """Sums `x` over its first dimension, which has one entry for each part of the batch.

    This is written as an explicit reduce-scatter, since XLA's TPU compiler turns a sum and a constraint into an all-reduce of the whole
    array.

    Args:
        x: An array of shape (batch_shards(), *dims).
        dims: Dimension letters of the result.

    Returns:
        The sum, sharded as a parameter with these dimensions.
    """
    if _no_mesh():
        return x.sum(0)
    return jax.shard_map(lambda x: summed_here(x[0], dims), in_specs=spec("B" + dims, activation=True), out_specs=spec(dims))(x)


def each_device(fn: Callable[..., T], activations: Sequence[str], params: Sequence[str], out: Any) -> Callable[..., T]:
    """Returns a function that calls `fn` on each device, with the device's parts of arrays. Without an active mesh, returns `fn`.

    Rows of zeros are added if the devices do not divide a batch, as when a few prompts are continued, and taken away from the result.

    Args:
        fn: A function of activations, then parameters.
        activations: Dimension letters of each activation, B first. Dimensions that they leave out at the end are not split.
        params: Dimension letters of each parameter.
        out: Dimension letters of the result, an activation, or a tuple of them.
    """
    if _no_mesh():
        return fn
    ins = (*(spec(dims, activation=True) for dims in activations), *map(spec, params))
    of_devices = jax.shard_map(fn, in_specs=ins, out_specs=jax.tree.map(lambda dims: spec(dims, activation=True), out))

    def call(*arrays: jax.Array) -> T:
        more = -len(arrays[0]) % batch_shards()
        if not more:
            return of_devices(*arrays)
        n = len(activations)
        padded = [jnp.pad(x, [(0, more)] + [(0, 0)] * (x.ndim - 1)) for x in arrays[:n]]
        return jax.tree.map(lambda x: x[: len(arrays[0])], of_devices(*padded, *arrays[n:]))

    return call


def gathered_here(w: jax.Array, dims: str, dtype: Any) -> jax.Array:
    """Within `each_device`: gathers a parameter like `gathered`."""
    w = w.astype(dtype)
    for axis, i in () if _no_mesh() else _scattered(dims).items():
        w = jax.lax.all_gather(w, axis, axis=i, tiled=True)
    return w


def summed_here(x: jax.Array, dims: str) -> jax.Array:
    """Within `each_device`: sums `x` over the devices of a batch. Each keeps its part of a parameter with these dimension letters.

    Several processes on CPUs do an all-reduce, because the reduce-scatter of gloo gives up after 30 s (jax-ml/jax#40831) and sometimes
    returns wrong values (jax-ml/jax#40830, seen here too).
    """
    if _no_mesh():
        return x
    over_gloo = jax.default_backend() == "cpu" and jax.process_count() > 1
    scattered = _scattered(dims)
    for axis, i in scattered.items():
        if over_gloo:
            size = x.shape[i] // jax.lax.axis_size(axis)
            x = jax.lax.dynamic_slice_in_dim(jax.lax.psum(x, axis), jax.lax.axis_index(axis) * size, size, i)
        else:
            x = jax.lax.psum_scatter(x, axis, scatter_dimension=i, tiled=True)
    return jax.lax.psum(x, tuple(axis for axis in RULES["B"][1] if axis not in scattered))


def _scattered(dims: str) -> dict[str, int]:
    """Returns the mesh axes of the batch that split a parameter as well, with the dimension that each splits."""
    return {axis: i for i, letter in enumerate(dims) for axis in RULES[letter][0] if axis in RULES["B"][1]}


def first_here(letter: str, size: int) -> jax.Array | int:
    """Within `each_device`: returns the first index of a device's part of a dimension, of which each device has `size`."""
    return 0 if _no_mesh() else jax.lax.axis_index(RULES[letter][0]) * size


def sum_over(x: jax.Array, letter: str) -> jax.Array:
    """Within `each_device`: sums `x` over the devices that a dimension is split over."""
    return x if _no_mesh() else jax.lax.psum(x, RULES[letter][0])


def as_varying(x: jax.Array, letter: str = "") -> jax.Array:
    """Within `each_device`: marks `x` as an array that differs between devices. Its gradient is summed over them at this place.

    Args:
        x: An array that is the same on all devices; loops ask for what they carry to be marked.
        letter: A dimension. If it is given, `x` differs between the devices that split this dimension only.
    """
    return x if _no_mesh() else jax.lax.pcast(x, RULES[letter][0] if letter else AXES, to="varying")


def on_whole_matrices(fn: Callable[[jax.Array], jax.Array], w: jax.Array, dims: str) -> jax.Array:
    """Applies a function to a stack of matrices that devices hold parts of. They exchange these, so that each has some matrices whole.

    Where experts are split, each device does so with the matrices of its own.

    The exchanges are explicit, since XLA would gather all matrices where two mesh axes split them.

    Args:
        fn: A function of a stack to one of the same shape, which treats each matrix alone. It also gets matrices of zeros, if the
            devices do not divide the stack.
        w: A parameter of all layers, or what has its shape and sharding.
        dims: Its dimension letters, with R in front.

    Returns:
        The result, sharded as the parameter.
    """
    shape = jax.sharding.get_abstract_mesh().shape
    of_matrix = [i for side in sides(dims) for i in side]
    splits = [(axis, i) for i, axes in enumerate(_axes(dims)) for axis in axes if shape.get(axis, 1) > 1 and i in of_matrix]
    if not splits:
        return fn(w)
    more = -w.shape[0] % math.prod(shape[axis] for axis, _ in splits)

    def of_one_device(part: jax.Array) -> jax.Array:
        part = jnp.pad(part, [(0, more)] + [(0, 0)] * (part.ndim - 1))
        for axis, i in splits:
            part = jax.lax.all_to_all(part, axis, 0, i, tiled=True)
        part = fn(part)
        for axis, i in reversed(splits):
            part = jax.lax.all_to_all(part, axis, i, 0, tiled=True)
        return part[: w.shape[0]]

    return jax.shard_map(of_one_device, in_specs=spec(dims), out_specs=spec(dims))(w)


def dims_of(path: tuple[str, ...]) -> str:
    """Returns the dimension letters of the parameter at `path`: ("layers", "attention", "query_DNH") -> "RDNH"."""
    return ("R" if any(name in STACKS for name in path) else "") + path[-1].rsplit("_", 1)[-1]


def matrices(params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a tree of booleans: whether each parameter is a matrix, not a bias, and not a vector within its layer."""

    def one(path: tuple[Any, ...], _: Any) -> bool:
        keys = tuple(str(part.key) for part in path)
        return _is_matrix(dims_of(keys)) and "bias" not in keys[-1]

    return jax.tree_util.tree_map_with_path(one, params, is_leaf=is_quantized)


def sides(dims: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the axes over which a product with a matrix sums, and the axes of its result: those of D, N, H for "RDNH" are (1,), (2, 3).

    The first dimension is summed over, and with heads their width as well. The dimensions of layers and experts belong to neither.
    """
    begin = len(dims) - len(dims.lstrip("RE"))
    middle = begin + (2 if dims[begin] in "NK" else 1)
    return tuple(range(begin, middle)), tuple(range(middle, len(dims)))


def _is_matrix(dims: str) -> bool:
    return len(dims.removeprefix("R")) > 1


def param_shardings(params: Mapping[str, Any], mesh: Mesh) -> dict[str, Any]:
    """Returns a tree with the NamedSharding of every parameter.

    Args:
        params: Nested dicts of arrays or ShapeDtypeStructs.
        mesh: The mesh to shard over.

    Raises:
        ValueError: If the name of a parameter does not match its shape, or its shape does not divide over the mesh.
    """

    def one(path: tuple[Any, ...], array: Any) -> NamedSharding:
        keys = tuple(str(part.key) for part in path)
        name, dims = "/".join(keys), dims_of(keys)
        if len(dims) != len(array.shape) or not set(dims) <= set(RULES):
            raise ValueError(
                f"parameter {name} has shape {array.shape}, but its name ends with {dims!r}; end it with a letter of {''.join(RULES)} "
                "for each dimension, as in query_DNH (under layers, R is added in front)"
            )
        for letter, size, axes in zip(dims, array.shape, _axes(dims), strict=True):
            for axis in axes:
                if size % mesh.shape[axis]:
                    raise ValueError(
                        f"parameter {name}: {letter}={size} does not divide over mesh.{axis}={mesh.shape[axis]}; "
                        "choose a size of the mesh axis that divides it"
                    )
        return NamedSharding(mesh, spec(dims))

    return jax.tree_util.tree_map_with_path(one, params)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch (B, L): rows are split over `data` and `fsdp`."""
    return NamedSharding(mesh, spec("BL", activation=True))


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of an array that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())
