"""The initial parameters have the scales that the config asks for."""

import math
from dataclasses import replace

import jax
import numpy as np
import pytest

from varietas.launch.config import load_config
from varietas.model.config import ModelConfig
from varietas.model.decoder import init_params

CFG = replace(ModelConfig(**load_config("tiny").model), vocab_size=512, d_model=128, d_ff=384, n_layers=8, init_std=0.05)


@pytest.fixture(scope="module")
def scales() -> dict[str, float]:
    """The standard deviation of each parameter, by its last name."""
    params = jax.jit(lambda: init_params(CFG, 3))()
    return {path[-1].key: float(np.std(np.asarray(x))) for path, x in jax.tree_util.tree_leaves_with_path(params)}


@pytest.mark.parametrize("name", ["out_NHD", "down_FD"])
def test_output_matrices_are_scaled_by_the_number_of_layers(scales: dict[str, float], name: str) -> None:
    """As in GPT-2: each of the 2 n_layers matrices that add to the residual stream is smaller by sqrt(2 n_layers), here by 4."""
    assert scales[name] == pytest.approx(0.05 / 4, rel=0.02) and math.sqrt(2 * CFG.n_layers) == 4


@pytest.mark.parametrize("name", ["embedding_VD", "query_DNH", "key_DKH", "value_DKH", "gate_DF", "up_DF"])
def test_all_other_matrices_have_the_plain_scale(scales: dict[str, float], name: str) -> None:
    assert scales[name] == pytest.approx(0.05, rel=0.02)
