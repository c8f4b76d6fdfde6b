"""Checkpoints restore on other meshes and from copies, survive damage, report failing saves and need little memory."""

import errno
import hashlib
import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varietas.launch.config import load_config
from varietas.model.config import ModelConfig
from varietas.model.sharding import make_mesh
from varietas.train.experiment import OptimConfig
from varietas.train.run_folder.checkpoint import Checkpoints, DamagedCheckpoint, restore_params
from varietas.train.run_folder.digest import checksums, digest
from varietas.train.step import State, abstract_state, init_state

CONFIG = load_config("tiny", ["--config.model.vocab_size=1024"])
MODEL, OPTIM = ModelConfig(**CONFIG.model), OptimConfig(**CONFIG.optim)


def mesh(data: int, fsdp: int, tensor: int) -> jax.sharding.Mesh:
    return make_mesh(data, fsdp, tensor, jax.devices()[: data * fsdp * tensor])


def at_step(state: State, step: int) -> State:
    """Returns a state that differs from the states of other steps in every parameter."""
    params = jax.block_until_ready(jax.tree.map(lambda x: x + step, state.params))
    return State(jax.device_put(jnp.int32(step), state.step.sharding), params, state.optimizer)


@pytest.fixture(scope="module")
def state() -> State:
    return init_state(MODEL, OPTIM, mesh(1, 8, 1), seed=0)


@pytest.fixture
def saved(state: State, tmp_path: Path) -> Path:
    """A folder with checkpoints 1 and 2."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=3)
    for step in (1, 2):
        checkpoints.save(at_step(state, step), {"corpus_digest": "c"})
    checkpoints.wait()
    checkpoints.close()
    return tmp_path / "checkpoints"


def flip_a_bit(folder: Path) -> Path:
    """Flips a bit in the middle of the largest file, as a bad disk would, and returns the path of the file."""
    victim = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    return victim


@pytest.mark.parametrize("shape", [(2, 2, 2), (1, 1, 1), (1, 1, 8)])
def test_a_checkpoint_restores_onto_another_mesh(saved: Path, state: State, shape: tuple[int, int, int]) -> None:
    abstract = abstract_state(MODEL, OPTIM, mesh(*shape))
    with jax.set_mesh(mesh(*shape)):  # an active mesh has broken Orbax in the past
        checkpoints = Checkpoints(saved)
        restored = checkpoints.restore_latest(abstract.params, abstract.optimizer)
        checkpoints.close()
    assert restored is not None and restored.step == 2 and restored.meta["corpus_digest"] == "c"
    assert digest(restored.params) == digest(at_step(state, 2).params)
    assert jax.tree.all(jax.tree.map(lambda x, a: x.sharding == a.sharding, restored.params, abstract.params))
    assert jax.tree.all(jax.tree.map(lambda x, y: np.array_equal(x, y), restored.optimizer, state.optimizer))


def test_a_copy_restores_without_the_original(saved: Path, state: State, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "copy" / "checkpoints")
    shutil.rmtree(saved)
    params, step = restore_params(tmp_path / "copy" / "checkpoints", MODEL, mesh(1, 2, 1))
    assert step == 2 and digest(params) == digest(at_step(state, 2).params)


def test_a_damaged_checkpoint_is_replaced_by_the_one_before(saved: Path, state: State, caplog: pytest.LogCaptureFixture) -> None:
    flip_a_bit(saved / "2")
    checkpoints = Checkpoints(saved)
    abstract = abstract_state(MODEL, OPTIM, mesh(1, 8, 1))
    with pytest.raises(DamagedCheckpoint, match=r"checkpoint 2 .* (array|cannot be read)"):
        checkpoints.restore(2, abstract.params, abstract.optimizer)
    restored = checkpoints.restore_latest(abstract.params, abstract.optimizer)
    assert restored is not None and restored.step == 1 and digest(restored.params) == digest(at_step(state, 1).params)
    assert "going back to the checkpoint before it" in caplog.text
    assert (saved.parent / "damaged" / "2").is_dir() and checkpoints.steps() == [1]
    checkpoints.save(at_step(state, 2), {})  # the name is free again
    checkpoints.wait()
    assert checkpoints.steps() == [1, 2]
    checkpoints.close()


def test_every_bit_changes_the_checksum() -> None:
    x = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    sums = {checksums({"x": jnp.asarray(x)})["x"]}
    for word in range(x.size):
        for bit in range(32):
            bits = x.view(np.uint32).copy()
            bits.flat[word] ^= np.uint32(1 << bit)
            sums.add(checksums({"x": jnp.asarray(bits.view(np.float32))})["x"])
    assert len(sums) == 1 + 32 * x.size


def test_checksums_do_not_depend_on_the_mesh(state: State) -> None:
    host = jax.tree.map(np.asarray, state.params)
    assert checksums(state.params) == checksums(jax.tree.map(jnp.asarray, host))


def test_only_damaged_checkpoints_are_an_error(saved: Path) -> None:
    for step in ("1", "2"):
        flip_a_bit(saved / step)
    abstract = abstract_state(MODEL, OPTIM, mesh(1, 8, 1))
    checkpoints = Checkpoints(saved)
    with pytest.raises(DamagedCheckpoint, match="all checkpoints are damaged"):
        checkpoints.restore_latest(abstract.params, abstract.optimizer)
    checkpoints.close()
    assert sorted(p.name for p in saved.iterdir()) == ["1", "2"] and not (saved.parent / "damaged").exists()


def test_a_damaged_checkpoint_stays_while_no_older_one_could_be_read(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints, abstract = Checkpoints(saved), abstract_state(MODEL, OPTIM, mesh(1, 1, 1))

    def fails(step: int, *_: Any) -> Any:
        raise DamagedCheckpoint("2 has changed") if step == 2 else OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(checkpoints, "restore", fails)
    with pytest.raises(OSError, match="Input/output error"):
        checkpoints.restore_latest(abstract.params, abstract.optimizer)
    checkpoints.close()
    assert sorted(p.name for p in saved.iterdir()) == ["1", "2"] and not (saved.parent / "damaged").exists()


def test_a_failed_background_save_raises_its_error(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orbax.checkpoint._src.serialization import serialization

    checkpoints = Checkpoints(tmp_path / "checkpoints")

    async def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(serialization, "async_serialize_from_host", full)
    checkpoints.save(state, {})

    def following_steps() -> None:
        for _ in range(1000):
            checkpoints.check()
            time.sleep(0.01)

    with pytest.raises(Exception, match="No space left"):
        following_steps()
    assert Checkpoints(tmp_path / "checkpoints").steps() == []


def test_the_checkpoint_of_another_model_is_not_called_damaged(saved: Path) -> None:
    """This happens when a run with a part of the user's own is opened without that part."""
    abstract = abstract_state(MODEL, OPTIM, mesh(1, 1, 1))
    other = dict(abstract.params) | {"unembedding_DV": abstract.params["embedding_VD"]}
    checkpoints = Checkpoints(saved)
    with pytest.raises(ValueError, match="arrays that only one of the two has: unembedding_DV") as error:
        checkpoints.restore_latest(other, abstract.optimizer)
    wider = abstract_state(replace(MODEL, d_ff=2 * MODEL.d_ff), OPTIM, mesh(1, 1, 1))  # the same names
    with pytest.raises(ValueError, match=r"of another shape: layers/feed_forward/down_FD \(2, 192, 64\) -> \(2, 384, 64\)") as shape:
        checkpoints.restore_latest(wider.params, wider.optimizer)
    checkpoints.close()
    assert not any(isinstance(each.value, DamagedCheckpoint) for each in (error, shape))
    assert sorted(p.name for p in saved.iterdir()) == ["1", "2"]


def wrapped(error: Exception) -> Exception:
    """As Orbax raises what TensorStore says."""
    outer = Exception("Encountered error while reading array index: (slice(0, 2, 1),)")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (OSError(errno.EIO, "Input/output error"), OSError, "Input/output error"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), RuntimeError, "RESOURCE_EXHAUSTED: Out of memory"),
        (wrapped(OSError(errno.ESTALE, "Stale file handle")), OSError, "Stale file handle"),
        (wrapped(MemoryError("std::bad_alloc")), MemoryError, "bad_alloc"),
        (wrapped(ValueError('FAILED_PRECONDITION: Error reading local file "/x/d/1a": Input/output error')), OSError, "local file"),
        (ValueError('PERMISSION_DENIED: Error opening local file "/x/d/1a": Permission denied'), OSError, "Permission denied"),
    ],
)
def test_a_failing_disk_or_device_does_not_count_as_damage(
    saved: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception], message: str
) -> None:
    checkpoints, abstract = Checkpoints(saved), abstract_state(MODEL, OPTIM, mesh(1, 1, 1))
    restore = checkpoints._manager.restore

    def fails(step: int, args: Any) -> Any:
        if "meta" in dict(args.items()):
            return restore(step, args=args)
        raise error

    monkeypatch.setattr(checkpoints._manager, "restore", fails)
    with pytest.raises(kind, match=message):
        checkpoints.restore_latest(abstract.params, abstract.optimizer)
    checkpoints.close()
    assert sorted(p.name for p in saved.iterdir()) == ["1", "2"]


def test_a_full_disk_is_reported_before_anything_is_written(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match=r"checkpoint 3 needs \d\.\d+ GB, the disk has 0.000 GB left"):
        checkpoints.save(at_step(state, 3), {})
    checkpoints.close()
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_later_steps_do_not_change_a_save(state: State, tmp_path: Path) -> None:
    """The next step donates arrays that are still being saved."""
    copy = jax.tree.map(lambda x: x + 0, state)
    expected = digest(copy.params)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(copy, {})
    trample = jax.jit(lambda params: jax.tree.map(lambda x: x * 0 - 1, params), donate_argnums=0)
    jax.block_until_ready(trample(copy.params))
    checkpoints.wait()
    checkpoints.close()
    assert digest(restore_params(tmp_path / "checkpoints", MODEL, mesh(1, 1, 1))[0]) == expected


def test_digest_equals_that_of_hashlib() -> None:
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(2, np.int32)
    by_hand = hashlib.sha256(b"a (2, 3) float32\n" + a.tobytes() + b"b/c (2,) int32\n" + b.tobytes()).hexdigest()
    assert digest({"b": {"c": jnp.asarray(b)}, "a": jnp.asarray(a)}) == by_hand


def test_a_save_needs_little_host_memory(tmp_path: Path) -> None:
    """Saves have been reported to take three to four times the size of the state in host memory (google/orbax#1640)."""
    sharding = jax.sharding.NamedSharding(mesh(1, 8, 1), jax.sharding.PartitionSpec("fsdp"))
    arrays = {str(i): jax.device_put(np.random.default_rng(i).standard_normal((2048, 2048), np.float32), sharding) for i in range(8)}
    size = sum(x.nbytes for x in arrays.values())
    big = State(jax.device_put(jnp.int32(1)), jax.block_until_ready(arrays), {"count": jnp.int32(0)})
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    page, used, done = os.sysconf("SC_PAGE_SIZE"), [], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            used.append(int(Path("/proc/self/statm").read_text().split()[1]) * page)

    watcher = threading.Thread(target=watch)
    watcher.start()
    time.sleep(0.05)
    checkpoints.save(big, {})
    checkpoints.wait()
    done.set()
    watcher.join()
    checkpoints.close()
    assert max(used) - used[0] < 3 * size
