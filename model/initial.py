"""How the weights of a layer begin."""

import math

import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer

from varietas.model.config import ModelConfig


def initializers(cfg: ModelConfig) -> tuple[Initializer, Initializer]:
    """Returns how matrices begin, and how those do that add to the residual stream, of which a model has two a layer; float32.

    The latter are smaller, as in GPT-2 (Radford et al., 2019), or zero, so that every layer begins as the identity (Zhang et al., 2019).
    """
    usual = nnx.initializers.normal(cfg.std, jnp.float32)
    if cfg.zero_out:
        return usual, nnx.initializers.zeros
    return usual, nnx.initializers.normal(cfg.std / math.sqrt(2 * cfg.n_layers), jnp.float32)
