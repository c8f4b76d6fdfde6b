"""A run that leaves damaged documents out records each once, whoever reads them, and trains on the same rows when it goes on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import several

import varietas
from varietas.data.corpus.corpus import Corpus
from varietas.data.stream.mixture import Mixture
from varietas.data.stream.stream import Stream
from varietas.train.run_folder.corrupt import FILE, CorruptLog, read_corrupt

SHARD = "tokens/ces_Latn-00000.array_record"
B, L, STEPS = 8, 64, 350  # some documents come twice


@pytest.fixture(scope="module")
def damaged(corpus_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of which some Czech documents are damaged."""
    folder = Path(shutil.copytree(corpus_folder, tmp_path_factory.mktemp("damaged") / "c"))
    content = bytearray((folder / SHARD).read_bytes())
    for at in range(5_000, 100_000, 10_000):
        content[at] ^= 1
    (folder / SHARD).write_bytes(content)
    return folder


def tokens(stream: Stream, step: int) -> np.ndarray:
    """What the devices count."""
    rows = stream.rows(step * B, (step + 1) * B)
    return np.bincount(rows["languages"][rows["segments"] > 0], minlength=len(stream.corpus.languages))


def test_each_damaged_document_is_recorded_once_with_its_first_place(damaged: Path, tmp_path: Path) -> None:
    stream = Stream(Corpus(damaged), Mixture(weights="ces_Latn:1, fin_Latn:1"), L, 0, 63, True)
    said: list[str] = []
    log = CorruptLog(tmp_path, stream, B, said.append)
    for step in range(STEPS):
        log.look(step, tokens(stream, step))
    records = read_corrupt(tmp_path)
    read = stream.corpus.read(np.full(84, stream.corpus.languages.index("ces_Latn")), np.arange(84), skip=True)  # type: ignore[union-attr]
    gone = {number for number, ids in enumerate(read) if not len(ids)}
    first = {}
    for piece in stream.documents(0, STEPS * B):
        if piece.language == "ces_Latn" and piece.document in gone:
            first.setdefault(piece.document, piece.row)
    assert set(first) == gone and {record["document"]: record["row"] for record in records} == first and len(records) == len(gone)
    assert all(record["step"] == record["row"] // B and "hash mismatch" in record["why"] for record in records)
    assert all(record["file"] == str(damaged / SHARD) and record["language"] == "ces_Latn" for record in records)
    assert len(said) == 1 and f"document {records[0]['document']} of ces_Latn in {damaged / SHARD} is damaged" in said[0]
    # Killed within a line, and started again from an earlier step
    text = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text("".join(text.splitlines(keepends=True)[:4]) + '{"step": 3, "ro')
    again = CorruptLog(tmp_path, stream, B, said.append)
    for step in range(STEPS):
        again.look(step, tokens(stream, step))
    assert read_corrupt(tmp_path) == records and (tmp_path / FILE).read_text() == text


def test_padding_at_the_end_of_a_block_is_no_damage(corpus_folder: Path, tmp_path: Path) -> None:
    stream = Stream(Corpus(corpus_folder), Mixture(), L, 0, 63, True)
    short = [step for step in range(30) if tokens(stream, step).sum() < B * L]
    log = CorruptLog(tmp_path, stream, B, print)
    for step in short:
        log.look(step, tokens(stream, step))
    assert short and not (tmp_path / FILE).exists()


@pytest.mark.heavy("training")
def test_a_run_goes_on_without_damaged_documents_once_it_is_told_to(
    damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {"data.corpus": str(damaged), "data.mixture.weights": "ces_Latn:1, fin_Latn:1", "train.steps": 6, "checkpoint.every": 0}
    with pytest.raises(ValueError, match=r"document \d+ of ces_Latn is damaged .* leave such documents out with data.on_corrupt=skip"):
        varietas.Run("tiny", fields, folder=tmp_path / "run").train()
    fields["data.on_corrupt"] = "skip"
    once = varietas.Run("tiny", fields, folder=tmp_path / "once")
    assert once.train() and read_corrupt(once.folder)
    assert "is damaged" in capsys.readouterr().out
    twice = varietas.Run("tiny", fields, folder=tmp_path / "run")
    assert not twice.train(steps=3) and twice.train()
    assert twice.digest() == once.digest() and (twice.folder / FILE).read_bytes() == (once.folder / FILE).read_bytes()
    gone = {record["document"] for record in read_corrupt(once.folder)}
    pieces = list(once.stream.documents(0, 6 * once.config.train.batch_size))
    left = sum(piece.size for piece in pieces if piece.language == "fin_Latn" or piece.document not in gone)
    assert sum(record["tokens"] for record in once.metrics) == left


def test_a_missing_shard_is_told_before_anything_is_compiled_or_left_out(damaged: Path, tmp_path: Path) -> None:
    corpus = Path(shutil.copytree(damaged, tmp_path / "c"))
    (corpus / SHARD).unlink()
    said = several.start(1, "train", "--config", "tiny", "--run", "x", f"--config.data.corpus={corpus}", cwd=tmp_path).wait()[0]
    assert said.status == 2 and said.err == f"varietas: {corpus / SHARD}: no such file; copy the corpus again, or prepare it again\n"
    assert said.out == "" and not (tmp_path / "x").exists()
    fields = {"data.corpus": str(corpus), "data.mixture.weights": "ces_Latn:1, fin_Latn:1", "data.on_corrupt": "skip", "train.steps": 6}
    run = varietas.Run("tiny", fields, folder=tmp_path / "run")
    assert run.train() and {record["why"] for record in read_corrupt(run.folder)} == {"no such file"}


@pytest.mark.heavy("several processes")
def test_workers_and_processes_leave_out_the_same(damaged: Path, tmp_path: Path) -> None:
    tiny = ("train", "--config", "tiny", "--config.mesh.data=2", "--config.mesh.fsdp=1", "--config.train.steps=6")
    tiny += (f"--config.data.corpus={damaged}", "--config.data.mixture.weights=ces_Latn:1,fin_Latn:1", "--config.data.on_corrupt=skip")
    one, two = tmp_path / "one", tmp_path / "two"
    several.run(1, *tiny, "--run", one, "--cpu_devices", "2", cwd=tmp_path)
    several.run(2, *tiny, "--run", two, "--cpu_devices", "1", "--config.data.workers=2", cwd=tmp_path)
    assert read_corrupt(one) and (one / FILE).read_bytes() == (two / FILE).read_bytes()
    losses = [[json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (one, two)]
    assert losses[0] == losses[1]
