"""What the search offers can be run, fits, and is in order."""

import math
from dataclasses import replace

import pytest

from varietas.launch.check import check
from varietas.launch.config import load_config
from varietas.launch.plan.estimate import plan
from varietas.launch.plan.job import Job, job_of
from varietas.launch.plan.machines import load_machine
from varietas.launch.plan.search import best, changes, divisors, enough_nodes, fitting, remedies
from varietas.launch.resolve import with_values


def job(n_devices: int, *fields: str, config: str = "eurollm_9b") -> Job:
    return job_of(load_config(config, [f"--config.{field}" for field in fields]), n_devices)


def test_divisors() -> None:
    assert divisors(12) == [1, 2, 3, 4, 6, 12] and divisors(1) == [1] and divisors(49) == [1, 7, 49]


def test_the_best_is_at_least_as_good_as_what_was_asked_for() -> None:
    machine, asked = load_machine("mn5"), job(400)
    found = best(asked, 400, machine)
    assert found[0].step.seconds <= plan(asked, machine).step.seconds
    assert [one.step.seconds for one in found] == sorted(one.step.seconds for one in found)
    assert all(one.fits and one.job.devices == 400 for one in found)
    assert len({(one.job.mesh, one.job.model.remat) for one in found}) == len(found)


def test_every_plan_can_be_started() -> None:
    """The arguments that are shown make a config that passes its checks and gives the very same job."""
    config = load_config("eurollm_9b")
    asked = job_of(config, 400)
    for one in best(asked, 400, load_machine("mn5")):
        changed = with_values(config, changes(asked, one.job))
        check(changed)
        assert job_of(changed, 400) == one.job


def test_tensor_stays_within_a_node() -> None:
    assert all(one.job.mesh[2] <= 4 for one in fitting(job(64, "train.batch_size=64"), 64, load_machine("leonardo")))


def test_remedies_fit_and_change_little_first() -> None:
    machine, asked = load_machine("leonardo"), job(4, "train.batch_size=64")
    assert not plan(asked, machine).fits
    found = remedies(asked, machine)
    assert found and all(one.fits for one in found)
    assert [one.step.seconds for one in found] == sorted(one.step.seconds for one in found)
    fewest = min(found, key=lambda one: len(changes(asked, one.job)))
    assert list(changes(asked, fewest.job)) == ["train.grad_accum"]


def test_rows_become_shorter_if_nothing_else_helps() -> None:
    small = replace(load_machine("leonardo"), memory=16 * 2**30)
    asked = job(32, "train.batch_size=32", "data.seq_len=32768", "model.max_seq_len=32768")
    assert not any(fitting(asked, 32, small))
    for one in (found := remedies(asked, small)):
        assert one.fits and one.job.seq_len < asked.seq_len and one.job.tokens == asked.tokens
    assert found


def test_nothing_is_offered_that_does_not_fit() -> None:
    tiny = replace(load_machine("leonardo"), memory=2**30)
    assert remedies(job(4, "train.batch_size=64"), tiny) == [] and enough_nodes(job(4, "train.batch_size=64"), tiny, 8) is None


def test_enough_nodes() -> None:
    machine, asked = load_machine("snellius_a100"), job(4, "train.batch_size=256")
    nodes = enough_nodes(asked, machine, 64)
    assert nodes and any(fitting(asked, nodes * 4, machine)) and not any(fitting(asked, nodes * 2, machine))
    assert math.log2(nodes).is_integer()


@pytest.mark.parametrize("n", [1, 2, 4, 8, 16])
def test_more_nodes_never_need_more_memory(n: int) -> None:
    """The least memory with which a job can be run does not grow with the devices."""
    machine, asked = load_machine("mn5"), job(4, "train.batch_size=512", config="eurollm_1p7b")
    least = [min(one.memory.total for one in fitting(asked, 4 * nodes, machine)) for nodes in (n, 2 * n)]
    assert least[1] <= least[0]
