"""The sharding table: how it splits arrays, which arrays it refuses, and that no device holds more than its share of a state."""

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from varietas.launch.config import load_config
from varietas.model.config import ModelConfig
from varietas.model.decoder import Decoder, Params, init_params, random_key
from varietas.model.sharding import constrain, dims_of, make_mesh, param_shardings, spec
from varietas.train.experiment import OptimConfig
from varietas.train.step import State, abstract_state, init_state

BASE = load_config("tiny")
CFG = replace(ModelConfig(**BASE.model), vocab_size=128, tied_embeddings=False, qk_norm=True)
OPTIM = OptimConfig(**BASE.optim)
MESHES = [(1, 8, 1), (1, 1, 8), (2, 2, 2)]


@pytest.mark.parametrize(
    ("dims", "parameter", "activation"),
    [
        ("VD", P("tensor", "fsdp"), P("tensor", None)),
        ("RDNH", P(None, "fsdp", "tensor", None), P(None, None, "tensor", None)),
        ("RNHD", P(None, "tensor", None, "fsdp"), P(None, "tensor", None, None)),
        ("DF", P("fsdp", "tensor"), P(None, "tensor")),
        ("RD", P(None, None), P(None, None)),
        ("BLD", P(None, None, "fsdp"), P(("data", "fsdp"), None, None)),
        ("BLV", P(None, None, "tensor"), P(("data", "fsdp"), None, "tensor")),
        ("", P(), P()),
    ],
)
def test_dimension_letters_determine_the_sharding(dims: str, parameter: P, activation: P) -> None:
    assert spec(dims) == parameter
    assert spec(dims, activation=True) == activation


def test_a_mesh_axis_used_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="'NV' use a mesh axis twice"):
        spec("NV")
    with pytest.raises(ValueError, match="'DD' use a mesh axis twice"):
        spec("DD")


def test_an_unknown_letter_is_named() -> None:
    with pytest.raises(ValueError, match=r"dimension 'W' of 'DW' is not in the sharding table; it knows BLDNK"):
        spec("DW")


def test_parameters_of_layers_begin_with_the_layer_dimension() -> None:
    assert dims_of(("layers", "attention", "query_DNH")) == "RDNH"
    assert dims_of(("embedding_VD",)) == "VD"
    assert dims_of(("final_norm", "scale_D")) == "D"


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return make_mesh(2, 2, 2)


def shardings_of(mesh: Mesh, **shapes: tuple[int, ...]) -> Any:
    """Returns the shardings of parameters of layers with these names and shapes."""
    return param_shardings({"layers": {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}}, mesh)


def test_a_name_that_does_not_match_its_shape_is_an_error(mesh: Mesh) -> None:
    with pytest.raises(ValueError, match=r"layers/gate_DF has shape \(64, 192\), but its name ends with 'RDF'"):
        shardings_of(mesh, gate_DF=(64, 192))  # the layer dimension is missing
    with pytest.raises(ValueError, match=r"name ends with .*kernel.*; end it with a letter"):
        shardings_of(mesh, kernel=(2, 64, 192))


def test_a_size_that_does_not_divide_over_the_mesh_is_an_error(mesh: Mesh) -> None:
    with pytest.raises(ValueError, match=r"layers/gate_DF: F=191 does not divide over mesh.tensor=2"):
        shardings_of(mesh, gate_DF=(2, 64, 191))
    with pytest.raises(ValueError, match=r"layers/gate_DF: D=63 does not divide over mesh.fsdp=2"):
        shardings_of(mesh, gate_DF=(2, 63, 192))
    assert shardings_of(mesh, gate_DF=(3, 64, 192))["layers"]["gate_DF"].spec == P(None, "fsdp", "tensor")
    assert shardings_of(mesh, scale_D=(2, 63))["layers"]["scale_D"].spec == P(None, None)  # replicated on every device


def test_a_mesh_uses_all_devices() -> None:
    with pytest.raises(ValueError, match=r"mesh data=3 × fsdp=2 × tensor=1 needs 6 devices, found 8"):
        make_mesh(3, 2, 1)
    assert dict(make_mesh(1, 2, 2, devices=jax.devices()[:4]).shape) == {"data": 1, "fsdp": 2, "tensor": 2}


def test_constrain_splits_an_activation_over_the_active_mesh(mesh: Mesh) -> None:
    x = jnp.ones((8, 4, 6))
    assert constrain(x, "BLD") is x
    with jax.set_mesh(mesh):
        y = jax.block_until_ready(jax.jit(lambda x: constrain(x, "BLF"))(x))
    assert y.sharding.spec == P(("data", "fsdp"), None, "tensor")
    assert {shard.data.shape for shard in y.addressable_shards} == {(2, 4, 3)}


class Bottleneck(nnx.Module):
    """A feed-forward part that a user might add."""

    def __init__(self, cfg: ModelConfig, rngs: nnx.Rngs):
        init = nnx.initializers.normal(cfg.init_std)
        self.squeeze_DF = nnx.Param(init(rngs.params(), (cfg.d_model, 16)))
        self.stretch_FD = nnx.Param(init(rngs.params(), (16, cfg.d_model)))

    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        return x_BLD @ self.squeeze_DF @ self.stretch_FD


def test_a_part_added_by_a_user_is_sharded_by_its_names(mesh: Mesh) -> None:
    state = abstract_state(CFG, OPTIM, mesh, partial(Decoder, feed_forward=Bottleneck))
    added = state.params["layers"]["feed_forward"]
    assert {name: (x.shape, x.sharding.spec) for name, x in added.items()} == {
        "squeeze_DF": ((2, 64, 16), P(None, "fsdp", "tensor")),
        "stretch_FD": ((2, 16, 64), P(None, "tensor", "fsdp")),
    }


@pytest.fixture(scope="module")
def states() -> dict[tuple[int, ...], State]:
    """An initial state on each mesh."""
    return {sizes: init_state(CFG, OPTIM, make_mesh(*sizes), seed=3) for sizes in MESHES}


@pytest.fixture(scope="module")
def unsharded() -> Params:
    """The same parameters, made without a mesh."""
    return jax.jit(lambda: init_params(CFG, seed=3))()


@pytest.mark.parametrize("sizes", MESHES)
def test_no_device_holds_more_than_its_share(states: dict[tuple[int, ...], State], sizes: tuple[int, int, int]) -> None:
    _, fsdp, tensor = sizes
    R, D, F, V, N, H = 2, 64, 192, 128, 8, 8
    matrices = 2 * V * D + R * (4 * D * N * H + 3 * D * F)  # each is split over D and one of N, K, F, V
    scales = (2 * R + 1) * D + 2 * R * H  # replicated on every device
    share = matrices // (fsdp * tensor) + scales
    counters = 3  # the step, and two counters of the optimiser
    held: Counter[Any] = Counter()
    for array in jax.tree.leaves(states[sizes]):
        held.update({shard.device: shard.data.nbytes for shard in array.addressable_shards})
    assert dict(held) == dict.fromkeys(jax.devices(), 4 * (3 * share + counters))  # float32 weights and both moments of AdamW


@pytest.mark.parametrize("sizes", MESHES)
def test_a_state_matches_its_abstract_state(states: dict[tuple[int, ...], State], sizes: tuple[int, int, int]) -> None:
    def facts(state: State) -> list[Any]:
        return [(x.shape, x.dtype, x.sharding) for x in jax.tree.leaves(state)]

    assert facts(states[sizes]) == facts(abstract_state(CFG, OPTIM, make_mesh(*sizes)))


@pytest.mark.parametrize("sizes", MESHES)
def test_initial_parameters_are_the_same_on_any_mesh(
    states: dict[tuple[int, ...], State], unsharded: Params, sizes: tuple[int, int, int]
) -> None:
    jax.tree.map(np.testing.assert_array_equal, states[sizes].params, unsharded)


def test_initial_parameters_have_the_standard_deviation_of_the_config(unsharded: Params) -> None:
    def check(path: tuple[Any, ...], array: jax.Array) -> None:
        name, values = path[-1].key, np.asarray(array)
        if name.startswith("scale"):
            assert (values == 1).all()
            return
        std = CFG.init_std / (2 if name in ("out_NHD", "down_FD") else 1)  # sqrt(2 n_layers) is 2
        assert values.std() == pytest.approx(std, rel=0.05)  # six standard errors for 8192 or more numbers
        if path[0].key == "layers":
            assert not np.isclose(values[0], values[1]).all()

    jax.tree_util.tree_map_with_path(check, unsharded)


def test_another_seed_gives_other_parameters(unsharded: Params) -> None:
    other = jax.jit(lambda: init_params(CFG, seed=4)["embedding_VD"])()
    of_both = np.corrcoef(np.ravel(other), np.ravel(unsharded["embedding_VD"]))
    assert abs(of_both[0, 1]) < 0.05  # 4.5 standard errors for 8192 numbers


def test_all_bits_of_a_seed_count() -> None:
    """jax.random.key drops the upper half, so seeds that are equal modulo 2^32 would give the same parameters."""
    seeds = (3, 3 + (1 << 32), 3 + (1 << 62))
    first, *others = (jax.jit(lambda seed=seed: init_params(CFG, seed)["embedding_VD"])() for seed in seeds)
    assert not any(np.array_equal(first, other) for other in others)
    assert np.array_equal(jax.random.key_data(random_key(3)), jax.random.key_data(jax.random.key(3)))
