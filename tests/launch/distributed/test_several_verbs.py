"""A model that is split over processes: its verbs find what they find in one process."""

import json
from pathlib import Path

import pytest
import several

pytestmark = pytest.mark.heavy("several processes")

# Wide enough that a run which is opened again is split over `fsdp`, as models are that need several nodes.
WIDE = ("--config", "tiny", "--config.model.d_model=512", "--config.model.n_layers=1", "--config.mesh.data=1", "--config.mesh.fsdp=2")
RUN = ("--run", "run")
SAMPLED = ("--max_tokens", "12", "--temperature", "0.7", "--top_p", "0.9", "--seed", "3")


def test_evaluation_generation_and_digest_of_two_processes_are_those_of_one(tmp_path: Path, corpus_folder: Path) -> None:
    (tmp_path / "own.jsonl").write_text("".join(json.dumps({"text": f"Pes {n} spí doma.", "lang": "cs"}) + "\n" for n in range(9)))
    verbs = [
        ("digest", *RUN),
        ("generate", *RUN, "--prompt", "Všichni lidé", "--prompt", "All human beings", *SAMPLED),
        ("evaluate", *RUN, "--text", "own.jsonl", "--name", "own"),
        ("report", *RUN, "--no-samples"),
    ]
    train = ("train", *WIDE, *RUN, "--config.train.steps=3")
    first, second = several.run_in_turn(2, [(*command, "--cpu_devices", "1") for command in (train, *verbs)], tmp_path)
    assert second == []
    (result,) = (tmp_path / "run" / "evaluations").rglob("*.json")
    found = result.read_bytes()
    for file in (result, tmp_path / "run" / "report.html"):
        file.unlink()
    (alone,) = several.run_in_turn(1, [(*command, "--cpu_devices", "2") for command in verbs], tmp_path)
    assert first[1:] == alone
    assert len(alone[0].strip()) == 64 and alone[0].strip() in first[0]
    assert result.read_bytes() == found
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
