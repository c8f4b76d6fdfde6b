"""`varietas plan --compile` asks XLA's TPU compiler, which needs no TPU."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.heavy("TPU compiler")

REPO = Path(__file__).parents[3]
AOT = REPO / ".venv" / "aot"


def test_the_compiler_confirms_the_formulas() -> None:
    if not (AOT / "libtpu").exists():
        here = (platform.system(), platform.machine())
        why = "make .venv/aot/tpu installs the compiler" if here == ("Linux", "x86_64") else f"not on this machine: no libtpu for {here}"
        pytest.skip(why)
    command = [sys.executable, "-m", "varietas.launch", "plan", "--config", "demo", "--machine", "tpu_v5p", "--nodes", "2"]
    fields = ["--config.model.d_model=512", "--config.model.d_ff=1536", "--config.mesh.fsdp=4", "--config.mesh.data=2",
              "--config.model.dtype=bfloat16"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": f"{REPO / '.pkg'}:{AOT}"}
    done = subprocess.run([*command, *fields, "--compile", "--json"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    sent: dict[str, float] = {}
    for one in found["exchanges"]:
        sent[one["kind"]] = sent.get(one["kind"], 0.0) + one["bytes"]
    for kind in ("all-gather", "reduce-scatter", "all-to-all"):
        assert found["compiled"]["sent"][kind] == pytest.approx(sent[kind], rel=0.01), kind
    assert found["bytes_per_device"] == pytest.approx(found["compiled"]["bytes_per_device"], rel=0.3)  # so small that padding counts
