"""`varietas ladder` as a user calls it."""

import json
from pathlib import Path

import pytest

from varietas.launch.cli import main

TINY = ("ladder", "--config", "tiny", "--config.train.steps=2000")


def test_one_run_has_its_own_shape_and_length(corpus_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--out", str(tmp_path / "ladder"), "--budget", "6e10", "--only", "1"]) == 0
    (run,) = (tmp_path / "ladder").iterdir()
    config = json.loads((run / "config.json").read_text())
    width, layers, steps = (int("".join(filter(str.isdigit, part))) for part in run.name.split("-"))
    assert (config["model"]["d_model"], config["model"]["n_layers"], config["train"]["steps"]) == (width, layers, steps)
    assert width == 8 and config["model"]["d_ff"] == 24 and config["model"]["n_heads"] * config["model"]["d_head"] == width
    assert config["optim"]["warmup_steps"] == steps // 10 == 2  # of 5 in the config
    assert len((run / "metrics.jsonl").read_text().splitlines()) == steps and (run / "evaluations").is_dir()
    assert "run 1 of 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--only", "10", "--budget", "6e10"], "--only 10: the ladder has 9 runs"),
        (["--budget", "1e6"], "too small for a ladder of this model; give 5.8e"),
        (["--budget", "much"], "expected a number of operations such as 9e12, found 'much'"),
        (["--config.train.steps=50"], "train.steps=50 is too few for a ladder, whose longest runs have 80 steps or more"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TINY, *flags, "--out", str(tmp_path / "ladder")]) != 0
    assert message in capsys.readouterr().err and not (tmp_path / "ladder").exists()
