"""The time of a step beside published speeds, and what must make a step faster or slower."""

from dataclasses import replace
from itertools import pairwise

import pytest
from published import RUNS, Published

from varietas.launch.config import load_config
from varietas.launch.plan.estimate import plan
from varietas.launch.plan.job import Job, job_of
from varietas.launch.plan.machines import load_machine
from varietas.launch.plan.roofline import attended, multiplied, product_seconds, step_time
from varietas.model.attention.blockwise import blocks

OFF = 1.35  # the factor by which the formulas may differ from a published speed


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_published_speeds(run: Published) -> None:
    """Other software, and its settings are not all known; the speeds of a machine differ among each other as much."""
    ours = plan(run.job, run.machine).tokens_per_second / run.job.devices
    assert run.speed / OFF < ours < run.speed * OFF


def test_most_published_speeds_were_not_used_for_calibration() -> None:
    assert sum(not run.calibrates for run in RUNS) > sum(run.calibrates for run in RUNS)
    assert len({run.machine.name for run in RUNS if run.calibrates}) == sum(run.calibrates for run in RUNS)


def job(n_devices: int, *fields: str, config: str = "eurollm_1p7b") -> Job:
    return job_of(load_config(config, [f"--config.{field}" for field in fields]), n_devices)


def test_products_by_hand() -> None:
    """One device without recomputation: 6 FLOP for each parameter and token but the embedding, and attention in blocks."""
    machine = replace(load_machine("mn5"), attainable=1.0)
    planned = job(1, "train.batch_size=4", "train.grad_accum=1", "model.remat=none", "model.vocab_size=128000")
    tokens, parameters = 4 * 4096, 24 * (2048 * 128 * (2 * 16 + 2 * 8) + 3 * 2048 * 5632) + 128_000 * 2048
    attention = 24 * 7 * 2 * 16 * 128 * 4096 / 2  # seven products of a query with half of its row; cuDNN runs them at 0.65 of the speed
    assert product_seconds(planned, machine) == pytest.approx(tokens * (6 * parameters + attention / 0.65) / 989e12, rel=1e-9)


@pytest.mark.parametrize(("tensor", "layers"), [(1, 3), (2, 2), (4, 1)])
def test_muon_adds_products_of_whole_matrices_in_tf32(tensor: int, layers: int) -> None:
    """24 layers are shared by eight devices of fsdp, each of them with so many of tensor. With 2 of tensor, some have nothing to do."""
    machine = replace(load_machine("mn5"), attainable=1.0)
    fields = ("train.batch_size=64", "mesh.data=2", "mesh.fsdp=8", f"mesh.tensor={tensor}")
    with_adamw, with_muon = (product_seconds(job(16 * tensor, *fields, f"optim.name={name}"), machine) for name in ("adamw", "muon"))
    square, narrow, wide = 5 * 6 * 2048**3, 5 * (4 * 1024**2 * 2048 + 2 * 1024**3), 5 * (4 * 2048**2 * 5632 + 2 * 2048**3)
    flop = layers * (2 * square + 2 * narrow + 3 * wide)
    assert with_muon - with_adamw == pytest.approx(flop / (989e12 / 2), rel=1e-9)


def test_mfu_is_below_what_products_attain() -> None:
    for name in ("lumi", "leonardo", "mn5", "jupiter", "tpu_v5p"):
        machine = load_machine(name)
        found = plan(job(64), machine)
        assert 0.15 < found.mfu < machine.attainable


@pytest.mark.parametrize(
    "better",
    [
        {"peak": 2.0},
        {"memory_bandwidth": 2.0},
        {"attainable": 1.2},
    ],
    ids=str,
)
def test_a_better_machine_is_faster(better: dict[str, float]) -> None:
    machine = load_machine("leonardo")
    improved = replace(machine, **{name: getattr(machine, name) * factor for name, factor in better.items()})
    assert step_time(job(64), improved).seconds < step_time(job(64), machine).seconds


def test_faster_links_wait_less() -> None:
    machine = load_machine("leonardo")
    faster = replace(machine, between=replace(machine.between, bandwidth=4 * machine.between.bandwidth))
    assert step_time(job(256), faster).exposed < 0.5 * step_time(job(256), machine).exposed


def test_recomputation_costs_time_of_products() -> None:
    times = [product_seconds(job(64, f"model.remat={remat}"), load_machine("mn5")) for remat in ("none", "dots", "full")]
    assert times[0] < times[1] < times[2] < 1.45 * times[0]  # at most one forward pass of three more


def test_more_nodes_are_faster_and_less_efficient() -> None:
    """The same batch on more devices: memory never grows, time falls, and so does MFU once the devices wait for each other."""
    machine = load_machine("mn5")
    plans = [plan(job(n, "train.grad_accum=1"), machine) for n in (64, 128, 256, 512, 1024)]
    for few, many in pairwise(plans):
        assert many.memory.total <= few.memory.total
        assert many.step.seconds < few.step.seconds < 2.2 * many.step.seconds
    assert plans[-1].mfu < plans[0].mfu


def test_energy_and_carbon_by_hand() -> None:
    machine = replace(load_machine("lumi"), power=2000.0, pue=1.5, carbon=100.0)
    found = plan(job(64), machine)
    hours = found.step.seconds * 1_000_000 / 3600
    assert found.nodes == 8 and found.node_hours == pytest.approx(8 * hours)
    assert found.kwh == pytest.approx(8 * hours * 3.0) and found.co2_kg == pytest.approx(8 * hours * 0.3)
    assert found.tokens_per_second == pytest.approx(1024 * 4096 / found.step.seconds)


@pytest.mark.parametrize(("length", "sliding"), [(4096, 0), (4096, 1024), (4096, 100), (1000, 300), (96, 0), (96, 200)])
def test_attention_multiplies_what_the_model_does(length: int, sliding: int) -> None:
    fields = (f"data.seq_len={length}", f"model.max_seq_len={length}", f"model.sliding_window={sliding}")
    planned = job(1, *fields, config="tiny")
    pairs = sum((block.end - block.begin) * (block.end - block.first_key) for block in blocks(length, sliding))
    assert multiplied(planned) == pytest.approx(pairs / length, rel=0.08)  # the last block may be shorter
    of_row = sum(min(place, sliding or length) for place in range(1, length + 1))
    assert attended(planned) == pytest.approx(of_row / length, rel=0.02)
    assert attended(planned) < multiplied(planned)
