"""The public part of a corpus: what is in it, what is not, and that proofs are made and checked with it."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from varietas.data.audit.seal import seal
from varietas.data.corpus import corpus as corpus_module
from varietas.data.corpus import index, proofs
from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.index import selected
from varietas.data.corpus.proofs import check_inclusion, check_opening, inclusion, open_document
from varietas.data.corpus.sorted_tree import open_sorted
from varietas.data.prepare import prepare as prepare_module
from varietas.data.prepare.prepare import prepare_documents
from varietas.data.stream.mixture import Mixture
from varietas.data.stream.stream import Stream
from varietas.data.text.documents import Document, Reject
from varietas.data.tokenizer import training as tokenizer

SECRET_WORD = "přísnětajné"
DOCUMENTS = [
    Document(
        f"{source}-{i}",
        ("ces_Latn", "mlt_Latn")[i % 2],
        f"{SECRET_WORD if source == 'archiv' else 'veřejné'} {i} " * (1 + i % 7),
        f"https://{source}.example.org/{i}",
        source,
        "CC0" if source == "web" else "smlouva",
        {"quality": 0.3 + i / 1000, "robots": True, "pii": [[1, 2]], "registers": {"IN": i / 100}},
    )
    for i in range(90)
    for source in ("archiv", "web")
]


@pytest.fixture(scope="module", autouse=True)
def _small_shards() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (corpus_module, prepare_module, proofs, index):
            patch.setattr(module, "SHARD_DOCUMENTS", 40)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    path = tmp_path_factory.mktemp("seal") / "corpus"
    prepare_documents([*DOCUMENTS, Reject("f", 1, "no lang", SECRET_WORD)], tokenizer.train(lambda: DOCUMENTS, 330), path)
    return Corpus(path)


@pytest.fixture(scope="module")
def sealed(whole: Corpus) -> Corpus:
    """All sources are sealed."""
    seal(whole, whole.path.with_name("sealed"))
    return Corpus(whole.path.with_name("sealed"))


@pytest.fixture(scope="module")
def partly(whole: Corpus) -> Corpus:
    """One source is sealed."""
    manifest = seal(whole, whole.path.with_name("partly"), ["archiv"])
    assert manifest["sealed"] == ["archiv"] and manifest["documents"] == 180
    return Corpus(whole.path.with_name("partly"))


def rows(corpus: Corpus) -> list[dict[str, object]]:
    return [row for file in sorted((corpus.path / "index").iterdir()) for row in pq.read_table(file).to_pylist()]


def test_a_sealed_document_has_only_source_license_and_tokens(whole: Corpus, sealed: Corpus, partly: Corpus) -> None:
    before = rows(whole)
    hidden = [{name: value if name in ("source", "license", "tokens") else None for name, value in row.items()} for row in before]
    assert rows(sealed) == hidden
    assert rows(partly) == [row if row["source"] == "web" else other for row, other in zip(before, hidden, strict=True)]
    assert sum(row["source"] == "web" for row in before) == 90


def test_nothing_from_which_a_text_can_be_guessed_is_there(whole: Corpus, sealed: Corpus, partly: Corpus) -> None:
    """Neither the text nor what anyone could compute of a text that they guess."""
    secret = (whole.path / "commitment" / "secret").read_bytes()
    records = np.fromfile(whole.path / "commitment" / "sorted.bin", open_sorted(whole).records.dtype)
    hints = [secret, whole.digest.encode(), SECRET_WORD.encode()]
    hints += [whole.manifest["languages"][code]["root"].encode() for code in whole.languages]
    for document in (d for d in DOCUMENTS if d.source == "archiv"):
        hints += [sha256(document.content).digest(), document.id.encode(), document.url.encode()]
    hints += [record.tobytes() for record in records["key"]]
    for public in (sealed, partly):
        files = [file for file in public.path.rglob("*") if file.is_file()]
        names = {str(file.relative_to(public.path)) for file in files}
        assert names == {
            "manifest.json", "commitment/commitment.json", *(f"lengths/{code}.u32" for code in whole.languages),
            *(f"commitment/{code}.{part}" for code in whole.languages for part in ("leaves", "sources", "trees")),
            *(f"index/{file.name}" for file in (whole.path / "index").iterdir()),
        }  # fmt: skip
        for file in files:
            content = file.read_bytes()
            if file.suffix == ".parquet":  # whose pages are compressed
                content += json.dumps(pq.read_table(file).to_pylist(), default=lambda value: value.hex(), ensure_ascii=False).encode()
            assert not [hint for hint in hints if hint in content or hint.hex().encode() in content], file


def test_the_rows_of_a_run_follow_from_the_public_part(whole: Corpus, sealed: Corpus) -> None:
    """So an auditor can list the documents of a step."""
    assert list(Stream(sealed, Mixture(), 64, 5).documents(0, 100)) == list(Stream(whole, Mixture(), 64, 5).documents(0, 100))
    assert sealed.digest == whole.manifest["commitment"]["root"] != whole.digest


def test_proofs_are_made_of_the_public_part_and_openings_fit_them(whole: Corpus, sealed: Corpus) -> None:
    root = whole.manifest["commitment"]["root"]
    for number in (0, 41, 89):
        proof = inclusion(sealed, "mlt_Latn", number)
        assert proof == inclusion(whole, "mlt_Latn", number)
        check_inclusion(proof, root)
        check_opening(open_document(whole, "mlt_Latn", number), proof)


def test_what_needs_the_sealed_part_says_so(whole: Corpus, sealed: Corpus, tmp_path: Path) -> None:
    def needs(what: str) -> pytest.RaisesExc:  # type: ignore[name-defined]
        return pytest.raises(ValueError, match=f"{sealed.path}: {what}.* needs the sealed part, .*; ask who holds the corpus")

    with needs("the text"):
        sealed.read(np.zeros(1, int), np.zeros(1, int))
    with needs("how often each token occurs"):
        _ = sealed.unigrams
    with needs("the salts of documents"):
        open_document(sealed, "ces_Latn", 0)
    with needs("where a text is"):
        open_sorted(sealed)
    with needs("data.mixture.where='quality >= 0.5'"):
        selected(sealed, "ces_Latn", "quality >= 0.5", tmp_path)
    assert len(sealed.faults()) == 1 and "needs the sealed part" in sealed.faults()[0]


def test_mistakes_are_told(whole: Corpus, sealed: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no source 'archive'; did you mean 'archiv'\?"):
        seal(whole, tmp_path / "out", ["archive"])
    with pytest.raises(ValueError, match=f"--out {tmp_path} exists"):
        seal(whole, tmp_path)
    with pytest.raises(ValueError, match="is the public part of a corpus already"):
        seal(sealed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_changed_public_part_is_noticed(sealed: Corpus, tmp_path: Path) -> None:
    manifest = json.loads((sealed.path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "digest": "00" * 32}))
    with pytest.raises(ValueError, match="its digest does not match"):
        Corpus(tmp_path)
