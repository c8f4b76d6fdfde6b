"""Which inputs of each linear layer are large, over text of all languages alike: rounding weights spares those that meet large inputs.

The error of an output is the sum of the errors of weights, each times its input. So the squared error of a weight counts by the mean
square of its input, as in AWQ (Lin et al., 2023) and in the importance matrices of llama.cpp. Every language has the same number of tokens,
so that none is spared at the cost of another.
"""

import math
from collections.abc import Iterable
from functools import partial
from itertools import cycle, islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from varietas.data.text.documents import Document
from varietas.data.tokenizer.model import Tokenizer
from varietas.model.config import ModelConfig
from varietas.model.decoder import Params, bind, graph_and_shapes
from varietas.model.formats.gguf import Importances
from varietas.model.linear.lora import Keys, linear_layers
from varietas.model.linear.product import Observed
from varietas.model.sharding import batch_sharding, dims_of, sides
from varietas.train.inference.network import Network

TOKENS = 2048  # of each language
LONGEST = 512  # tokens of a row
ROWS = 8  # at a time


def importances(network: Network, processor: Tokenizer, documents: Iterable[Document]) -> Importances:
    """Returns the mean square of each input of the linear layers, by the path of the matrix: float32 (layers, inputs).

    The matrices of experts and routers are left out.

    Args:
        network: The model.
        processor: Its tokenizer.
        documents: The text. A language with less than TOKENS tokens is repeated.

    Raises:
        ValueError: If there is no document.
    """
    at_once = math.lcm(ROWS, network.mesh.shape["data"] * network.mesh.shape["fsdp"])  # divides over the devices
    rows = _rows(processor, documents, min(LONGEST, network.config.max_seq_len), at_once)
    squares = {keys: jnp.zeros(_inputs(keys, x), jnp.float32) for keys, x in linear_layers(network.params).items() if _observed(keys)}
    graph, _ = graph_and_shapes(network.config)
    with jax.set_mesh(network.mesh):
        for begin in range(0, len(rows), at_once):
            found = _sums(graph, network.config, network.params, squares, _on(network.mesh, rows[begin : begin + at_once]))
            squares = jax.tree.map(jnp.add, squares, found)
    return {keys: np.asarray(x) / rows.size for keys, x in squares.items()}


def _rows(processor: Tokenizer, documents: Iterable[Document], length: int, at_once: int) -> np.ndarray:
    """Returns full rows of `length` tokens, int32: as many of each language, and a multiple of `at_once` in all."""
    ids: dict[str, list[int]] = {}
    for document in documents:
        of_language = ids.setdefault(document.lang, [])
        if len(of_language) < TOKENS:
            of_language += processor.encode(document.text, add_bos=True)
    if not ids:
        raise ValueError("there is no document to calibrate on; name files of records with text and lang, or none for our text")
    multiple = at_once // math.gcd(at_once, len(ids))
    n = max(1, -(-TOKENS // (length * multiple))) * multiple * length
    rows = [np.fromiter(islice(cycle(of_language), n), np.int32, n).reshape(-1, length) for of_language in ids.values()]
    return np.concatenate(rows)


def _on(mesh: Mesh, rows: np.ndarray) -> jax.Array:
    return jax.make_array_from_callback(rows.shape, batch_sharding(mesh), rows.__getitem__)


def _observed(keys: Keys) -> bool:
    return "E" not in dims_of(keys)


def _inputs(keys: Keys, x: Any) -> tuple[int, ...]:
    return (x.shape[0], *(x.shape[axis] for axis in sides(dims_of(keys))[0]))


@partial(jax.jit, static_argnums=(0, 1))
def _sums(graph: Any, cfg: ModelConfig, params: Params, squares: dict[Keys, jax.Array], tokens_BL: jax.Array) -> dict[Keys, jax.Array]:
    """Returns the sums of the squares of all inputs over the tokens."""

    def total(squares: dict[Keys, jax.Array]) -> jax.Array:
        def observed(path: tuple[Any, ...], x: jax.Array) -> jax.Array | Observed:
            keys = tuple(str(part.key) for part in path)
            return Observed(x, squares[keys]) if keys in squares else x

        decoder = bind(graph, jax.tree_util.tree_map_with_path(observed, params))
        positions = jnp.broadcast_to(jnp.arange(tokens_BL.shape[1]), tokens_BL.shape)
        return decoder(tokens_BL, jnp.ones_like(tokens_BL), positions).astype(jnp.float32).sum()

    return jax.grad(total)(squares)
