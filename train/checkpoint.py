"""Checkpoints through Orbax, asynchronous and atomic, with checksums of our own on every array.

Orbax restores an array with a flipped bit without a word. So each save notes a checksum per array, computed where the array
lies, and each restore computes it again; a checkpoint that fails is set aside, loudly, for the one before it.
"""

import errno
import functools
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Mesh

from varietas.data.files import raise_if_of_the_system
from varietas.model.config import ModelConfig
from varietas.model.decoder import Build, Decoder, Params, graph_and_shapes
from varietas.model.sharding import param_shardings
from varietas.train.digest import by_path
from varietas.train.memory import is_out_of_memory
from varietas.train.step import State

log = logging.getLogger("varietas")


class DamagedCheckpoint(ValueError):
    """A checkpoint that cannot be trusted; the text says which array."""


@dataclass(frozen=True)
class Restored:
    """What a checkpoint held. `optimizer` is None if only the parameters were asked for."""

    step: int
    params: Any
    optimizer: Any
    meta: dict[str, Any]


class Checkpoints:
    """The checkpoints of a run, under `folder`/<step>."""

    def __init__(self, folder: Path, keep: int | None = None):
        self.folder = folder.resolve()
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True, enable_async_checkpointing=True)
        self._manager = ocp.CheckpointManager(self.folder, options=options)
        self._writing = False

    def steps(self) -> list[int]:
        """Steps with a whole checkpoint, ascending."""
        return sorted(self._manager.all_steps())

    def save(self, state: State, meta: Mapping[str, Any]) -> None:
        """Starts to write the state; returns once it is safe to donate. The rest goes on in the background.

        Raises OSError if the disk has no room for it.
        """
        step = int(state.step)
        need, free = sum(x.nbytes for x in jax.tree.leaves(state)), shutil.disk_usage(self.folder).free
        if need > free:
            raise OSError(
                errno.ENOSPC, f"checkpoint {step} needs {need / 1e9:,.3f} GB, the disk has {free / 1e9:,.3f} GB left", str(self.folder)
            )
        items = {"params": state.params, "optimizer": state.optimizer}
        meta = {**meta, "step": step, "checksums": {name: checksums(item) for name, item in items.items()}}
        saves = {name: ocp.args.StandardSave(item) for name, item in items.items()}
        self._writing = True
        self._manager.save(step, args=ocp.args.Composite(**saves, meta=ocp.args.JsonSave(meta)))

    def check(self) -> None:
        """Raises the error of a background save that has failed. Orbax's check_for_errors misses it: its finalizer has taken it."""
        if self._writing and not self._manager.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Waits for the save under way; raises its error."""
        self._writing = False
        self._manager.wait_until_finished()

    def close(self) -> None:
        self._manager.close()

    def meta(self, step: int) -> dict[str, Any]:
        """What was noted beside the arrays. Raises DamagedCheckpoint."""
        try:
            return dict(self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))["meta"])
        except Exception as error:
            _raise_if_no_damage(error)
            raise DamagedCheckpoint(f"checkpoint {step} of {self.folder}: its meta cannot be read ({_short(error)})") from error

    def restore(self, step: int, params: Any, optimizer: Any = None) -> Restored:
        """Loads onto the shardings of the abstract trees given, of any mesh, and verifies.

        Raises DamagedCheckpoint, or ValueError if the trees have other arrays than the checkpoint.
        """
        meta = self.meta(step)
        if "checksums" not in meta:
            raise DamagedCheckpoint(f"checkpoint {step} of {self.folder}: its meta has no checksums")
        wanted = {"params": params} | ({"optimizer": optimizer} if optimizer is not None else {})
        restored = {}
        for name, item in wanted.items():
            if other := set(by_path(item)) ^ set(meta["checksums"][name]):
                raise ValueError(
                    f"checkpoint {step} of {self.folder} is of another model: only one of them has {', '.join(sorted(other)[:3])}; "
                    "give the parts (`build`) that the run was made with, or another --run"
                )
            try:
                restored[name] = self._manager.restore(step, args=ocp.args.Composite(**{name: ocp.args.StandardRestore(item)}))[name]
            except Exception as error:
                _raise_if_no_damage(error)
                raise DamagedCheckpoint(f"checkpoint {step} of {self.folder}: {name} cannot be read ({_short(error)})") from error
            for array, found in checksums(restored[name]).items():
                if found != meta["checksums"][name].get(array):
                    raise DamagedCheckpoint(
                        f"checkpoint {step} of {self.folder}: array {name}/{array} has changed on disk (checksum {found})"
                    )
        return Restored(step, restored["params"], restored.get("optimizer"), meta)

    def restore_latest(self, params: Any, optimizer: Any) -> Restored | None:
        """The newest checkpoint that is whole; damaged ones are moved to `damaged/` beside the folder. None if there is none at all.

        Raises DamagedCheckpoint if there are checkpoints and every one is damaged.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                return self.restore(step, params, optimizer)
            except DamagedCheckpoint as error:
                if step == steps[0]:
                    raise DamagedCheckpoint(f"{error}; no whole checkpoint is left: start again in another --run folder") from error
                log.warning("%s; going back to the checkpoint before it, this one is kept under %s", error, self._set_aside(step))
        return None

    def _set_aside(self, step: int) -> Path:
        target = self.folder.parent / "damaged" / str(step)
        target.parent.mkdir(exist_ok=True)
        while target.exists():
            target = target.with_name(target.name + "+")
        (self.folder / str(step)).rename(target)
        self._manager.reload()
        return target


def restore_params(folder: Path, model: ModelConfig, mesh: Mesh, step: int | None = None, build: Build = Decoder) -> tuple[Params, int]:
    """The parameters of a checkpoint (None: the newest) on `mesh`, and its step. Nothing on disk is changed.

    Raises ValueError if there is no such checkpoint, DamagedCheckpoint if it cannot be trusted.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder.parent} has no checkpoints yet; train it first")
    _, shapes = graph_and_shapes(model, build)
    abstract = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, param_shardings(shapes, mesh))
    checkpoints = Checkpoints(folder)
    try:
        steps = checkpoints.steps()
        wanted = step if step is not None else max(steps, default=None)
        if wanted not in steps:
            raise ValueError(f"{folder.parent} has no checkpoint after step {wanted}; there are: {', '.join(map(str, steps)) or 'none'}")
        return checkpoints.restore(wanted, abstract).params, wanted
    finally:
        checkpoints.close()


def _raise_if_no_damage(error: Exception) -> None:
    """A disk or a network that fails, or too little memory: what could not be read now may be read later. A lost file is damage."""
    if is_out_of_memory(error):
        raise error
    if not isinstance(error, FileNotFoundError):
        raise_if_of_the_system(error)


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]


def checksums(tree: Any) -> dict[str, str]:
    """A 64-bit checksum of each array, by its path: the same on any mesh, and different after any change of one element.

    Each element's bits are mixed with its place, one to one, and added up modulo 2³² under two keys. Integer sums do not
    depend on their order, so each device adds up its own part.
    """
    sums = {}
    for path, array in by_path(tree).items():
        total = np.asarray(_checksum(array))  # waits: never more than one program in flight
        sums[path] = "".join(f"{int(part):08x}" for part in total)
    return sums


@jax.jit
def _checksum(x: jax.Array) -> jax.Array:
    unsigned = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[x.dtype.itemsize]
    bits = jax.lax.bitcast_convert_type(x, unsigned).astype(jnp.uint32)
    place = jnp.zeros(x.shape, jnp.uint32)
    for axis, size in enumerate(x.shape):
        place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
    # Every n-th part of the first axis added to the next, then summed: four times as fast as one sum on XLA's CPU backend.
    rows = x.shape[0] if x.ndim else 1
    n = max(n for n in range(1, 13) if rows % n == 0)
    bits, place = (y.reshape(rows // n, n, *x.shape[1:]) for y in (bits, place))
    sums = []
    for key in (0x9E3779B9, 0x85EBCA6B):
        parts = (_mix32(bits[:, k] ^ _mix32(place[:, k] + jnp.uint32(key))) for k in range(n))
        sums.append(jnp.sum(functools.reduce(jnp.add, parts), dtype=jnp.uint32))
    return jnp.stack(sums)


def _mix32(x: jax.Array) -> jax.Array:
    """A bijection of uint32: the finaliser of MurmurHash3 (Appleby)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
