"""The memory and the communication of compiled steps are frozen. XLA's TPU compiler compiles them for machines that are not present.

Each file of tests/train/programs, named CONFIG-MACHINE-DEVICES[-FIELD=VALUE …], holds the output of the command that the test prints. Write
it anew if a change is meant to change memory or communication, or with another libtpu, and review the difference like code.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.heavy("TPU compiler")

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
    """Returns the arguments of python that make the file of this name."""
    config, machine, devices, *fields = name.split("-")
    chosen = ["--config", config, "--machine", machine, "--devices", devices, *(f"--config.{field}" for field in fields)]
    return ["tests/bench/aot.py", *chosen, "--full"]


def compiled(arguments: list[str]) -> str:
    """Returns what aot.py prints about a step."""
    if not (REPO / ".venv" / "aot" / "libtpu").exists():
        here = (platform.system(), platform.machine())
        why = "make .venv/aot/tpu installs the compiler" if here == ("Linux", "x86_64") else f"not on this machine: no libtpu for {here}"
        pytest.skip(why)
    environment = {**os.environ, "PYTHONPATH": ".pkg"}
    done = subprocess.run([sys.executable, *arguments], cwd=REPO, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_memory_and_communication_of_a_step_have_not_changed(name: str) -> None:
    file = PROGRAMS / f"{name}.txt"
    expected = file.read_text("utf-8") if file.exists() else ""
    told = f"if the change is intended: python {' '.join(command(name))} > {file.relative_to(REPO)}"
    assert compiled(command(name)) == expected, told


def test_a_step_compiles_to_machine_code() -> None:
    """The other tests stop at XLA's program and would not notice a failure after it."""
    assert compiled([*command("demo-v6e-8"), "--whole"]) == compiled(command("demo-v6e-8"))


RESHARDED = """
import os, sys
from pathlib import Path
from varietas.launch.plan import compiler

os.environ.update(compiler.ENVIRONMENT)
sys.path.append(".venv/aot")
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

folder = Path(sys.argv[1])
compiler.take_notes(folder)
mesh = Mesh(np.array(compiler.devices_of(compiler.Target("v5p", 4, 0), 8)).reshape(2, 2, 2), ("a", "b", "c"))
def moved(places, rows):
    found = jax.lax.with_sharding_constraint(rows[places], NamedSharding(mesh, P(("c", "b"))))
    return jax.lax.with_sharding_constraint(found, NamedSharding(mesh, P("a", ("b", "c"))))
def array(shape, dtype, *split):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, P(*split)))
jax.jit(moved).lower(array((16, 16), np.int32, ("c", "b")), array((64, 32), np.float32, "a", "b")).compile()
print(compiler.rematerializations(folder))
"""


def test_an_involuntary_rematerialization_is_counted(tmp_path: Path) -> None:
    """Otherwise the tables might say 0 whatever XLA warns of."""
    assert int(compiled(["-c", RESHARDED, str(tmp_path)])) > 0


def test_every_file_is_compared() -> None:
    assert {file.stem for file in PROGRAMS.iterdir()} == set(NAMES)
