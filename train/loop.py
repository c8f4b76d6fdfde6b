"""The training loop: batches in, steps dispatched, metrics and checkpoints out.

The metrics of step n are read after step n + 1 has been dispatched and before n + 2 is: the device never waits for the
host, and never more than one step is queued (XLA's CPU devices deadlock on longer queues).
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from rich.console import Console

from varietas.data.corpus import Corpus
from varietas.data.files import write_json
from varietas.data.loader import batches
from varietas.data.sources import Sources, open_corpus
from varietas.data.stream import Rows, Stream
from varietas.model.decoder import Build, Decoder
from varietas.model.flops import train_flops_per_token
from varietas.model.sharding import batch_sharding, make_mesh
from varietas.train.checkpoint import Checkpoints
from varietas.train.experiment import Experiment
from varietas.train.folder import environment
from varietas.train.memory import ADVICE, check_fits, is_out_of_memory
from varietas.train.metrics import MetricsLog, Recorder, Screen
from varietas.train.peak import peak_flops
from varietas.train.step import Batch, State, abstract_state, compile_step, init_state, make_step

Evaluate = Callable[[Any, Mesh, int], dict[str, float]]  # (parameters, mesh, step) -> bits per byte by language


@dataclass(frozen=True)
class Outcome:
    """Where `train` left the run: steps done in all, whether that is the end, and the parameters on their mesh."""

    step: int
    finished: bool
    params: Any
    mesh: Mesh


def train(
    exp: Experiment, run: Path, console: Console, stop: int | None = None, evaluate: Evaluate | None = None, build: Build = Decoder
) -> Outcome:
    """Trains from the newest checkpoint in `run`, or from scratch, up to step `stop` (None: exp.steps).

    SIGTERM and SIGINT save a checkpoint and end the call. `evaluate` is asked every exp.eval_every steps.
    Raises ValueError if corpus, mesh and checkpoints do not fit together, MemoryError if the devices are too small, FloatingPointError
    if the loss or the gradient is no number.
    """
    stop = min(exp.steps, exp.steps if stop is None else stop)
    corpus = open_corpus(exp.corpus)
    stream = Stream(corpus, exp.mixture, exp.seq_len, exp.seed)
    mesh = make_mesh(*exp.mesh, devices=jax.devices()[: math.prod(exp.mesh)])
    abstract = abstract_state(exp.model, exp.optim, mesh, build)
    check_fits(abstract, mesh)
    versions = environment()
    checkpoints = Checkpoints(run / "checkpoints", exp.checkpoints_kept)
    try:
        state, seen = restore(checkpoints, abstract, corpus)
        if state is None:
            state = init_state(exp.model, exp.optim, mesh, exp.seed, build)
        start = int(state.step)
        if start:
            console.print(f"going on after step {start:,}", highlight=False)
        if start >= stop:
            return Outcome(start, start >= exp.steps, state.params, mesh)

        step = compile_and_announce(exp, run, versions, abstract, mesh, corpus, stream, console, build)
        with MetricsLog(run, start) as log, Screen(console, start, exp.steps) as screen, interruptible() as interrupted:
            recorder = Recorder(log, screen, corpus, seen, train_flops_per_token(exp.model, exp.seq_len), peak_flops(mesh))
            pending: tuple[int, Any] | None = None
            n = start
            for batch in sharded(
                batches(stream, exp.batch_size, start, stop, local_rows(mesh, exp.batch_size), exp.workers), mesh, exp.batch_size
            ):
                state, metrics = step(state, batch)
                if pending:
                    recorder.record(*pending)
                pending, n = (n, metrics), n + 1
                checkpoints.check()
                stopping = interrupted()  # asked once a step: what comes later is for the next
                save = n == stop or stopping or due(n, exp.checkpoint_every)
                ask = evaluate is not None and due(n, exp.eval_every)
                if save or ask:
                    recorder.record(*pending)
                    pending = None
                if save:
                    log.sync()
                    checkpoints.save(state, provenance(exp, versions, corpus, n, recorder.seen))
                    write_json(run / "mixture.json", mixture_record(corpus, stream, n * exp.batch_size * exp.seq_len))
                if ask and evaluate is not None:
                    log.write_evaluation(n, evaluate(state.params, mesh, n))
                if save or ask:
                    recorder.restart_clock()
                if stopping:
                    break
        checkpoints.wait()
        return Outcome(n, n >= exp.steps, state.params, mesh)
    except FloatingPointError as error:
        raise FloatingPointError(blame(error, stream, exp.batch_size)) from None
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError(f"a device ran out of memory ({' '.join(str(error).split())[:200]}); {ADVICE}") from None
    finally:
        checkpoints.close()


def due(n: int, every: int) -> bool:
    """Whether something done every `every` steps (0: never) is due after n steps."""
    return every > 0 and n % every == 0


def restore(checkpoints: Checkpoints, abstract: State, corpus: Corpus | Sources) -> tuple[State | None, np.ndarray]:
    """The newest whole checkpoint as a state, and tokens seen by language; None and zeros for a new run.

    Raises ValueError if the checkpoint was trained on another corpus or tokenizer.
    """
    restored = checkpoints.restore_latest(abstract.params, abstract.optimizer)
    if restored is None:
        return None, np.zeros(len(corpus.languages), np.int64)
    for name, found in data_identity(corpus).items():
        if restored.meta[name] != found:
            raise ValueError(
                f"data.corpus {corpus.path}: its {name} is {found[:12]}…, the run's checkpoint {restored.step} was trained on "
                f"{restored.meta[name][:12]}…; give the corpus that the run began with, or another --run"
            )
    seen = np.array([restored.meta["tokens_seen"][code] for code in corpus.languages], np.int64)
    step = jax.device_put(np.int32(restored.step), abstract.step.sharding)
    return State(step, restored.params, restored.optimizer), seen


def data_identity(corpus: Corpus | Sources) -> dict[str, str]:
    return {"corpus_digest": corpus.digest, "tokenizer_digest": corpus.manifest["tokenizer_digest"]}


def provenance(exp: Experiment, versions: dict[str, Any], corpus: Corpus | Sources, step: int, seen: np.ndarray) -> dict[str, Any]:
    """What goes into a checkpoint beside the arrays: the data, how far it was read, and what it was trained with."""
    return {
        **data_identity(corpus),
        "next_row": step * exp.batch_size,
        "tokens_seen": dict(zip(corpus.languages, seen.tolist(), strict=True)),
        "experiment": asdict(exp),
        "environment": versions,
    }


def compile_and_announce(
    exp: Experiment,
    run: Path,
    versions: dict[str, Any],
    abstract: State,
    mesh: Mesh,
    corpus: Corpus | Sources,
    stream: Stream,
    console: Console,
    build: Build,
) -> Callable[[State, Batch], tuple[State, dict[str, jax.Array]]]:
    """Compiles the step, prints what it needs, and notes machine and mixture in the run folder."""
    begun = time.perf_counter()
    fn = make_step(exp.model, exp.optim, exp.steps, len(corpus.languages), exp.grad_accum, build)
    step = compile_step(fn, abstract, exp.batch_size, exp.seq_len, mesh)
    seconds = time.perf_counter() - begun
    memory: Any = step.memory_analysis()
    facts = {
        "devices": f"{mesh.size} x {mesh.devices.flat[0].device_kind}",
        "mesh": dict(mesh.shape),
        "parameters": sum(x.size for x in jax.tree.leaves(abstract.params)),
        "flops_per_token": train_flops_per_token(exp.model, exp.seq_len),
        "step_memory": {
            "arguments": memory.argument_size_in_bytes,
            "outputs": memory.output_size_in_bytes,
            "temporaries": memory.temp_size_in_bytes,
        },
    }
    write_json(run / "environment.json", {**versions, **facts})
    write_json(run / "mixture.json", mixture_record(corpus, stream, exp.steps * exp.batch_size * exp.seq_len))
    held, working = memory.argument_size_in_bytes / 2**20, memory.temp_size_in_bytes / 2**20
    shape = " × ".join(f"{axis} {size}" for axis, size in mesh.shape.items())
    gflop = facts["flops_per_token"] * exp.batch_size * exp.seq_len / 1e9
    console.print(f"{facts['parameters'] / 1e6:,.1f} M parameters on {facts['devices']}, mesh {shape}", highlight=False, soft_wrap=True)
    console.print(
        f"step of {exp.batch_size} × {exp.seq_len} tokens and {gflop:,.0f} GFLOP compiled in {seconds:.1f} s; "
        f"a device holds {held:,.0f} MiB, {working:,.0f} MiB more while it works",
        highlight=False,
        soft_wrap=True,
    )
    return step


def mixture_record(corpus: Corpus | Sources, stream: Stream, tokens: int) -> dict[str, Any]:
    """Corpus, digests, and for each language what there is and the share of the first `tokens` that is wanted."""
    languages = {
        code: {"weight": float(share), **{field: corpus.manifest["languages"][code][field] for field in ("documents", "tokens", "bytes")}}
        for code, share in zip(corpus.languages, stream.shares(tokens), strict=True)
    }
    return {"corpus": str(corpus.path), **data_identity(corpus), "languages": languages}


def local_rows(mesh: Mesh, batch_size: int) -> tuple[int, int]:
    """First and last row (exclusive) of the global batch that this process's devices hold."""
    indices: Any = batch_sharding(mesh).addressable_devices_indices_map((batch_size, 1)).values()
    parts = [rows.indices(batch_size) for rows, _ in indices]
    return min(part[0] for part in parts), max(part[1] for part in parts)


def sharded(local: Iterator[Rows], mesh: Mesh, batch_size: int) -> Iterator[Batch]:
    """Puts this process's rows of each batch onto its devices, as parts of global arrays."""
    sharding, first = batch_sharding(mesh), local_rows(mesh, batch_size)[0]

    def put(rows: np.ndarray) -> jax.Array:
        def part(index: Any) -> np.ndarray:
            begin, end, _ = index[0].indices(batch_size)
            return rows[begin - first : end - first]

        return jax.make_array_from_callback((batch_size, rows.shape[1]), sharding, part)

    for rows in local:
        yield {name: put(values) for name, values in rows.items()}


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Gives a function that tells whether SIGTERM or SIGINT has come; a second signal has its usual effect."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number: int, _: Any) -> None:
        came.append(number)
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def blame(error: FloatingPointError, stream: Stream, batch_size: int) -> str:
    """The error with the documents of its batch: the first place to look."""
    number = str(error).removeprefix("step ").split(":")[0]
    if not number.isdigit():  # not ours: jax's own check, where a user has turned it on
        return str(error)
    step = int(number)
    documents = {(piece.language, piece.document) for piece in stream.documents(step * batch_size, (step + 1) * batch_size)}
    names = ", ".join(f"{language} {document}" for language, document in sorted(documents)[:8]) + (", …" if len(documents) > 8 else "")
    return (
        f"{error}. No checkpoint holds this step. Its batch holds {len(documents)} documents ({names}): "
        "look at them, or start another --run with a lower optim.peak_lr or optim.clip_norm"
    )
