"""The formulas for memory beside XLA's own figures: compiled here for virtual CPU devices, and elsewhere for H100, A100 and TPU."""

from collections import Counter

import jax
import jax.numpy as jnp
import pytest
from compiled import Case, cases
from flax import nnx
from scale import PLATFORMS, Row, rows

from varietas.launch.config import load_config
from varietas.launch.plan.job import Job, job_of
from varietas.launch.plan.memory import HIDDEN, memory
from varietas.model.decoder import FEED_FORWARD, REMAT
from varietas.model.sharding import make_mesh
from varietas.train.memory import state_bytes
from varietas.train.step import abstract_state

GIB = 2**30
EXPERTS = (
    "model.feed_forward=experts", "model.n_dense_layers=1", "model.n_layers=3", "model.n_shared_experts=1", "model.router_bias=True",
)  # fmt: skip
LATENT = ("model.kv_rank=24", "model.q_rank=16", "model.d_head=16", "model.d_rope=8", "model.d_value=12")
LORA = ("model.lora_rank=4", "train.init_from=elsewhere")
OFF = 0.1  # how far the formulas may be off


def job(n_devices: int, *fields: str, config: str = "tiny") -> Job:
    return job_of(load_config(config, [f"--config.{field}" for field in fields]), n_devices)


@pytest.mark.parametrize(
    "fields",
    [
        ("mesh.fsdp=8",),
        ("mesh.data=2", "mesh.fsdp=2", "mesh.tensor=2"),
        ("mesh.data=8", "model.tied_embeddings=False"),
        ("mesh.fsdp=4", "mesh.tensor=2", "mesh.data=1", "model.qk_norm=True", "model.d_head=32", "model.n_kv_heads=4"),
        ("mesh.fsdp=4", "mesh.tensor=2", "mesh.data=1", "model.feed_forward=xielu", "model.qkv_bias=True"),
        ("mesh.fsdp=4", "mesh.tensor=2", "mesh.data=1", "model.qk_norm=True", "optim.name=muon"),
        ("mesh.fsdp=4", "mesh.tensor=2", "mesh.data=1", *EXPERTS),
        ("mesh.fsdp=4", "mesh.tensor=2", "mesh.data=1", "optim.name=muon", *LATENT),
        ("mesh.fsdp=4", "mesh.tensor=2", "mesh.data=1", "optim.name=muon", *EXPERTS),
        ("mesh.fsdp=4", "mesh.tensor=2", "mesh.data=1", *LORA),
        ("mesh.fsdp=4", "mesh.tensor=2", "mesh.data=1", *LORA, *EXPERTS),
        ("mesh.fsdp=4", "mesh.tensor=2", "mesh.data=1", *LORA, *LATENT),
    ],
)
def test_state_is_exact(fields: tuple[str, ...]) -> None:
    """Three counters of 4 bytes come in addition; with Muon a fourth, of its schedule."""
    planned = job(8, *fields)
    found = memory(planned, "cpu")
    exact = state_bytes(abstract_state(planned.model, planned.optim, make_mesh(*planned.mesh)))
    assert found.parameters + found.optimizer == exact - (16 if planned.optim.name == "muon" else 12)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_the_table_of_compiled_steps(row: Row) -> None:
    """docs/scale.md was made before the formulas."""
    found = memory(row.job, PLATFORMS[row.machine])
    assert (found.parameters + found.optimizer) / GIB == pytest.approx(row.state, abs=0.006)
    assert found.total / GIB == pytest.approx(row.held, rel=OFF)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.line)
def test_compiled_steps(case: Case) -> None:
    assert memory(case.job, case.platform).total == pytest.approx(case.held, rel=OFF)


def test_some_steps_were_compiled_after_the_formulas_were_written() -> None:
    """With other shapes, meshes and targets than those that were in view."""
    assert sum(not case.fitted for case in cases()) >= 8


SMALL = (
    "model.d_model=256", "model.d_ff=768", "model.n_layers=4", "model.vocab_size=4096", "data.seq_len=256", "model.max_seq_len=256",
    "train.batch_size=32",
)  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        ("mesh.fsdp=8",),
        ("mesh.fsdp=2", "mesh.data=2", "mesh.tensor=2", "model.remat=dots"),
        ("mesh.fsdp=8", "model.feed_forward=xielu", "model.sliding_window=32"),
        ("mesh.fsdp=2", "mesh.data=2", "mesh.tensor=2", "model.remat=dots", "model.n_layers=6", "optim.name=muon"),
        ("mesh.fsdp=8", *EXPERTS),
        ("mesh.fsdp=2", "mesh.data=2", "mesh.tensor=2", "model.remat=full", *EXPERTS, "optim.name=muon"),
        ("mesh.fsdp=8", *LORA),
        ("mesh.fsdp=2", "mesh.data=2", "mesh.tensor=2", "model.remat=full", *LORA),
    ],
    ids=" ".join,
)
def test_steps_compiled_for_the_devices_here(fields: tuple[str, ...]) -> None:
    """XLA's CPU backend computes bfloat16 in float32, so this compares float32 only."""
    from varietas.launch.plan.compiler import gpu_program
    from varietas.train.step import compile_step, make_step

    planned = job(8, *SMALL, *fields)
    mesh = make_mesh(*planned.mesh)
    step = make_step(planned.model, planned.optim, planned.steps, 40, planned.grad_accum)
    program, held = gpu_program(
        compile_step(step, abstract_state(planned.model, planned.optim, mesh), planned.batch_size, planned.seq_len, mesh)
    )
    if not planned.model.n_expert_layers:  # the CPU backend multiplies experts in loops, with copies of its own: compiled.json has TPUs
        assert memory(planned, "cpu").total == pytest.approx(held, rel=0.15)
    _gathers_are_exact(planned, program)


def _gathers_are_exact(planned: Job, program: str) -> None:
    """The CPU backend scatters by all-reduces; gathers and the exchange of embeddings are as elsewhere."""
    from varietas.launch.plan.communication import exchanges
    from varietas.launch.plan.program import collectives

    for kind in ("all-gather", "all-to-all"):
        ours = sum(one.sent for one in exchanges(planned, "cpu") if one.kind == kind)
        theirs = sum(one.bytes * one.times for one in collectives(program) if one.kind == kind)
        assert ours == pytest.approx(theirs, rel=0.005), kind


@pytest.mark.parametrize("remat", ["none", "dots"])
@pytest.mark.parametrize("name", sorted(set(FEED_FORWARD) - {"experts"}))
def test_a_feed_forward_part_keeps_what_the_formula_says(name: str, remat: str, capsys: pytest.CaptureFixture[str]) -> None:
    fields = (f"model.feed_forward={name}", f"model.remat={remat}", "model.d_ff=416")
    cfg = job(1, *fields).model
    graph, weights = nnx.split(FEED_FORWARD[name](cfg, nnx.Rngs(0)))
    run = jax.checkpoint(lambda weights, x: nnx.merge(graph, weights)(x), policy=REMAT[remat])
    jax.ad_checkpoint.print_saved_residuals(run, weights, jnp.zeros((2, 16, cfg.d_model)))
    kept = Counter(line.split("[")[0] for line in capsys.readouterr().out.splitlines() if "[2,16,416]" in line)
    hidden = HIDDEN[name]
    assert kept["f32"] == (hidden.saved if remat == "none" else hidden.products)
    assert kept["bool"] == (hidden.masks if remat == "none" else 0)


BIG = ("mesh.data=1", "train.batch_size=512", "train.grad_accum=1")


@pytest.mark.parametrize(
    ("more", "less"),
    [
        (("mesh.fsdp=8",), ("mesh.fsdp=16",)),
        (("mesh.fsdp=16", "model.remat=none"), ("mesh.fsdp=16", "model.remat=dots")),
        (("mesh.fsdp=16", "model.remat=dots"), ("mesh.fsdp=16", "model.remat=full")),
        (("mesh.fsdp=16", "model.remat=dots"), ("mesh.fsdp=16", "train.grad_accum=4")),
        (("mesh.fsdp=16",), ("mesh.fsdp=16", "mesh.tensor=2")),
        (("mesh.fsdp=16",), ("mesh.fsdp=16", "train.batch_size=256")),
    ],
    ids=lambda fields: " ".join(fields),
)
def test_what_saves_memory_saves_memory(more: tuple[str, ...], less: tuple[str, ...]) -> None:
    def total(fields: tuple[str, ...]) -> float:
        sizes = dict(field.split("=") for field in fields)
        n = int(sizes["mesh.fsdp"]) * int(sizes.get("mesh.tensor", 1))
        return memory(job(n, *BIG, *fields, config="eurollm_1p7b"), "cuda").total

    assert total(less) < total(more)


@pytest.mark.parametrize(
    ("config", "n_devices", "seq_len", "fields", "gib"),
    [  # docs/architecture.md: XLA's memory analysis for H100s, with one row on each device
        ("eurollm_1p7b", 8, 131_072, (), 38),
        ("eurollm_1p7b", 8, 32_768, (), 13),
        ("eurollm_9b", 64, 131_072, (), 76),
        ("eurollm_9b", 64, 32_768, (), 30),
        ("eurollm_9b", 64, 131_072, ("mesh.tensor=2",), 62),
    ],
)
def test_long_rows(config: str, n_devices: int, seq_len: int, fields: tuple[str, ...], gib: float) -> None:
    """Attention in blocks keeps the scores of one block of queries, so memory grows with the length of a row."""
    rows = n_devices // 2 if fields else n_devices
    sizes = (f"data.seq_len={seq_len}", f"model.max_seq_len={seq_len}", f"train.batch_size={rows}", "train.grad_accum=1")
    planned = job(n_devices, *sizes, "model.remat=full", *fields, config=config)
    assert memory(planned, "cuda").total / GIB == pytest.approx(gib, rel=0.2)
