"""The contenders: programs that train the model of config.py, each in a process of its own that runs steps when it is told to.

A contender is a function that takes the config and returns another function. The latter runs n steps and returns the seconds of each.
"""

import atexit
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from varietas.launch.backend import HUGE_PAGES
from varietas.model.config import ModelConfig
from varietas.model.formats.config_json import config_json

Steps = Callable[[int], list[float]]


def varietas(config: ConfigDict) -> Steps:
    """The whole of `varietas train`: rows of a packed corpus, metrics, checkpoints."""
    from rich.console import Console

    from varietas.launch.run import Run
    from varietas.train.run_folder.metrics import MetricsLog

    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    run = Run(config, folder=folder / "run", console=Console(quiet=True))
    written, write = list[float](), MetricsLog.write

    def timed(log: Any, record: Any) -> None:
        written.append(time.perf_counter())
        write(log, record)

    MetricsLog.write = timed  # type: ignore[method-assign]

    def steps(n: int) -> list[float]:
        written.clear()
        run.train(n + 2)  # the first record has none before it, and the last waits for a checkpoint
        return [end - begin for begin, end in pairwise(written[:-1])]

    return steps


def bare_step(config: ConfigDict) -> Steps:
    """The compiled step alone, on the mesh that the command line would choose, with the same batch each time."""
    import jax
    import numpy as np

    from varietas.launch import backend
    from varietas.launch.mesh import cpu_devices, resolve_mesh
    from varietas.model.sharding import batch_sharding, make_mesh
    from varietas.train.experiment import OptimConfig
    from varietas.train.step import BATCH_FIELDS, abstract_state, compile_step, init_state, make_step

    mesh = make_mesh(*resolve_mesh(config, backend.start(cpu_devices(config, backend.cores()))))
    model, optim, t, seq_len = ModelConfig(**config.model), OptimConfig(**config.optim), config.train, config.data.seq_len
    step = compile_step(make_step(model, optim, t.steps, 40, t.grad_accum), abstract_state(model, optim, mesh), t.batch_size, seq_len, mesh)
    state = init_state(model, optim, mesh, 0)
    tokens = np.random.default_rng(0).integers(1, model.vocab_size, (t.batch_size, seq_len), np.int32)
    batch = {name: jax.device_put(tokens if name == "tokens" else np.ones_like(tokens), batch_sharding(mesh)) for name in BATCH_FIELDS}

    numbers = count()

    def one() -> None:
        nonlocal state
        state, metrics = step(state, batch, np.int32(next(numbers)), np.float32(np.inf))
        jax.block_until_ready(metrics)

    one()
    return lambda n: _timed(one, n)


def plain_jax(config: ConfigDict) -> Steps:
    """One jitted function on one device, as in a textbook (see textbook.py)."""
    from jax import block_until_ready
    from textbook import training

    state, step, batch = training(config)

    def one() -> None:
        nonlocal state
        state, loss = step(state, batch)
        block_until_ready(loss)

    one()
    return lambda n: _timed(one, n)


def torch_eager(config: ConfigDict, compiled: bool = False) -> Steps:
    """transformers' LlamaForCausalLM with torch's AdamW and gradient clipping."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    m, o = config.model, config.optim
    model = LlamaForCausalLM(LlamaConfig(**config_json(ModelConfig(**m), "float32", {})))
    optimizer = torch.optim.AdamW(model.parameters(), o.peak_lr, betas=(o.beta1, o.beta2), eps=o.eps, weight_decay=o.weight_decay)
    forward = torch.compile(model) if compiled else model
    tokens = torch.randint(0, m.vocab_size, (config.train.batch_size, config.data.seq_len))

    def one() -> None:
        optimizer.zero_grad()
        forward(input_ids=tokens, labels=tokens).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), o.clip_norm)
        optimizer.step()

    one()
    one()
    return lambda n: _timed(one, n)


def torch_compile(config: ConfigDict) -> Steps:
    """The same as `torch_eager`, through torch.compile."""
    return torch_eager(config, compiled=True)


CONTENDERS = {
    "varietas": varietas,
    "bare_step": bare_step,
    "plain_jax": plain_jax,
    "torch_eager": torch_eager,
    "torch_compile": torch_compile,
}


def _timed(one: Callable[[], None], n: int) -> list[float]:
    """Returns the seconds of each of n steps."""
    seconds = []
    for _ in range(n):
        begun = time.perf_counter()
        one()
        seconds.append(time.perf_counter() - begun)
    return seconds


@dataclass
class Contender:
    """The connection to the process of a contender."""

    connection: Any
    process: Any
    ready_seconds: float

    def run(self, n: int) -> list[float]:
        """Runs n steps, while the other contenders rest, and returns the seconds of each."""
        self.connection.send(n)
        return self.connection.recv()

    def end(self) -> None:
        """Ends the process."""
        self.connection.send(0)
        self.process.join()


def start(name: str, config: ConfigDict) -> Contender:
    """Starts a contender and waits until it is ready. Ends the program if it cannot train the config."""
    begun = time.perf_counter()
    connection, process = spawn(_serve, name, config, ours=name in ("varietas", "bare_step"))
    if error := connection.recv():
        sys.exit(error)
    return Contender(connection, process, time.perf_counter() - begun)


def spawn(serve: Callable[[str, ConfigDict, Any], None], name: str, config: ConfigDict, ours: bool) -> tuple[Any, Any]:
    """Starts a process that runs serve(name, config, pipe), on huge pages if it is ours. Returns our end of the pipe, and the process."""
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=serve, args=(name, config, there), daemon=True)
    os.environ.pop("GLIBC_TUNABLES", None)
    if ours:
        os.environ["GLIBC_TUNABLES"] = HUGE_PAGES  # which the command line sets for itself
    process.start()
    there.close()
    return here, process


def _serve(name: str, config: ConfigDict, connection: Any) -> None:
    try:
        steps = CONTENDERS[name](config)
        steps(2)
    except ValueError as error:  # a mistake in the config
        connection.send(f"{name}: {error}")
        return
    connection.send(None)
    while n := connection.recv():
        connection.send(steps(n))
