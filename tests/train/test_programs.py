"""What compiled steps hold and send is frozen: XLA's TPU compiler is asked for programs of machines that are not there.

A file of tests/train/programs, CONFIG-MACHINE-DEVICES[-FIELD=VALUE …], is the output of the command that the test prints. Write it anew
when a change means to send or hold something else, or with another libtpu; its difference is then to be read like code.
"""

import sys
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

REPO = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
COMPILER = REPO / ".venv" / "aot" / "libtpu"


def command(file: Path) -> list[str]:
    config, machine, devices, *fields = file.stem.split("-")
    chosen = ["--config", config, "--machine", machine, "--devices", devices, *(f"--config.{field}" for field in fields)]
    return ["tests/bench/aot.py", *chosen, "--full"]


def start(file: Path) -> Popen[str]:
    return Popen(["nice", "-n", "19", sys.executable, *command(file)], cwd=REPO, stdout=PIPE, stderr=PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("file", sorted(PROGRAMS.glob("*.txt")), ids=lambda file: file.stem)
def test_a_step_holds_and_sends_what_it_did(file: Path, compiles: dict[Path, Popen[str]]) -> None:
    if not COMPILER.exists():
        pytest.skip("make .venv/aot/tpu installs the compiler")
    told, errors = compiles[file].communicate()
    assert compiles[file].returncode == 0, errors[-2000:]
    assert told == file.read_text("utf-8"), f"if this is meant: python {' '.join(command(file))} > {file.relative_to(REPO)}"


def test_there_are_programs_to_compare_with() -> None:
    assert {file.stem for file in PROGRAMS.glob("*.txt")} == {
        "demo-v5p-8",
        "demo-v5p-8-mesh.tensor=2",
        "eurollm_1p7b-v6e-256",
        "eurollm_9b-v5p-64",
    }
