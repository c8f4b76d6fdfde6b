"""What is checked on a login node before a job is submitted: a mistake found there costs no node hour. Imports no jax."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_collections import ConfigDict

from varietas.configs.machines.base import MAKERS, PLUGINS, Machine
from varietas.data.corpus.sources import sources_of
from varietas.data.packages import version_of
from varietas.launch.check import check_fields
from varietas.launch.config import load_config
from varietas.launch.models.initial import resolved
from varietas.launch.plan.estimate import plan
from varietas.launch.plan.job import job_of
from varietas.launch.resolve import missing_shards
from varietas.launch.slurm.sweep import Point

GIB = 1 << 30
TOO_MUCH = 1.1  # times the usable memory: the formulas of `plan` are not exact
NODE_LOCAL = ("/tmp", "/var/tmp", "/dev/shm", "/run")  # other nodes have their own


@dataclass(frozen=True)
class Checked:
    """A config that fits its machine."""

    config: ConfigDict
    inputs: tuple[Path, ...]  # the folders that hold its text and its first parameters
    facts: tuple[str, ...]  # what was checked, in words


def checked(config: str, overrides: Sequence[str], point: Point, machine: Machine, nodes: int, must_fit: bool = True) -> Checked:
    """Checks a run's config, its corpus, its folder, and its mesh on these nodes.

    Args:
        config: A config by name or path.
        overrides: Arguments of the form --config.FIELD=VALUE.
        point: The run, with overrides of its own.
        machine: The machine.
        nodes: The nodes of a job.
        must_fit: Whether to refuse a run that would not fit into the memory of the devices. A job that measures the nodes need not.

    Raises:
        ValueError: If something does not fit.
    """
    c = load_config(config, [*overrides, *point.overrides])
    check_fields(c)
    c, stream = resolved(c, [*overrides, *point.overrides], point.run)
    corpus = stream.corpus
    devices = nodes * machine.devices_per_node
    try:
        job = job_of(c, devices)
    except ValueError as error:
        raise ValueError(f"{config} on {nodes:,} nodes of {machine.name}: {error}") from None
    planned, (data, fsdp, tensor) = plan(job, machine), job.mesh
    needs = f"{planned.memory.total / GIB:,.1f} of {planned.usable / GIB:,.1f} GiB a device"
    if must_fit and planned.memory.total > TOO_MUCH * planned.usable:
        raise ValueError(
            f"{config} on {nodes:,} nodes of {machine.name} does not fit: it needs {needs}; varietas plan --config {config} --machine "
            f"{machine.name} --nodes {nodes} says what would"
        )
    missing = missing_shards(corpus, c)
    documents = sum(row["documents"] for row in corpus.manifest["languages"].values())
    facts = (
        f"plan: {needs}, about {planned.hours:,.1f} hours, {planned.node_hours:,.0f} node hours and {planned.kwh:,.0f} kWh",
        f"mesh: data {data} × fsdp {fsdp} × tensor {tensor} on {devices:,} devices",
        f"corpus: {corpus.path}, {documents:,} documents in {len(corpus.languages)} languages, {len(missing) or 'no'} shards missing",
    )
    first = Path(c.train.init_from.rpartition("@")[0] or c.train.init_from)
    folders = [source.path.absolute() for source in sources_of(corpus).values()] + [first] * bool(c.train.init_from)
    return Checked(c, tuple(folders), facts)


def missing_parts(machine: Machine, account: str, image: Path | None, folders: Sequence[Path]) -> list[str]:
    """Returns what the nodes would lack: an account, a container or a plugin for their devices, files that they can see."""
    found = []
    if machine.slurm and machine.slurm.account and not account:
        found.append(
            f"{machine.name} wants an account; give --account {machine.slurm.account.split(' or ')[0]}, the project of your allocation"
        )
    if image and not image.is_file():
        found.append(f"--container {image} does not exist; docs/first_allocation.md says how to build it")
    elif image is None and machine.platform in PLUGINS and not any(map(version_of, PLUGINS[machine.platform])):
        found.append(
            f"this Python has no jax plugin for {MAKERS[machine.platform]}, so training would use the CPU; give --container FILE.sif, or "
            f"pip install 'varietas[{machine.platform}]'"
        )
    if machine.platform != "cpu":
        local = sorted({str(folder) for folder in folders if any(folder.is_relative_to(place) for place in NODE_LOCAL)})
        found += [
            f"{folder} is on this node alone, other nodes do not see it; put it on the project's or the scratch file system"
            for folder in local
        ]
    if image is None and (name := os.environ.get("APPTAINER_NAME") or os.environ.get("SINGULARITY_NAME")):
        found.append(f"this Python runs in the container {name}; give --container FILE.sif, so that the job does too")
    return found
