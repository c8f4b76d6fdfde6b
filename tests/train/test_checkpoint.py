"""Checkpoints: other meshes, copies, damage, failing saves, memory."""

import errno
import os
import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varietas.launch.settings import load_config
from varietas.model.config import ModelConfig
from varietas.model.sharding import make_mesh
from varietas.train.checkpoint import Checkpoints, DamagedCheckpoint, checksums, restore_params
from varietas.train.digest import digest
from varietas.train.experiment import OptimConfig
from varietas.train.step import State, abstract_state, init_state

CONFIG = load_config("tiny")
MODEL, OPTIM = ModelConfig(**CONFIG.model), OptimConfig(**CONFIG.optim)


def mesh(data: int, fsdp: int, tensor: int) -> jax.sharding.Mesh:
    return make_mesh(data, fsdp, tensor, jax.devices()[: data * fsdp * tensor])


def at_step(state: State, step: int) -> State:
    """A state that differs from those of other steps in every parameter."""
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
    """In the middle of the largest file, as a bad disk would."""
    victim = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    return victim


@pytest.mark.parametrize("shape", [(2, 2, 2), (1, 1, 1), (1, 1, 8)])
def test_restores_onto_another_mesh(saved: Path, state: State, shape: tuple[int, int, int]) -> None:
    abstract = abstract_state(MODEL, OPTIM, mesh(*shape))
    with jax.set_mesh(mesh(*shape)):  # an active mesh has broken Orbax before
        checkpoints = Checkpoints(saved)
        restored = checkpoints.restore_latest(abstract.params, abstract.optimizer)
        checkpoints.close()
    assert restored is not None and restored.step == 2 and restored.meta["corpus_digest"] == "c"
    assert digest(restored.params) == digest(at_step(state, 2).params)
    assert jax.tree.all(jax.tree.map(lambda x, a: x.sharding == a.sharding, restored.params, abstract.params))
    assert jax.tree.all(jax.tree.map(lambda x, y: np.array_equal(x, y), restored.optimizer, state.optimizer))


def test_a_copy_restores_after_the_original_is_gone(saved: Path, state: State, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "copy" / "checkpoints")
    shutil.rmtree(saved)
    params, step = restore_params(tmp_path / "copy" / "checkpoints", MODEL, mesh(1, 2, 1))
    assert step == 2 and digest(params) == digest(at_step(state, 2).params)


def test_a_flipped_bit_is_noticed_named_and_survived(saved: Path, state: State, caplog: pytest.LogCaptureFixture) -> None:
    flip_a_bit(saved / "2")
    checkpoints = Checkpoints(saved)
    abstract = abstract_state(MODEL, OPTIM, mesh(1, 8, 1))
    with pytest.raises(DamagedCheckpoint, match=r"checkpoint 2 .* (array|cannot be read)"):
        checkpoints.restore(2, abstract.params, abstract.optimizer)
    restored = checkpoints.restore_latest(abstract.params, abstract.optimizer)
    assert restored is not None and restored.step == 1 and digest(restored.params) == digest(at_step(state, 1).params)
    assert "going back to the checkpoint before it" in caplog.text
    assert (saved.parent / "damaged" / "2").is_dir() and checkpoints.steps() == [1]
    checkpoints.save(at_step(state, 2), {})  # the place is free again
    checkpoints.wait()
    assert checkpoints.steps() == [1, 2]
    checkpoints.close()


def test_every_single_bit_counts() -> None:
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


def test_nothing_whole_is_left(saved: Path) -> None:
    for step in ("1", "2"):
        flip_a_bit(saved / step)
    abstract = abstract_state(MODEL, OPTIM, mesh(1, 8, 1))
    checkpoints = Checkpoints(saved)
    with pytest.raises(DamagedCheckpoint, match="no whole checkpoint is left"):
        checkpoints.restore_latest(abstract.params, abstract.optimizer)
    checkpoints.close()


def test_a_failed_background_save_surfaces(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    """As when a run that was made with a part of the user's own is opened without it."""
    abstract = abstract_state(MODEL, OPTIM, mesh(1, 1, 1))
    other = dict(abstract.params) | {"unembedding_DV": abstract.params["embedding_VD"]}
    checkpoints = Checkpoints(saved)
    with pytest.raises(ValueError, match="only one of them has unembedding_DV") as error:
        checkpoints.restore_latest(other, abstract.optimizer)
    checkpoints.close()
    assert not isinstance(error.value, DamagedCheckpoint) and sorted(p.name for p in saved.iterdir()) == ["1", "2"]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), RuntimeError("RESOURCE_EXHAUSTED: Out of memory")])
def test_a_disk_or_a_device_that_fails_is_no_damage(saved: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    checkpoints, abstract = Checkpoints(saved), abstract_state(MODEL, OPTIM, mesh(1, 1, 1))
    restore = checkpoints._manager.restore

    def fails(step: int, args: Any) -> Any:
        if "meta" in dict(args.items()):
            return restore(step, args=args)
        raise error

    monkeypatch.setattr(checkpoints._manager, "restore", fails)
    with pytest.raises(type(error), match=str(error.args[-1])):
        checkpoints.restore_latest(abstract.params, abstract.optimizer)
    checkpoints.close()
    assert sorted(p.name for p in saved.iterdir()) == ["1", "2"]


def test_a_full_disk_is_told_before_anything_is_written(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match=r"checkpoint 3 needs \d\.\d+ GB, the disk has 0.000 GB left"):
        checkpoints.save(at_step(state, 3), {})
    checkpoints.close()
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_save_is_not_touched_by_steps_that_follow(state: State, tmp_path: Path) -> None:
    """The next step donates the arrays that a save still writes."""
    copy = jax.tree.map(lambda x: x + 0, state)
    expected = digest(copy.params)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(copy, {})
    trample = jax.jit(lambda params: jax.tree.map(lambda x: x * 0 - 1, params), donate_argnums=0)
    jax.block_until_ready(trample(copy.params))
    checkpoints.wait()
    checkpoints.close()
    assert digest(restore_params(tmp_path / "checkpoints", MODEL, mesh(1, 1, 1))[0]) == expected


def test_digest_is_what_hashlib_says() -> None:
    import hashlib

    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(2, np.int32)
    by_hand = hashlib.sha256(b"a (2, 3) float32\n" + a.tobytes() + b"b/c (2,) int32\n" + b.tobytes()).hexdigest()
    assert digest({"b": {"c": jnp.asarray(b)}, "a": jnp.asarray(a)}) == by_hand


def test_a_save_needs_little_host_memory(tmp_path: Path) -> None:
    """Others have seen saves take three to four times the state in host memory (google/orbax#1640)."""
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
    print(f"a save of {size >> 20} MiB took {(max(used) - used[0]) / size:.2f} times that in host memory")
