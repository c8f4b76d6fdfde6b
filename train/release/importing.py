"""Makes a run of a release: its weights become checkpoint 0, which can be evaluated, generated with, exported and trained further from."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from varietas.data.files import new_folder, write_atomically, write_json
from varietas.data.tokenizer.model import file_name
from varietas.model.decoder import Params
from varietas.model.formats.weights import read
from varietas.train.experiment import Experiment
from varietas.train.program import mesh_of
from varietas.train.release.incoming import Release, keep_files
from varietas.train.run_folder.checkpoint import Checkpoints
from varietas.train.run_folder.folder import environment
from varietas.train.run_folder.origin import IMPORTED, Origin, write_origin
from varietas.train.step import State


def import_release(release: Release, tokenizer: bytes, run: Path, config: Mapping[str, Any], exp: Experiment) -> None:
    """Writes a run that holds the model of a release, whole or not at all.

    Args:
        release: From `incoming.read_release`.
        tokenizer: From `incoming.tokenizer_of`.
        run: The new folder.
        config: What its config.json says.
        exp: The same as plain values.

    Raises:
        ValueError: If a file of the weights is missing or damaged, or a tensor is not known.
    """
    params = read(release.folder, exp.model, release.architecture, mesh_of(exp))
    with new_folder(run) as folder:
        write_run(folder, params, config, exp, Origin(IMPORTED, [str(release.folder.absolute())]))
        write_atomically(folder / file_name(tokenizer), tokenizer)
        keep_files(release.folder, folder)


def write_run(folder: Path, params: Params, config: Mapping[str, Any], exp: Experiment, origin: Origin) -> None:
    """Writes a run that has not trained: its config, where it comes from, and checkpoint 0, which has no state of an optimiser."""
    versions = environment()
    checkpoints = Checkpoints(folder / "checkpoints")
    try:
        checkpoints.save(State(np.int32(0), params, None), {"experiment": asdict(exp), "environment": versions, "tokens_seen": {}})
        checkpoints.wait()
    finally:
        checkpoints.close()
    write_json(folder / "config.json", config)
    write_json(folder / "environment.json", versions)
    write_origin(folder, origin)
