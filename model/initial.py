"""How the weights of a layer begin, as in GPT-2 (Radford et al., 2019)."""

import math

import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer

from varietas.model.config import ModelConfig


def initializers(cfg: ModelConfig) -> tuple[Initializer, Initializer]:
    """Returns how matrices begin, and how those do that add to the residual stream, of which a model has two a layer; float32."""
    usual, added = cfg.init_std, cfg.init_std / math.sqrt(2 * cfg.n_layers)
    return nnx.initializers.normal(usual, jnp.float32), nnx.initializers.normal(added, jnp.float32)
