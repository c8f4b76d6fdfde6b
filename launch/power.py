"""The power of what a run trains on by the figures of its machine (configs/machines), for energy that cannot be measured."""

import math
import os
from collections.abc import Mapping
from pathlib import Path

from varietas.launch import backend
from varietas.launch.plan.machines import load_machine
from varietas.launch.slurm.record import RECORD
from varietas.train.run_folder.folder import read_record


def own_power(run: Path, mesh: Mapping[str, int]) -> float | None:
    """Returns the power of this process's part of its nodes, in W; None if the machine is not known. jax must have started.

    Args:
        run: The run's folder, which names the machine if `varietas submit` started the run.
        mesh: The sizes of the mesh axes.
    """
    import jax

    name = "local" if jax.default_backend() == "cpu" else ""
    try:
        if "SLURM_JOB_ID" in os.environ and (run / "jobs" / RECORD).is_file():
            name = str(read_record(run / "jobs", RECORD)["machine"])
        machine = load_machine(name)
    except (ValueError, KeyError):
        return None
    count, here = backend.processes()
    share = 1 / here if machine.platform == "cpu" else math.prod(mesh.values()) / count / machine.devices_per_node
    return machine.power * share
