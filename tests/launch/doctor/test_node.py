"""What Slurm gave, against what the machine's jobs ask for."""

import os

import pytest

from varietas.launch.doctor import node
from varietas.launch.doctor.finding import BROKEN, OK, SLOW
from varietas.launch.plan.machines import load_machine

STEP = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_STEP_ID": "0"}


@pytest.mark.parametrize(
    ("environment", "cores", "state", "says"),
    [
        (STEP, 8, OK, "job 7, 2 nodes, 8 processes, 8 cores for this one"),
        ({**STEP, "SLURM_NTASKS": "2"}, 8, BROKEN, "leonardo wants 8 processes"),
        (STEP, 1, SLOW, "1 cores for this one instead of 8"),
        ({"SLURM_JOB_ID": "7"}, 8, SLOW, "not under srun"),
    ],
)
def test_slurm(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], cores: int, state: str, says: str) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    (found,) = node._slurm(load_machine("leonardo"), environment)
    assert found.state == state and says in found.said and bool(found.todo) == (state != OK)


def test_settings_that_a_job_lacks() -> None:
    leonardo = load_machine("leonardo")
    all_ = {setting.name: setting.value.replace("${XLA_FLAGS:-}", "--xla_mine=1") for setting in leonardo.environment}
    assert [found.state for found in node._settings(leonardo, all_)] == [OK]
    (found,) = node._settings(leonardo, {**all_, "NCCL_IB_TIMEOUT": "20"})
    assert found.state == SLOW and found.todo == 'export NCCL_IB_TIMEOUT="120"'
    assert node._settings(None, {}) == [] and node._slurm(None, {}) == []
