"""The formulas for what devices send, beside the collectives of compiled programs, and the time of exchanges."""

from dataclasses import replace

import pytest
from compiled import Case, cases
from scale import PLATFORMS, Row, rows

from varietas.configs.machines.base import Link
from varietas.launch.config import load_config
from varietas.launch.plan.communication import LINK_SHARE, Exchange, cost, exchanges
from varietas.launch.plan.job import Job, job_of
from varietas.launch.plan.machines import load_machine

GIB = 2**30


def by_kind(job: Job, platform: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for one in exchanges(job, platform):
        found[one.kind] = found.get(one.kind, 0.0) + one.sent
    return found


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_the_table_of_compiled_steps(row: Row) -> None:
    """A TPU whose whole mesh is fsdp gathers and scatters in other ways, which send up to a seventh more or less in all."""
    ours = {kind: size / GIB for kind, size in by_kind(row.job, PLATFORMS[row.machine]).items()}
    if row.sent["collective-permute"]:
        assert sum(row.sent.values()) == pytest.approx(sum(ours.values()), rel=0.15)
    else:
        for kind, sent in row.sent.items():
            assert ours.get(kind, 0.0) == pytest.approx(sent, rel=1e-3, abs=0.006), kind


@pytest.mark.parametrize("case", [case for case in cases() if case.sent], ids=lambda case: case.line)
def test_compiled_steps(case: Case) -> None:
    ours = by_kind(case.job, case.platform)
    off = 5e-3 if case.job.model.n_dense_layers else 1e-3  # a stack of one layer is gathered once less
    if "collective-permute" in case.sent:
        assert sum(case.sent.values()) == pytest.approx(sum(ours.values()), rel=0.15)
    else:
        for kind, sent in case.sent.items():
            assert ours.get(kind, 0.0) == pytest.approx(sent, rel=off, abs=3e6), kind


def test_one_device_sends_nothing() -> None:
    job = job_of(load_config("eurollm_1p7b", ["--config.train.batch_size=2"]), 1)
    assert exchanges(job, "cuda") == []


@pytest.mark.parametrize(
    ("group", "inner", "link", "bandwidth"),
    [
        (4, 1, "within", 300e9),  # a node
        (8, 1, "between", 4 * 12.5e9),  # two nodes: four adapters share what leaves a node
        (8, 4, "between", 12.5e9),  # a device of each of eight nodes
        (4, 2, "between", 2 * 12.5e9),
        (2, 2, "within", 300e9),
    ],
)
def test_the_link_of_a_group(group: int, inner: int, link: str, bandwidth: float) -> None:
    machine = replace(load_machine("leonardo"), within=Link(300e9, 0.0), between=Link(12.5e9, 0.0))
    job = job_of(load_config("eurollm_1p7b", ["--config.train.batch_size=64"]), 8)
    job = replace(job, mesh=(1, group, inner))
    found = cost(Exchange("", "all-gather", "fsdp", group, 1e9, 1), job, machine)
    assert (found.link, found.seconds) == (link, pytest.approx(1e9 / (LINK_SHARE * bandwidth)))


def test_latency_counts_for_small_exchanges() -> None:
    job = replace(job_of(load_config("eurollm_1p7b", ["--config.train.batch_size=8", "--config.train.grad_accum=1"]), 1), mesh=(1024, 1, 1))
    small = cost(Exchange("", "all-reduce", "data", 1024, 8.0, 1), job, load_machine("mn5"))
    assert 1e-4 < small.seconds < 1e-3  # a tree over 256 nodes, up and down: 16 steps of 14 µs, and four within nodes
