"""A model ready for use: its parameters on a mesh, and its shape."""

from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

import jax
from jax.sharding import Mesh

from varietas.model.config import ModelConfig
from varietas.model.decoder import Build, Decoder, Params
from varietas.model.linear.lora import merged, without_adapters
from varietas.model.sharding import param_shardings
from varietas.train.processes import broadcast
from varietas.train.run_folder.checkpoint import restore_params
from varietas.train.run_folder.config import read_config
from varietas.train.run_folder.folder import saved_step
from varietas.train.run_folder.origin import Checkpoint


@dataclass(frozen=True)
class Network:
    """A model ready for use."""

    params: Params
    config: ModelConfig
    mesh: Mesh  # where the parameters are
    build: Build = Decoder  # makes the model


def load(run: Path, config: ModelConfig, mesh: Mesh, step: int | None = None, build: Build = Decoder) -> tuple[Network, int]:
    """Loads the parameters of a checkpoint onto a mesh, those of adapters merged into the matrices that they belong to.

    A run that goes on deletes its oldest checkpoint, perhaps while it is read here. Then the newest one is read instead.

    Args:
        run: The run's folder.
        config: The shape of the model.
        mesh: Where the parameters go.
        step: The number of steps after which the checkpoint was saved; None for the newest.
        build: Makes the model.

    Returns:
        The model, and the step of its checkpoint.

    Raises:
        ValueError: If there is no such checkpoint, or it is of another model.
        DamagedCheckpoint: If it is damaged.
    """
    while True:
        found = broadcast(lambda: saved_step(run, step))
        try:
            params, _ = restore_params(run / "checkpoints", config, mesh, found, build)
            return Network(_merged(params, config, mesh), replace(config, lora_rank=0), mesh, build), found
        except (ValueError, OSError):
            if jax.process_count() > 1 or saved_step(run, step) == found:  # it is still there
                raise


def of_checkpoint(checkpoint: Checkpoint, config: ModelConfig, mesh: Mesh, build: Build = Decoder) -> Params:
    """Returns the parameters of a checkpoint, its own adapters merged, whatever adapters `config` has.

    Raises:
        ValueError: If it is of another model.
        DamagedCheckpoint: If it is damaged.
    """
    theirs = read_config(checkpoint.run)["model"]
    own = {field.name: theirs.get(field.name, field.default) for field in fields(ModelConfig) if field.name.startswith("lora_")}
    return load(checkpoint.run, replace(config, **own), mesh, checkpoint.step, build)[0].params


def _merged(params: Params, config: ModelConfig, mesh: Mesh) -> Params:
    if not config.lora_rank:
        return params
    return jax.jit(partial(merged, cfg=config), out_shardings=param_shardings(without_adapters(params), mesh))(params)
