"""A damaged document stops the reading with its name and step, or becomes padding while every other token stays in its place."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.sources import Sources
from varietas.data.stream.loader import DIGESTS, Parts, batches
from varietas.data.stream.mixture import Mixture
from varietas.data.stream.row_digests import row_digests
from varietas.data.stream.stream import Rows, Stream

B, L, STEPS = 8, 64, 60
SHARD = "tokens/ces_Latn-00000.array_record"


@pytest.fixture(scope="module")
def damaged(corpus_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(corpus_folder, tmp_path_factory.mktemp("damaged") / "c"))
    content = bytearray((folder / SHARD).read_bytes())
    for at in (9_000, 30_000, 60_000):
        content[at] ^= 1
    (folder / SHARD).write_bytes(content)
    return folder


def stream_of(folder: Path, skip: bool) -> Stream:
    return Stream(Corpus(folder), Mixture(weights="ces_Latn:3, fin_Latn:1"), L, 0, 63, skip)


def read(stream: Stream, workers: int, start: int, parts: Parts) -> Rows:
    """The rows of all steps from `start` on that a host with these parts reads, as (steps, rows of the host, L)."""
    found = list(batches(stream, B, start, STEPS, parts, workers))
    return {name: np.stack([batch[name] for batch in found]) for name in found[0]}


def test_what_is_left_out_is_padding_and_nothing_moves(damaged: Path, corpus_folder: Path) -> None:
    """On one host or two, with worker processes or without, from any step."""
    stream = stream_of(damaged, True)
    corpus = Corpus(damaged)
    czech = np.full(84, corpus.languages.index("ces_Latn"))
    gone = [number for number, ids in enumerate(corpus.read(czech, np.arange(84), skip=True)) if not len(ids)]
    expected = {name: values.reshape(STEPS, B, L) for name, values in stream_of(corpus_folder, False).rows(0, STEPS * B).items()}
    lost, filled = np.zeros((STEPS * B, L), bool), np.zeros(STEPS * B, int)
    for piece in stream.documents(0, STEPS * B):
        place = slice(filled[piece.row], filled[piece.row] + piece.size)
        lost[piece.row, place] = piece.language == "ces_Latn" and piece.document in gone
        filled[piece.row] += piece.size
    lost = lost.reshape(STEPS, B, L)
    assert len(gone) == 3 and lost.sum() > 1000
    for name, values in expected.items():
        values[lost] = corpus.pad_id if name == "tokens" else 0
    expected[DIGESTS] = row_digests(stream, 0, stream.rows(0, STEPS * B)).reshape(STEPS, B, -1)
    hosts = [(0, 0, ((0, B),)), (2, 0, ((0, 3), (6, 8))), (0, 0, ((3, 6),)), (2, 17, ((0, B),))]
    for workers, start, parts in hosts:
        rows = [row for first, last in parts for row in range(first, last)]
        for name, values in read(stream, workers, start, parts).items():
            assert np.array_equal(values, expected[name][start:, rows]), (name, workers)


@pytest.mark.parametrize(("workers", "parts"), [(0, ((0, B),)), (2, ((2, 3), (5, 8)))])
def test_the_error_names_document_and_step(workers: int, parts: Parts, damaged: Path) -> None:
    stream = stream_of(damaged, False)
    with pytest.raises(ValueError, match=r"document (\d+) of ces_Latn is damaged") as error:
        read(stream, workers, 0, parts)
    text = str(error.value)
    document, step, row = (int(text.split(before)[1].split()[0].strip("):,")) for before in ("document ", "; step ", "(row "))
    assert text.startswith(str(damaged / SHARD)) and step == row // B and any(first <= row % B < last for first, last in parts)
    assert (row, "ces_Latn", document) in [(piece.row, piece.language, piece.document) for piece in stream.documents(row, row + 1)]


def test_the_same_document_of_another_source_is_not_meant(two_sources: Sources, tmp_path: Path) -> None:
    folders = [shutil.copytree(corpus.path, tmp_path / name) for name, corpus in two_sources.corpora.items()]
    (Path(folders[1]) / SHARD).unlink()
    for seed in range(6):
        stream = Stream(Sources(*map(Corpus, folders)), Mixture(), L, seed)
        with pytest.raises(ValueError, match=r"wiki/tokens/ces_Latn-00000.*document \d+ of ces_Latn is damaged \(no such file\)") as error:
            read(stream, 0, 0, ((0, B),))
        row = int(str(error.value).split("(row ")[1].split(")")[0])
        document = int(str(error.value).split("document ")[1].split()[0])
        assert ("wiki", "ces_Latn", document) in [(p.source, p.language, p.document) for p in stream.documents(row, row + 1)]
