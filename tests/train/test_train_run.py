"""A run that cannot be trained here is refused before its folder is touched, and one process at a time trains in a folder."""

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import pytest

import varietas
from varietas.data.stream import loader
from varietas.model.decoder import Decoder
from varietas.train import memory, program
from varietas.train import run as train_run
from varietas.train.run_folder import metrics
from varietas.train.run_folder.checkpoint import Checkpoints
from varietas.train.run_folder.evaluations import Evaluation, write
from varietas.train.run_folder.lock import held

FIELDS = {"train.steps": 2, "checkpoint.every": 0, "optim.schedule": "constant"}


@pytest.fixture
def run(tmp_path: Path, corpus_folder: Path) -> varietas.Run:
    return varietas.Run("tiny", FIELDS, folder=tmp_path / "run")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def has_free(monkeypatch: pytest.MonkeyPatch, *mib: int) -> None:
    """Lets the host have so much memory free, in MiB, whenever it is asked; the last figure for all later times."""
    left = list(mib)
    monkeypatch.setattr(memory, "host_free", lambda: ((left.pop(0) if len(left) > 1 else left[0]) << 20, "this machine"))


def test_what_does_not_fit_is_refused_after_the_first_lines_and_leaves_no_folder(
    run: varietas.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(program, "trace_step", never)
        has_free(patch, 1)
        with pytest.raises(MemoryError, match="parameters, gradients and optimiser need"):
            run.train()
        has_free(patch, 1000, 0)
        with pytest.raises(MemoryError, match=r"read ahead need 0\.0 GiB, but this machine has 0\.0 GiB free; lower train.batch_size"):
            run.train()
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said] == [
        "model",
        "devices",
        "all 2 steps are warm-up (optim.warmup_steps=5); set a lower optim.warmup_steps, such as 0",
    ] * 2
    assert not run.folder.exists()


def test_a_step_that_does_not_fit_changes_no_run(run: varietas.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not run.train(steps=1)
    before = contents(run.folder)
    with monkeypatch.context() as patch:
        has_free(patch, 1000, 1000, 1)
        with pytest.raises(MemoryError, match=r"a training step needs .* GiB on each of 8 devices, but its share of this machine"):
            run.train()
    with held(run.folder), pytest.raises(ValueError, match="being trained by another process"):
        run.train()
    assert contents(run.folder) == before
    assert run.train() and [record["step"] for record in run.metrics] == [0, 1]
    digest = run.digest()
    monkeypatch.setattr(program, "trace_step", None)
    assert run.train() and run.digest() == digest  # a run that is finished is not compiled again


@pytest.mark.heavy("training")
def test_what_is_refused_while_the_run_begins_leaves_its_config(run: varietas.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these finds out late, and changes fields that may change. Only the account of the time notes the attempt."""
    assert not run.train(steps=1)
    before = {name: text for name, text in contents(run.folder).items() if name != "attempts.jsonl"}

    def refused(why: str, fields: dict[str, Any], build: Any = None) -> None:
        other = varietas.Run("tiny", {**FIELDS, "checkpoint.every": 1, **fields}, folder=run.folder, build=build)
        with pytest.raises((ValueError, MemoryError), match=why):
            other.train()
        assert {name: text for name, text in contents(run.folder).items() if name != "attempts.jsonl"} == before

    refused("of another model", {}, lambda cfg, rngs: Decoder(replace(cfg, d_ff=2 * cfg.d_ff), rngs))
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "restore_latest", out_of_memory)
        refused("a device ran out of memory", {})
    with monkeypatch.context() as patch:
        patch.setattr(loader.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        refused("data.workers=1 needs .* of shared memory", {"data.workers": 1})
    write(run.folder, Evaluation("declaration", 1, "another text", "0" * 64, {"ces_Latn": {"bits_per_byte": 1.0}}))
    before = {name: text for name, text in contents(run.folder).items() if name != "attempts.jsonl"}
    refused("declaration holds evaluations of another text", {"eval.every": 1})


def out_of_memory(*_: Any) -> None:
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")


def test_a_process_with_another_config_is_named_with_the_field(run: varietas.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As process 0 of two sees it, of which the other has another learning rate."""

    def exchange(word: str = "") -> dict[int, str]:
        theirs = word.replace('"peak_lr": 0.003', '"peak_lr": 0.5') if word.startswith("{") else "another digest"
        return {0: word, 1: theirs} if word else {}

    assert run.config.optim.peak_lr == 3e-3
    monkeypatch.setattr(train_run, "exchange", exchange)
    with pytest.raises(ValueError, match=r"process 1 has another config or corpus than process 0: optim.peak_lr is 0.5, not 0.003\. Give"):
        run.train()
    assert not run.folder.exists()


def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, corpus_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is set by hours after every step, also while a checkpoint is written."""
    run = varietas.Run("tiny", {**FIELDS, "train.steps": 4, "checkpoint.every": 1}, folder=tmp_path / "run")
    hours, usual_time, usual_record = [0], time.time, metrics.Recorder.record

    def record(*args: Any) -> None:
        usual_record(*args)
        hours[0] = 7 if hours[0] == 0 else 0

    monkeypatch.setattr(metrics.Recorder, "record", record)
    monkeypatch.setattr(time, "time", lambda: usual_time() + 3600 * hours[0])
    assert not run.train(steps=3) and run.train()
    assert [record["step"] for record in run.metrics] == [0, 1, 2, 3]
    assert all(0 < record["tokens_per_second"] < 1e6 for record in run.metrics)
    assert not (run.folder / ".lock").exists() and not (run.folder / "damaged").exists()
