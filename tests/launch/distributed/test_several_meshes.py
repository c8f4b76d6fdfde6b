"""Two processes with two devices each: one loss curve on any mesh, and a run goes on with other processes and meshes."""

import json
from pathlib import Path

import numpy as np
import pytest
import several

pytestmark = pytest.mark.heavy("several processes")

# The devices of process 0 come first. `tensor` and `fsdp` cross processes. tests/train/test_step.py has more meshes, in one process.
MESHES = {"data": (4, 1, 1), "fsdp": (1, 4, 1), "tensor": (1, 1, 4)}


def train(run: str, mesh: str, steps: int, devices: int) -> list[str | Path]:
    sizes = [f"--config.mesh.{axis}={size}" for axis, size in zip(("data", "fsdp", "tensor"), MESHES[mesh], strict=True)]
    fields = [f"--config.train.steps={steps}", *sizes, several.SAME_PROGRAM]
    return ["train", "--config", "tiny", "--run", run, "--cpu_devices", str(devices), *fields]


def records(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_any_mesh_over_processes_has_the_losses_and_documents_of_one_process(tmp_path: Path, corpus_folder: Path) -> None:
    several.run_in_turn(2, [train(mesh, mesh, 4, 2) for mesh in ("fsdp", "tensor")], tmp_path)
    # Two processes go on with the run of one, on another mesh, and one with theirs.
    several.run_in_turn(1, [train("one", "data", 4, 4), train("moved", "fsdp", 2, 4), train("tensor", "data", 6, 4)], tmp_path)
    several.run_in_turn(2, [train("moved", "data", 4, 2)], tmp_path)
    one = records(tmp_path / "one")
    assert [record["step"] for record in one] == list(range(4))
    for name in ("fsdp", "tensor", "moved"):
        found = records(tmp_path / name)[:4]
        assert [record["step"] for record in found] == list(range(4))
        for record, expected in zip(found, one, strict=True):
            assert tokens(record) == tokens(expected)
            np.testing.assert_allclose(record["loss"], expected["loss"], rtol=1e-6)  # type: ignore[arg-type]
    assert [record["step"] for record in records(tmp_path / "tensor")] == list(range(6))


def tokens(record: dict[str, object]) -> dict[str, object]:
    """What says which documents a step had: the tokens of each language."""
    return {code: of_it["tokens"] for code, of_it in record["languages"].items()}  # type: ignore[attr-defined]
