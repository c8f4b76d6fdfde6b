"""The folder of a run: whose config counts, and from when on."""

import json
from pathlib import Path

import pytest

from varietas.train.folder import settle_config

CONFIG = {"seed": 0, "train": {"steps": 5, "batch_size": 8}}
WIDER = {"seed": 0, "train": {"steps": 5, "batch_size": 16}}
LONGER = {"seed": 0, "train": {"steps": 9, "batch_size": 8}}


def test_before_the_first_step_any_config_may_replace_the_one_before(tmp_path: Path) -> None:
    """A first start that failed (out of memory, say) does not tie the folder to what failed."""
    for config in (CONFIG, WIDER):
        assert settle_config(tmp_path / "run", config) == []
        assert json.loads((tmp_path / "run" / "config.json").read_text()) == config


@pytest.mark.parametrize("trace", ["metrics.jsonl", "checkpoints/10/_METADATA"])
def test_after_it_only_what_may_change_changes(trace: str, tmp_path: Path) -> None:
    settle_config(tmp_path, CONFIG)
    (tmp_path / trace).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / trace).write_text("{}\n")
    with pytest.raises(ValueError, match=r"train.batch_size: 8 -> 16.*give the old values or another --run"):
        settle_config(tmp_path, WIDER)
    assert json.loads((tmp_path / "config.json").read_text()) == CONFIG
    assert settle_config(tmp_path, LONGER) == ["train.steps: 5 -> 9"]
    assert json.loads((tmp_path / "config.json").read_text()) == LONGER


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="it is no run"):
        settle_config(tmp_path, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
