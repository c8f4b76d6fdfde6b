"""The folder of a run: its records as JSON, and the steps that have a checkpoint."""

from pathlib import Path

import pytest

from varietas.train.run_folder.folder import read_record, saved_step, saved_steps


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "mixture.json").write_text("{")
    with pytest.raises(ValueError, match=r"mixture\.json is not valid JSON"):
        read_record(tmp_path, "mixture.json")
    with pytest.raises(ValueError, match=r"environment\.json is missing"):
        read_record(tmp_path, "environment.json")


def test_steps_with_a_complete_checkpoint_are_listed(tmp_path: Path) -> None:
    for name in ("4", "12", "8.orbax-checkpoint-tmp-1"):
        (tmp_path / "checkpoints" / name / "params").mkdir(parents=True)
    (tmp_path / "checkpoints" / "16").mkdir()  # emptied
    assert saved_steps(tmp_path) == [4, 12] and saved_step(tmp_path) == 12
    with pytest.raises(ValueError, match="no checkpoint after step 8; it has: 4, 12"):
        saved_step(tmp_path, 8)
