"""Carries out steps, one ahead of what is known of them, and decides what follows when one goes wrong.

The metrics of step n are read after step n + 1 is dispatched and before step n + 2 is. So the device never waits for the host, and at most
one step is queued: XLA's CPU devices deadlock on longer queues.
"""

import logging
import math
import os
from collections import deque
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from varietas.data.stream.stream import Stream
from varietas.train.accounting.attempt import Attempt
from varietas.train.execution.diagnosis import bad_rows, names, row_losses, unlike_replicas, unsteady_devices
from varietas.train.execution.faults import IN_A_ROW, WINDOW, FaultyDevice, NotFinite, RollBack, agree, spike_limit, tolerance
from varietas.train.processes import broadcast, is_first, rest
from varietas.train.program import Program
from varietas.train.run_folder.left_out import LeftOut, add, in_a_row, read, reason
from varietas.train.run_folder.metrics import Recorder
from varietas.train.run_folder.records import last_records, number
from varietas.train.step import Batch, Metrics, State, passed_over

log = logging.getLogger("varietas")

NO_STEP = -1  # computes metrics without effect


def due(n: int, every: int) -> bool:
    """Whether something that is done every `every` steps (0: never) is due after n steps."""
    return every > 0 and n % every == 0


@dataclass(frozen=True)
class Dispatched:
    """A step whose metrics are still on the device."""

    step: int
    batch: Batch
    limit: float  # the highest loss that it may have
    metrics: Metrics
    expected: Metrics | None  # what the same step computed before; None if it was not asked


class Execution:
    """The state of a run, and the steps that change it.

    Args:
        program: The compiled step.
        state: The state before the first step.
        stream: The rows of the run, whose documents messages name.
        recorder: Gets the metrics of each step.
        attempt: Is told how far the run is.
    """

    def __init__(self, program: Program, state: State, stream: Stream, recorder: Recorder, attempt: Attempt):
        self.state = state
        self._program, self._stream, self._recorder, self._attempt = program, stream, recorder, attempt
        self._tolerance = tolerance(program.mesh.devices.flat[0].platform, os.environ.get("XLA_FLAGS", ""))
        self._pending: Dispatched | None = None
        self._left_out = [LeftOut(*entry) for entry in broadcast(lambda: [astuple(entry) for entry in read(attempt.folder)])]
        before = broadcast(lambda: _losses(attempt.folder, int(state.step), self._left_out)) if self._watches_losses else []
        self._losses = deque(((n, loss) for n, loss in before), WINDOW + 1)

    @property
    def _watches_losses(self) -> bool:
        return self._program.exp.on_spike != "keep"

    def do(self, step: int, batch: Batch) -> None:
        """Dispatches a step, and records the one before it.

        Raises:
            NotFinite: If the loss or the gradient is not a number, or the loss is a spike, and the config says to stop.
            RollBack: If the config says to go back.
            FaultyDevice: If the same computation had two results.
        """
        if (why := reason(self._left_out, step)) is not None:
            self.settle()
            self._pass_over(step, why)
            return
        expected = self._checked(batch) if due(step, self._program.exp.check_every) else None
        limit = spike_limit(self._losses, step) if self._watches_losses else math.inf
        dispatched = self._dispatch(step, batch, limit, expected)
        if not self.settle():  # then this one had no effect either
            dispatched = self._dispatch(step, batch, limit, expected)
        self._pending = dispatched

    def settle(self) -> bool:
        """Waits for the step that is still on the device, and records it. Returns whether it changed the state. Raises as `do`."""
        pending, self._pending = self._pending, None
        if pending is None:
            return True
        if bool(jax.block_until_ready(pending.metrics)["applied"]):
            if pending.expected and not agree(pending.expected, pending.metrics, self._tolerance):
                self._blame_device(pending, pending.expected)
            loss = self._recorder.record(pending.step, pending.metrics)
            self._losses.append((pending.step, loss))
            self._attempt.reach(pending.step + 1)
            return True
        self._answer(pending)
        return False

    def busy(self) -> bool:
        """Whether the devices still compute."""
        loss: Any = self._pending and self._pending.metrics["loss"]  # is_ready is not among the types of jax
        return self._pending is not None and not loss.is_ready()

    def _dispatch(self, step: int, batch: Batch, limit: float, expected: Metrics | None = None) -> Dispatched:
        self.state, metrics = self._program.step(self.state, batch, np.int32(step), np.float32(limit))
        return Dispatched(step, batch, limit, metrics, expected)

    def _checked(self, batch: Batch) -> Metrics:
        """Returns what the next step should compute. Raises FaultyDevice if replicas of parameters differ."""
        self.settle()
        if unlike := unlike_replicas(self.state.params, self._program.mesh):
            raise FaultyDevice(f"devices hold other parameters than their replicas: {names(unlike)}. {ADVICE}")
        return jax.block_until_ready(self._dispatch(NO_STEP, batch, math.inf)).metrics

    def _answer(self, bad: Dispatched) -> None:
        """Decides what follows a step that was not applied, after the same step was computed again."""
        rest()  # what follows may compile
        again = self._dispatch(bad.step, bad.batch, -math.inf)  # without effect, whatever its last bits are
        if not agree(bad.metrics, jax.block_until_ready(again.metrics), self._tolerance):
            self._blame_device(bad, again.metrics)
        exp = self._program.exp
        loss, norm = (float(bad.metrics[name]) for name in ("loss", "grad_norm"))
        finite = math.isfinite(loss) and math.isfinite(norm)
        problem = f"loss {loss:.4g} is a spike above {bad.limit:.4g}" if finite else f"loss {loss:.4g}, gradient norm {norm:.4g}"
        policy = exp.on_spike if finite else exp.on_not_finite
        if policy != "stop" and in_a_row(self._left_out, bad.step) >= IN_A_ROW:
            policy, problem = "stop", f"{problem}, after {IN_A_ROW} steps in a row that were left out"
        if policy == "rollback":
            raise RollBack(bad.step, f"step {bad.step}: {problem}")
        in_nats_per_token = finite and not exp.optim.dpo_beta  # as the losses of single rows are
        documents = self._blame_documents(bad, bad.limit if in_nats_per_token else math.inf)
        if policy == "stop":
            self._recorder.record(bad.step, bad.metrics, taught=False)
            field = "on_spike" if finite else "on_not_finite"
            advice = (
                f"look at them, go on without them (train.{field}=skip), or start another --run with a lower optim.peak_lr or "
                "optim.clip_norm"
            )
            raise NotFinite(bad.step, f"step {bad.step}: {problem}; the same when it was computed again. {documents}: {advice}")
        self._left_out.append(LeftOut(bad.step, bad.step, problem))
        if is_first():
            add(self._attempt.folder, self._left_out[-1])
            log.warning("step %d is left out: %s; the same when it was computed again. %s", bad.step, problem, documents)
        self._pass_over(bad.step, problem)

    def _pass_over(self, step: int, why: str) -> None:
        self.state = passed_over(self.state, step + 1)
        self._recorder.leave_out(step, why)
        self._attempt.reach(step + 1)

    def _blame_documents(self, bad: Dispatched, limit: float) -> str:
        """Names the documents of the rows that made a step go wrong: they are the first place to look."""
        exp = self._program.exp
        losses = row_losses(exp, self._program.mesh, self.state.params, bad.batch, self._program.build)
        rows = bad_rows(losses, limit).tolist()
        single = 0 < len(rows) < exp.batch_size  # otherwise the model is the cause, or the sum of the gradients
        first = bad.step * exp.batch_size
        pieces = self._stream.documents(first, first + exp.batch_size)
        found = sorted({(piece.source, piece.language, piece.document) for piece in pieces if not single or piece.row - first in rows})
        documents = [f"{source} {language} {document}".lstrip() for source, language, document in found]
        listed = ", ".join(documents[:8]) + (", …" if len(documents) > 8 else "")
        where = f"The rows with such a loss ({len(rows)} of {exp.batch_size}) hold" if single else "Its batch holds"
        return f"{where} {len(documents)} documents ({listed})"

    def _blame_device(self, step: Dispatched, other: Metrics) -> None:
        program = self._program
        losses = row_losses(program.exp, program.mesh, self.state.params, step.batch, program.build)
        unsteady = unsteady_devices(losses, program.mesh, self._tolerance)
        which = "this time" if unsteady else "they agreed when asked again, so one of these did it"
        raise FaultyDevice(
            f"step {step.step}: computed twice from the same rows, with different results (loss {float(step.metrics['loss']):.9g} and "
            f"{float(other['loss']):.9g}, gradient norm {float(step.metrics['grad_norm']):.9g} and {float(other['grad_norm']):.9g}). "
            f"Devices that differ, {which}: {names(unsteady or list(program.mesh.devices.flat))}. {ADVICE}"
        )


ADVICE = (
    "A device or its memory is faulty: nothing since the last checkpoint is kept. Run `varietas doctor` there, and start again without "
    "that node (sbatch --exclude)"
)


def _losses(run: Path, start: int, left_out: list[LeftOut]) -> list[tuple[int, float]]:
    """Returns the last steps before `start` that changed the model, and their losses."""
    lines = last_records(run / "metrics.jsonl", WINDOW + 1 + sum(entry.last + 1 - entry.first for entry in left_out))
    found = [(record["step"], number(record.get("loss"))) for record in lines if record["step"] < start and "left_out" not in record]
    return [(step, loss) for step, loss in found if loss is not None][-WINDOW - 1 :]
