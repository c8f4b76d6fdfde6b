"""metrics.jsonl has every step once, whatever a crash left behind, and TensorBoard gets the same figures."""

import errno
import json
import math
import os
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from varietas.data.corpus.sources import Sources
from varietas.data.stream.mixture import Mixture
from varietas.data.stream.stream import Stream
from varietas.train.run_folder import metrics
from varietas.train.run_folder.metrics import MetricsLog, Recorder, keep_before, max_violation

L, B = 64, 4
LINES = [json.dumps({"step": n}) + "\n" for n in range(5)]


@pytest.mark.parametrize(
    ("written", "step", "kept"),
    [
        ("".join(LINES), 3, 3),
        ("".join(LINES), 9, 5),
        ("".join(LINES), 0, 0),
        ("".join(LINES)[:-1], 9, 4),  # without its line end: the next record would be appended to the last line
        ("".join(LINES)[:-4], 9, 4),
        (LINES[0] + "\0\0\0\n" + LINES[1], 9, 1),  # a file system may leave this after a power failure
        ("", 1, 0),
    ],
)
def test_a_restart_keeps_complete_records_before_its_step(written: str, step: int, kept: int, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(written)
    keep_before(path, step)
    assert path.read_text() == "".join(LINES[:kept])


def test_a_missing_file_is_not_an_error(tmp_path: Path) -> None:
    keep_before(tmp_path / "metrics.jsonl", 3)
    assert list(tmp_path.iterdir()) == []


def test_a_record_can_be_read_as_soon_as_it_is_written(tmp_path: Path) -> None:
    record = {"loss": 1.0, "grad_norm": 1.0, "learning_rate": 1.0, "tokens_per_second": 1.0, "mfu": None, "languages": {}}
    with MetricsLog(tmp_path, 0) as log:
        for step in range(3):
            log.write({"step": step, **record})
            assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").open()] == list(range(step + 1))


def events(folder: Path) -> list[Event]:
    """Reads TensorBoard's files. A record is a length (8 bytes), its checksum (4), the event and its checksum (4)."""
    found = []
    for file in sorted(folder.iterdir()):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (size,) = struct.unpack_from("<Q", data, at)
            found.append(Event.FromString(data[at + 12 : at + 12 + size]))
            at += size + 16
    return found


def test_a_full_disk_is_told_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")  # as the system does, without a name

    with MetricsLog(tmp_path, 0) as log, monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left") as caught:
            log.sync()
    assert caught.value.filename == str(tmp_path / "metrics.jsonl")


def test_tensorboard_gets_every_language_and_the_step_of_a_restart(tmp_path: Path) -> None:
    languages = {"ces_Latn": {"loss": 2.5, "tokens": 7, "epochs": 0.1}, "mlt_Latn": {"loss": None, "tokens": 0, "epochs": 0.0}}
    record = {"step": 4, "loss": 3.5, "grad_norm": 1.0, "learning_rate": 0.25, "tokens": 7, "tokens_per_second": 10.0, "mfu": 0.5}
    with MetricsLog(tmp_path, 4) as log:
        log.write({**record, "languages": languages})
        log.write({"step": 5, "loss": 3.0, "grad_norm": 1.0, "learning_rate": 0.25, "tokens_per_second": 9.0, "mfu": None, "languages": {}})
        log.write_evaluation(5, {"ces_Latn": 1.75})
    written = events(tmp_path / "tensorboard")
    scalars = {(event.step, value.tag): value.simple_value for event in written for value in event.summary.value}
    assert scalars == {
        (4, "loss"): 3.5, (4, "grad_norm"): 1.0, (4, "learning_rate"): 0.25, (4, "tokens_per_second"): 10.0, (4, "mfu"): 0.5,
        (4, "loss_by_language/ces_Latn"): 2.5, (4, "bits_per_byte/ces_Latn"): 1.75,
        (5, "loss"): 3.0, (5, "grad_norm"): 1.0, (5, "learning_rate"): 0.25, (5, "tokens_per_second"): 9.0,
    }  # fmt: skip
    # START at step 4: TensorBoard then drops this step and later ones of earlier files.
    assert any(event.step == 4 and event.session_log.status == 1 for event in written)


@pytest.mark.parametrize(
    ("mixture", "most_repeated"),
    [
        (Mixture(weights="fin_Latn:1", where="quality >= 0.9"), ("web", "fin_Latn", slice(9, None, 10))),  # a tenth of the documents
        (Mixture(weights="ces_Latn:1", sources="web:0.0001"), ("wiki", "ces_Latn", slice(None))),  # the smaller source is nearly all
    ],
)
def test_epochs_are_those_of_the_text_that_is_repeated_most(
    mixture: Mixture, most_repeated: tuple[str, str, slice], two_sources: Sources, tmp_path: Path
) -> None:
    stream, written = Stream(two_sources, mixture, L, 0), list[dict[str, Any]]()
    n_languages, n_steps = len(two_sources.languages), 500
    silent: Any = SimpleNamespace(write=written.append, show=lambda *_: None)
    recorder = Recorder(silent, silent, stream, B, np.zeros(n_languages, np.int64), 1.0, None)
    for step in range(n_steps):
        rows = stream.rows(step * B, (step + 1) * B)
        tokens = np.bincount(rows["languages"][rows["segments"] > 0], minlength=n_languages)
        of_languages = {"nll": tokens * 2.0, "targets": tokens, "tokens": tokens}
        recorder.record(step, {"loss": 2.0, "grad_norm": 1.0, "learning_rate": 0.1, **of_languages})  # type: ignore[arg-type, dict-item]
    source, code, documents = most_repeated
    expected = n_steps * B * L / two_sources.corpora[source].lengths(code)[documents].sum()
    assert expected > 10 and written[-1]["languages"] == {code: {"loss": 2.0, "tokens": B * L, "epochs": pytest.approx(expected, rel=0.01)}}


def test_speed_counts_the_tokens_of_a_step_and_the_time_since_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token costs 1 MFLOP, and the devices do 2 GFLOP/s. 400 tokens in half a second are 800 a second, so 0.8 of 2 GFLOP/s."""
    clock, written = [100.0], list[dict[str, Any]]()
    monkeypatch.setattr(metrics.time, "perf_counter", lambda: clock[0])
    silent: Any = SimpleNamespace(write=written.append, show=lambda *_: None)
    corpus = SimpleNamespace(languages=("ces_Latn", "mlt_Latn"))
    stream: Any = SimpleNamespace(corpus=corpus, seq_len=L, skip_damaged=False, epochs_of_languages=lambda _: np.zeros(2))
    recorder = Recorder(silent, silent, stream, B, np.zeros(2, np.int64), 1e6, 2e9)

    def record(step: int, tokens: list[int], seconds: float) -> None:
        clock[0] += seconds
        values = {"loss": 2.0, "grad_norm": 1.0, "learning_rate": 0.1, "nll": [1.0, 1.0], "targets": [1, 1], "tokens": tokens}
        recorder.record(step, {name: np.array(value) for name, value in values.items()})  # type: ignore[misc]

    record(0, [300, 100], 0.5)
    record(1, [0, 50], 0.25)
    clock[0] += 60.0  # an evaluation
    recorder.restart_clock()
    record(2, [256, 0], 0.5)
    assert [(each["tokens"], each["tokens_per_second"], each["mfu"]) for each in written] == [
        (400, 800.0, 0.4), (50, 200.0, 0.1), (256, 512.0, 0.256)
    ]  # fmt: skip
    assert recorder.seen.tolist() == [556, 150]


def test_loads_of_experts_are_written_by_language_for_the_steps_since_the_last_time() -> None:
    silent: Any = SimpleNamespace(write=list[Any]().append, show=lambda *_: None, write_loads=(written := list[dict[str, Any]]()).append)
    stream: Any = SimpleNamespace(
        corpus=SimpleNamespace(languages=("ces_Latn", "mlt_Latn")), seq_len=L, skip_damaged=False, epochs_of_languages=lambda _: np.zeros(2)
    )
    recorder = Recorder(silent, silent, stream, B, np.zeros(2, np.int64), 1e6, None)
    values = {"loss": 2.0, "grad_norm": 1.0, "learning_rate": 0.1, "nll": [1.0, 1.0], "targets": [1, 1], "tokens": [9, 0]}
    loads = np.array([[[8, 8, 2], [0, 0, 0]], [[6, 6, 6], [0, 0, 0]]], np.float32)  # two layers, two languages, three experts
    for step in range(5):
        recorder.record(step, {name: np.array(value) for name, value in {**values, "loads": loads}.items()})  # type: ignore[misc]
        if step in (1, 4):
            recorder.write_loads(step + 1)
    recorder.write_loads(5)  # nothing since the last time
    assert written == [
        {"step": 1, "steps": 2, "loads": {"ces_Latn": [[16, 16, 4], [12, 12, 12]]}},
        {"step": 4, "steps": 3, "loads": {"ces_Latn": [[24, 24, 6], [18, 18, 18]]}},
    ]


def test_the_busiest_expert_beside_the_mean() -> None:
    assert max_violation(np.array([[8, 8, 2], [6, 6, 6]])) == pytest.approx((8 / 6 - 1) / 2)


@pytest.mark.parametrize(("loss", "grad_norm"), [(math.nan, 1.0), (2.0, math.inf)])
def test_a_step_that_is_not_finite_is_written(loss: float, grad_norm: float) -> None:
    written = list[dict[str, Any]]()
    silent: Any = SimpleNamespace(write=written.append, show=lambda *_: None)
    stream: Any = SimpleNamespace(
        corpus=SimpleNamespace(languages=("ces_Latn",)), seq_len=L, skip_damaged=False, epochs_of_languages=lambda _: np.zeros(1)
    )
    recorder = Recorder(silent, silent, stream, B, np.zeros(1, np.int64), 1.0, None)
    values = {"loss": loss, "grad_norm": grad_norm, "learning_rate": 0.1, "nll": [1.0], "targets": [1], "tokens": [5]}
    recorder.record(7, {name: np.array(value) for name, value in values.items()})  # type: ignore[misc]
    assert [written[0][name] for name in ("step", "loss", "grad_norm")] == [
        7,
        None if math.isnan(loss) else loss,
        None if math.isinf(grad_norm) else grad_norm,
    ]
