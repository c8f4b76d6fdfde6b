"""Muon beside a plain double-precision one, which matrices it has, and that its state is sharded and kept as the parameters are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from varietas.launch.config import load_config
from varietas.model.config import ModelConfig
from varietas.model.sharding import make_mesh
from varietas.train.experiment import OptimConfig
from varietas.train.optimizer import learning_rate, make_optimizer
from varietas.train.run_folder.checkpoint import Checkpoints
from varietas.train.run_folder.digest import by_path
from varietas.train.step import State, abstract_state, init_state, passed_over

MODEL = replace(ModelConfig(**load_config("tiny").model), vocab_size=128, d_ff=96, n_kv_heads=4, qk_norm=True, qkv_bias=True)
ADAMW = replace(OptimConfig(**load_config("tiny").optim), peak_lr=0.1, warmup_steps=2, weight_decay=0.3, clip_norm=1.0)
MUON = replace(ADAMW, name="muon", muon_lr_ratio=0.5)
STEPS = 6

R, D, N, H, K, F = 3, 8, 4, 6, 2, 20
MATRICES = {  # with the sizes of the two sides
    "query_DNH": ((R, D, N, H), (D, N * H)),
    "key_DKH": ((R, D, K, H), (D, K * H)),
    "out_NHD": ((R, N, H, D), (N * H, D)),
    "up_DF": ((R, D, F), (D, F)),
    "down_FD": ((R, F, D), (F, D)),
}
OTHERS = {"query_bias_NH": (R, N, H), "scale_D": (R, D), "alpha_p_1": (R, 1)}


def newton_schulz(matrix: np.ndarray) -> np.ndarray:
    """Five steps of the quintic iteration of Jordan et al. (2024)."""
    x = matrix / np.linalg.norm(matrix)
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * (x @ x.T) @ x + 2.0315 * (x @ x.T) @ (x @ x.T) @ x
    return x


def some(rng: np.random.Generator) -> dict[str, Any]:
    """Returns a tree of parameters, or of gradients."""

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    layers = {name: draw(shape) for name, (shape, _) in MATRICES.items()} | {name: draw(shape) for name, shape in OTHERS.items()}
    return {"layers": layers, "embedding_VD": draw((30, D)), "unembedding_DV": draw((D, 30)), "final_norm": {"scale_D": draw((D,))}}


def test_the_matrix_of_each_layer_follows_a_plain_muon_and_everything_else_adamw() -> None:
    rng = np.random.default_rng(0)
    params = some(rng)
    with_adamw, muon, rate = make_optimizer(ADAMW, STEPS), make_optimizer(MUON, STEPS), learning_rate(MUON, STEPS)
    theirs, ours = with_adamw.init(params), muon.init(params)
    momenta = {name: np.zeros(shape) for name, (shape, _) in MATRICES.items()}
    for step in range(4):
        gradients = some(rng)
        clip = min(1.0, 1.0 / float(optax.tree.norm(gradients)))
        by_adamw, theirs = jax.jit(with_adamw.update)(gradients, theirs, params)
        updates, ours = jax.jit(muon.update)(gradients, ours, params)
        for name, (_, (rows, columns)) in MATRICES.items():
            gradient = clip * gradients["layers"][name].astype(np.float64)
            momenta[name] = 0.95 * momenta[name] + gradient
            for layer in range(R):
                ahead = (gradient + 0.95 * momenta[name])[layer].reshape(rows, columns)
                step_of = 0.2 * np.sqrt(max(rows, columns)) * newton_schulz(ahead)
                expected = -0.5 * float(rate(step)) * (step_of + 0.3 * params["layers"][name][layer].reshape(rows, columns))
                np.testing.assert_allclose(
                    updates["layers"][name][layer].reshape(rows, columns), expected, rtol=0, atol=1e-5 * abs(expected).max()
                )
        updates["layers"] |= dict.fromkeys(MATRICES)
        by_adamw["layers"] |= dict.fromkeys(MATRICES)
        jax.tree.map(np.testing.assert_array_equal, updates, by_adamw)


def test_an_update_is_as_large_as_one_of_adamw() -> None:
    """So that a learning rate for AdamW serves. The singular values are about 1 before they are scaled."""
    rng = np.random.default_rng(1)
    params = {"layers": {"up_DF": rng.standard_normal((2, 64, 192)).astype(np.float32)}}
    optimizer = make_optimizer(replace(MUON, weight_decay=0.0, warmup_steps=0, schedule="constant", muon_lr_ratio=1.0), STEPS)
    update = np.asarray(optimizer.update(params, optimizer.init(params), params)[0]["layers"]["up_DF"]) / MUON.peak_lr
    assert np.sqrt((update**2).mean()) == pytest.approx(0.2, rel=0.2)
    found = np.linalg.svd(update / (0.2 * np.sqrt(192)), compute_uv=False)
    assert 0.6 < found.min() < found.max() < 1.25


def test_the_state_has_one_momentum_of_each_matrix_and_is_sharded_as_the_parameters() -> None:
    mesh = make_mesh(2, 2, 2)
    state = abstract_state(MODEL, MUON, mesh)
    params, found = by_path(state.params), by_path(state.optimizer)
    momenta = {path.partition("/trace/")[2]: x for path, x in found.items() if "/trace/" in path}
    assert set(momenta) == {
        *(f"layers/attention/{name}" for name in ("query_DNH", "key_DKH", "value_DKH", "out_NHD")),
        *(f"layers/feed_forward/{name}" for name in ("gate_DF", "up_DF", "down_FD")),
    }
    for moment in ("mu", "nu"):
        of_adamw = {path.partition(f"/{moment}/")[2]: x for path, x in found.items() if f"/{moment}/" in path}
        assert set(of_adamw) == set(params) - set(momenta)
        assert all(x.sharding == params[name].sharding for name, x in of_adamw.items())
    assert all((x.shape, x.sharding) == (params[name].shape, params[name].sharding) for name, x in momenta.items())
    rest = [path for path, x in found.items() if x.ndim == 0]
    assert len(rest) == 3 and len(found) == len(momenta) + 2 * (len(params) - len(momenta)) + len(rest)


def test_the_state_of_adamw_has_the_names_that_checkpoints_have() -> None:
    state = abstract_state(MODEL, ADAMW, make_mesh(1, 8, 1))
    moments = {f"1/0/{moment}/{path}" for moment in ("mu", "nu") for path in by_path(state.params)}
    assert set(by_path(state.optimizer)) == {"1/0/count", "1/2/count", *moments}


def test_a_checkpoint_of_muon_restores_on_another_mesh(tmp_path: Path) -> None:
    state = init_state(MODEL, MUON, make_mesh(1, 8, 1), seed=0)
    state = replace(state, step=state.step + 1, optimizer=jax.tree.map(lambda x: x + jnp.ones((), x.dtype), state.optimizer))
    checkpoints, other = Checkpoints(tmp_path), abstract_state(MODEL, MUON, make_mesh(2, 2, 2))
    checkpoints.save(state, {})
    restored = checkpoints.restore_latest(other.params, other.optimizer)
    checkpoints.close()
    assert restored is not None
    jax.tree.map(np.testing.assert_array_equal, restored.optimizer, state.optimizer)
    assert jax.tree.map(lambda x: x.sharding, restored.optimizer) == jax.tree.map(lambda x: x.sharding, other.optimizer)


def test_steps_that_are_passed_over_count_for_both_optimisers() -> None:
    state: State = passed_over(init_state(MODEL, MUON, make_mesh(1, 8, 1), seed=0), 7)
    counts = sorted(int(x) for x in jax.tree.leaves(state) if x.ndim == 0)
    assert counts == [0, 7, 7, 7]  # of Adam, whose moments are as before; of the state and of both schedules
