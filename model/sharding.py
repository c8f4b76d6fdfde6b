"""Sharding is one table: dimension letter -> mesh axes. The only place where a PartitionSpec is written.

The letters at the end of a parameter's name are its dimensions (`query_DNH`), so its sharding is read off its name, and a
layer that a user adds is sharded without another word. Under `layers` all parameters have the layer axis R in front.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXES = ("data", "fsdp", "tensor")

# letter: (axes in parameters, axes in activations)
RULES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "B": ((), ("data", "fsdp")),  # batch
    "L": ((), ()),  # sequence
    "D": (("fsdp",), ()),  # model width
    "N": (("tensor",), ("tensor",)),  # query heads
    "K": (("tensor",), ("tensor",)),  # key and value heads
    "H": ((), ()),  # head width
    "F": (("tensor",), ("tensor",)),  # feed-forward width
    "V": (("tensor",), ("tensor",)),  # vocabulary
    "R": ((), ()),  # layers
}


def make_mesh(data: int, fsdp: int, tensor: int, devices: list[jax.Device] | None = None) -> Mesh:
    """The named mesh. Raises ValueError if it does not take all the devices."""
    devices = jax.devices() if devices is None else devices
    if data * fsdp * tensor != len(devices):
        raise ValueError(f"mesh data={data} × fsdp={fsdp} × tensor={tensor} needs {data * fsdp * tensor} devices, found {len(devices)}")
    placed = mesh_utils.create_device_mesh((data, fsdp, tensor), devices, allow_split_physical_axes=True)  # a TPU's links are a torus
    return Mesh(placed, AXES, axis_types=(AxisType.Auto,) * 3)


def spec(dims: str, activation: bool = False) -> PartitionSpec:
    """The PartitionSpec of an array with these dimension letters. Raises ValueError on an unknown letter or an axis used twice."""
    return PartitionSpec(*(axes or None for axes in _axes(dims, activation)))


def _axes(dims: str, activation: bool = False) -> list[tuple[str, ...]]:
    """The mesh axes that each dimension is split over.

    A parameter of one dimension, a norm's scale, is whole on every device: to gather it would take longer than to keep it.
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


def constrain(x: jax.Array, dims: str) -> jax.Array:
    """Pins an activation with these dimensions to the active mesh; nothing where no mesh is active."""
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, spec(dims, activation=True))


def gathered(w: jax.Array, dims: str, dtype: Any) -> jax.Array:
    """A parameter as products need it: of their dtype, and no longer split as the batch is.

    Said outright, so that XLA gathers it once for all that use it, and in the narrower dtype.
    """
    return constrain(w.astype(dtype), dims)


def weights_split() -> bool:
    """Whether the active mesh splits parameters as it splits the batch, so that they are gathered where they are used."""
    return jax.sharding.get_abstract_mesh().shape.get("fsdp", 1) > 1


def batch_shards() -> int:
    """How many parts the active mesh splits a batch into; 1 where no mesh is active."""
    shape = jax.sharding.get_abstract_mesh().shape
    return math.prod(shape.get(axis, 1) for axis in RULES["B"][1])


def sum_over_batch(x: jax.Array, dims: str) -> jax.Array:
    """The sum of x (batch_shards(), *dims) over its first dimension, split as a parameter with these dimensions is.

    Said outright as a reduce-scatter: of a sum and a constraint, XLA's TPU compiler makes an all-reduce of the whole.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return x.sum(0)
    scattered = {axis: i for i, letter in enumerate(dims) for axis in RULES[letter][0] if axis in RULES["B"][1]}

    def of_one_device(x: jax.Array) -> jax.Array:
        x = x[0]
        for axis, i in scattered.items():
            x = jax.lax.psum_scatter(x, axis, scatter_dimension=i, tiled=True)
        return jax.lax.psum(x, tuple(axis for axis in RULES["B"][1] if axis not in scattered))

    return jax.shard_map(of_one_device, in_specs=spec("B" + dims, activation=True), out_specs=spec(dims))(x)


def dims_of(path: tuple[str, ...]) -> str:
    """Dimension letters of the parameter at `path`: ("layers", "attention", "query_DNH") -> "RDNH"."""
    return ("R" if path[0] == "layers" else "") + path[-1].rsplit("_", 1)[-1]


def matrices(params: Mapping[str, Any]) -> Any:
    """True for each parameter of two or more dimensions, layers not counted."""
    return jax.tree_util.tree_map_with_path(lambda path, _: _is_matrix(dims_of(tuple(str(part.key) for part in path))), params)


def _is_matrix(dims: str) -> bool:
    return len(dims.removeprefix("R")) > 1


def param_shardings(params: Mapping[str, Any], mesh: Mesh) -> Any:
    """A NamedSharding for every array of a parameter tree (nested dicts).

    Raises ValueError if a parameter's name does not fit its shape or its shape does not divide over the mesh.
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
                    raise ValueError(f"parameter {name}: {letter}={size} does not divide over mesh.{axis}={mesh.shape[axis]}")
        return NamedSharding(mesh, spec(dims))

    return jax.tree_util.tree_map_with_path(one, params)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Of a batch (B, L): rows over data and fsdp."""
    return NamedSharding(mesh, spec("BL", activation=True))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())
