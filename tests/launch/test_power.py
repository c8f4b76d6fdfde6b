"""The power by the figures of the machine, of which each process of a run has its part."""

import json
from pathlib import Path

import pytest

from varietas.configs.machines.leonardo import MACHINE
from varietas.configs.machines.local import MACHINE as LOCAL
from varietas.launch import backend
from varietas.launch.power import own_power


def submitted(run: Path, machine: str) -> Path:
    (run / "jobs").mkdir(parents=True)
    (run / "jobs" / "job.json").write_text(json.dumps({"machine": machine}))
    return run


def test_two_processes_of_a_computer_share_its_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = {"data": 2, "fsdp": 2, "tensor": 1}
    assert own_power(tmp_path, mesh) == LOCAL.power
    monkeypatch.setattr(backend, "processes", lambda: (2, 2))
    assert own_power(tmp_path, mesh) == LOCAL.power / 2


def test_a_job_has_its_devices_part_of_the_machine_that_it_was_submitted_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, mesh = submitted(tmp_path / "run", "leonardo"), {"data": 2, "fsdp": 4, "tensor": 1}  # two nodes of four
    assert own_power(run, mesh) == LOCAL.power  # but this is no job
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(backend, "processes", lambda: (8, 4))
    assert own_power(run, mesh) == pytest.approx(MACHINE.power / 4)
    assert own_power(submitted(tmp_path / "own", "a_machine_of_mine"), mesh) is None
