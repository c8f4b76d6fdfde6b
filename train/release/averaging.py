"""The mean of several checkpoints of a model, as a run (Izmailov et al., 2018). Near the end of a training it is often the better model."""

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax

from varietas.data.files import new_folder
from varietas.data.tokenizer.model import file_in
from varietas.model.decoder import Params
from varietas.train.experiment import Experiment
from varietas.train.inference.network import of_checkpoint
from varietas.train.program import mesh_of
from varietas.train.release.importing import write_run
from varietas.train.release.incoming import keep_of_run
from varietas.train.run_folder.origin import AVERAGED, Checkpoint, Origin, languages_of


def average_checkpoints(checkpoints: Sequence[Checkpoint], run: Path, config: Mapping[str, Any], exp: Experiment) -> None:
    """Writes a run that holds the mean of the parameters of checkpoints, whole or not at all. Each counts the same.

    Args:
        checkpoints: Of one run, or of several with the same shape and tokenizer.
        run: The new folder.
        config: What its config.json says.
        exp: The same as plain values.

    Raises:
        ValueError: If a checkpoint is of another model.
        DamagedCheckpoint: If one is damaged.
    """
    mean: Params | None = None
    for n, checkpoint in enumerate(checkpoints, 1):
        params = of_checkpoint(checkpoint, exp.model, mesh_of(exp))
        mean = params if mean is None else _nearer(mean, params, 1 / n)
    assert mean is not None
    with new_folder(run) as folder:
        languages = sorted({code for checkpoint in checkpoints for code in languages_of(checkpoint.run)})
        write_run(folder, mean, config, exp, Origin(AVERAGED, list(map(str, checkpoints)), languages))
        first = checkpoints[0].run
        shutil.copyfile(file_in(first), folder / file_in(first).name)
        keep_of_run(first, folder)


@partial(jax.jit, donate_argnums=0)
def _nearer(mean: Params, params: Params, part: float) -> Params:
    """Returns the mean of one more tree than `mean` is of."""
    return jax.tree.map(lambda old, new: old + (new - old) * part, mean, params)
