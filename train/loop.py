"""The training loop: batches in, steps carried out, metrics and checkpoints out.

Several processes execute this loop together. Each reads its own rows; only process 0 writes to the run's folder, but for its own part of
each checkpoint.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.sources import Sources
from varietas.data.files import write_json
from varietas.data.stream.loader import batches
from varietas.data.stream.stream import Stream
from varietas.model.decoder import Params
from varietas.train.accounting.attempt import Attempt
from varietas.train.accounting.goodput import CHECKPOINT, DATA, EVALUATION, STATE, STEP
from varietas.train.accounting.ledger import RunLedger
from varietas.train.batches import local_rows, sharded
from varietas.train.execution.faults import NotFinite, RollBack
from varietas.train.execution.steps import Execution, due
from varietas.train.initial import initial_state
from varietas.train.interrupts import Interrupts
from varietas.train.memory import ADVICE, is_out_of_memory
from varietas.train.peak import peak_flops
from varietas.train.processes import do, is_first, rest
from varietas.train.program import Program
from varietas.train.run_folder.checkpoint import Checkpoints
from varietas.train.run_folder.folder import data_identity, environment
from varietas.train.run_folder.left_out import LeftOut, add
from varietas.train.run_folder.metrics import MetricsLog, Recorder
from varietas.train.run_folder.provenance import checkpoint_record, mixture_record
from varietas.train.screen import Screen
from varietas.train.step import Batch, State

log = logging.getLogger("varietas")

# parameters, step, tokens seen of each language -> what is shown: bits per byte of each language, and parity
Evaluate = Callable[[Params, int, Mapping[str, int]], dict[str, float]]


def train(
    program: Program,
    stream: Stream,
    attempt: Attempt,
    console: Console,
    interrupts: Interrupts,
    stop: int,
    evaluate: Evaluate | None = None,
) -> tuple[int, Params | None]:
    """Trains from the newest checkpoint of a run, or from its first parameters.

    Args:
        program: The compiled step, from `program.compile_program`.
        stream: The rows to train on.
        attempt: The run's folder, and the account of its time.
        console: Where progress is shown.
        interrupts: Whether a signal has come. It saves a checkpoint of the last step and ends the call.
        stop: The step to stop at.
        evaluate: Called every `exp.eval_every` steps.

    Returns:
        The number of steps done, and the parameters; None if a signal came before they were there.

    Raises:
        ValueError: If the newest checkpoint is of another corpus or model.
        MemoryError: If the devices have too little memory.
        NotFinite: If the loss or the gradient is not a number, or the loss is a spike, and the config says to stop then.
        RollBack: If the config says to go back then. What is left out has been recorded; call this again.
        FaultyDevice: If a device computes the same step in two ways.
    """
    exp, mesh, run = program.exp, program.mesh, attempt.folder
    versions = environment()
    checkpoints = Checkpoints(run / "checkpoints", exp.checkpoints_kept)
    try:
        with attempt.spent(STATE):
            found = interrupts.wait_beside(partial(begin, program, checkpoints, stream.corpus), together=True)
        if found is None:
            return max(checkpoints.steps(), default=0), None
        state, seen, restored = found
        start = int(state.step)
        attempt.reach(start)
        if start:
            console.print(f"continuing after step {start:,}", highlight=False)
        if start >= stop:
            return start, state.params
        if is_first():
            write_json(run / "config.json", program.config)
            write_json(run / "environment.json", {**versions, **program.record})
            write_json(run / "mixture.json", mixture_record(stream, exp.tokens))

        with MetricsLog(run, start) if is_first() else nullcontext() as metrics, Screen(console, start, exp.steps) as screen:
            ledger = RunLedger(run, stream, exp.batch_size, mesh, program.config, restored)
            cost = program.record["flops_per_token"]
            recorder = Recorder(metrics, screen, stream, exp.batch_size, seen, cost, peak_flops(mesh))

            execution = Execution(program, state, stream, recorder, attempt)

            def save(n: int) -> None:
                do("saves a checkpoint", n)
                attempt.record()
                recorder.write_loads(n)
                if metrics:
                    metrics.sync()  # a checkpoint must not be newer than the metrics and the ledger on disk
                ledger.commit(n)
                ledger.add_checkpoint(checkpoints.save(execution.state, checkpoint_record(exp, versions, stream.corpus, n, recorder.seen)))
                if metrics:
                    write_json(run / "mixture.json", mixture_record(stream, n * exp.batch_size * exp.seq_len))

            rows = ledger.noting(batches(stream, exp.batch_size, start, stop, local_rows(mesh, exp.batch_size), exp.workers))
            n = saved = start
            attempt.enter(STEP)
            do("waits for a batch", start)
            try:
                for batch in until_interrupted(sharded(rows, mesh, exp.batch_size), interrupts, attempt, execution.busy):
                    do("computes a step", n)
                    execution.do(n, batch)
                    n += 1
                    checkpoints.check()
                    to_save, to_evaluate = n == stop or due(n, exp.checkpoint_every), evaluate is not None and due(n, exp.eval_every)
                    if to_save or to_evaluate:
                        execution.settle()
                    if to_save:
                        with attempt.spent(CHECKPOINT):
                            save(n)
                        saved = n
                    if evaluate is not None and to_evaluate:
                        rest()
                        tokens_seen = dict(zip(stream.corpus.languages, recorder.seen.tolist(), strict=True))
                        with attempt.spent(EVALUATION):
                            bits_per_byte = interrupts.wait(partial(evaluate, execution.state.params, n, tokens_seen), together=True)
                        if metrics:
                            metrics.write_evaluation(n, bits_per_byte or {})
                    if to_save or to_evaluate:
                        attempt.record()
                        recorder.restart_clock()
                    do("waits for a batch", n)
                execution.settle()
            except NotFinite as bad:
                if saved < bad.step:  # the last good state is kept: other policies, or another run, may go on from it
                    save(bad.step)
                    checkpoints.wait()
                raise
            attempt.enter(CHECKPOINT)
            if saved < n:  # a signal ended the loop
                console.print(f"saving the checkpoint of step {n:,}; another Ctrl-C stops at once, without it", highlight=False)
                save(n)
            do("saves a checkpoint", n)
            checkpoints.wait()
            attempt.record()
        return n, execution.state.params
    except RollBack as bad:
        roll_back(checkpoints, run, bad, exp.checkpoint_every)
        raise
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError(f"a device ran out of memory ({' '.join(str(error).split())[:200]}); {ADVICE}") from None
    finally:
        rest()
        checkpoints.close()


def until_interrupted(batches: Iterator[Batch], interrupts: Interrupts, attempt: Attempt, busy: Callable[[], bool]) -> Iterator[Batch]:
    """Yields the batches up to a signal, which also ends the wait for a batch. While devices are busy, nothing waits for data."""
    while True:
        attempt.enter(DATA)
        batch = interrupts.wait(partial(next, batches, None))
        came = interrupts.came_to_any()
        attempt.enter(STEP, was=STEP if busy() else DATA)
        if came or batch is None:
            return
        yield batch


def begin(program: Program, checkpoints: Checkpoints, corpus: Corpus | Sources) -> tuple[State, np.ndarray, dict[str, Any] | None]:
    """Restores the newest complete checkpoint, or makes an initial state.

    Returns:
        The state, the tokens seen of each language, int64, and what the checkpoint holds beside its arrays; None if there is none.

    Raises:
        ValueError: If the checkpoint was trained on another corpus or tokenizer.
    """
    abstract = program.abstract
    restored = checkpoints.restore_latest(abstract.params, abstract.optimizer)
    if restored is None:
        return initial_state(program, checkpoints.folder.parent), np.zeros(len(corpus.languages), np.int64), None
    for name, found in data_identity(corpus).items():
        if restored.meta[name] != found:
            raise ValueError(
                f"data.corpus {corpus.path}: its {name} is {found[:12]}…, but the run's checkpoint {restored.step} was trained on "
                f"{restored.meta[name][:12]}…; give the corpus that the run began with, or another --run"
            )
    seen = np.array([restored.meta["tokens_seen"][code] for code in corpus.languages], np.int64)
    step = jax.device_put(np.int32(restored.step), abstract.step.sharding)
    return State(step, restored.params, restored.optimizer), seen, restored.meta


def roll_back(checkpoints: Checkpoints, run: Path, bad: RollBack, every: int) -> None:
    """Makes the last regular checkpoint before a bad step the newest one, and leaves out the rows from there up to that step.

    Checkpoints that signals have saved do not count: how often a run was interrupted must not change what it learns.

    Raises:
        NotFinite: If there is no such checkpoint.
    """
    checkpoints.wait()
    steps = checkpoints.steps()
    target = max((step for step in steps if due(step, every) and step <= bad.step), default=None)
    if target is None:
        raise NotFinite(
            bad.step, f"{bad.why}. No checkpoint lies before it: set checkpoint.every, or another policy than rollback"
        ) from None
    checkpoints.delete([step for step in steps if step > target])
    if is_first():
        add(run, LeftOut(target, bad.step, bad.why))
        log.warning("%s; going back to the checkpoint after step %d, rows from there up to this step are left out", bad.why, target)
