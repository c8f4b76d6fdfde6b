"""The training step has one loss curve on any mesh, the gradients of a textbook decoder, and the updates of torch's AdamW."""

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
from jax.sharding import Mesh

from varietas.launch.config import load_config
from varietas.model import decoder
from varietas.model.config import ModelConfig
from varietas.model.decoder import WRITTEN_OUT, bind, graph_and_shapes
from varietas.model.linear.lora import merged, without_adapters
from varietas.model.sharding import batch_sharding, make_mesh, matrices
from varietas.train.experiment import OptimConfig
from varietas.train.optimizer import learning_rate, make_optimizer, warm_up_warning
from varietas.train.step import State, abstract_state, compile_step, make_step, passed_over

CFG = replace(ModelConfig(**load_config("tiny").model), vocab_size=128, d_ff=96, loss_chunk=10)
OPTIM = replace(
    OptimConfig(**load_config("tiny").optim), warmup_steps=4, z_loss=1e-2, clip_norm=0.5, balance_loss=0.1, router_z_loss=0.01
)  # clip_norm clips the first steps
LLAMA3 = {"rope_scaling": "llama3", "rope_factor": 8.0, "rope_original_max_seq_len": 64}
STEPS, B, L, N_LANGUAGES = 20, 8, 24, 3
ONE = (1, 1, 1)
MESHES = [(8, 1, 1), (1, 8, 1), (1, 1, 8), (2, 2, 2), (1, 4, 2)]
# XLA without its expensive passes compiles the same programs in a fifth of the time.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True, "xla_cpu_use_fusion_emitters": False}

Batch = dict[str, np.ndarray]


@pytest.fixture(scope="module", autouse=True)
def _quick_compile() -> Iterator[None]:
    """Makes compile_step use QUICK, since compiling a step for each mesh takes most of the time of these tests."""
    compile_slowly = jax.stages.Lowered.compile
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax.stages.Lowered, "compile", lambda lowered, compiler_options=None: compile_slowly(lowered, QUICK))
        yield


def make_batch(seed: int) -> Batch:
    """Returns rows of one to four documents and padding; row 0 is one document. Each language uses few tokens, so it can be learned."""
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
    """The results of some steps from the same initial state."""

    metrics: list[dict[str, np.ndarray]]
    gradients: Any  # of the first step, after clipping
    state: Any

    @property
    def losses(self) -> np.ndarray:
        return np.array([float(metrics["loss"]) for metrics in self.metrics])


def mesh_of(sizes: tuple[int, int, int]) -> Mesh:
    return make_mesh(*sizes, devices=jax.devices()[: math.prod(sizes)])


@cache
def fresh(cfg: ModelConfig = CFG, optim: OptimConfig = OPTIM) -> State:
    """Returns an initial state with random parameters. Unlike those of a new model, the scales of norms differ from 1."""
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: rng.normal(0, 0.02, x.shape).astype(np.float32), graph_and_shapes(cfg)[1])
    params = jax.tree_util.tree_map_with_path(lambda path, x: x + path[-1].key.startswith("scale"), params)
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), abstract_state(cfg, optim, mesh_of(ONE)))
    return replace(zeros, params=params)


@cache
def run(sizes: tuple[int, int, int] = ONE, steps: int = STEPS, grad_accum: int = 1, optim: OptimConfig = OPTIM, **changes: Any) -> Run:
    """Trains on BATCHES. Waits after each step, since XLA's virtual CPU devices deadlock on long queues."""
    mesh, cfg = mesh_of(sizes), replace(CFG, **changes)
    abstract = abstract_state(cfg, optim, mesh)
    step = compile_step(make_step(cfg, optim, STEPS, N_LANGUAGES, grad_accum), abstract, B, L, mesh)
    state = jax.tree.map(lambda x, like: jax.device_put(x, like.sharding, may_alias=False), fresh(cfg, optim), abstract)
    metrics, gradients = [], None
    for n, batch in enumerate(BATCHES[:steps]):
        rows = jax.device_put(batch, batch_sharding(mesh))
        state, out = jax.block_until_ready(step(state, rows, np.int32(n), np.float32(np.inf)))
        metrics.append(jax.tree.map(np.asarray, out))
        if gradients is None:  # the first moment after a step is (1 - beta1) times its gradient
            gradients = jax.tree.map(lambda x: np.array(x) / (1 - OPTIM.beta1), optax.tree_utils.tree_get(state.optimizer, "mu"))
    return Run(metrics, gradients, state)


def textbook_logits(params: Any, batch: Batch) -> jax.Array:
    """Computes the logits of a Llama written plainly: layer by layer, all scores at once, rotations as complex numbers."""
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
    """Returns the loss with z-loss, and the log probability of the next token at each position."""
    logits = textbook_logits(params, batch)[:, :-1]
    segments = batch["segments"]
    counts = (segments[:, :-1] > 0) & (segments[:, :-1] == segments[:, 1:])
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), batch["tokens"][:, 1:, None], -1)[..., 0]
    penalty = OPTIM.z_loss * jax.nn.logsumexp(logits, -1) ** 2
    return jnp.sum(counts * (penalty - log_p)) / counts.sum(), log_p


@cache
def textbook() -> tuple[Any, np.ndarray]:
    """Returns gradients and log probabilities of the first batch under the initial parameters, on one device."""
    gradients, log_p = jax.jit(jax.grad(textbook_loss, has_aux=True), compiler_options=QUICK)(fresh().params, BATCHES[0])
    return jax.tree.map(np.asarray, gradients), np.asarray(log_p)


def assert_trees_close(found: Any, expected: Any, tolerance: float) -> None:
    """Compares each array up to `tolerance` times its largest entry."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max()), found, expected)


@pytest.mark.parametrize("sizes", MESHES)
def test_any_mesh_gives_the_same_losses(sizes: tuple[int, int, int]) -> None:
    one, many = run().losses, run(sizes).losses
    assert one[-1] < one[0] - 0.5
    np.testing.assert_allclose(many, one, rtol=1e-6)  # float32 sums in another order; observed: 2e-7, without growth over 20 steps


@pytest.mark.parametrize("sizes", [(1, 8, 1), (2, 2, 2), (1, 4, 2)])
def test_any_mesh_gives_the_same_losses_with_muon(sizes: tuple[int, int, int]) -> None:
    """Devices exchange parts of matrices, so that each has whole ones: the four layers go to eight devices, or to four."""
    optim = replace(OPTIM, name="muon")
    one, many = run(steps=10, optim=optim).losses, run(sizes, 10, optim=optim).losses
    assert one[-1] < one[0] - 0.3
    np.testing.assert_allclose(many, one, rtol=1e-6)


@pytest.mark.parametrize("sizes", [(8, 1, 1), (1, 8, 1), (2, 2, 2)])
def test_any_mesh_trains_the_same_adapters_and_nothing_else(sizes: tuple[int, int, int]) -> None:
    one, many = run(lora_rank=4, steps=10), run(sizes, lora_rank=4, steps=10)
    assert one.losses[-1] < one.losses[0] - 0.01
    np.testing.assert_allclose(many.losses, one.losses, rtol=1e-6)
    for name, given in fresh(replace(CFG, lora_rank=4)).params.items():
        same = jax.tree.map(lambda x, before: bool((np.asarray(x) == before).all()), many.state.params[name], given)
        assert not any(jax.tree.leaves(same)) if name == "adapters" else all(jax.tree.leaves(same))
    assert len(jax.tree.leaves(many.gradients)) == len(jax.tree.leaves(many.state.params["adapters"]))  # the rest has no moments


PREFERENCES = replace(OPTIM, dpo_beta=0.5)
ADAPTERS: dict[str, Any] = {"lora_rank": 4, "lora_alpha": 256.0}


def textbook_pairs(adapters: Any, batch: Batch) -> tuple[jax.Array, Any]:
    """Returns the mean loss of the pairs of segments of a batch (Rafailov et al., 2023, equation 7), and the loss and margin of each."""
    cfg, found = replace(CFG, **ADAPTERS), dict[tuple[int, int, int], Any]()
    params = fresh(cfg).params
    trained, reference = merged({**params, "adapters": adapters}, cfg), without_adapters(params)
    ratio = textbook_loss(trained, batch)[1] - textbook_loss(reference, batch)[1]
    for row, segments in enumerate(batch["segments"]):
        for place in range(2):
            sides = [np.flatnonzero((segments[:-1] == n) & (segments[1:] == n)) for n in (2 * place + 1, 2 * place + 2)]
            if all(map(len, sides)):
                margin = PREFERENCES.dpo_beta * (ratio[row, sides[0]].sum() - ratio[row, sides[1]].sum())
                language = max(int(batch["languages"][row, side[0]]) for side in sides)  # a pair has one, but in these batches
                found[row, place, language] = -jax.nn.log_sigmoid(margin), margin
    return jnp.stack([loss for loss, _ in found.values()]).mean(), found


def test_preferences_have_the_loss_and_the_gradients_of_the_textbook() -> None:
    first = run(steps=1, optim=PREFERENCES, **ADAPTERS)
    adapters = fresh(replace(CFG, **ADAPTERS), PREFERENCES).params["adapters"]
    of_first = jax.jit(jax.grad(lambda adapters: textbook_pairs(adapters, BATCHES[0]), has_aux=True), compiler_options=QUICK)
    gradients, found = jax.tree.map(np.asarray, of_first(adapters))
    losses, metrics = [loss for loss, _ in found.values()], first.metrics[0]
    assert metrics["loss"] == pytest.approx(np.mean(losses), rel=1e-5) and len(found) >= 5 and np.std(losses) > 0.01
    for language in range(N_LANGUAGES):
        mine = [both for (_, _, other), both in found.items() if other == language]
        assert metrics["targets"][language] == len(mine)
        assert metrics["nll"][language] == pytest.approx(sum(loss for loss, _ in mine), rel=1e-5)
        assert metrics["chosen"][language] - metrics["rejected"][language] == pytest.approx(sum(margin for _, margin in mine), abs=1e-4)
        assert metrics["wins"][language] == sum(margin > 0 for _, margin in mine)
    norm = float(optax.tree.norm(gradients))
    assert metrics["grad_norm"] == pytest.approx(norm, rel=1e-4)
    assert_trees_close(first.gradients, jax.tree.map(lambda x: x * min(1, OPTIM.clip_norm / norm), gradients), 1e-4)


@pytest.mark.parametrize(("sizes", "grad_accum"), [((8, 1, 1), 1), ((2, 2, 2), 1), (ONE, 4)])
def test_preferences_are_learned_alike_on_any_mesh_and_in_parts(sizes: tuple[int, int, int], grad_accum: int) -> None:
    one, other = run(steps=4, optim=PREFERENCES, **ADAPTERS), run(sizes, 4, grad_accum, optim=PREFERENCES, **ADAPTERS)
    np.testing.assert_allclose(other.losses, one.losses, rtol=1e-5)
    assert_trees_close(other.gradients, one.gradients, 3e-5)


def test_a_frozen_matrix_costs_no_gradient() -> None:
    """Of three products with each matrix of a layer, two are left, and those of adapters are small."""
    flops = []
    for rank in (0, 4):
        cfg = replace(CFG, lora_rank=rank, d_model=256, d_ff=1024)
        abstract = abstract_state(cfg, OPTIM, mesh_of(ONE))
        step = compile_step(make_step(cfg, OPTIM, STEPS, N_LANGUAGES), abstract, B, L, mesh_of(ONE))
        flops.append(step.cost_analysis()["flops"])
    assert 0.6 < flops[1] / flops[0] < 0.8


@pytest.mark.parametrize("sizes", [ONE, *MESHES])
def test_gradients_equal_those_of_the_textbook(sizes: tuple[int, int, int]) -> None:
    expected, _ = textbook()
    norm = math.sqrt(sum(float((x.astype(np.float64) ** 2).sum()) for x in jax.tree.leaves(expected)))
    assert norm > OPTIM.clip_norm
    assert float(run(sizes).metrics[0]["grad_norm"]) == pytest.approx(norm, rel=1e-5)
    assert_trees_close(run(sizes).gradients, jax.tree.map(lambda x: x * OPTIM.clip_norm / norm, expected), 3e-6)  # observed: 1e-6


def test_processes_on_cpus_send_no_reduce_scatter_and_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of gloo, which connects them, sometimes returns wrong values. An all-reduce and a slice take its place."""
    mesh = mesh_of(sizes := (2, 2, 2))
    abstract = abstract_state(CFG, OPTIM, mesh)

    def step() -> jax.stages.Compiled:
        return compile_step(make_step(CFG, OPTIM, STEPS, N_LANGUAGES), abstract, B, L, mesh)

    assert "reduce-scatter" in str(step().as_text())
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    of_two = step()
    assert "reduce-scatter" not in str(of_two.as_text())
    monkeypatch.undo()
    state = jax.tree.map(lambda x, like: jax.device_put(x, like.sharding, may_alias=False), fresh(), abstract)
    _, metrics = of_two(state, jax.device_put(BATCHES[0], batch_sharding(mesh)), np.int32(0), np.float32(np.inf))
    assert float(metrics["grad_norm"]) == pytest.approx(float(run(sizes).metrics[0]["grad_norm"]), rel=1e-6)


def test_unrolled_and_scanned_layers_give_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def scans() -> int:
        step = make_step(CFG, OPTIM, STEPS, N_LANGUAGES)
        return str(jax.make_jaxpr(step)(abstract_state(CFG, OPTIM, mesh_of(ONE)), BATCHES[0])).count("scan[")

    written, others = run(steps=3), scans()  # `others` are scans of the loss
    monkeypatch.setattr(decoder, "WRITTEN_OUT", 0)
    assert scans() == others + 2  # the forward and the backward pass
    scanned = run.__wrapped__(steps=3)
    np.testing.assert_allclose(scanned.losses, written.losses, rtol=1e-6)
    assert_trees_close(scanned.gradients, written.gradients, 3e-6)


EXPERTS: dict[str, Any] = {"feed_forward": "experts", "n_experts": 8, "n_experts_per_token": 3, "d_expert": 24}
DEEPSEEK: dict[str, Any] = {
    **EXPERTS, "n_layers": 3, "n_dense_layers": 1, "n_shared_experts": 2, "router_scores": "sigmoid", "router_bias": True,
    "router_groups": 4, "router_groups_per_token": 2, "router_scale": 2.5,
}  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {  # that the textbook lacks
    "shipped configs": {"n_kv_heads": 2, "qk_norm": True, "tied_embeddings": False, "remat": "dots"},
    "partners' models": {"n_kv_heads": 2, "qk_norm": True, "qkv_bias": True, "feed_forward": "xielu", "sliding_window": 5, **LLAMA3},
    "experts": EXPERTS,
    "DeepSeek's experts": {**DEEPSEEK, "remat": "dots"},
    "DeepSeek's experts, recomputed": {**DEEPSEEK, "remat": "full"},
    "latent attention": {"kv_rank": 24, "q_rank": 16, "d_head": 8, "d_rope": 4, "d_value": 12},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_any_mesh_gives_the_same_gradients_with_other_options(options: str) -> None:
    changes = OPTIONS[options]
    one, many = run(steps=1, **changes), run((2, 2, 2), 1, **changes)
    np.testing.assert_allclose(many.losses, one.losses, rtol=1e-6)
    assert_trees_close(many.gradients, one.gradients, 3e-6)


@pytest.mark.parametrize("sizes", [(1, 8, 1), (1, 1, 8), (2, 2, 2)])
@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_any_mesh_gives_the_same_losses_and_loads_of_experts(sizes: tuple[int, int, int], name: str) -> None:
    optim = replace(OPTIM, name=name, router_bias_rate=0.01)
    one, many = run(steps=10, optim=optim, **DEEPSEEK), run(sizes, 10, optim=optim, **DEEPSEEK)
    assert one.losses[-1] < one.losses[0] - 0.2
    np.testing.assert_allclose(many.losses, one.losses, rtol=1e-6)
    for ours, theirs in zip(many.metrics, one.metrics, strict=True):
        np.testing.assert_array_equal(ours["loads"], theirs["loads"])


def test_each_token_counts_for_the_experts_that_it_has() -> None:
    found = run(steps=10, optim=replace(OPTIM, router_bias_rate=0.01), **DEEPSEEK)
    for metrics in found.metrics:  # two layers, three languages, eight experts of which a token has three
        np.testing.assert_array_equal(metrics["loads"].sum(2), np.broadcast_to(3 * metrics["tokens"], (2, N_LANGUAGES)))
    bias = np.asarray(found.state.params["layers"]["feed_forward"]["router_bias_E"])
    signs = sum(np.sign(loads.mean(1, keepdims=True) - loads) for loads in (metrics["loads"].sum(1) for metrics in found.metrics))
    np.testing.assert_allclose(
        bias - fresh(replace(CFG, **DEEPSEEK)).params["layers"]["feed_forward"]["router_bias_E"], 0.01 * signs, atol=1e-6
    )


def test_a_balance_loss_evens_the_work_of_experts() -> None:
    def busiest(weight: float) -> float:
        loads = run(optim=replace(OPTIM, balance_loss=weight), **EXPERTS).metrics[-1]["loads"].sum(1)
        return float((loads.max(1) / loads.mean(1)).mean())

    assert busiest(3.0) < busiest(0.0)


def test_parts_of_a_batch_with_experts_add_up() -> None:
    """But for the balance loss, which is of each part."""
    optim = replace(OPTIM, balance_loss=0.0, router_z_loss=0.0)
    parts, whole = run((1, 2, 1), 1, 4, optim=optim, **EXPERTS), run(steps=1, optim=optim, **EXPERTS)
    for name, value in parts.metrics[0].items():
        np.testing.assert_allclose(value, whole.metrics[0][name], rtol=1e-6)
    assert_trees_close(parts.gradients, whole.gradients, 2e-6)


@pytest.mark.parametrize("sizes", [ONE, (2, 2, 2)])
def test_sums_by_language_equal_those_of_a_loop_over_tokens(sizes: tuple[int, int, int]) -> None:
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
    np.testing.assert_allclose(metrics["nll"], nll, rtol=1e-6)  # observed: 6e-8
    np.testing.assert_array_equal(metrics["targets"], targets)
    np.testing.assert_array_equal(metrics["tokens"], tokens)
    assert float(metrics["loss"]) == pytest.approx(nll.sum() / targets.sum(), rel=1e-6)


def test_steps_and_learning_rates_are_counted_from_zero() -> None:
    assert int(run().state.step) == STEPS
    rate = learning_rate(OPTIM, STEPS)
    np.testing.assert_allclose([m["learning_rate"] for m in run().metrics], [rate(n) for n in range(STEPS)], rtol=1e-6)


def test_gradient_accumulation_gives_the_gradient_of_the_whole_batch() -> None:
    parts, whole = run((1, 2, 1), 1, 4), run()
    for name, value in parts.metrics[0].items():
        np.testing.assert_allclose(value, whole.metrics[0][name], rtol=1e-6)
    assert_trees_close(parts.gradients, whole.gradients, 2e-6)  # sums in another order; observed: 7e-7


@pytest.mark.parametrize("sizes", [ONE, (2, 2, 2)])
def test_a_step_that_shall_not_count_changes_nothing(sizes: tuple[int, int, int]) -> None:
    mesh = mesh_of(sizes)
    abstract = abstract_state(CFG, OPTIM, mesh)
    step = compile_step(make_step(CFG, OPTIM, STEPS, N_LANGUAGES), abstract, B, L, mesh)
    rows = jax.device_put(BATCHES[0], batch_sharding(mesh))

    def after(state: State, n: int, limit: float = np.inf) -> tuple[State, bool, float]:
        on_devices = jax.tree.map(lambda x, like: jax.device_put(x, like.sharding, may_alias=False), state, abstract)
        new, metrics = jax.block_until_ready(step(on_devices, rows, np.int32(n), np.float32(limit)))
        return jax.tree.map(np.asarray, new), bool(metrics["applied"]), float(metrics["loss"])

    new, applied, loss = after(fresh(), 0)
    assert applied and int(new.step) == 1 and after(fresh(), 0, loss)[1]
    broken = replace(fresh(), params={**fresh().params, "embedding_VD": fresh().params["embedding_VD"] * np.float32(np.inf)})
    for state, n, limit in (
        (fresh(), 1, np.inf),
        (fresh(), -1, np.inf),
        (fresh(), 0, np.nextafter(np.float32(loss), 0.0)),
        (broken, 0, np.inf),
    ):
        same, applied, _ = after(state, n, limit)
        assert not applied
        jax.tree.map(np.testing.assert_array_equal, same, jax.tree.map(np.asarray, state))
    passed = passed_over(jax.tree.map(lambda x, like: jax.device_put(x, like.sharding), fresh(), abstract), 7)
    counts = [int(x) for x in jax.tree.leaves(passed) if x.ndim == 0]
    assert counts == [7, 0, 7]  # of the state, of Adam, whose moments are as before, and of the schedule
    rate = after(passed, 7)
    assert rate[1] and int(rate[0].step) == 8


@pytest.mark.parametrize("remat", ["dots", "full"])
def test_rematerialisation_does_not_change_the_result(remat: str) -> None:
    again, plain = run(steps=1, remat=remat), run()
    np.testing.assert_allclose(again.losses, plain.losses[:1], rtol=1e-6)
    assert_trees_close(again.gradients, plain.gradients, 1e-6)  # other fusions; observed: 3e-7


def test_each_level_of_remat_recomputes_more_products() -> None:
    def products(remat: str) -> int:
        cfg = replace(CFG, remat=remat, n_layers=WRITTEN_OUT + 1)  # scanned, so that each product occurs once in the program
        step = make_step(cfg, OPTIM, STEPS, N_LANGUAGES)
        return str(jax.make_jaxpr(step)(abstract_state(cfg, OPTIM, mesh_of(ONE)), BATCHES[0])).count("dot_general")

    assert products("none") < products("dots") < products("full")


def test_parameters_and_moments_stay_float32_with_bfloat16_products() -> None:
    half, single = run(steps=10, dtype="bfloat16"), run()
    assert {x.dtype for x in jax.tree.leaves((half.state.params, optax.tree_utils.tree_get(half.state.optimizer, "mu")))} == {
        jnp.dtype(jnp.float32)
    }
    assert half.losses[-1] < half.losses[0] - 0.2
    np.testing.assert_allclose(half.losses, single.losses[:10], rtol=1e-3)  # factors of 8 bits, mean over a batch; observed: 8e-5
    cfg = replace(CFG, dtype="bfloat16")
    graph, shapes = graph_and_shapes(cfg)
    rows = [jax.ShapeDtypeStruct((B, L), jnp.int32)] * 3

    assert jax.eval_shape(lambda params, *rows: bind(graph, params)(*rows), shapes, *rows).dtype == jnp.bfloat16


def test_weight_decay_applies_to_matrices_only() -> None:
    cfg = replace(CFG, qk_norm=True, qkv_bias=True, tied_embeddings=False)
    tree = matrices(graph_and_shapes(cfg)[1]) | {"other": matrices(graph_and_shapes(replace(cfg, feed_forward="xielu"))[1])}
    names = {path[-1].key: value for path, value in jax.tree_util.tree_leaves_with_path(tree)}
    assert {name for name, value in names.items() if not value} == {
        "scale_D", "scale_H", "query_bias_NH", "key_bias_KH", "value_bias_KH", "alpha_p_1", "alpha_n_1",
    }  # fmt: skip
    assert {name for name, value in names.items() if value} == {
        "embedding_VD", "unembedding_DV", "query_DNH", "key_DKH", "value_DKH", "out_NHD", "gate_DF", "up_DF", "down_FD",
    }  # fmt: skip


RATES = {  # peak 2, warm-up over 10 of 110 steps, final rate a tenth of the peak: from 2 down to 0.2
    "cosine": {0: 0.2, 4: 1.0, 9: 2.0, 34: 0.2 + 0.9 * (1 + math.sqrt(0.5)), 59: 1.1, 109: 0.2, 500: 0.2},
    "wsd": {0: 0.2, 4: 1.0, 9: 2.0, 50: 2.0, 87: 2.0, 98: 1.1, 109: 0.2, 500: 0.2},  # decays over the last fifth, 22 steps
    "constant": {0: 0.2, 4: 1.0, 9: 2.0, 50: 2.0, 109: 2.0, 500: 2.0},
}


@pytest.mark.parametrize("schedule", RATES)
def test_learning_rate_follows_its_schedule(schedule: str) -> None:
    optim = replace(OPTIM, schedule=schedule, peak_lr=2.0, warmup_steps=10, final_lr_fraction=0.1, decay_fraction=0.2)
    rate = learning_rate(optim, 110)
    assert {step: float(rate(step)) for step in RATES[schedule]} == pytest.approx(RATES[schedule], rel=1e-6)


@pytest.mark.parametrize("schedule", ["cosine", "wsd"])
@pytest.mark.parametrize("steps", [1, 2, 5, 10, 50, 1_000_000])
def test_the_last_step_has_exactly_the_final_rate(schedule: str, steps: int) -> None:
    optim = replace(OPTIM, schedule=schedule, peak_lr=3e-3, warmup_steps=0, final_lr_fraction=0.1, decay_fraction=0.1)
    rate = learning_rate(optim, steps)
    assert rate(steps - 1) == jnp.float32(3e-3) * jnp.float32(0.1)
    assert steps == 1 or rate(0) > rate(steps - 1) < rate(steps // 2 - 1)


def test_a_warm_up_that_takes_all_steps_is_told() -> None:
    assert warm_up_warning(replace(OPTIM, warmup_steps=99), 100) == ""
    assert warm_up_warning(replace(OPTIM, warmup_steps=100), 100) == (
        "all 100 steps are warm-up (optim.warmup_steps=100); set a lower optim.warmup_steps, such as 10"
    )
    rate = learning_rate(replace(OPTIM, peak_lr=2.0, warmup_steps=200), 100)
    assert float(rate(99)) == pytest.approx(1.0)


@pytest.mark.heavy("torch")
def test_updates_equal_those_of_torch() -> None:
    """Compares AdamW with clipping and decoupled weight decay over five steps. The gradient of the third is too small to be clipped."""
    import torch

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
            np.testing.assert_allclose(found, expected.detach(), rtol=0, atol=2e-6)  # torch adds 1e-6 to the norm it divides by
