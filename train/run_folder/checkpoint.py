"""Checkpoints, written by Orbax asynchronously and atomically, with a checksum of our own for every array.

Orbax restores an array with a flipped bit without an error. Therefore every save records a checksum of each array, computed on the devices
that hold it, and every restore computes it again. A damaged checkpoint is moved aside with a warning, and the one before it is restored.

Several processes call everything together. Each writes and reads its own parts of the arrays; process 0 alone decides what there is.
"""

import errno
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.sharding import Mesh

from varietas.data.files import reraise_system_error
from varietas.model.config import ModelConfig
from varietas.model.decoder import Build, Decoder, Params, graph_and_shapes
from varietas.model.sharding import param_shardings
from varietas.train.memory import is_out_of_memory
from varietas.train.processes import broadcast, exchange, is_first
from varietas.train.run_folder.digest import by_path, checksums, digest
from varietas.train.step import State

log = logging.getLogger("varietas")

# Seconds that Orbax waits for a save, by the clock on the wall: it may jump by hours. The watchdog ends a training whose save hangs.
LONGEST_SAVE = 1_000_000

# Errors that say nothing of a file's content.
OF_THE_SYSTEM = (
    errno.EIO, errno.ENOMEM, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN,
    errno.ECONNRESET, errno.EHOSTUNREACH,
)  # fmt: skip


class DamagedCheckpoint(ValueError):
    """A checkpoint is damaged. The message says which part of it."""


@dataclass(frozen=True)
class Restored:
    """The content of a checkpoint."""

    step: int  # number of steps done
    params: Any
    optimizer: Any  # state of the optimiser; None if only the parameters were asked for
    meta: dict[str, Any]  # what was recorded beside the arrays


class Checkpoints:
    """The checkpoints of a run, each in `folder`/<step>.

    Args:
        folder: The folder of all checkpoints. It is created if it is missing.
        keep: How many checkpoints to keep; the oldest are deleted. None keeps all.
    """

    def __init__(self, folder: Path, keep: int | None = None):
        self.folder = folder.resolve()
        if is_first():
            self.folder.mkdir(parents=True, exist_ok=True)
        exchange()
        together = set(range(jax.process_count())) if jax.process_count() > 1 else None  # Orbax then waits without work for the devices
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            create=False,
            enable_async_checkpointing=True,
            async_options=ocp.AsyncOptions(timeout_secs=LONGEST_SAVE),
            multiprocessing_options=ocp.options.MultiprocessingOptions(active_processes=together),
        )
        # Compressed, random float32 is 7 % smaller, and a save takes 1.7 times as much of the processors.
        plain = ocp.PyTreeCheckpointHandler(use_compression=False, multiprocessing_options=options.multiprocessing_options)
        handlers = ocp.handlers.DefaultCheckpointHandlerRegistry()
        handlers.add(None, ocp.args.PyTreeSave, plain)
        self._manager = ocp.CheckpointManager(self.folder, options=options, handler_registry=handlers)
        self._writing = False

    def steps(self) -> list[int]:
        """Returns the steps that have a complete checkpoint, ascending."""
        return broadcast(lambda: sorted(self._manager.all_steps()))

    def save(self, state: State, meta: Mapping[str, Any]) -> dict[str, Any]:
        """Starts a save, and returns as soon as the state may be donated. The files are written in the background.

        Args:
            state: The state to save; without the state of an optimiser, the checkpoint has none.
            meta: What to record beside the arrays; values that JSON can hold.

        Returns:
            What is recorded beside the arrays: `meta`, and the step, the shapes and the checksums of all arrays.

        Raises:
            OSError: If the disk has too little room.
        """
        step = int(state.step)
        need, free = sum(x.nbytes for x in jax.tree.leaves(state)), shutil.disk_usage(self.folder).free
        if need > free and is_first():
            raise OSError(
                errno.ENOSPC,
                f"checkpoint {step} needs {need / 1e9:,.3f} GB, the disk has {free / 1e9:,.3f} GB left; free some space and start again",
                str(self.folder),
            )
        items = {"params": state.params} | ({"optimizer": state.optimizer} if state.optimizer is not None else {})
        shapes = {name: {path: list(x.shape) for path, x in by_path(item).items()} for name, item in items.items()}
        meta = {**meta, "step": step, "shapes": shapes, "checksums": {name: checksums(item) for name, item in items.items()}}
        saves = {name: ocp.args.PyTreeSave(item) for name, item in items.items()}
        self._writing = True
        self._manager.save(step, args=ocp.args.Composite(**saves, meta=ocp.args.JsonSave(meta)))
        return dict(meta)

    def delete(self, steps: list[int]) -> None:
        """Deletes checkpoints. No save may be in progress."""
        for step in steps:
            self._manager.delete(step)

    def check(self) -> None:
        """Raises the error of a background save that has failed. Orbax's check_for_errors misses it, since its finaliser consumes it."""
        if self._writing and not self._manager.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Waits until the current save is complete. Raises its error if it failed."""
        self._writing = False
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for the current save and releases Orbax's threads."""
        self._manager.close()

    def meta(self, step: int) -> dict[str, Any]:
        """Returns what was recorded beside the arrays. Raises DamagedCheckpoint if it cannot be read."""
        return dict(self._read(step, "meta", ocp.args.JsonRestore()))

    def _read(self, step: int, name: str, args: Any) -> Any:
        """Reads an item of a checkpoint. Raises DamagedCheckpoint in all processes if one cannot read its part."""
        item, problem, cause = None, "", None
        try:
            item = self._manager.restore(step, args=ocp.args.Composite(**{name: args}))[name]
        except Exception as error:
            _raise_if_no_damage(error)
            problem, cause = f"checkpoint {step} of {self.folder}: {name} cannot be read ({_short(error)})", error
        if problems := exchange(problem):
            raise DamagedCheckpoint(min(problems.items())[1]) from cause
        return item

    def checksums_on_disk(self, step: int) -> dict[str, Any]:
        """Returns what was recorded beside the arrays, with their checksums computed again. They are loaded onto one device.

        Raises:
            DamagedCheckpoint: If the checkpoint cannot be read.
        """
        meta, here = self.meta(step), jax.sharding.SingleDeviceSharding(jax.devices()[0])
        found = {}
        for name in meta["checksums"]:
            known = ocp.StandardCheckpointHandler().metadata(self.folder / str(step) / name)
            tree = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), known.tree)
            found[name] = checksums(self._read(step, name, ocp.args.StandardRestore(tree)))
        return {**meta, "checksums": found}

    def restore(self, step: int, params: Any, optimizer: Any = None) -> Restored:
        """Loads a checkpoint and verifies its checksums.

        Args:
            step: Which checkpoint.
            params: ShapeDtypeStructs of the parameters, with their shardings. The mesh may differ from that of the save.
            optimizer: The same for the state of the optimiser; None to leave it out.

        Raises:
            DamagedCheckpoint: If an array has changed or cannot be read.
            ValueError: If the checkpoint has other arrays than the trees.
        """
        meta = self.meta(step)
        if not {"checksums", "shapes"} <= meta.keys():
            raise DamagedCheckpoint(f"checkpoint {step} of {self.folder}: its meta has no checksums or no shapes")
        wanted = {"params": params} | ({"optimizer": optimizer} if optimizer is not None else {})
        restored = {}
        for name, item in wanted.items():
            if name not in meta["shapes"]:
                raise ValueError(f"checkpoint {step} of {self.folder} has no state of an optimiser; leave train.init_optimizer at false")
            if other := _differences(item, meta["checksums"][name], meta["shapes"][name]):
                if name == "optimizer":
                    raise ValueError(
                        f"checkpoint {step} of {self.folder} has the state of another optimiser ({other}), as another optim.name or "
                        "model.lora_rank makes it; leave train.init_optimizer at false, or set them as they were"
                    )
                raise ValueError(
                    f"checkpoint {step} of {self.folder} is of another model ({other}); pass the parts (`build`) that the run was made "
                    "with, or give another --run"
                )
            restored[name] = self._read(step, name, ocp.args.StandardRestore(item))
            for array, found in checksums(restored[name]).items():
                if found != meta["checksums"][name].get(array):
                    raise DamagedCheckpoint(
                        f"checkpoint {step} of {self.folder}: array {name}/{array} has changed on disk (checksum {found})"
                    )
        return Restored(step, restored["params"], restored.get("optimizer"), meta)

    def restore_latest(self, params: Any, optimizer: Any) -> Restored | None:
        """Restores the newest checkpoint that is not damaged. Newer ones are then moved to `damaged/` beside the folder.

        Args:
            params: ShapeDtypeStructs of the parameters, with their shardings.
            optimizer: The same for the state of the optimiser.

        Returns:
            The content of the checkpoint; None if there are no checkpoints.

        Raises:
            DamagedCheckpoint: If there are checkpoints and all of them are damaged. None is moved then.
        """
        damaged: dict[int, DamagedCheckpoint] = {}
        for step in reversed(self.steps()):
            try:
                restored = self.restore(step, params, optimizer)
            except DamagedCheckpoint as error:
                damaged[step] = error
                continue
            for damage, aside in zip(damaged.values(), self._set_aside(list(damaged)) if damaged else [], strict=True):
                if is_first():
                    log.warning("%s; going back to the checkpoint before it, the damaged one is kept in %s", damage, aside)
            return restored
        for damage in damaged.values():
            raise DamagedCheckpoint(f"{damage}; all checkpoints are damaged: start again in another --run folder") from damage
        return None

    def _set_aside(self, steps: Sequence[int]) -> list[str]:
        """Moves checkpoints to the folder of damaged ones; returns their new paths. All are moved before any process lists the folder."""

        def move(step: int) -> str:
            target = self.folder.parent / "damaged" / str(step)
            target.parent.mkdir(exist_ok=True)
            while target.exists():
                target = target.with_name(target.name + "+")
            (self.folder / str(step)).rename(target)
            return str(target)

        targets = broadcast(lambda: [move(step) for step in steps])
        self._manager.reload()
        return targets


def restore_params(folder: Path, model: ModelConfig, mesh: Mesh, step: int | None = None, build: Build = Decoder) -> tuple[Params, int]:
    """Loads only the parameters of a checkpoint. Nothing on disk is changed.

    Args:
        folder: The folder of all checkpoints of a run.
        model: The shape of the model.
        mesh: Where the parameters go.
        step: Which checkpoint; None for the newest.
        build: Makes the model.

    Returns:
        The parameters, and the step of the checkpoint.

    Raises:
        ValueError: If there is no such checkpoint, or it is of another model.
        DamagedCheckpoint: If it is damaged.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder.parent} has no checkpoints yet; train it first")
    _, shapes = graph_and_shapes(model, build)
    abstract = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, param_shardings(shapes, mesh))
    with closing(Checkpoints(folder)) as checkpoints:
        steps = checkpoints.steps()
        wanted = step if step is not None else max(steps, default=None)
        if wanted not in steps:
            raise ValueError(f"{folder.parent} has no checkpoint after step {wanted}; it has: {', '.join(map(str, steps)) or 'none'}")
        return checkpoints.restore(wanted, abstract).params, wanted


def digest_of(folder: Path, model: ModelConfig, mesh: Mesh, step: int | None, build: Build) -> str:
    """Returns the SHA-256 over the parameters of a checkpoint. The arguments are those of `restore_params`, which raises the same."""
    return digest(restore_params(folder, model, mesh, step, build)[0])


def read_meta(folder: Path, step: int) -> dict[str, Any]:
    """Returns what a checkpoint holds beside its arrays. Raises DamagedCheckpoint if it cannot be read."""
    with closing(Checkpoints(folder)) as checkpoints:
        return checkpoints.meta(step)


def checksums_on_disk(folder: Path, step: int) -> dict[str, Any]:
    """Returns what `Checkpoints.checksums_on_disk` returns of a checkpoint. Raises as it does."""
    with closing(Checkpoints(folder)) as checkpoints:
        return checkpoints.checksums_on_disk(step)


def _differences(wanted: Any, checksums: Mapping[str, str], shapes: Mapping[str, list[int]]) -> str:
    """Says how the arrays of a checkpoint differ from those of an abstract tree; "" if they do not."""
    arrays = by_path(wanted)
    if names := set(arrays) ^ set(checksums):
        return f"arrays that only one of the two has: {', '.join(sorted(names)[:3])}"
    other = [f"{path} {tuple(shape)} -> {arrays[path].shape}" for path, shape in shapes.items() if tuple(shape) != arrays[path].shape]
    return f"arrays of another shape: {', '.join(other[:3])}" if other else ""


def _raise_if_no_damage(error: Exception) -> None:
    """Raises an error if a disk, a network or too little memory caused `error`: the checkpoint may then be readable later.

    A missing file counts as damage. TensorStore tells of the system's errors in words only, and Orbax wraps them in others.
    """
    cause: BaseException | None = error
    while isinstance(cause, Exception):
        if is_out_of_memory(cause):
            raise cause
        if not isinstance(cause, FileNotFoundError):
            reraise_system_error(cause)
        for code in OF_THE_SYSTEM:
            if os.strerror(code) in str(cause):
                raise OSError(code, f"{os.strerror(code)} ({_short(cause)})") from error
        cause = cause.__cause__ or cause.__context__


def _short(error: Exception) -> str:
    """Returns the first line of an error's text."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]
