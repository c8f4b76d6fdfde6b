"""The state with which a run begins: random, or with the parameters of another run or a release (`train.init_from`)."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from varietas.model.decoder import random_key
from varietas.model.formats.weights import read
from varietas.model.linear.lora import fresh_adapters, trained
from varietas.train.inference.network import of_checkpoint
from varietas.train.optimizer import make_optimizer, with_schedule_at
from varietas.train.processes import is_first
from varietas.train.program import Program
from varietas.train.release.incoming import FOLDER, keep_files, read_release
from varietas.train.run_folder.checkpoint import Checkpoints
from varietas.train.run_folder.origin import CONTINUED, FILE, Checkpoint, Origin, checkpoint_of, is_release, write_origin
from varietas.train.step import State, init_state


def initial_state(program: Program, run: Path) -> State:
    """Returns the state before the first step, and records in the run's folder where it comes from, unless it is random.

    Raises:
        ValueError: If `train.init_from` names something else than a run or a release with the same parameters.
        DamagedCheckpoint: If the checkpoint that it names is damaged.
    """
    exp, abstract = program.exp, program.abstract
    if is_first():
        (run / FILE).unlink(missing_ok=True)  # of a start that ended before its first step
        shutil.rmtree(run / FOLDER, ignore_errors=True)
    if not exp.init_from:
        return init_state(exp.model, exp.optim, program.mesh, exp.seed, program.build)
    source, optimizer = Path(exp.init_from), None
    shardings = jax.tree.map(lambda x: x.sharding, abstract)
    if is_release(source):
        release = read_release(source)
        params = read(source, replace(exp.model, lora_rank=0), release.architecture, program.mesh)
        name, files = str(source), source
    else:
        checkpoint = checkpoint_of(exp.init_from)
        if exp.init_optimizer:
            params, optimizer = _with_optimizer(checkpoint, abstract)
        else:
            params = of_checkpoint(checkpoint, exp.model, program.mesh, program.build)
        name, files = str(checkpoint), checkpoint.run / FOLDER
    if exp.model.lora_rank:
        add = partial(fresh_adapters, cfg=exp.model, key=random_key(exp.seed))
        params = jax.jit(add, out_shardings=shardings.params)(params)
    if optimizer is None:
        optimizer = jax.jit(make_optimizer(exp.optim, exp.steps).init, out_shardings=shardings.optimizer)(trained(params))
    if is_first():
        write_origin(run, Origin(CONTINUED, [name]))
        keep_files(files, run)
    return State(jax.device_put(np.int32(0), abstract.step.sharding), params, with_schedule_at(optimizer, 0))


def _with_optimizer(checkpoint: Checkpoint, abstract: State) -> tuple[Any, Any]:
    checkpoints = Checkpoints(checkpoint.run / "checkpoints")
    try:
        restored = checkpoints.restore(checkpoint.step, abstract.params, abstract.optimizer)
    finally:
        checkpoints.close()
    return restored.params, restored.optimizer
