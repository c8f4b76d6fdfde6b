"""Writes the metrics of every step to `metrics.jsonl` and to TensorBoard, and those of experts to `experts.jsonl`.

metrics.jsonl holds every step exactly once, even after a crash: a restart removes the lines that come after the checkpoint. experts.jsonl
has a line for each checkpoint: how many tokens of each language each expert has had since the one before.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from varietas.data.stream.stream import Stream
from varietas.train.run_folder.corrupt import CorruptLog
from varietas.train.run_folder.records import CURVES, number
from varietas.train.screen import Screen

# tensorboardX imports torch if it is installed, but needs it for nothing that we use. This saves two seconds at each start.
torch = sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
from tensorboardX import SummaryWriter  # noqa: E402
from tensorboardX.proto.summary_pb2 import Summary  # noqa: E402

if torch is None:
    del sys.modules["torch"]


EXPERTS = "experts.jsonl"


class Recorder:
    """Turns the metrics of each step into a record, and counts the tokens seen of each language.

    Args:
        log: Where records are written; None to write none, as all processes but the first do.
        screen: Where progress is shown.
        stream: The rows of the run.
        batch_size: Rows of a step.
        seen: Tokens of each language of the corpus in earlier steps, int64.
        flops_per_token: Floating-point operations of a training step for each token.
        peak: Peak FLOP/s of all devices together; None if it is unknown.
    """

    def __init__(
        self,
        log: "MetricsLog | None",
        screen: Screen,
        stream: Stream,
        batch_size: int,
        seen: np.ndarray,
        flops_per_token: float,
        peak: float | None,
    ):
        self._log, self._screen, self._stream, self._batch_size, self.seen = log, screen, stream, batch_size, seen
        self._flops_per_token, self._peak = flops_per_token, peak
        self._loads, self._steps = np.zeros(0, np.int64), 0  # of experts, and the steps that they are of
        self._corrupt = CorruptLog(log.run, stream, batch_size, screen.say) if log and stream.skip_damaged else None
        self.restart_clock()

    def restart_clock(self) -> None:
        """Excludes the time since the last step from the speed of the next one. Call it after work that is not training."""
        self._clock = time.perf_counter()

    def record(self, step: int, on_device: dict[str, jax.Array], taught: bool = True) -> float:
        """Waits for a step to finish, writes its record and shows it.

        Args:
            step: The number of the step, from 0.
            on_device: The metrics of the step, from `step.make_step`.
            taught: Whether it changed the model. Otherwise its tokens do not count as seen.

        Returns:
            The loss.
        """
        values = {name: np.asarray(value) for name, value in jax.block_until_ready(on_device).items()}
        now = time.perf_counter()
        elapsed, self._clock = now - self._clock, now
        tokens = values["tokens"].astype(np.int64)
        seen = self.seen + tokens
        speed = float(tokens.sum()) / elapsed
        record: dict[str, Any] = {
            "step": step,
            **{name: number(float(values[name])) for name in ("loss", "grad_norm", "learning_rate")},
            "tokens": int(tokens.sum()),
            "tokens_per_second": round(speed, 1),
            "mfu": round(speed * self._flops_per_token / self._peak, 4) if self._peak else None,
            "languages": self._languages(step, values["nll"], values["targets"], tokens, seen),
        }
        if taught:
            self.seen = seen
        if "wins" in values:
            n = max(1.0, float(values["targets"].sum()))
            for field, name in {"accuracy": "wins", "reward_chosen": "chosen", "reward_rejected": "rejected"}.items():
                record[field] = number(round(float(values[name].sum()) / n, 4))
            for code, won, of in zip(self._stream.corpus.languages, values["wins"].tolist(), values["targets"].tolist(), strict=True):
                if of:
                    record["languages"][code]["accuracy"] = round(won / of, 4)
        if "loads" in values:
            loads = values["loads"].astype(np.int64)
            record["max_violation"] = round(max_violation(loads.sum(1)), 4)
            if taught:
                self._loads, self._steps = (self._loads + loads if self._steps else loads), self._steps + 1
        if self._log:
            self._log.write(record)
        if self._corrupt:
            self._corrupt.look(step, tokens)
        if record["loss"] is not None:
            self._screen.show(record, now)
        return float(values["loss"])

    def write_loads(self, step: int) -> None:
        """Writes how many tokens experts have had since the last call, if there are experts. `step` is the number of steps done."""
        if self._log and self._steps:
            by_language = zip(self._stream.corpus.languages, self._loads.swapaxes(0, 1), strict=True)
            loads = {code: of_language.tolist() for code, of_language in by_language if of_language.any()}
            self._log.write_loads({"step": step - 1, "steps": self._steps, "loads": loads})
        self._steps = 0

    def leave_out(self, step: int, why: str) -> None:
        """Writes the record of a step that did not change the model."""
        if self._log:
            nothing = dict.fromkeys(("loss", "grad_norm", "learning_rate", "tokens_per_second", "mfu"))
            self._log.write({"step": step, **nothing, "tokens": 0, "languages": {}, "left_out": why})
        self.restart_clock()

    def _languages(
        self, step: int, nll: np.ndarray, targets: np.ndarray, tokens: np.ndarray, seen: np.ndarray
    ) -> dict[str, dict[str, float | None]]:
        """Returns a record for each language seen so far: its loss, its tokens in this step and its epochs so far.

        The loss is in nats per target; None if the language has no target in this step or the loss is not a number.
        """
        losses = np.divide(nll, targets, out=np.full_like(nll, np.nan), where=targets > 0)  # `number` turns NaN into None
        epochs = self._stream.epochs_of_languages((step + 1) * self._batch_size * self._stream.seq_len)
        columns = (seen.tolist(), losses.tolist(), tokens.tolist(), epochs.tolist())
        return {
            code: {"loss": number(loss), "tokens": n, "epochs": round(epoch, 6)}
            for code, seen, loss, n, epoch in zip(self._stream.corpus.languages, *columns, strict=True)
            if seen
        }


def max_violation(loads_RE: np.ndarray) -> float:
    """Returns by what share the busiest expert has more tokens than the mean, averaged over layers (MaxVio of Wang et al., 2024)."""
    return float((loads_RE.max(1) / np.maximum(loads_RE.mean(1), 1e-9) - 1).mean())


class MetricsLog:
    """Appends a record for each step to metrics.jsonl and to TensorBoard.

    Args:
        run: The folder of the run.
        start: The first step to write. Records of this step and later ones, from before a restart, are removed.
    """

    def __init__(self, run: Path, start: int):
        self.run = run
        self._path, self._experts = run / "metrics.jsonl", run / EXPERTS
        keep_before(self._path, start)
        keep_before(self._experts, start)
        self._file = self._path.open("a", encoding="utf-8")
        self._events = SummaryWriter(str(run / "tensorboard"), purge_step=start, flush_secs=30)

    def write(self, record: dict[str, Any]) -> None:
        """Writes a record with the fields that the README lists: step, loss, …, languages: {code: {loss, tokens, epochs}}."""
        with _naming(self._path):
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()
        scalars = {name: record[name] for name in CURVES if record.get(name) is not None}
        losses = {code: language["loss"] for code, language in record["languages"].items() if language["loss"] is not None}
        self._show(scalars | {f"loss_by_language/{code}": loss for code, loss in losses.items()}, record["step"])

    def write_loads(self, record: dict[str, Any]) -> None:
        """Appends a record with the fields step, steps and loads: {code: [[tokens of each expert] of each layer]} to experts.jsonl."""
        with _naming(self._experts), self._experts.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def write_evaluation(self, step: int, bits_per_byte: dict[str, float]) -> None:
        """Writes the results of an evaluation to TensorBoard.

        They are recorded at the last step before the evaluation, `step - 1`, since a restart from a checkpoint after `step` steps removes
        everything from `step` on.

        Args:
            step: The number of steps done before the evaluation.
            bits_per_byte: The result of each language.
        """
        self._show({f"bits_per_byte/{code}": value for code, value in bits_per_byte.items()}, step - 1)

    def _show(self, scalars: dict[str, float], step: int) -> None:
        """Writes all scalars as one event. One event for each of forty languages would take some milliseconds a step."""
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._events.file_writer.add_summary(Summary(value=values), step)

    def sync(self) -> None:
        """Waits until everything written is on disk. Call it before a checkpoint, which must not be newer than its metrics."""
        with _naming(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._events.flush()

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *_: Any) -> None:
        self.sync()
        self._file.close()
        self._events.close()


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Names the file in an error of the system that does not: that of a full disk."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def keep_before(path: Path, step: int) -> None:
    """Removes the records of `step` and later steps, and an unfinished last line.

    Args:
        path: The path of metrics.jsonl or experts.jsonl. It may be missing.
        step: The first step to remove.
    """
    if not path.exists():
        return
    end = 0
    with path.open("rb+") as file:
        for line in file:
            try:
                whole = line.endswith(b"\n") and json.loads(line)["step"] < step
            except (ValueError, KeyError, TypeError):
                whole = False
            if not whole:
                break
            end += len(line)
        file.truncate(end)
