"""Compiles a training step for devices that are not here, with the compilers that would be used there, and reads the compiled program.

XLA compiles ahead of time for NVIDIA GPUs and TPUs wherever its plugins are installed (`varietas[plan-cuda]`, `varietas[plan-tpu]`). That
happens in a process of its own, so that the plugins are loaded nowhere else, and ends as soon as XLA has written what is read here: machine
code for TPUs would take minutes more.
"""

import math
import os
import re
import tempfile
import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from varietas.configs.machines.base import Machine
from varietas.launch.plan.job import Job
from varietas.launch.plan.program import Collective, collectives

N_LANGUAGES = 40  # of the corpus: a few numbers a language
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",  # steps are traced here and compiled for other machines
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",  # otherwise the plugin refuses to load without a driver
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # no process holds a TPU, so several may compile at once
    "TF_CPP_MIN_LOG_LEVEL": "1",  # warnings have to be written, because they are counted
    "TPU_STDERR_LOG_LEVEL": "1",
    "TPU_LOG_DIR": "disabled",  # otherwise libtpu leaves files in /tmp
}
# What XLA has to know about a GPU: compute capability, multiprocessors, float32 units of each, shared memory of a block with and without
# asking for it and of a multiprocessor, L2 cache, clock in GHz, memory bandwidth, name
GPUS = {
    "a100": ((8, 0), 108, 64, 166_912, 167_936, 41_943_040, 1.41, 1_555_000_000_000, "NVIDIA A100-SXM4-40GB"),
    "h100": ((9, 0), 132, 128, 232_448, 233_472, 52_428_800, 1.98, 3_352_320_000_000, "NVIDIA H100 80GB HBM3"),
    "gh200": ((9, 0), 132, 128, 232_448, 233_472, 62_914_560, 1.98, 4_022_780_000_000, "NVIDIA GH200 120GB"),
}
TPUS = {  # shapes of the interconnect
    "v5p": ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16"),
    "v6e": ("2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16"),
}


@dataclass(frozen=True)
class Target:
    """What is compiled for.

    Attributes:
        name: One of GPUS or TPUS.
        per_node: Devices of a node.
        memory: Bytes of a device.
        flags: XLA_FLAGS of the machine.
    """

    name: str
    per_node: int
    memory: int
    flags: str = ""


def target_of(machine: Machine) -> Target:
    """Returns the target of a machine that has a compiler."""
    flags = " ".join(setting.value.replace("${XLA_FLAGS:-}", "") for setting in machine.environment if setting.name == "XLA_FLAGS")
    return Target(machine.compiler, machine.devices_per_node, machine.memory, flags.strip())


@dataclass(frozen=True)
class Compiled:
    """What XLA makes of a step. All figures are those of one device."""

    seconds: float  # that compiling took
    state: int  # bytes of parameters and optimiser state
    held: int  # bytes in all
    warnings: int  # of "involuntary full rematerialization" by the partitioner
    collectives: list[Collective]


def missing(target: str) -> str:
    """Returns what to install for a target; "" if its compiler is there.

    Raises:
        ValueError: If there is no such target.
    """
    if target not in (*GPUS, *TPUS):
        raise ValueError(f"XLA has no compiler for {target!r} that works elsewhere; there are ones for {', '.join((*GPUS, *TPUS))}")
    package, extra = ("jax_cuda13_plugin", "plan-cuda") if target in GPUS else ("libtpu", "plan-tpu")
    return "" if find_spec(package) else f"pip install 'varietas[{extra}]'"


def devices_of(target: Target, n: int) -> list[Any]:
    """Returns n devices, as the compilers see them.

    Raises:
        ValueError: If there is no shape of so many TPUs.
    """
    from jax.experimental import topologies

    if target.name in GPUS:
        per_node = math.gcd(n, target.per_node)
        gpu = _gpu(target.name, target.memory)
        shape = {"topology_name": target.name, "target_config": gpu, "topology": f"1x{n // per_node}x{per_node}"}
        return list(topologies.get_topology_desc(platform="cuda", **shape).devices)
    sizes = {math.prod(map(int, shape.split("x"))): shape for shape in TPUS[target.name]}
    if n not in sizes:
        raise ValueError(f"XLA compiles for {target.name} with {', '.join(map(str, sizes))} devices, not {n}")
    return list(topologies.get_topology_desc(platform="tpu", topology_name=f"{target.name}:{sizes[n]}").devices)


def _gpu(target: str, memory: int) -> str:
    """Returns the description of a GPU that XLA takes, a protocol buffer as text."""
    (major, minor), cores, units, block, core, l2, clock, bandwidth, name = GPUS[target]
    return f"""
gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: {core}
  threads_per_core_limit: 2048 core_count: {cores} fpus_per_core: {units}
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth} l2_cache_size: {l2} clock_rate_ghz: {clock} device_memory_size: {memory}
  shared_memory_per_block_optin: {block} cuda_compute_capability {{ major: {major} minor: {minor} }}
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
device_description_str: "{name}"
"""


def compile_apart(job: Job, target: Target, whole: bool = False) -> Compiled:
    """Compiles the step of a job in a process of its own, which ends as soon as it has an answer.

    Args:
        job: The job.
        target: What to compile for.
        whole: Whether to wait for a TPU's machine code, and so see whether it can be generated.

    Raises:
        ValueError: If compiling fails, with what the compiler says.
    """
    ours, theirs = get_context("spawn").Pipe()
    with tempfile.TemporaryDirectory() as folder:
        dump = Path(folder)
        process = get_context("spawn").Process(target=_answer, args=(theirs, job, target, dump, whole), daemon=True)
        process.start()
        theirs.close()
        try:
            found = ours.recv()
        except EOFError:
            process.join()
            found = f"the compiler ended with exit code {process.exitcode}: {notes(dump)[-1000:]}"
        finally:
            process.kill()
            process.join()
    if isinstance(found, str):
        raise ValueError(found)
    return found


def _answer(to: Connection, job: Job, target: Target, dump: Path, whole: bool) -> None:
    """Sends what was compiled, or an error in its place, and ends the process, whatever its threads are doing."""
    os.environ.update(ENVIRONMENT)
    take_notes(dump)
    flags = [os.environ.get("XLA_FLAGS", ""), target.flags]
    if target.name in TPUS:  # in the syntax of compiled.as_text()
        flags += [f"--xla_dump_to={dump}", "--xla_syntax_sugar_async_ops=true"]
    os.environ["XLA_FLAGS"] = " ".join(flags).strip()
    try:
        to.send(_compile(job, target, dump, whole))
    except (ValueError, RuntimeError) as error:
        to.send(" ".join(str(error).split())[:500])
    except Exception:
        to.send(traceback.format_exc())
    finally:
        os._exit(0)


def _compile(job: Job, target: Target, dump: Path, whole: bool) -> Compiled:
    from varietas.model.sharding import make_mesh
    from varietas.train.memory import state_bytes
    from varietas.train.step import abstract_state, compile_step, make_step

    mesh = make_mesh(*job.mesh, devices_of(target, job.devices))
    model = replace(
        job.model, attention=job.attention("cuda" if target.name in GPUS else "tpu")
    )  # `auto` would ask the devices that are here
    state = abstract_state(model, job.optim, mesh)
    step = make_step(model, job.optim, job.steps, N_LANGUAGES, job.grad_accum)
    begun = time.perf_counter()
    compiling = ThreadPoolExecutor(1).submit(compile_step, step, state, job.batch_size, job.seq_len, mesh)
    text, held = gpu_program(compiling.result()) if target.name in GPUS else _tpu_program(compiling, dump, whole)
    return Compiled(time.perf_counter() - begun, state_bytes(state), held, rematerializations(dump), collectives(text))


def gpu_program(compiled: Any) -> tuple[str, int]:
    """Returns the text of a program, and the bytes that a device holds for it."""
    from varietas.train.memory import step_bytes

    return compiled.as_text(), step_bytes(compiled)


def _tpu_program(compiling: Future[Any], dump: Path, whole: bool) -> tuple[str, int]:
    """Returns text and bytes as `gpu_program` does, from the folder to which XLA writes. Unless `whole`, XLA is still compiling then."""
    last = "*jit_step*.after_optimizations_after_buffer_assignment.txt"  # written after the files that are read below
    while not compiling.done() and (whole or not any(dump.glob(last))):
        time.sleep(0.2)
    if compiling.done():
        compiling.result()  # raises what the compiler raised
    (program,), (report,) = (
        [file.read_text("utf-8") for file in dump.glob(f"*jit_step*.after_optimizations{end}")]
        for end in (".txt", "-memory-usage-report.txt")
    )
    return program, int(re.search(r"Memory Space: default .*\nTotal bytes: (\d+)", report)[1])  # type: ignore[index]


def rematerializations(folder: Path) -> int:
    """Returns how often the partitioner warned that it gathers a whole array in order to split it in another way."""
    return notes(folder).count("Involuntary full rematerialization")


def take_notes(folder: Path) -> None:
    """Redirects standard error of this process, including what C++ writes, to a file in `folder`."""
    with (folder / "stderr").open("a") as file:
        os.dup2(file.fileno(), 2)


def notes(folder: Path) -> str:
    """Returns what was written to standard error since `take_notes`."""
    file = folder / "stderr"
    return file.read_text("utf-8", "replace") if file.exists() else ""
