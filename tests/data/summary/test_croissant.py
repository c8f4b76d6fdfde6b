"""The metadata of a corpus, read by the reference implementation of Croissant."""

import hashlib
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from varietas.data.audit.seal import seal
from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.sources import Sources
from varietas.data.summary.croissant import croissant


def test_files_and_counts_are_those_of_the_corpus(corpus_folder: Path) -> None:
    corpus = Corpus(corpus_folder)
    found = croissant(corpus)
    assert found["name"] == corpus_folder.name and f"{corpus.manifest['documents']:,} documents" in found["description"]
    assert found["license"] == ["Apache-2.0"] and "cs" in found["inLanguage"] and found["inLanguage"].count("sr") == 1
    files = {one["@id"]: one for one in found["distribution"] if "sha256" in one}
    assert {"manifest.json", "tokenizer.model"} <= set(files)
    for name, one in files.items():
        assert one["sha256"] == hashlib.sha256((corpus_folder / name).read_bytes()).hexdigest()
    names = {field["name"] for field in found["recordSet"][0]["field"]}
    assert {"language", "id", "url", "license", "tokens", "robots", "opt_out"} <= names and "digest" not in names


def test_the_public_part_of_a_corpus_has_no_tokens(two_sources: Sources, tmp_path: Path) -> None:
    seal(two_sources.corpora["web"], tmp_path / "public")
    found = croissant(Corpus(tmp_path / "public"))
    assert [one["@id"] for one in found["distribution"]] == ["manifest.json", "commitment/commitment.json", "index-files"]


@pytest.mark.heavy("mlcroissant")
def test_the_reference_implementation_reads_the_documents(two_sources: Sources, tmp_path: Path) -> None:
    import mlcroissant

    corpus = two_sources.corpora["web"]
    shutil.copytree(corpus.path, tmp_path / "web")
    (tmp_path / "web" / "croissant.json").write_text(json.dumps(croissant(Corpus(tmp_path / "web"))))
    dataset = mlcroissant.Dataset(jsonld=tmp_path / "web" / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    # What nobody has said of a corpus: who is to be cited, when and under which licence it was published.
    assert all(any(name in one for name in ("citeAs", "datePublished", "license")) for one in dataset.metadata.ctx.issues.warnings)
    records = list(dataset.records("documents"))
    rows = {
        (code, row["id"]): row
        for code in corpus.languages
        for row in pq.read_table(corpus.path / "index" / f"{code}-00000.parquet").to_pylist()
    }
    assert len(records) == len(rows) == corpus.manifest["documents"]
    for record in records:
        row = rows[record["documents/language"].decode(), record["documents/id"].decode()]
        assert (record["documents/tokens"], record["documents/bytes"]) == (row["tokens"], row["bytes"])
        assert record["documents/robots"] == row["robots"]
