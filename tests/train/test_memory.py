"""What a device must hold is known from shapes, and too much of it is refused before anything is allocated."""

import dataclasses
import math

import jax
import pytest

from varietas.launch.settings import experiment, load_config
from varietas.model.sharding import make_mesh
from varietas.train.memory import check_fits, state_bytes
from varietas.train.step import abstract_state, init_state


def test_state_bytes_are_those_of_the_arrays() -> None:
    exp, mesh = experiment(load_config("tiny"), "", (1, 4, 2)), make_mesh(1, 4, 2)
    state = init_state(exp.model, exp.optim, mesh, 0)
    held = sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(state))
    assert state_bytes(abstract_state(exp.model, exp.optim, mesh)) == held


def test_nine_billion_parameters_do_not_fit_here() -> None:
    """Three float32 numbers a parameter, on one device of eight that share a machine of less than 800 GB."""
    exp, mesh = experiment(load_config("eurollm_9b"), "", (1, 1, 1)), make_mesh(1, 1, 1, devices=jax.devices()[:1])
    abstract = abstract_state(exp.model, exp.optim, mesh)
    assert math.isclose(state_bytes(abstract), 12 * 9.152e9, rel_tol=1e-3)
    with pytest.raises(MemoryError, match=r"need 102\.\d GiB on each of 1 devices, .*raise mesh.fsdp"):
        check_fits(abstract, mesh)
    tiny = dataclasses.replace(exp.model, n_layers=1, d_model=64, d_ff=64, vocab_size=128)
    check_fits(abstract_state(tiny, exp.optim, mesh), mesh)
