"""A run whose model has more pieces than before. A new piece begins with the mean of the old pieces that it is made of (Hewitt, 2021).

Pieces that are neither old nor new, at the end of the vocabulary, begin with the mean of all.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from varietas.data.files import new_folder, write_atomically
from varietas.data.tokenizer.extend import Extended
from varietas.data.tokenizer.model import FILES, file_name, from_bytes
from varietas.model.config import ModelConfig
from varietas.model.decoder import Params, graph_and_shapes
from varietas.model.sharding import param_shardings
from varietas.train.experiment import Experiment
from varietas.train.inference.network import of_checkpoint
from varietas.train.program import mesh_of
from varietas.train.release.importing import write_run
from varietas.train.release.incoming import keep_of_run
from varietas.train.run_folder.origin import EXTENDED, Checkpoint, Origin, languages_of


def extend_vocabulary(
    checkpoint: Checkpoint, model: ModelConfig, tokenizer: Extended, run: Path, config: Mapping[str, Any], exp: Experiment
) -> None:
    """Writes a run that holds the model of a checkpoint with more pieces, whole or not at all.

    Args:
        checkpoint: The checkpoint.
        model: The shape of its model.
        tokenizer: The new tokenizer.
        run: The new folder.
        config: What its config.json says.
        exp: The same as plain values.

    Raises:
        DamagedCheckpoint: If the checkpoint is damaged.
    """
    mesh = mesh_of(exp)
    old = of_checkpoint(checkpoint, model, mesh)
    n_old = from_bytes(tokenizer.content).get_piece_size() - len(tokenizer.parts)
    _, shapes = graph_and_shapes(exp.model)
    widen = partial(_wider, n_old=n_old, parts=tokenizer.parts, size=exp.model.vocab_size)
    params = jax.jit(widen, out_shardings=param_shardings(shapes, mesh))(old)
    with new_folder(run) as folder:
        write_run(folder, params, config, exp, Origin(EXTENDED, [str(checkpoint)], languages_of(checkpoint.run)))
        write_atomically(folder / file_name(tokenizer.content), tokenizer.content)
        keep_of_run(checkpoint.run, folder, without=FILES)


def _wider(params: Params, n_old: int, parts: Sequence[Sequence[int]], size: int) -> Params:
    """Returns the parameters with a vocabulary of `size`, of which `n_old` pieces are old."""
    wider = {"embedding_VD": _more_rows(params["embedding_VD"], n_old, parts, size)}
    if "unembedding_DV" in params:
        wider["unembedding_DV"] = _more_rows(params["unembedding_DV"].T, n_old, parts, size).T
    return {**params, **wider}


def _more_rows(rows_VD: jax.Array, n_old: int, parts: Sequence[Sequence[int]], size: int) -> jax.Array:
    longest = max(map(len, parts))
    ids = np.array([[*part, *[0] * (longest - len(part))] for part in parts], np.int32)
    count = np.array([[len(part)] for part in parts], np.float32)
    is_part = np.arange(longest) < count
    new = jnp.where(is_part[..., None], rows_VD[ids], 0).sum(1) / count
    old = rows_VD[:n_old]
    rest = jnp.broadcast_to(old.mean(0), (size - n_old - len(parts), old.shape[1]))
    return jnp.concatenate([old, new, rest])
