"""Machines by name, or from a file of the user's. Imports no jax, so a mistake is answered at once."""

import runpy
from importlib import import_module
from pathlib import Path

from varietas.configs.machines.base import Machine
from varietas.data.hints import nearest
from varietas.launch.config import files_of, in_one_line


def machine_names() -> list[str]:
    """Returns the names of the machines that come with Varietas."""
    return files_of("varietas.configs.machines")


def load_machine(name: str) -> Machine:
    """Loads a machine.

    Args:
        name: A machine of ours by name, or the path of a Python file that sets MACHINE to a `configs.machines.base.Machine`.

    Raises:
        ValueError: If there is no such machine (the nearest name is given), or the file fails.
    """
    if name in machine_names():
        machine: Machine = import_module(f"varietas.configs.machines.{name}").MACHINE
        return machine
    if name.endswith(".py") and Path(name).is_file():
        return _from_file(name)
    near = nearest(name.lower(), machine_names(), 0.4)
    hint = f"did you mean {near}? " if near else ""
    raise ValueError(f"--machine {name}: no such machine; {hint}choose from {', '.join(machine_names())}, or give the path of a .py file")


def _from_file(path: str) -> Machine:
    with in_one_line(path):
        found = runpy.run_path(path).get("MACHINE")
    if not isinstance(found, Machine):
        wanted = "configs/machines/leonardo.py shows one"
        raise ValueError(f"{path}: MACHINE is {'missing' if found is None else f'a {type(found).__name__}'}, expected a Machine; {wanted}")
    return found
