"""`varietas.average`: the mean of several checkpoints as a run. The work is done by `train.release.averaging`."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from varietas.data.chat.template import own_template
from varietas.data.tokenizer.model import file_in
from varietas.launch import backend, resolve
from varietas.launch.models.initial import HOW
from varietas.model.config import ModelConfig
from varietas.train.run_folder.config import read_config
from varietas.train.run_folder.origin import Checkpoint, checkpoint_of


def average(names: Sequence[str], folder: str | Path, cpu_devices: int | None = None) -> list[Checkpoint]:
    """Makes a run of the mean of checkpoints: `Run.open` evaluates and exports it, `train.init_from` trains it.

    Args:
        names: The checkpoints as RUN@STEP, or RUN for its newest one.
        folder: The new folder of the run.
        cpu_devices: On a CPU, the number of virtual devices; one for every two cores if not given.

    Returns:
        The checkpoints.

    Raises:
        ValueError: If `folder` exists, there are fewer than two checkpoints, one of them is named twice or does not exist, or their models
            differ.
    """
    backend.stop_second_run()
    run = resolve.new_run(folder)
    checkpoints = list(map(checkpoint_of, names))
    if len(set(checkpoints)) < max(2, len(checkpoints)):
        raise ValueError(f"--from {' '.join(names)}: name two or more checkpoints, each of them once, as RUN@STEP")
    first, *others = (resolve.reopened(read_config(checkpoint.run)) for checkpoint in checkpoints)
    for checkpoint, config in zip(checkpoints[1:], others, strict=True):
        ours, theirs = _shape(config), _shape(first)
        if differs := next((field for field in theirs if ours[field] != theirs[field]), None):
            raise ValueError(
                f"{checkpoint}: model.{differs} is {ours[differs]!r}, but {checkpoints[0]} has {theirs[differs]!r}; average like models"
            )
        if file_in(checkpoint.run).read_bytes() != file_in(checkpoints[0].run).read_bytes():
            raise ValueError(f"{checkpoint} has another tokenizer than {checkpoints[0]}; average models with the same one")
        if own_template(checkpoint.run) != own_template(checkpoints[0].run):
            raise ValueError(f"{checkpoint} has another chat template than {checkpoints[0]}; average models with the same one")
    resolved = resolve.with_mesh(resolve.with_values(first, {"model.lora_rank": 0, "optim.dpo_beta": 0.0}), cpu_devices, fit=True)
    from varietas.train.release.averaging import average_checkpoints

    average_checkpoints(checkpoints, run, resolved.to_dict(), resolve.experiment_of(resolved))
    return checkpoints


def _shape(config: ConfigDict) -> dict[str, Any]:
    """Returns the fields of `model` that say what a model is. The width of a head is written out: an imported model has it so."""
    model = ModelConfig(**config.model)
    return {name: value for name, value in asdict(replace(model, d_head=model.head_dim)).items() if not name.startswith(HOW)}
