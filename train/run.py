"""Trains the run in a folder, from the compilation of its step to the digest of its parameters.

The step is compiled first, so that a run that does not fit changes nothing. Only then the folder is locked and written to. Of several
processes, all of which call this, process 0 does that.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from varietas.data.chat.template import FILE as TEMPLATE
from varietas.data.corpus.sources import sources_of
from varietas.data.files import write_json
from varietas.data.stream.stream import Stream
from varietas.data.tokenizer.model import FILES, file_in
from varietas.model.decoder import Build, Decoder, Params
from varietas.train.accounting.attempt import Attempt
from varietas.train.accounting.goodput import CHECKPOINT, COMPILE, EVALUATION
from varietas.train.accounting.ledger import sign
from varietas.train.execution.faults import RollBack
from varietas.train.experiment import Experiment
from varietas.train.inference.score import evaluator
from varietas.train.interrupts import interruptible
from varietas.train.loop import train
from varietas.train.processes import broadcast, exchange, is_first
from varietas.train.program import compile_program, connected_mesh, mesh_of
from varietas.train.run_folder.checkpoint import DamagedCheckpoint, restore_params
from varietas.train.run_folder.config import flatten
from varietas.train.run_folder.digest import digest
from varietas.train.run_folder.folder import add_to_environment, check_shared, data_identity, saved_steps
from varietas.train.run_folder.lock import check_free, held

LOOKED_AT = 512  # rows, to see how much of conversations is learned


@dataclass(frozen=True)
class Outcome:
    """How far a run has come: the number of steps done, and the SHA-256 of the parameters if that is all of them."""

    step: int
    digest: str | None

    def line(self, steps: int) -> str:
        """Returns the line that is shown at the end of a run of so many steps."""
        if self.digest:
            return f"all {self.step:,} steps done; SHA-256 of the parameters: {self.digest}"
        return f"stopped after step {self.step:,} of {steps:,}; run the same command to continue"


def train_run(
    attempt: Attempt,
    config: Mapping[str, Any],
    exp: Experiment,
    stream: Stream,
    console: Console,
    steps: int | None = None,
    build: Build = Decoder,
) -> Outcome:
    """Trains from the folder's newest checkpoint on.

    SIGTERM, SIGUSR1 and Ctrl-C save a checkpoint of the last step and end the call.

    Args:
        attempt: The run's folder, which is made if it is missing, and the account of its time.
        config: The resolved config, to be kept in the folder.
        exp: The same as plain values.
        stream: The rows to train on.
        console: Where progress is shown.
        steps: How many steps further; None for all that are left.
        build: Makes the model.

    Raises:
        ValueError: If another process trains in the folder, or if its newest checkpoint is of another corpus or model.
        MemoryError: If the devices or the host have too little memory.
        NotFinite: If the loss or the gradient is not a number, or the loss is a spike, and the config says to stop then.
        FaultyDevice: If a device computes the same step in two ways.
    """
    folder = attempt.folder
    done = broadcast(lambda: max(saved_steps(folder), default=0))
    if is_first():
        check_free(folder)
    _check_same(config, stream)
    if stream.corpus.chat_template and not done:
        console.print(_learned(stream, exp), highlight=False, soft_wrap=True)
    if removed := sum(map(len, stream.without.documents.values())):
        console.print(f"{removed:,} removed documents are not read: padding takes their place", highlight=False)
    attempt.measure(connected_mesh(exp))
    with interruptible() as interrupts:
        if done >= exp.steps:
            with contextlib.suppress(DamagedCheckpoint):  # if it is damaged, the steps after the one before it are done again
                return _finished(folder, *restore_params(folder / "checkpoints", exp.model, mesh_of(exp), done, build), console)
        with attempt.spent(COMPILE):
            program = interrupts.wait_beside(partial(compile_program, exp, config, stream.corpus, console, build))
        if interrupts.came_to_any() or program is None:
            return Outcome(done, None)
        with held(folder) if is_first() else nullcontext(), attempt.kept():
            if is_first():
                if not (folder / "config.json").exists():  # that of a run which exists stays until its checkpoint is restored
                    write_json(folder / "config.json", config)
                if not (done and file_in(folder).exists()):
                    for name in (*FILES, TEMPLATE):
                        (folder / name).unlink(missing_ok=True)
                    for file in filter(None, (stream.corpus.tokenizer, stream.corpus.chat_template)):
                        shutil.copyfile(file, folder / file.name)
            exchange()
            check_shared(folder)
            evaluate = None
            if exp.eval_every:
                make = partial(evaluator, exp, stream, folder, program.mesh, build, interrupts.ask)
                with attempt.spent(EVALUATION):
                    evaluate = interrupts.wait_beside(make, together=True)
            stop = exp.steps if steps is None else min(exp.steps, done + steps)
            while True:
                with contextlib.suppress(RollBack):
                    step, params = train(program, stream, attempt, console, interrupts, stop, evaluate)
                    break
            attempt.enter(CHECKPOINT)
            return Outcome(step, None) if params is None or step < exp.steps else _finished(folder, params, step, console)


def _learned(stream: Stream, exp: Experiment) -> str:
    """Says how much of the conversations in the first rows is learned. Raises ValueError if nothing is."""
    n = min(exp.steps * exp.batch_size, LOOKED_AT)
    here = copy(stream)
    here.skip_damaged = True  # what is damaged is told when its step comes
    rows, pairs = here.rows(0, n), exp.optim.dpo_beta > 0
    learned, real = (rows["languages"] >= 0) & (rows["segments"] > 0), rows["segments"] > 0
    if not learned.any():
        why = "no pair of conversations fits into" if pairs else "the assistant's turns begin after more than"
        raise ValueError(
            f"data.corpus {exp.corpus}: nothing in the first {n:,} rows is learned, since {why} data.seq_len={exp.seq_len} tokens; set a "
            "higher data.seq_len"
        )
    chats = {name: source for name, source in sources_of(stream.corpus).items() if source.is_chat}
    begun = [piece for piece in stream.documents(0, n) if piece.begin == 0 and piece.source in chats]
    cut = sum(piece.size < chats[piece.source].lengths(piece.language)[piece.document] for piece in begun) / max(1, len(begun))
    what, lost = ("pairs", "are") if pairs else ("conversations", "have ends that are")
    of_these = f"; {cut:.0%} of the {what} do not fit into their row and {lost} not learned: a higher data.seq_len loses fewer"
    return f"{'preferences' if pairs else what}: {learned.sum() / real.sum():.0%} of the tokens are learned{of_these if cut else ''}"


def _check_same(config: Mapping[str, Any], stream: Stream) -> None:
    """Raises ValueError in all processes if one of them has another config or corpus than process 0."""
    own = json.dumps({**config, **data_identity(stream.corpus)}, sort_keys=True)
    digests = exchange(hashlib.sha256(own.encode()).hexdigest())
    other = next((process for process, found in digests.items() if found != digests[0]), None)
    if other is None:
        return
    values = exchange(own if jax.process_index() in (0, other) else "")
    theirs, first = (flatten(json.loads(values[process])) for process in (other, 0))
    differ = [f"{field} is {theirs.get(field)!r}, not {value!r}" for field, value in first.items() if theirs.get(field) != value]
    raise ValueError(
        f"process {other} has another config or corpus than process 0: {'; '.join(differ[:3])}. Give all the same command and files"
    )


def _finished(folder: Path, params: Params, step: int, console: Console) -> Outcome:
    """Records the digest of the parameters after the last step, and signs the ledger."""
    sha256 = digest(params)
    if is_first():
        add_to_environment(folder, parameter_digest={"step": step, "sha256": sha256})
        if line := sign(folder, {"step": step, "sha256": sha256}):
            console.print(line, highlight=False, soft_wrap=True, markup=False)
    return Outcome(step, sha256)
