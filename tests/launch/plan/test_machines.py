"""Machine files are complete and plausible, and a mistake in --machine is told in one line."""

import re
from pathlib import Path

import pytest

from varietas.launch.plan.machines import load_machine, machine_names

LEONARDO = Path(__file__).parents[3] / "configs" / "machines" / "leonardo.py"


def test_the_machines_of_european_projects_are_there() -> None:
    assert {"lumi", "leonardo", "mn5", "jupiter", "snellius_a100", "snellius_h100", "meluxina", "karolina", "vega", "deucalion"} <= set(
        machine_names()
    )


@pytest.mark.parametrize("name", machine_names())
def test_figures_are_possible(name: str) -> None:
    m = load_machine(name)
    assert m.name == name and m.platform in ("cuda", "rocm", "tpu", "cpu")
    assert m.nodes >= 1 and m.devices_per_node >= 1 and m.cores >= m.devices_per_node
    assert 0.2 < m.attainable < 1 and 1 <= m.pue < 2 and 20 < m.carbon < 1000
    assert m.within.bandwidth >= m.between.bandwidth and m.within.latency <= m.between.latency
    if m.platform != "cpu":
        assert 30e9 < m.memory < 110e9 and 150e12 < m.peak < 1000e12 and 1e12 < m.memory_bandwidth < 5e12
        assert 200 < m.power / m.devices_per_node < 1100  # between idle and more than any of these devices and its share of a node
        assert m.memory * m.devices_per_node < 1.2 * m.node_memory  # hosts of GPUs have about as much memory as their devices
    if m.slurm:
        for queue in m.slurm.queues:
            assert re.fullmatch(r"(\d-)?\d?\d:\d0:00", queue.time_limit) and 1 <= queue.max_nodes <= m.nodes
    if m.platform in ("cuda", "rocm"):
        settings = {setting.name: setting for setting in m.environment}
        assert 0.75 < float(settings["XLA_CLIENT_MEM_FRACTION"].value) < 1
        assert all(setting.reason for setting in m.environment) and len(settings) == len(m.environment)


def test_a_figure_beside_a_known_one() -> None:
    """Figures of the makers, in their own units."""
    assert load_machine("leonardo").devices_per_node * load_machine("leonardo").nodes == 13_824  # GPUs, by CINECA
    assert load_machine("lumi").devices_per_node * load_machine("lumi").nodes == 2 * 11_912  # MI250X, by CSC
    assert load_machine("snellius_a100").memory < 42_298_507_264  # what the driver offers of an A100 with 40 GB


def test_a_file_of_the_user(tmp_path: Path) -> None:
    file = tmp_path / "ours.py"
    file.write_text(
        "from dataclasses import replace\nfrom varietas.configs.machines.leonardo import MACHINE\n"
        "MACHINE = replace(MACHINE, name='ours', nodes=3)\n"
    )
    assert (load_machine(str(file)).name, load_machine(str(file)).nodes) == ("ours", 3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\n", "MACHINE is missing, expected a Machine"),
        ("MACHINE = 3\n", "MACHINE is a int, expected a Machine"),
        ("x = 1\nMACHINE = nothing\n", "line 2: NameError"),
        ("MACHINE = (\n", "line 1: SyntaxError"),
        (
            LEONARDO.read_text("utf-8").replace("pue=", "peu="),
            "unexpected keyword argument 'peu'",
        ),
    ],
)
def test_a_broken_file_of_the_user(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "ours.py").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=r"ours\.py") as error:
        load_machine(str(tmp_path / "ours.py"))
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "near"), [("leonado", "leonardo"), ("MN5", "mn5"), ("snelius_h100", "snellius_h100"), ("v5p", "tpu_v5p")])
def test_a_typo_gets_the_nearest_name(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean {near}\\?"):
        load_machine(name)
