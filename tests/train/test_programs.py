"""What compiled steps hold and send is frozen: XLA's TPU compiler is asked for programs of machines that are not there.

A file of tests/train/programs, CONFIG-MACHINE-DEVICES[-FIELD=VALUE …], is the output of the command that the test prints. Write it anew
when a change means to send or hold something else, or with another libtpu; its difference is then to be read like code.
"""

import os
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
NAMES = (
    "demo-v5p-8",
    "demo-v5p-8-mesh.tensor=2",
    "eurollm_1p7b-v5p-1024",
    "eurollm_1p7b-v6e-256",
    "eurollm_9b-v5p-64",
    "eurollm_9b-v5p-64-mesh.fsdp=64",
    "eurollm_9b-v6e-256",
)


def command(name: str) -> list[str]:
    config, machine, devices, *fields = name.split("-")
    chosen = ["--config", config, "--machine", machine, "--devices", devices, *(f"--config.{field}" for field in fields)]
    return ["tests/bench/aot.py", *chosen, "--full"]


def compiled(arguments: list[str]) -> str:
    """What aot.py prints of a step; gives way to other processes."""
    if not (REPO / ".venv" / "aot" / "libtpu").exists():
        pytest.skip("make .venv/aot/tpu installs the compiler")
    environment = {**os.environ, "PYTHONPATH": "tests/bench"}
    done = subprocess.run(["nice", "-n", "19", sys.executable, *arguments], cwd=REPO, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_a_step_holds_and_sends_what_it_did(name: str, compiles: dict[str, Future[str]]) -> None:
    file = PROGRAMS / f"{name}.txt"
    expected = file.read_text("utf-8") if file.exists() else ""
    told = f"if this is meant: python {' '.join(command(name))} > {file.relative_to(REPO)}"
    assert compiles[name].result() == expected, told


@pytest.mark.slow
def test_the_compiler_makes_machine_code_of_a_step() -> None:
    """The others end with XLA's program, and would not see that the rest fails."""
    assert compiled([*command("demo-v6e-8"), "--whole"]) == compiled(command("demo-v6e-8"))


RESHARDED = """
import aot, jax, numpy as np, sys
from pathlib import Path
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

folder = Path(sys.argv[1])
aot.take_notes(folder)
mesh = Mesh(np.array(aot.devices_of("v5p", 8)).reshape(2, 2, 2), ("a", "b", "c"))
def moved(places, rows):
    found = jax.lax.with_sharding_constraint(rows[places], NamedSharding(mesh, P(("c", "b"))))
    return jax.lax.with_sharding_constraint(found, NamedSharding(mesh, P("a", ("b", "c"))))
def array(shape, dtype, *split):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, P(*split)))
jax.jit(moved).lower(array((16, 16), np.int32, ("c", "b")), array((64, 32), np.float32, "a", "b")).compile()
print(aot.rematerializations(folder))
"""


def test_a_careless_resharding_is_counted(tmp_path: Path) -> None:
    """Else the tables would say 0 whatever XLA warns of."""
    assert int(compiled(["-c", RESHARDED, str(tmp_path)])) > 0


def test_every_program_is_compared_with() -> None:
    assert {file.stem for file in PROGRAMS.iterdir()} == set(NAMES)
