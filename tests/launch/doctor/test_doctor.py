"""`varietas doctor` on this computer."""

import json
import re
from pathlib import Path

import pytest
import several

from varietas.launch.cli import main
from varietas.launch.doctor import disk, software, speed
from varietas.launch.doctor.finding import BROKEN, OK, SLOW
from varietas.launch.plan.machines import load_machine


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "BYTES", disk.BLOCK)
    for limit in ("SLOWEST_WRITE", "SLOWEST_READ", "LEAST_FREE"):
        monkeypatch.setattr(disk, limit, 1.0)
    monkeypatch.setattr(disk, "SLOWEST_FILE", 60.0)


def test_every_line_has_a_state_and_those_that_are_not_well_a_next_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor", "--json", "--folder", str(tmp_path)])
    found = json.loads(capsys.readouterr().out)
    names = [line["name"] for line in found]
    assert {"Python", "packages", "jax devices", "memory", "/dev/shm", "clock", "host name", "ports", "matrix products"} <= set(names)
    assert f"disk {tmp_path}" in names and "all-reduce in a node" in names and len(set(names)) == len(names)
    assert all((line["state"] == OK) == (not line["todo"]) for line in found)
    assert status == (0 if all(line["state"] == OK for line in found) else 1)
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    (found,) = disk.disk(tmp_path)
    assert found.state == BROKEN and found.name == f"disk {tmp_path}" and "Permission denied" in found.said
    (found,) = disk.disk(tmp_path / "not" / "there")
    assert found.state == BROKEN and "no such folder" in found.said


def test_a_slow_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "SLOWEST_READ", 1e15)
    (found,) = disk.disk(tmp_path)
    assert found.state == SLOW and "scratch" in found.todo


def test_packages_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert software._packages().state == OK
    monkeypatch.setattr(software, "_requirements", lambda: ["numpy>=99", "no-such-package", "torch; extra == 'x'", "rich"])
    found = software._packages()
    assert (
        found.state == BROKEN and "no-such-package is missing" in found.said and "wanted >=99" in found.said and "torch" not in found.said
    )


def test_a_plugin_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "version_of", {"jaxlib": "0.10.2", "jax-cuda13-plugin": "0.9.0"}.get)
    assert software._plugins().todo == "pip install 'jax-cuda13-plugin==0.10.2'"
    monkeypatch.setattr(software, "version_of", {"jaxlib": "0.10.2", "jax-cuda13-plugin": "0.10.2", "jax-cuda12-plugin": "0.10.2"}.get)
    assert software._plugins().state == BROKEN


def test_a_machine_with_gpus_on_a_computer_without() -> None:
    found = speed.devices(load_machine("leonardo"), 1)
    assert found.state == BROKEN and "leonardo has NVIDIA A100" in found.said


def test_the_speed_of_a_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 · 1024³ operations in 1 ms."""
    monkeypatch.setattr(speed, "_fastest", lambda work: 1e-3)
    found = speed.products(None)
    assert found.state == OK and found.said.startswith("2.15 TFLOP/s (1024³")


def test_the_bandwidth_of_a_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight devices add 4 MiB each in 1 ms: a ring sends 2 · 7/8 · 4 MiB from each, 7.34 GB/s."""
    monkeypatch.setattr(speed, "_fastest", lambda work: 1e-3)
    (found,) = speed.sums(None, 1)
    assert found.said == "7.34 GB/s from each of 8 devices"


def test_sums_within_nodes_and_between_them() -> None:
    within, all_ = speed.sums(None, 2)
    assert within.said.endswith("from each of 4 devices") and all_.said.endswith("from each of 8 devices")
    assert within.state == all_.state == OK  # both sums are right


@pytest.mark.heavy("several processes")
def test_two_processes_make_one_table_in_which_the_one_that_deviates_is_named(tmp_path: Path) -> None:
    environments = several.srun(2)
    environments[1]["APPTAINER_NAME"] = "old.sif"
    said = several.start(2, "doctor", "--json", cwd=tmp_path, environments=environments).wait()
    assert [one.status for one in said] == [1, 1] and said[1].out == said[0].err == said[1].err == ""
    found = json.loads(said[0].out)
    well, other = (line for line in found if line["name"] == "Python")
    assert well["state"] == OK and other["state"] == SLOW
    assert re.search(r"in the container old.sif \(process 1 on \S+; 1 of 2\)$", other["said"]) and well["said"] in other["todo"]
    assert [line["said"] for line in found if line["name"] == "jax devices"] == ["2 × cpu, 1 of them with this process"]
    totals = [line["said"] for line in found if line["name"] == "all-reduce in a node"]  # two, if the machine is busy
    assert totals and all("from each of 2 devices" in said for said in totals)
