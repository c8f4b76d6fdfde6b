"""From the first step of a run on, its config may change only in some fields."""

import json
from pathlib import Path

import pytest

from varietas.data.files import write_json
from varietas.train.run_folder.config import changes

CONFIG = {"seed": 0, "train": {"steps": 5, "batch_size": 8}}
WIDER = {"seed": 0, "train": {"steps": 5, "batch_size": 16}}
LONGER = {"seed": 0, "train": {"steps": 9, "batch_size": 8}}


def test_before_the_first_step_any_config_is_accepted(tmp_path: Path) -> None:
    """A first start that failed, for example out of memory, does not bind the folder to its config."""
    write_json(tmp_path / "config.json", CONFIG)
    assert changes(tmp_path, WIDER, {}) == []


@pytest.mark.parametrize("trace", ["metrics.jsonl", "checkpoints/10/_METADATA"])
def test_after_the_first_step_only_some_fields_may_change(trace: str, tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", CONFIG)
    (tmp_path / trace).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / trace).write_text("{}\n")
    with pytest.raises(ValueError, match=r"train.batch_size: 8 -> 16.*give the old values or another --run"):
        changes(tmp_path, WIDER, {})
    assert list(map(str, changes(tmp_path, LONGER, {}))) == ["train.steps: 5 -> 9"]
    assert json.loads((tmp_path / "config.json").read_text()) == CONFIG  # nothing is written


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()  # exists on a new file system
    assert changes(tmp_path, CONFIG, {}) == []
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="it is not a run"):
        changes(tmp_path, CONFIG, {})
