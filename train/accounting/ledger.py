"""The ledger of a run, in its folder `ledger`: what each step consumed, and what came of it.

steps.jsonl says what rows a step had (data/ledger/steps.py). checkpoints.jsonl is a log too: a line for each checkpoint, with the head of
steps.jsonl at that step, the config, the code and the digest of the arrays. The former is the same on any mesh; the latter is not, since
sums of floating-point numbers depend on the mesh in their last bits.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from varietas.data.ledger.log import head_of
from varietas.data.ledger.signing import key_file, own_key
from varietas.data.ledger.statement import sign_ledger, signed_of
from varietas.data.ledger.steps import FOLDER, STEPS, StepLedger
from varietas.data.packages import source_digest, version_of
from varietas.data.stream.context import context_of
from varietas.data.stream.loader import DIGESTS
from varietas.data.stream.stream import Rows, Stream
from varietas.train.batches import local_rows
from varietas.train.processes import exchange, is_first
from varietas.train.run_folder.checkpoint import DamagedCheckpoint, checksums_on_disk
from varietas.train.run_folder.left_out import read, reason


class RunLedger:
    """Writes the ledger of a run. Every process has one; process 0 writes.

    Args:
        run: The run's folder.
        stream: The rows of the run.
        batch_size: Rows of a step.
        mesh: The devices, which decide what rows this process reads.
        config: The resolved config.
        restored: What the checkpoint that the run continues from holds beside its arrays; None if it begins.

    Raises:
        BrokenLog: If the ledger was changed.
    """

    def __init__(
        self, run: Path, stream: Stream, batch_size: int, mesh: Mesh, config: Mapping[str, Any], restored: Mapping[str, Any] | None
    ):
        self._run, self._config, self._start = run, config, int(restored["step"]) if restored else 0
        self._rows = np.concatenate([np.arange(first, last) for first, last in local_rows(mesh, batch_size)])
        self._batch_size = batch_size
        self._steps = StepLedger(run / FOLDER, context_of(stream, batch_size), self._start, jax.process_index())
        if restored and is_first() and self._steps.last_checkpoint.get("step") != self._start:
            # The process was killed before it wrote the line. What config and code it had is not known any more.
            self._steps.add_checkpoint(self._start, {"checkpoint": checkpoint_digest(restored)})

    def noting(self, rows: Iterator[Rows]) -> Iterator[Rows]:
        """Yields the rows of each step without their digests, which are noted."""
        for step, batch in enumerate(rows, self._start):
            self._steps.note(step, step * self._batch_size + self._rows, batch[DIGESTS])
            yield {name: values for name, values in batch.items() if name != DIGESTS}

    def commit(self, n: int) -> None:
        """Writes the lines of all steps before n. They are on disk before a checkpoint that follows from them.

        Raises:
            OSError: If they cannot be written.
        """
        if not is_first():
            self._steps.commit(n)
        exchange()
        if is_first():
            left_out = read(self._run)
            steps = {step for entry in left_out for step in range(entry.first, entry.last + 1)}
            self._steps.commit(n, {step: reason(left_out, step) or "" for step in steps})

    def add_checkpoint(self, meta: Mapping[str, Any]) -> None:
        """Writes the line of a checkpoint: `meta` is what it holds beside its arrays."""
        if is_first():
            code = {"version": version_of("varietas") or "source", "sha256": source_digest()}
            self._steps.add_checkpoint(meta["step"], {"checkpoint": checkpoint_digest(meta), "code": code, "config": dict(self._config)})


def checkpoint_digest(meta: Mapping[str, Any]) -> str:
    """Returns the SHA-256 over the shapes and checksums of a checkpoint's arrays; `meta` is what it holds beside them."""
    what = {name: meta[name] for name in ("step", "shapes", "checksums")}
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def checkpoint_faults(folder: Path, step: int, digest: str) -> str:
    """Returns what is wrong with a checkpoint; "" if its arrays are those that the ledger has.

    Args:
        folder: The folder of all checkpoints of a run.
        step: Which checkpoint.
        digest: What `checkpoint_digest` returned when it was saved.
    """
    try:
        meta = checksums_on_disk(folder, step)
    except DamagedCheckpoint as error:
        return str(error)
    return "" if checkpoint_digest(meta) == digest else f"checkpoint {step} of {folder}: it is another one than the ledger has"


def sign(run: Path, parameters: dict[str, Any]) -> str:
    """Signs the ledger of a run that has ended, and says so. A key that cannot be used is told, and no reason to fail.

    Args:
        run: The run's folder.
        parameters: `step` and `sha256` of the parameters.

    Returns:
        A line for the user; "" if the run has no ledger, as one from before there were ledgers.
    """
    if not (run / FOLDER / STEPS).exists():
        return ""
    try:
        with contextlib.suppress(ValueError, KeyError):
            said = signed_of(run / FOLDER)
            if said["parameters"] == parameters and said["logs"][STEPS]["size"] == head_of(run / FOLDER / STEPS).size:
                return ""  # whoever signed it first stays the signer
        made = not key_file().exists()
        sign_ledger(run / FOLDER, own_key(), parameters)
    except (ValueError, OSError) as error:
        return f"the ledger is not signed ({error}); sign it with `varietas audit sign --run {run}`"
    return f"ledger signed with {'a new key, ' if made else ''}{key_file()}; docs/audit.md says what it proves"
