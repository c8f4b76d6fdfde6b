"""`varietas plan` as a user types it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from varietas.launch.config import config_names

REPO = Path(__file__).parents[3]
MACHINES = {"eurollm_1p7b": ("mn5", 16), "eurollm_9b": ("mn5", 100)}  # of the configs' docstrings; the others run anywhere


def varietas(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPO / ".pkg"), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "varietas.launch", "plan", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def planned(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(varietas(*arguments, "--json").stdout)
    return found


@pytest.mark.parametrize("config", config_names())
def test_every_config_fits_its_machine(config: str) -> None:
    machine, nodes = MACHINES.get(config, ("local", 1))
    found = planned("--config", config, "--machine", machine, "--nodes", str(nodes))
    assert found["fits"] and found["bytes_per_device"] < found["usable_bytes_per_device"]
    assert found["nodes"] == nodes and found["tokens"] == found["batch_size"] * found["seq_len"] * round(
        found["hours"] * 3600 / found["step_seconds"]
    )
    assert found["bytes_per_device"] == pytest.approx(sum(found["memory"].values()), abs=3)
    parts = ("products_seconds", "memory_seconds", "exposed_communication_seconds")
    assert found["step_seconds"] == pytest.approx(sum(found[part] for part in parts))


def test_the_docstring_of_a_config_agrees() -> None:
    """It says 16 days at 40 % of the peak for 4 T tokens on 400 H100."""
    found = planned("--config", "eurollm_9b", "--machine", "mn5", "--nodes", "100")
    assert found["tokens"] == pytest.approx(4e12, rel=0.01)
    assert found["hours"] / 24 * found["mfu"] / 0.40 == pytest.approx(16, rel=0.05)


def test_json_has_what_scripts_need() -> None:
    found = planned("--config", "eurollm_1p7b", "--machine", "leonardo", "--nodes", "16", "--search", "--scale", "8,16,32")
    wanted = {"fits", "bytes_per_device", "step_seconds", "mfu", "tokens_per_second", "node_hours", "kwh", "co2_kg"}
    assert wanted <= set(found) and all(wanted <= set(one) for one in (*found["best"], *found["scale"]))
    assert [one["nodes"] for one in found["scale"]] == [8, 16, 32]
    assert found["scale"][1]["step_seconds"] == found["step_seconds"]
    assert found["best"][0]["step_seconds"] <= found["step_seconds"]
    assert found["kwh"] == pytest.approx(found["node_hours"] * 2.17 * 1.1) and found["co2_kg"] == pytest.approx(found["kwh"] * 0.331)


def test_what_does_not_fit_comes_with_what_would() -> None:
    arguments = ("--config", "eurollm_9b", "--machine", "leonardo", "--config.train.batch_size=64")
    out = varietas(*arguments).stdout
    assert "does not fit" in out and "what would fit" in out
    for remedy in planned(*arguments)["remedies"]:
        mesh = [f"--config.mesh.{axis}={size}" for axis, size in remedy["mesh"].items()]
        changed = (*mesh, f"--config.model.remat={remedy['remat']}", f"--config.train.grad_accum={remedy['grad_accum']}")
        assert planned(*arguments, *changed)["fits"]
        assert f"--config.train.grad_accum={remedy['grad_accum']}" in out


def test_hopeless_jobs_name_enough_nodes() -> None:
    out = varietas("--config", "eurollm_9b", "--machine", "snellius_a100", "--config.train.batch_size=1024").stdout
    assert "nothing that was tried fits" in out
    (nodes,) = re.findall(r"(\d+) nodes would do", out)
    assert planned("--config", "eurollm_9b", "--machine", "snellius_a100", "--nodes", nodes, "--config.train.batch_size=1024", "--search")[
        "best"
    ]


def test_a_batch_that_does_not_divide_is_searched_for_meshes_that_do() -> None:
    arguments = ("--config", "eurollm_9b", "--machine", "leonardo", "--nodes", "64")
    done = varietas(*arguments, "--search")
    assert "does not divide" in done.stderr and "the fastest that fit on 64 nodes" in done.stdout
    (first, *_) = planned(*arguments, "--search")["best"]
    mesh = [f"--config.mesh.{axis}={size}" for axis, size in first["mesh"].items()]
    again = planned(*arguments, *mesh, f"--config.model.remat={first['remat']}", f"--config.train.grad_accum={first['grad_accum']}")
    assert again["fits"] and again["step_seconds"] == first["step_seconds"]


def test_a_page(tmp_path: Path) -> None:
    file = tmp_path / "plan.html"
    run = ("--config", "eurollm_9b", "--machine", "lumi", "--nodes", "64", "--config.train.batch_size=2048")
    varietas(*run, "--scale", "32,64", "--search", "--html", str(file))
    page = file.read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>") and page.count("<section") == page.count("</section>") == 5
    for heading in ("Memory", "Time", "Exchanges", "Choices", "Scale"):
        assert f"<h2>{heading}</h2>" in page
    assert "eurollm_9b" in page and "Kajaani" in page and "nan" not in page


def test_a_machine_of_the_user(tmp_path: Path) -> None:
    file = tmp_path / "ours.py"
    file.write_text(
        "from dataclasses import replace\nfrom varietas.configs.machines.mn5 import MACHINE\n"
        "MACHINE = replace(MACHINE, name='ours', power=1000.0, pue=1.0, carbon=0.0)\n"
    )
    found = planned("--config", "eurollm_1p7b", "--machine", str(file), "--nodes", "16")
    assert found["machine"] == "ours" and found["co2_kg"] == 0 and found["kwh"] == pytest.approx(found["node_hours"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--config", "eurollm_9b", "--machine", "leonrado"), "did you mean leonardo?"),
        (("--config", "eurolm_9b", "--machine", "leonardo"), "did you mean eurollm_9b?"),
        (("--config", "eurollm_9b", "--machine", "vega", "--nodes", "61"), "vega has 60 nodes, not 61"),
        (("--config", "eurollm_9b", "--machine", "vega", "--nodes", "0"), "expected a whole number of 1 or more"),
        (("--config", "eurollm_9b", "--machine", "vega", "--scale", "1,2,x"), "expected a whole number of 1 or more, found 'x'"),
        (("--config", "eurollm_9b", "--machine", "vega", "--nodes", "60"), "set train.batch_size="),
        (("--config", "eurollm_9b", "--machine", "lumi", "--compile"), "leave --compile out"),
        (("--config", "eurollm_9b", "--machine", "mn5", "--html", "nowhere/x.html"), "there is no folder nowhere"),
        (("--config", "eurollm_9b", "--machine", "mn5", "--config.model.remat=ful"), "did you mean 'full'?"),
        (("--config", "eurollm_9b", "--machine", "mn5", "--serch"), "did you mean --search?"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], says: str) -> None:
    done = varietas(*arguments, check=False)
    assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_nothing_imports_jax() -> None:
    code = (
        "import sys; from varietas.launch.cli import main\nmain(sys.argv[1:])\n"
        "print('modules:', *{'jax', 'flax', 'optax', 'grain', 'orbax'} & {name.split('.')[0] for name in sys.modules})"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPO / ".pkg"), "GLIBC_TUNABLES": ""}
    arguments = ["plan", "--config", "eurollm_9b", "--machine", "mn5", "--nodes", "100", "--search", "--scale", "50,100"]
    out = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, check=True).stdout
    assert out.split("modules:")[1].strip() == ""
