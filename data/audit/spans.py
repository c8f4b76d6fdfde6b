"""Spans of a ledger: steps whose rows follow from the same context. One begins where the run does, and where its data changes."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.sources import Sources
from varietas.data.ledger.steps import STEPS
from varietas.data.stream.context import stream_in
from varietas.data.stream.stream import Stream

Damaged = Mapping[tuple[str, str], Sequence[int]]  # source, language -> numbers of documents
NONE: Damaged = {}
MARK = b'"context":'
LONGEST_LINE = 1 << 16


@dataclass(frozen=True)
class Span:
    """Some steps with the same context."""

    first: int
    stop: int  # step after the last
    context: dict[str, Any]
    damaged: Damaged = field(default_factory=dict)  # documents that the run left out since their bytes were damaged

    @property
    def batch_size(self) -> int:
        """Rows of a step."""
        return int(self.context["batch_size"])

    def stream(self, corpus: Corpus | Sources) -> Stream:
        """Returns the rows of these steps. Raises as `stream_in` does."""
        stream = stream_in(self.context, corpus)
        documents = {place: np.array(numbers, np.int64) for place, numbers in self.damaged.items()}
        for place, numbers in stream.without.documents.items():
            documents[place] = np.union1d(numbers, documents.get(place, numbers))
        stream.without = replace(stream.without, documents=documents)
        return stream


def spans_of(folder: Path, damaged: Damaged = NONE) -> list[Span]:
    """Returns the spans of a ledger. Only the lines with a context are read, which takes a second for a million steps.

    Args:
        folder: The folder of the ledger.
        damaged: Documents that the run left out since their bytes were damaged.

    Raises:
        ValueError: If there is no ledger, it is damaged, or it has no step.
    """
    file = folder / STEPS
    contexts, steps = list[tuple[int, dict[str, Any]]](), 0
    try:
        with file.open("rb") as lines:
            for line in lines:
                if MARK in line[:100]:
                    record = json.loads(line)
                    contexts.append((int(record["step"]), record["context"]))
        steps = _last_step(file) + 1
    except FileNotFoundError:
        raise ValueError(f"{file} is missing: the run has no ledger; runs that this version trains have one") from None
    except (ValueError, KeyError, TypeError, IndexError):
        raise ValueError(f"{file} is damaged; `varietas audit verify` says where") from None
    if not contexts or steps <= contexts[0][0]:
        raise ValueError(f"{file} has no step yet; steps are written when a checkpoint is saved")
    stops = [*(first for first, _ in contexts[1:]), steps]
    return [Span(first, stop, context, damaged) for (first, context), stop in zip(contexts, stops, strict=True) if stop > first]


def up_to(spans: Sequence[Span], step: int | None) -> list[Span]:
    """Returns the spans of a ledger up to a step. Raises ValueError if the ledger does not go so far."""
    last = spans[-1].stop
    if step is not None and not 0 < step <= last:
        raise ValueError(f"--step {step}: the ledger has {last:,} steps; give one of 1 to {last:,}")
    return before(spans, last if step is None else step)


def before(spans: Sequence[Span], stop: int) -> list[Span]:
    """Returns the spans of the steps before one, none if the ledger begins later."""
    return [replace(span, stop=min(span.stop, stop)) for span in spans if span.first < stop]


def span_at(spans: Sequence[Span], step: int) -> Span:
    """Returns the span that holds a step. Raises ValueError if none does."""
    for span in spans:
        if span.first <= step < span.stop:
            return span
    raise ValueError(f"step {step} is not in the ledger; it has steps {spans[0].first} to {spans[-1].stop - 1}")


def line_of(folder: Path, step: int) -> dict[str, Any]:
    """Returns the line of a step. Raises ValueError if there is none."""
    begin = b'{"step":%d,"rows":' % step
    with (folder / STEPS).open("rb") as lines:
        for line in lines:
            if line.startswith(begin):
                return dict(json.loads(line))
    raise ValueError(f"{folder / STEPS} has no line of step {step}; `varietas audit verify` says where it is broken")


def _last_step(file: Path) -> int:
    """Returns the number of the last step that has a whole line; -1 if none has."""
    with file.open("rb") as log:
        log.seek(max(0, os.path.getsize(file) - LONGEST_LINE))
        whole = [line for line in log.read().split(b"\n")[:-1] if line.startswith(b'{"step":')]
    records = (json.loads(line) for line in reversed(whole))
    return next((int(record["step"]) for record in records if "rows" in record), -1)
