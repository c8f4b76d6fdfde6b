"""A training step compiled for its devices, and what is known of it: its mesh, the shapes of its state, its cost and its memory.

Everything that does not fit is refused here, before anything large is allocated and before the folder of the run is touched.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import Mesh
from rich.console import Console

from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.sources import Sources
from varietas.data.stream.loader import count, tokens_of_a_worker
from varietas.model.config import ModelConfig
from varietas.model.decoder import Build, Decoder
from varietas.model.flops import count_params, train_flops_per_token
from varietas.model.linear.lora import trained
from varietas.model.sharding import make_mesh
from varietas.train.accounting.compute import counted_flops
from varietas.train.batches import host_bytes, local_rows
from varietas.train.experiment import Experiment
from varietas.train.memory import check_batches, check_state, check_step
from varietas.train.optimizer import warm_up_warning
from varietas.train.processes import connect
from varietas.train.step import State, abstract_state, compile_traced, make_step, trace_step


@dataclass(frozen=True)
class Program:
    """A compiled training step.

    Attributes:
        exp: The experiment that it was compiled for.
        config: What config.json says of it.
        build: Makes the model.
        mesh: The devices.
        abstract: The state as ShapeDtypeStructs with shardings.
        step: From state and batch to a new state and metrics; the state is donated.
        record: What environment.json says of devices, model and step; `step_memory` is in bytes of one device,
            `step_flops` are those of all matrix products of a step on all devices, also those that are computed again.
    """

    exp: Experiment
    config: Mapping[str, Any]
    build: Build
    mesh: Mesh
    abstract: State
    step: jax.stages.Compiled
    record: dict[str, Any]


def compile_program(
    exp: Experiment, config: Mapping[str, Any], corpus: Corpus | Sources, console: Console, build: Build = Decoder
) -> Program:
    """Compiles the training step of an experiment, and prints lines that describe it. Nothing is written.

    Args:
        exp: The experiment.
        config: The same as its run's folder keeps it.
        corpus: The corpus of the run.
        console: Where to print.
        build: Makes the model.

    Raises:
        ValueError: If the model does not divide over the mesh, or the worker processes have too little shared memory.
        MemoryError: If the devices or the host have too little memory.
    """
    mesh = mesh_of(exp)
    abstract = abstract_state(exp.model, exp.optim, mesh, build)
    record = {
        "devices": f"{mesh.size} x {mesh.devices.flat[0].device_kind}",
        "mesh": dict(mesh.shape),
        "parameters": sum(x.size for x in jax.tree.leaves(abstract.params)),
        "vocab_size": exp.model.vocab_size,
        "flops_per_token": train_flops_per_token(exp.model, exp.seq_len, exp.optim.dpo_beta > 0),
    }
    if exp.model.lora_rank:
        record["trained_parameters"] = sum(x.size for x in jax.tree.leaves(trained(abstract.params)))
    axes = " × ".join(f"{axis} {size}" for axis, size in mesh.shape.items())
    for line in (
        f"model: {record['parameters'] / 1e6:,.1f} M parameters, {_active(exp.model)}{_trained(record)}vocabulary {exp.model.vocab_size:,} "
        f"(the tokenizer has {corpus.manifest['vocab_size']:,} pieces)",
        f"devices: {record['devices']}, mesh {axes}",
        warm_up_warning(exp.optim, exp.steps),
    ):
        if line:
            console.print(line, highlight=False, soft_wrap=True)
    check_state(abstract, mesh)
    check_batches(host_bytes(mesh, exp.batch_size, exp.seq_len))
    if exp.workers:  # as `loader.batches` does
        tokens_of_a_worker(exp.workers, exp.seq_len * count(local_rows(mesh, exp.batch_size)))

    begun = time.perf_counter()
    fn = make_step(exp.model, exp.optim, exp.steps, len(corpus.languages), exp.grad_accum, build)
    traced = trace_step(fn, abstract, exp.batch_size, exp.seq_len, mesh)
    record["step_flops"] = counted_flops(traced.jaxpr)
    step = compile_traced(traced, mesh)
    check_step(step, mesh)
    memory: Any = step.memory_analysis()
    record["step_memory"] = {
        "arguments": memory.argument_size_in_bytes,
        "outputs": memory.output_size_in_bytes,
        "temporaries": memory.temp_size_in_bytes,
    }
    gflop = record["flops_per_token"] * exp.batch_size * exp.seq_len / 1e9
    console.print(
        f"step: {exp.batch_size} × {exp.seq_len} tokens, {gflop:,.0f} GFLOP, compiled in {time.perf_counter() - begun:.1f} s; each device "
        f"holds {memory.argument_size_in_bytes / 2**20:,.0f} MiB and needs {memory.temp_size_in_bytes / 2**20:,.0f} MiB more during a step",
        highlight=False,
        soft_wrap=True,
    )
    return Program(exp, config, build, mesh, abstract, step, record)


def _active(model: ModelConfig) -> str:
    """Says how many parameters a token meets, if it does not meet all."""
    return f"of which a token meets {count_params(model, active=True) / 1e6:,.1f} M, " if model.n_expert_layers else ""


def _trained(record: Mapping[str, Any]) -> str:
    """Says how many parameters are trained, if not all are."""
    return f"of which {record['trained_parameters']:,} are trained, " if "trained_parameters" in record else ""


def connected_mesh(exp: Experiment) -> Mesh:
    """Returns the mesh of an experiment, of processes that are connected. Raises ValueError as `mesh_of` does."""
    connect(mesh := mesh_of(exp))
    return mesh


def mesh_of(exp: Experiment) -> Mesh:
    """Returns the mesh of an experiment, of as many devices as it asks for: equally many of each process.

    Raises:
        ValueError: If there are not that many.
    """
    each, own = math.prod(exp.mesh) // jax.process_count(), dict[int, list[jax.Device]]()
    for device in jax.devices():
        own.setdefault(device.process_index, []).append(device)
    return make_mesh(*exp.mesh, devices=[device for process in sorted(own) for device in own[process][:each]])
