"""metrics.jsonl has every step once, whatever a crash left; TensorBoard finds the same figures."""

import json
import struct
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from varietas.train.metrics import MetricsLog, keep_before

LINES = [json.dumps({"step": n}) + "\n" for n in range(5)]


@pytest.mark.parametrize(
    ("written", "step", "kept"),
    [
        ("".join(LINES), 3, 3),
        ("".join(LINES), 9, 5),
        ("".join(LINES), 0, 0),
        ("".join(LINES)[:-1], 9, 4),  # the last line lacks its end: the next record would stand on it
        ("".join(LINES)[:-4], 9, 4),
        (LINES[0] + "\0\0\0\n" + LINES[1], 9, 1),  # what a file system leaves after a power cut
        ("", 1, 0),
    ],
)
def test_what_is_kept_on_a_restart(written: str, step: int, kept: int, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(written)
    keep_before(path, step)
    assert path.read_text() == "".join(LINES[:kept])


def test_no_file_is_no_error(tmp_path: Path) -> None:
    keep_before(tmp_path / "metrics.jsonl", 3)
    assert list(tmp_path.iterdir()) == []


def events(folder: Path) -> list[Event]:
    """Of TensorBoard's files: records of a length (8 bytes), its checksum (4), the event, its checksum (4)."""
    found = []
    for file in sorted(folder.iterdir()):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (size,) = struct.unpack_from("<Q", data, at)
            found.append(Event.FromString(data[at + 12 : at + 12 + size]))
            at += size + 16
    return found


def test_tensorboard_gets_each_language_and_is_told_what_a_restart_makes_void(tmp_path: Path) -> None:
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
    assert any(event.step == 4 and event.session_log.status == 1 for event in written)  # START: later steps of earlier files are void
