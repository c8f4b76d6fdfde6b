"""Embedding lookup for a table whose columns are split over fsdp and whose rows are split over tensor.

Each device looks up its columns for the tokens of its whole fsdp group. An all-to-all within the group then gives each device all columns
of its own tokens. So activations cross the network and the table never does. XLA's partitioner would instead gather the activations of all
devices on a mesh with more than one axis.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from varietas.model.linear.quantized import QuantizedTable
from varietas.model.sharding import RULES, batch_shards, spec


def embed(table_VD: jax.Array | QuantizedTable, tokens_BL: jax.Array, dtype: Any) -> jax.Array:
    """Looks up the embeddings of tokens.

    Args:
        table_VD: The embedding, perhaps quantized.
        tokens_BL: Token ids, int32.
        dtype: The dtype of the result. The gradient is summed in the table's own dtype, since frequent tokens have many addends.

    Returns:
        Rows of the table (B, L, D).
    """
    if isinstance(table_VD, QuantizedTable):
        return (embed(table_VD.numbers, tokens_BL, jnp.float32) * table_VD.scale[tokens_BL][..., None]).astype(dtype)
    (columns,), (rows,) = RULES["D"][0], RULES["V"][0]
    sizes = jax.sharding.get_abstract_mesh().shape
    if math.prod(sizes.values()) == 1 or tokens_BL.shape[0] % batch_shards():  # a batch that does not divide is a few prompts
        return table_VD[tokens_BL].astype(dtype)

    def of_one_device(table: jax.Array, tokens: jax.Array) -> jax.Array:
        tokens = jax.lax.all_gather(tokens, columns, tiled=True)
        if sizes[rows] == 1:
            found = table[tokens].astype(dtype)
        else:
            place = tokens - jax.lax.axis_index(rows) * len(table)
            here = (place >= 0) & (place < len(table))
            found = jnp.where(here[..., None], table[jnp.clip(place, 0, len(table) - 1)], 0).astype(dtype)
        found = jax.lax.all_to_all(found, columns, split_axis=0, concat_axis=2, tiled=True)
        return jax.lax.psum(found, rows)

    specs = spec("VD"), spec("BL", activation=True)
    return jax.shard_map(of_one_device, in_specs=specs, out_specs=spec("BLD", activation=True))(table_VD, tokens_BL)
