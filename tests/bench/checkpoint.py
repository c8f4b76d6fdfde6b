"""Measures a checkpoint of about 1 GB: how long it delays the training, how long saving and restoring take, and how much memory.

    python tests/bench/checkpoint.py [--rounds 3]

For comparison, the same run measures the speed of the disk (one file, with fsync) and safetensors with the same arrays.
"""

import os
import statistics
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import numpy as np
from figures import Peak, arguments, timed, write
from safetensors.numpy import load_file, save_file

from varietas.launch.config import load_config
from varietas.model.config import ModelConfig
from varietas.model.sharding import make_mesh
from varietas.train.experiment import OptimConfig
from varietas.train.run_folder.checkpoint import Checkpoints
from varietas.train.step import State, abstract_state, init_state

INTERVAL = 60.0  # seconds between checkpoints
SHAPE = ["--config.model.d_model=640", "--config.model.d_ff=2048", "--config.model.n_layers=12", "--config.model.vocab_size=16384"]


def as_trained(state: State) -> State:
    """Returns the state with random numbers in its moments: in a fresh state they are zeros, which compress to nothing."""
    rng = np.random.default_rng(0)

    def noise(x: jax.Array) -> jax.Array:
        return jax.device_put(1e-3 * rng.standard_normal(x.shape, np.float32), x.sharding) if x.ndim else x

    return replace(state, optimizer=jax.tree.map(noise, state.optimizer))


def restored(checkpoints: Checkpoints, abstract: State) -> None:
    found = checkpoints.restore(0, abstract.params, abstract.optimizer)
    jax.block_until_ready((found.params, found.optimizer))


def main() -> None:
    args = arguments(__doc__, rounds=3).parse_args()
    jax.config.update("jax_num_cpu_devices", 2)
    config = load_config("base", SHAPE)
    model, optim, mesh = ModelConfig(**config.model), OptimConfig(**config.optim), make_mesh(1, 2, 1)
    state, abstract = as_trained(init_state(model, optim, mesh, 0)), abstract_state(model, optim, mesh)
    arrays = {str(k): np.asarray(x) for k, x in enumerate(jax.tree.leaves((state.params, state.optimizer)))}
    size = sum(x.nbytes for x in arrays.values())
    seconds: dict[str, list[float]] = {}
    memory: dict[str, list[int]] = {"save": [], "restore": []}

    def note(what: str, value: float) -> None:
        seconds.setdefault(what, []).append(value)

    with tempfile.TemporaryDirectory() as folder:
        blob = np.concatenate([x.ravel().view(np.uint8) for x in arrays.values()])

        def write_plain() -> None:
            with open(f"{folder}/plain", "wb") as file:
                file.write(blob.data)
                file.flush()
                os.fsync(file.fileno())

        for n in range(args.rounds):
            note("disk write", timed(write_plain))
            note("disk read", timed(lambda: np.fromfile(f"{folder}/plain", np.uint8)))
            note("safetensors write", timed(lambda: save_file(arrays, f"{folder}/s.safetensors")))
            note("safetensors read", timed(lambda: load_file(f"{folder}/s.safetensors")))
            checkpoints = Checkpoints(Path(folder) / f"run{n}")
            with Peak() as peak:
                begun = time.perf_counter()
                checkpoints.save(state, {})
                note("blocked", time.perf_counter() - begun)
                checkpoints.wait()
                note("write", time.perf_counter() - begun)
            memory["save"].append(peak.bytes)
            with Peak() as peak:
                note("restore", timed(partial(restored, checkpoints, abstract)))
            memory["restore"].append(peak.bytes)
            checkpoints.close()
    median = {what: statistics.median(values) for what, values in seconds.items()}
    lines = [f"{size / 1e9:.2f} GB of parameters and optimiser state on two virtual devices"]
    lines += [f"{what:18} {value:6.2f} s {size / value / 1e9:6.2f} GB/s" for what, value in median.items()]
    of_size = {what: statistics.median(found) / size for what, found in memory.items()}
    lines.append("memory in addition to the state: " + ", ".join(f"{what} {part:.2f} × its size" for what, part in of_size.items()))
    ratios = {
        "checkpoint_stall": median["blocked"] / INTERVAL,
        "checkpoint_write_vs_disk": median["disk write"] / median["write"],
        "checkpoint_write_vs_safetensors": median["safetensors write"] / median["write"],
        "checkpoint_restore_vs_safetensors": median["safetensors read"] / median["restore"],
        "checkpoint_save_memory": of_size["save"],
        "checkpoint_restore_memory": of_size["restore"],
    }
    write(args.json, ratios, lines)


if __name__ == "__main__":
    main()
