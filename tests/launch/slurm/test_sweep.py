"""Sweeps: which runs there are, and mistakes in --sweep."""

from pathlib import Path

import pytest

from varietas.launch.slurm.sweep import points

RUN = Path("runs/x")


def test_without_a_sweep_there_is_one_run() -> None:
    (point,) = points(RUN, [])
    assert point.run == RUN and not point.overrides


def test_a_run_for_each_combination() -> None:
    found = points(RUN, ["optim.peak_lr=1e-4,3e-4", "--config.train.batch_size=8, 16"])
    assert [point.run.name for point in found] == [
        "peak_lr=1e-4,batch_size=8", "peak_lr=1e-4,batch_size=16", "peak_lr=3e-4,batch_size=8", "peak_lr=3e-4,batch_size=16",
    ]  # fmt: skip
    assert found[1].overrides == ("--config.optim.peak_lr=1e-4", "--config.train.batch_size=16")
    assert all(point.run.parent == RUN for point in found)


def test_fields_of_one_name_keep_their_whole_names() -> None:
    assert points(RUN, ["checkpoint.every=5", "eval.every=2"])[0].run.name == "checkpoint.every=5,eval.every=2"


@pytest.mark.parametrize(
    ("sweeps", "says"),
    [
        (["optim.peak_rl=1"], "there is no field optim.peak_rl; did you mean optim.peak_lr"),
        (["optim.peak_lr"], "expected FIELD=VALUE,VALUE"),
        (["optim.peak_lr=1,"], "expected FIELD=VALUE,VALUE"),
        (["optim.peak_lr=1e-3,1e-3"], "gives a value twice"),
        (["seed=1", "seed=2"], "names a field twice"),
        (["data.corpus=a/b,c/d"], "cannot be part of a folder's name"),
        ([f"seed={','.join(map(str, range(1001)))}"], "asks for 1,001 runs"),
    ],
)
def test_mistakes(sweeps: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        points(RUN, sweeps)
