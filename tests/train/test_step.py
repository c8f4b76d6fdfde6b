"""The training step: one loss curve on any mesh, the gradients of a textbook decoder, and torch's AdamW."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from jax.sharding import Mesh

from varietas.launch.settings import load_config
from varietas.model import decoder
from varietas.model.config import ModelConfig
from varietas.model.decoder import WRITTEN_OUT, bind, graph_and_shapes
from varietas.model.sharding import batch_sharding, make_mesh, matrices
from varietas.train.experiment import OptimConfig
from varietas.train.optimizer import learning_rate, make_optimizer
from varietas.train.step import State, abstract_state, compile_step, make_step

CFG = replace(ModelConfig(**load_config("tiny").model), vocab_size=128, d_ff=96, loss_chunk=10)
OPTIM = replace(OptimConfig(**load_config("tiny").optim), warmup_steps=4, z_loss=1e-2, clip_norm=0.5)  # which clips the first steps
STEPS, B, L, N_LANGUAGES = 20, 8, 24, 3
ONE = (1, 1, 1)
MESHES = [(8, 1, 1), (1, 8, 1), (1, 1, 8), (2, 2, 2), (1, 4, 2)]
# XLA without its expensive passes: the same programs, compiled in a fifth of the time.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True, "xla_cpu_use_fusion_emitters": False}

Batch = dict[str, np.ndarray]


@pytest.fixture(scope="module", autouse=True)
def _quick_compile() -> Iterator[None]:
    """compile_step with QUICK, since most of the time here goes into compiling a step for each mesh."""
    compile_slowly = jax.stages.Lowered.compile
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax.stages.Lowered, "compile", lambda lowered, compiler_options=None: compile_slowly(lowered, QUICK))
        yield


def make_batch(seed: int) -> Batch:
    """Rows of one to four documents and padding, and one document that fills its row; few tokens a language, so that it can learn."""
    rng = np.random.default_rng(seed)
    batch = {name: np.zeros((B, L), np.int32) for name in ("tokens", "segments", "positions", "languages")}
    for row in range(B):
        cuts = np.sort(rng.integers(1, L + 1, rng.integers(1, 5))) if row else [L]
        for segment, (begin, end) in enumerate(zip([0, *cuts[:-1]], cuts, strict=True), 1):
            here, language = (row, slice(begin, end)), rng.integers(N_LANGUAGES)
            batch["tokens"][here] = 40 * language + rng.integers(0, 48, end - begin) ** 2 // 48
            batch["segments"][here], batch["positions"][here], batch["languages"][here] = segment, np.arange(end - begin), language
    return batch


BATCHES = [make_batch(seed) for seed in range(STEPS)]


@dataclass(frozen=True)
class Run:
    """What came out of some steps from the same fresh state."""

    metrics: list[dict[str, np.ndarray]]
    gradients: Any  # of the first step, after clipping
    state: Any

    @property
    def losses(self) -> np.ndarray:
        return np.array([float(metrics["loss"]) for metrics in self.metrics])


def mesh_of(sizes: tuple[int, int, int]) -> Mesh:
    return make_mesh(*sizes, devices=jax.devices()[: math.prod(sizes)])


@cache
def fresh(cfg: ModelConfig = CFG) -> State:
    """Random parameters as a new model has them, but for norms that are not all alike."""
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: rng.normal(0, 0.02, x.shape).astype(np.float32), graph_and_shapes(cfg)[1])
    params = jax.tree_util.tree_map_with_path(lambda path, x: x + path[-1].key.startswith("scale"), params)
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), abstract_state(cfg, OPTIM, mesh_of(ONE)))
    return replace(zeros, params=params)


@cache
def run(sizes: tuple[int, int, int] = ONE, steps: int = STEPS, grad_accum: int = 1, **changes: Any) -> Run:
    """Trains on BATCHES. It waits after each step: XLA's virtual CPU devices deadlock on long queues."""
    mesh, cfg = mesh_of(sizes), replace(CFG, **changes)
    abstract = abstract_state(cfg, OPTIM, mesh)
    step = compile_step(make_step(cfg, OPTIM, STEPS, N_LANGUAGES, grad_accum), abstract, B, L, mesh)
    state = jax.tree.map(lambda x, like: jax.device_put(x, like.sharding, may_alias=False), fresh(cfg), abstract)
    metrics, gradients = [], None
    for batch in BATCHES[:steps]:
        state, out = jax.block_until_ready(step(state, jax.device_put(batch, batch_sharding(mesh))))
        metrics.append(jax.tree.map(np.asarray, out))
        if gradients is None:  # the first moment after a step is (1 - beta1) times its gradient
            gradients = jax.tree.map(lambda x: np.array(x) / (1 - OPTIM.beta1), optax.tree_utils.tree_get(state.optimizer, "mu"))
    return Run(metrics, gradients, state)


def textbook_logits(params: Any, batch: Batch) -> jax.Array:
    """A Llama written plainly: one layer after the other, all scores at once, rotations as complex numbers."""
    segments, half = batch["segments"], CFG.head_dim // 2
    turn = jnp.exp(1j * batch["positions"][..., None, None] * CFG.rope_theta ** (-np.arange(half) / half))
    visible = np.tril(np.ones((L, L), bool)) & (segments[:, :, None] == segments[:, None, :])

    def norm(x: jax.Array, scale: jax.Array) -> jax.Array:
        return scale * x / jnp.sqrt(jnp.mean(x**2, -1, keepdims=True) + CFG.norm_eps)

    def rotate(x: jax.Array) -> jax.Array:
        turned = (x[..., :half] + 1j * x[..., half:]) * turn
        return jnp.concatenate([turned.real, turned.imag], -1)

    x = params["embedding_VD"][batch["tokens"]]
    for i in range(CFG.n_layers):
        layer = jax.tree.map(lambda stacked, i=i: stacked[i], params["layers"])
        attention, feed_forward = layer["attention"], layer["feed_forward"]
        h = norm(x, layer["attention_norm"]["scale_D"])
        q, k, v = (jnp.einsum("bld,dnh->blnh", h, attention[name]) for name in ("query_DNH", "key_DKH", "value_DKH"))
        scores = jnp.einsum("binh,bjnh->bnij", rotate(q), rotate(k)) / math.sqrt(CFG.head_dim)
        weights = jax.nn.softmax(jnp.where(visible[:, None], scores, -jnp.inf))
        x = x + jnp.einsum("bnij,bjnh,nhd->bid", weights, v, attention["out_NHD"])
        h = norm(x, layer["feed_forward_norm"]["scale_D"])
        x = x + (jax.nn.silu(h @ feed_forward["gate_DF"]) * (h @ feed_forward["up_DF"])) @ feed_forward["down_FD"]
    return norm(x, params["final_norm"]["scale_D"]) @ params["embedding_VD"].T


def textbook_loss(params: Any, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """The loss with its z-loss, and log p of each position's next token."""
    logits = textbook_logits(params, batch)[:, :-1]
    segments = batch["segments"]
    counts = (segments[:, :-1] > 0) & (segments[:, :-1] == segments[:, 1:])
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), batch["tokens"][:, 1:, None], -1)[..., 0]
    penalty = OPTIM.z_loss * jax.nn.logsumexp(logits, -1) ** 2
    return jnp.sum(counts * (penalty - log_p)) / counts.sum(), log_p


@cache
def textbook() -> tuple[Any, np.ndarray]:
    """Gradients and log p of the first batch under the fresh parameters, on one device."""
    gradients, log_p = jax.jit(jax.grad(textbook_loss, has_aux=True), compiler_options=QUICK)(fresh().params, BATCHES[0])
    return jax.tree.map(np.asarray, gradients), np.asarray(log_p)


def assert_trees_close(found: Any, expected: Any, tolerance: float) -> None:
    """Each array to `tolerance` of its largest entry."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max()), found, expected)


@pytest.mark.parametrize("sizes", MESHES)
def test_any_mesh_gives_the_same_losses(sizes: tuple[int, int, int]) -> None:
    one, many = run().losses, run(sizes).losses
    assert one[-1] < one[0] - 0.5
    np.testing.assert_allclose(many, one, rtol=1e-6)  # float32 sums in other orders: 2e-7 was seen, and no growth over 20 steps


@pytest.mark.parametrize("sizes", [ONE, *MESHES])
def test_gradients_are_those_of_the_textbook(sizes: tuple[int, int, int]) -> None:
    expected, _ = textbook()
    norm = math.sqrt(sum(float((x.astype(np.float64) ** 2).sum()) for x in jax.tree.leaves(expected)))
    assert norm > OPTIM.clip_norm
    assert float(run(sizes).metrics[0]["grad_norm"]) == pytest.approx(norm, rel=1e-5)
    assert_trees_close(run(sizes).gradients, jax.tree.map(lambda x: x * OPTIM.clip_norm / norm, expected), 3e-6)  # 1e-6 was seen


def test_a_stack_written_out_is_the_scanned_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def scans() -> int:
        step = make_step(CFG, OPTIM, STEPS, N_LANGUAGES)
        return str(jax.make_jaxpr(step)(abstract_state(CFG, OPTIM, mesh_of(ONE)), BATCHES[0])).count("scan[")

    written, others = run(steps=3), scans()  # those of the loss
    monkeypatch.setattr(decoder, "WRITTEN_OUT", 0)
    assert scans() == others + 2  # forwards and backwards
    scanned = run.__wrapped__(steps=3)
    np.testing.assert_allclose(scanned.losses, written.losses, rtol=1e-6)
    assert_trees_close(scanned.gradients, written.gradients, 3e-6)


def test_a_mesh_changes_no_gradient_of_what_the_textbook_lacks() -> None:
    """Grouped queries, QK-norm, an output matrix of its own, products recomputed: as the shipped configs have them."""
    changes = {"n_kv_heads": 2, "qk_norm": True, "tied_embeddings": False, "remat": "dots"}
    one, many = run(steps=1, **changes), run((2, 2, 2), 1, **changes)
    np.testing.assert_allclose(many.losses, one.losses, rtol=1e-6)
    assert_trees_close(many.gradients, one.gradients, 3e-6)


@pytest.mark.parametrize("sizes", [ONE, (2, 2, 2)])
def test_sums_by_language_are_those_of_a_loop_over_the_tokens(sizes: tuple[int, int, int]) -> None:
    batch, (_, log_p) = BATCHES[0], textbook()
    nll, targets, tokens = np.zeros(N_LANGUAGES), np.zeros(N_LANGUAGES), np.zeros(N_LANGUAGES)
    for row in range(B):
        for place in range(L):
            segment, language = batch["segments"][row, place], batch["languages"][row, place]
            tokens[language] += segment > 0
            if place and segment and segment == batch["segments"][row, place - 1]:
                nll[language] -= log_p[row, place - 1]
                targets[language] += 1
    metrics = run(sizes).metrics[0]
    np.testing.assert_allclose(metrics["nll"], nll, rtol=1e-6)  # 6e-8 was seen
    np.testing.assert_array_equal(metrics["targets"], targets)
    np.testing.assert_array_equal(metrics["tokens"], tokens)
    assert float(metrics["loss"]) == pytest.approx(nll.sum() / targets.sum(), rel=1e-6)


def test_steps_and_rates_are_counted_from_zero() -> None:
    assert int(run().state.step) == STEPS
    rate = learning_rate(OPTIM, STEPS)
    np.testing.assert_allclose([m["learning_rate"] for m in run().metrics], [rate(n) for n in range(STEPS)], rtol=1e-6)


def test_a_batch_in_four_parts_is_one_batch() -> None:
    parts, whole = run((1, 2, 1), 1, 4), run()
    for name, value in parts.metrics[0].items():
        np.testing.assert_allclose(value, whole.metrics[0][name], rtol=1e-6)
    assert_trees_close(parts.gradients, whole.gradients, 2e-6)  # sums in another order: 7e-7 was seen


@pytest.mark.parametrize("remat", ["dots", "full"])
def test_recomputing_activations_changes_nothing(remat: str) -> None:
    again, plain = run(steps=1, remat=remat), run()
    np.testing.assert_allclose(again.losses, plain.losses[:1], rtol=1e-6)
    assert_trees_close(again.gradients, plain.gradients, 1e-6)  # other fusions: 3e-7 was seen


def test_the_less_is_kept_the_more_is_recomputed() -> None:
    def products(remat: str) -> int:
        cfg = replace(CFG, remat=remat, n_layers=WRITTEN_OUT + 1)  # scanned, so that the program has each product once
        step = make_step(cfg, OPTIM, STEPS, N_LANGUAGES)
        return str(jax.make_jaxpr(step)(abstract_state(cfg, OPTIM, mesh_of(ONE)), BATCHES[0])).count("dot_general")

    assert products("none") < products("dots") < products("full")


def test_bfloat16_products_train_float32_parameters() -> None:
    half, single = run(steps=10, dtype="bfloat16"), run()
    assert {x.dtype for x in jax.tree.leaves((half.state.params, optax.tree_utils.tree_get(half.state.optimizer, "mu")))} == {
        jnp.dtype(jnp.float32)
    }
    assert half.losses[-1] < half.losses[0] - 0.2
    np.testing.assert_allclose(half.losses, single.losses[:10], rtol=1e-3)  # factors of 8 bits, means over a batch: 8e-5 was seen
    cfg = replace(CFG, dtype="bfloat16")
    graph, shapes = graph_and_shapes(cfg)
    rows = [jax.ShapeDtypeStruct((B, L), jnp.int32)] * 3

    assert jax.eval_shape(lambda params, *rows: bind(graph, params)(*rows), shapes, *rows).dtype == jnp.bfloat16


def test_matrices_are_decayed_and_norms_are_not() -> None:
    tree = matrices(graph_and_shapes(replace(CFG, qk_norm=True, tied_embeddings=False))[1])
    names = {path[-1].key: value for path, value in jax.tree_util.tree_leaves_with_path(tree)}
    assert {name for name, value in names.items() if not value} == {"scale_D", "scale_H"}
    assert {name for name, value in names.items() if value} == {
        "embedding_VD", "unembedding_DV", "query_DNH", "key_DKH", "value_DKH", "out_NHD", "gate_DF", "up_DF", "down_FD",
    }  # fmt: skip


RATES = {  # peak 2, warm-up over 10 of 110 steps, the last rate a tenth: from 2 down to 0.2
    "cosine": {0: 0.2, 4: 1.0, 9: 2.0, 10: 2.0, 35: 0.2 + 0.9 * (1 + math.sqrt(0.5)), 60: 1.1, 110: 0.2, 500: 0.2},
    "wsd": {0: 0.2, 4: 1.0, 9: 2.0, 50: 2.0, 88: 2.0, 99: 1.1, 110: 0.2, 500: 0.2},  # the last fifth: 22 steps
    "constant": {0: 0.2, 4: 1.0, 9: 2.0, 50: 2.0, 109: 2.0},
}


@pytest.mark.parametrize("schedule", RATES)
def test_learning_rate(schedule: str) -> None:
    optim = replace(OPTIM, schedule=schedule, peak_lr=2.0, warmup_steps=10, final_lr_fraction=0.1, decay_fraction=0.2)
    rate = learning_rate(optim, 110)
    assert {step: float(rate(step)) for step in RATES[schedule]} == pytest.approx(RATES[schedule], rel=1e-6)
    assert float(learning_rate(replace(optim, warmup_steps=0), 110)(0)) == pytest.approx(2.0)


def test_updates_are_those_of_torch() -> None:
    """AdamW with clipping and decoupled decay over five steps, the third with a gradient too small to be clipped."""
    optim = replace(OPTIM, peak_lr=0.1, schedule="cosine", warmup_steps=2, weight_decay=0.3, clip_norm=1.0, eps=1e-3)
    rng = np.random.default_rng(0)
    shapes = {"embedding_VD": (5, 4), "layers": {"gate_DF": (2, 4, 6), "scale_D": (2, 4)}, "final_norm": {"scale_D": (4,)}}
    draw = partial(jax.tree.map, lambda shape: rng.standard_normal(shape).astype(np.float32), is_leaf=lambda x: isinstance(x, tuple))
    params = draw(shapes)
    theirs = [torch.nn.Parameter(torch.from_numpy(x.copy())) for x in jax.tree.leaves(params)]  # embedding, final norm, gate, scale
    options: dict[str, Any] = {"betas": (optim.beta1, optim.beta2), "eps": optim.eps}
    groups = [{"params": theirs[::2], "weight_decay": 0.3}, {"params": theirs[1::2], "weight_decay": 0.0}]
    adamw, rate = torch.optim.AdamW(groups, lr=0.0, **options), learning_rate(optim, 6)
    optimizer = make_optimizer(optim, 6)
    update = jax.jit(optimizer.update, compiler_options=QUICK)
    state = optimizer.init(params)
    for step in range(5):
        gradients = jax.tree.map(lambda x, step=step: x * (0.01 if step == 2 else 1.0), draw(shapes))
        updates, state = update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        for group in adamw.param_groups:
            group["lr"] = float(rate(step))
        for parameter, gradient in zip(theirs, jax.tree.leaves(gradients), strict=True):
            parameter.grad = torch.from_numpy(gradient.astype(np.float32))
        torch.nn.utils.clip_grad_norm_(theirs, optim.clip_norm)
        adamw.step()
        for found, expected in zip(jax.tree.leaves(params), theirs, strict=True):
            np.testing.assert_allclose(found, expected.detach(), rtol=0, atol=2e-6)  # torch adds 1e-6 to the norm that it divides by
