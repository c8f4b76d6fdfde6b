"""Compiles the training step of configs for machines that are not there, and tables what each device holds and sends.

    python tests/bench/aot.py [--config NAME …] [--machine h100 v5p v6e] [--devices 8 64 …] [--config.FIELD=VALUE …] [--out FILE.md]

The compilers lie in .venv/aot, where `make .venv/aot/tpu` and `make .venv/aot/cuda` (3 GB) put them, and not beside jax, which would load
them in every run. A step takes some twenty seconds. For TPUs, whose machine code would take minutes more, XLA is left as soon as it has
written the program that the code is made of; --whole waits, and so shows whether it can be made.

The global batch is the config's, or the nearest smaller one that the devices can share, a row for each at the least; whatever
train.grad_accum says, it is worked through in as many parts as leave a device ROWS at once.
"""

import argparse
import math
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"  # tracing happens here, compiling for elsewhere
os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"  # else the plugin refuses to load without a driver
os.environ["TPU_SKIP_MDS_QUERY"] = "1"
os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"  # nobody holds a TPU: several of us may compile at once
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "1"  # warnings are counted
os.environ["TPU_STDERR_LOG_LEVEL"] = "1"
os.environ["TPU_LOG_DIR"] = "disabled"  # else libtpu leaves files in /tmp
sys.path.append(str(Path(__file__).parents[2] / ".venv" / "aot"))

from jax.experimental import topologies
from ml_collections import ConfigDict
from program import KINDS, Collective, collectives

from varietas.data.files import write_atomically
from varietas.launch.settings import check, load_config, resolve_mesh
from varietas.model.attention import suits_cudnn
from varietas.model.config import ModelConfig
from varietas.model.flops import train_flops_per_token
from varietas.model.sharding import make_mesh
from varietas.train.experiment import OptimConfig
from varietas.train.memory import is_out_of_memory, state_bytes
from varietas.train.step import abstract_state, compile_step, make_step

N_LANGUAGES = 40
ROWS = {"eurollm_1p7b": 8, "eurollm_9b": 8}  # of a batch that a device takes at once
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98 device_memory_size: 84978434048
  shared_memory_per_block_optin: 232448 cuda_compute_capability { major: 9 minor: 0 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
HEAD = """# What a step holds and sends at scale

By `make bench-aot`, which compiles the training step of each config for machines that are not there: figures of XLA's compilers, none was
run. The batch is the config's, or the nearest smaller one that the devices can share. Of one device and one step: rows at once, and in how
many parts the batch is worked through; TFLOP by formula; GiB held, of state and in all; GiB sent (in how many exchanges); the part of
those bytes that is hidden, under way while products are computed; and the partitioner's warnings of "involuntary full rematerialization".
(!): more than the device has. What a TPU gathers in the course of a product is a permute here.

"""


@dataclass(frozen=True)
class Machine:
    """`memory`: bytes of a device; `nodes_of`: devices of a node; `shapes`: of its interconnect, by number of devices."""

    memory: int
    nodes_of: int = 4
    shapes: tuple[str, ...] = ()


MACHINES = {
    "h100": Machine(84_978_434_048),
    "v5p": Machine(95 * 2**30, shapes=("2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16")),
    "v6e": Machine(32 * 2**30, shapes=("2x4", "4x4", "4x8", "8x8", "8x16", "16x16")),
}
DEVICES = {"h100": (8, 64, 256, 1024), "v5p": (8, 64, 1024), "v6e": (8, 64, 256)}


@dataclass(frozen=True)
class Plan:
    """What XLA makes of a step; bytes are those of one device."""

    config: str
    machine: str
    mesh: tuple[int, int, int]
    batch: int
    parts: int
    seconds: float
    state: int
    held: int
    warnings: int
    flops: float
    collectives: list[Collective]


def check_compiler(machine: str) -> None:
    """Ends the program if it is not installed."""
    package, target = ("jax_cuda13_plugin", "cuda") if machine == "h100" else ("libtpu", "tpu")
    if find_spec(package) is None:
        sys.exit(f"the compiler for {machine} is not installed; make .venv/aot/{target}")


def devices_of(machine: str, n: int) -> list[Any]:
    """n devices of a machine as the compilers see them. Raises ValueError if it has no such number."""
    known = MACHINES[machine]
    if machine == "h100":
        per_node = math.gcd(n, known.nodes_of)
        shape = {"topology_name": "H100", "target_config": H100, "topology": f"1x{n // per_node}x{per_node}"}
        return list(topologies.get_topology_desc(platform="cuda", **shape).devices)
    sizes = {math.prod(map(int, shape.split("x"))): shape for shape in known.shapes}
    if n not in sizes:
        raise ValueError(f"--devices {n}: a {machine} is compiled for {', '.join(map(str, sizes))} devices")
    return list(topologies.get_topology_desc(platform="tpu", topology_name=f"{machine}:{sizes[n]}").devices)


def at_scale(config: ConfigDict, n: int) -> ConfigDict:
    """The config with the nearest smaller batch that n devices can share, all of it at once."""
    config, shards = config.copy_and_resolve_references(), max(1, n // max(1, config.mesh.tensor))
    with config.unlocked():
        config.train.batch_size = config.train.batch_size // shards * shards or shards
        config.train.grad_accum = 1
    return config


def plan(name: str, machine: str, n: int, config: ConfigDict, at_once: int, dump: Path, whole: bool) -> Plan:
    """Compiles the step of a config for n devices that take `at_once` rows each. Raises ValueError if the config does not fit them."""
    devices = devices_of(machine, n)
    data, fsdp, tensor = resolve_mesh(config, n)
    rows = config.train.batch_size // (data * fsdp)
    parts = next(k for k in range(1, rows + 1) if rows % k == 0 and rows // k <= at_once)
    mesh = make_mesh(data, fsdp, tensor, devices)
    model, optim = ModelConfig(**config.model), OptimConfig(**config.optim)
    if machine == "h100" and model.attention == "auto" and suits_cudnn(model.dtype, config.data.seq_len, model.head_dim):
        model = replace(model, attention="cudnn")  # as auto means there
    state = abstract_state(model, optim, mesh)
    step = make_step(model, optim, config.train.steps, N_LANGUAGES, parts)
    begun = time.perf_counter()
    compiling = ThreadPoolExecutor(1).submit(compile_step, step, state, config.train.batch_size, config.data.seq_len, mesh)
    text, held = gpu_program(compiling.result()) if machine == "h100" else tpu_program(compiling, dump, whole)
    return Plan(
        name,
        machine,
        (data, fsdp, tensor),
        config.train.batch_size,
        parts,
        time.perf_counter() - begun,
        state_bytes(state),
        held,
        rematerializations(dump),
        train_flops_per_token(model, config.data.seq_len) * config.train.batch_size * config.data.seq_len / n,
        collectives(text),
    )


def rematerializations(folder: Path) -> int:
    """How often the partitioner noted that it gathers an array whole to split it in another way."""
    return notes(folder).count("Involuntary full rematerialization")


def gpu_program(compiled: Any) -> tuple[str, int]:
    """The text of a program, and the bytes that a device holds for it: arguments and all that XLA allocates."""
    memory = compiled.memory_analysis()
    new = memory.output_size_in_bytes - memory.alias_size_in_bytes + memory.temp_size_in_bytes
    return compiled.as_text(), memory.argument_size_in_bytes + new


def tpu_program(compiling: Future[Any], dump: Path, whole: bool) -> tuple[str, int]:
    """Text and bytes as `gpu_program` gives them, out of the folder that XLA writes to. Unless `whole`, it is still compiling then."""
    last = "*jit_step*.after_optimizations_after_buffer_assignment.txt"  # written after those that are read
    while not compiling.done() and (whole or not any(dump.glob(last))):
        time.sleep(0.2)
    if compiling.done():
        compiling.result()  # raises
    (program,), (report,) = (
        [file.read_text("utf-8") for file in dump.glob(f"*jit_step*.after_optimizations{end}")]
        for end in (".txt", "-memory-usage-report.txt")
    )
    return program, int(re.search(r"Memory Space: default .*\nTotal bytes: (\d+)", report)[1])  # type: ignore[index]


def fitting(name: str, machine: str, n: int, config: ConfigDict, whole: bool) -> Plan:
    """The plan with ROWS at once, or half as many, and so on, where XLA finds the devices too small. Raises ValueError as `apart` does."""
    at_once = ROWS.get(name, config.train.batch_size)
    while True:
        try:
            return apart(name, machine, n, config, at_once, whole)
        except ValueError as error:
            if at_once == 1 or not is_out_of_memory(error):
                raise
            at_once //= 2


def apart(name: str, machine: str, n: int, config: ConfigDict, at_once: int, whole: bool) -> Plan:
    """`plan` in a process of its own, which ends as soon as it has an answer. Raises ValueError with what went wrong there."""
    ours, theirs = get_context("spawn").Pipe()
    with tempfile.TemporaryDirectory() as folder:
        dump = Path(folder)
        process = get_context("spawn").Process(target=answer, args=(theirs, name, machine, n, config, at_once, dump, whole), daemon=True)
        process.start()
        theirs.close()
        try:
            found = ours.recv()
        except EOFError:
            process.join()
            found = f"the compiler ended with {process.exitcode}: {notes(dump)[-1000:]}"
        finally:
            process.kill()
            process.join()
    if isinstance(found, str):
        raise ValueError(found)
    return found


def answer(to: Connection, name: str, machine: str, n: int, config: ConfigDict, at_once: int, dump: Path, whole: bool) -> None:
    """Sends the plan, or the error in its place, and ends the process, whatever its threads do."""
    take_notes(dump)
    if machine != "h100":  # with the syntax of compiled.as_text()
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={dump} --xla_syntax_sugar_async_ops=true"
    try:
        to.send(plan(name, machine, n, config, at_once, dump, whole))
    except (ValueError, RuntimeError) as error:
        to.send(" ".join(str(error).split())[:500])
    except Exception:
        to.send(traceback.format_exc())
    finally:
        os._exit(0)


def take_notes(folder: Path) -> None:
    """From here on what the process writes to its standard error, C++ too, goes to a file of `folder`."""
    with (folder / "stderr").open("a") as file:
        os.dup2(file.fileno(), 2)


def notes(folder: Path) -> str:
    return (folder / "stderr").read_text("utf-8", "replace")


def describe(p: Plan) -> str:
    """A plan in full: what is held, and every kind of array that is sent."""
    data, fsdp, tensor = p.mesh
    rows = p.batch // (data * fsdp * p.parts)
    lines = [
        f"{p.config} on {math.prod(p.mesh)} {p.machine}, mesh data {data} × fsdp {fsdp} × tensor {tensor}",
        f"batch of {p.batch} rows in {p.parts} parts, {rows} rows a device at once",
        f"a device holds {p.state / 2**30:.2f} GiB of state, {p.held / 2**30:.2f} GiB in all",
        f"involuntary full rematerializations: {p.warnings}",
        "",
        f"{'MiB sent':>10} {'times':>6} {'hidden':>16}  what",
    ]
    groups: dict[tuple[str, str, int], list[Collective]] = {}
    for one in p.collectives:
        groups.setdefault((one.kind, one.arrays, one.group), []).append(one)
    table = []
    for (kind, arrays, group), members in groups.items():
        mebibytes, hidden = sent(members) / 2**20, sent([one for one in members if one.overlapped]) / 2**20
        table.append((mebibytes, sum(one.times for one in members), hidden, f"{kind} among {group}: {arrays}"))
    for mebibytes, times, hidden, what in sorted(table, key=lambda line: (-line[0], line[3])):
        lines.append(f"{mebibytes:10,.1f} {times:6} {hidden:16,.1f}  {what}")
    return "\n".join(lines) + "\n"


def sent(found: Sequence[Collective]) -> float:
    """Bytes that a device sends in a step."""
    return sum(one.bytes * one.times for one in found)


HEADINGS = (
    "config",
    "devices",
    "data × fsdp × tensor",
    "rows × parts",
    "TFLOP",
    "state",
    "held",
    *KINDS,
    "sent",
    "hidden",
    "warnings",
)


def row(p: Plan) -> list[str]:
    data, fsdp, tensor = p.mesh
    total = sent(p.collectives)
    full = " (!)" if p.held > MACHINES[p.machine].memory else ""
    kinds = {kind: [one for one in p.collectives if one.kind == kind] for kind in KINDS}
    return [
        p.config, f"{math.prod(p.mesh)} {p.machine}", f"{data} × {fsdp} × {tensor}", f"{p.batch // (data * fsdp * p.parts)} × {p.parts}",
        f"{p.flops / 1e12:,.0f}", f"{p.state / 2**30:.2f}", f"{p.held / 2**30:.1f}{full}",
        *(f"{sent(of) / 2**30:.2f} ({sum(one.times for one in of)})" if of else "" for of in kinds.values()),
        f"{total / 2**30:.2f}", f"{100 * sent([c for c in p.collectives if c.overlapped]) / max(1, total):.0f} %", str(p.warnings),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", nargs="+", default=["tiny", "demo", *ROWS], metavar="NAME")
    parser.add_argument("--machine", nargs="+", choices=MACHINES, default=list(MACHINES))
    parser.add_argument("--devices", nargs="+", type=int, help="default: 8 to 1,024, as far as the batch has a row for each")
    parser.add_argument("--out", type=Path, help="write the table there as well")
    parser.add_argument("--full", action="store_true", help="print each plan in full")
    parser.add_argument("--whole", action="store_true", help="make a TPU's machine code too: minutes (a GPU's always is)")
    args, fields = parser.parse_known_args()
    rows = []
    for machine in args.machine:
        check_compiler(machine)
    for name in args.config:
        try:
            check(config := load_config(name, fields))
        except ValueError as error:
            sys.exit(str(error))
        for machine in args.machine:
            for n in args.devices or [n for n in DEVICES[machine] if n <= config.train.batch_size]:
                try:
                    p = fitting(name, machine, n, at_scale(config, n), args.whole)
                except ValueError as error:
                    sys.exit(f"{name} on {n} {machine}: {error}")
                rows.append(row(p))
                told = ", ".join(f"{heading} {cell}" for heading, cell in zip(HEADINGS, rows[-1], strict=True) if cell)
                print(describe(p) if args.full else f"{told}, in {p.seconds:.0f} s", flush=True)
    if args.out:
        write(args.out, rows)


def write(file: Path, rows: list[list[str]]) -> None:
    lines = [HEADINGS, ["---"] * len(HEADINGS), *rows]
    write_atomically(file, (HEAD + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n").encode())


if __name__ == "__main__":
    main()
