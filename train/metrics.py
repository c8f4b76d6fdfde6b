"""What a run says of itself, step by step: `metrics.jsonl`, TensorBoard events, and a line on the screen.

metrics.jsonl holds every step exactly once, also after a crash: on a restart the lines after the checkpoint are cut off.
"""

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from varietas.data.corpus import Corpus
from varietas.data.sources import Sources
from varietas.train.history import CURVES, number

# tensorboardX imports torch wherever it is installed, and needs it for nothing of ours: two seconds of each start.
torch = sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
from tensorboardX import SummaryWriter  # noqa: E402
from tensorboardX.proto.summary_pb2 import Summary  # noqa: E402

if torch is None:
    del sys.modules["torch"]

LINE_EVERY = 10.0  # seconds between lines where there is no terminal


class Recorder:
    """Turns the metrics of each step, as they leave the device, into records; keeps count of the tokens seen."""

    def __init__(
        self, log: "MetricsLog", screen: "Screen", corpus: Corpus | Sources, seen: np.ndarray, flops_per_token: float, peak: float | None
    ):
        """`seen`: int64, tokens of each language of the corpus in earlier steps. `peak`: FLOP/s of all devices, if known."""
        self._log, self._screen, self._corpus, self.seen = log, screen, corpus, seen
        self._flops_per_token, self._peak = flops_per_token, peak
        self._corpus_tokens = np.array([corpus.tokens(code) for code in corpus.languages])
        self.restart_clock()

    def restart_clock(self) -> None:
        """Call it after work that is not training, so that the next step's speed does not count it."""
        self._clock = time.perf_counter()

    def record(self, step: int, on_device: dict[str, jax.Array]) -> None:
        """Waits for the step, writes its record and shows it. Raises FloatingPointError if its loss or gradient is no number."""
        values = {name: np.asarray(value) for name, value in jax.block_until_ready(on_device).items()}
        now = time.perf_counter()
        elapsed, self._clock = now - self._clock, now
        tokens = values["tokens"].astype(np.int64)
        self.seen = self.seen + tokens
        speed = float(tokens.sum()) / elapsed
        record: dict[str, Any] = {
            "step": step,
            **{name: number(float(values[name])) for name in ("loss", "grad_norm", "learning_rate")},
            "tokens": int(tokens.sum()),
            "tokens_per_second": round(speed, 1),
            "mfu": round(speed * self._flops_per_token / self._peak, 4) if self._peak else None,
            "languages": self._languages(values["nll"], values["targets"], tokens),
        }
        self._log.write(record)
        if record["loss"] is None or record["grad_norm"] is None:
            raise FloatingPointError(f"step {step}: loss {values['loss']}, gradient norm {values['grad_norm']}")
        self._screen.show(record, now)

    def _languages(self, nll: np.ndarray, targets: np.ndarray, tokens: np.ndarray) -> dict[str, dict[str, float | None]]:
        """Each language seen so far: loss (nats a target; null if it had none, or no number), tokens of this step, epochs so far."""
        return {
            self._corpus.languages[i]: {
                "loss": number(float(nll[i] / targets[i])) if targets[i] else None,
                "tokens": int(tokens[i]),
                "epochs": round(float(self.seen[i] / self._corpus_tokens[i]), 6),
            }
            for i in np.flatnonzero(self.seen)
        }


class MetricsLog:
    """Appends one record a step, continuing at step `start`."""

    def __init__(self, run: Path, start: int):
        self._path = run / "metrics.jsonl"
        keep_before(self._path, start)
        self._file = self._path.open("a", encoding="utf-8")
        self._events = SummaryWriter(str(run / "tensorboard"), purge_step=start, flush_secs=30)

    def write(self, record: dict[str, Any]) -> None:
        """`record` as in the README: step, loss, …, languages: {code: {loss, tokens, epochs}}."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        scalars = {name: record[name] for name in CURVES if record[name] is not None}
        losses = {code: language["loss"] for code, language in record["languages"].items() if language["loss"] is not None}
        self._show(scalars | {f"loss_by_language/{code}": loss for code, loss in losses.items()}, record["step"])

    def write_evaluation(self, step: int, bits_per_byte: dict[str, float]) -> None:
        """Of the state after `step` steps, noted at the last of them: a restart there purges what comes after."""
        self._show({f"bits_per_byte/{code}": value for code, value in bits_per_byte.items()}, step - 1)

    def _show(self, scalars: dict[str, float], step: int) -> None:
        """All in one event: one by one, those of forty languages would take some milliseconds a step."""
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._events.file_writer.add_summary(Summary(value=values), step)

    def sync(self) -> None:
        """Returns when everything written is on the disk: a checkpoint must not outlive its metrics."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._events.flush()

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *_: Any) -> None:
        self.sync()
        self._file.close()
        self._events.close()


def keep_before(path: Path, step: int) -> None:
    """Cuts off the records of `step` and later, and a last line that was not finished."""
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


class Screen:
    """A progress bar with loss, speed and time left; plain lines now and then where there is no terminal."""

    def __init__(self, console: Console, start: int, steps: int):
        self._console, self._steps, self._last = console, steps, -math.inf
        columns = (
            TextColumn("[bold]training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[news]}"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal, speed_estimate_period=60)
        self._task = self._bar.add_task("training", total=steps, completed=start, news="")
        self._first: tuple[int, float] | None = None

    def __enter__(self) -> "Screen":
        self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.stop()

    def show(self, record: dict[str, Any], now: float) -> None:
        """`now`: seconds on any clock."""
        done = record["step"] + 1
        self._first = self._first or (done, now)
        news = f"loss {record['loss']:.3f}  {record['tokens_per_second']:,.0f} tokens/s"
        self._bar.update(self._task, completed=done, news=news)
        if self._console.is_terminal or (now - self._last < LINE_EVERY and done != self._steps):
            return
        self._last = now
        rate = (done - self._first[0]) / (now - self._first[1]) if now > self._first[1] else 0
        left = f"{(self._steps - done) / rate:,.0f} s left" if rate else "…"
        self._console.print(f"step {done:>6}/{self._steps}  {news}  {left}", highlight=False)
