"""What a corpus commits to, made again by the definitions; proofs that need only a root; and every change to a corpus found and named."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from hmac import HMAC
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from varietas.data.corpus import corpus as corpus_module
from varietas.data.corpus import differences, index, proofs, sorted_tree
from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.proofs import check_absence, check_document, check_inclusion, check_opening, inclusion, open_document
from varietas.data.corpus.sorted_tree import absence, find, holds, open_sorted
from varietas.data.prepare import commit as commit_module
from varietas.data.prepare import prepare as prepare_module
from varietas.data.prepare.commit import commit
from varietas.data.prepare.prepare import one_by_one, prepare_documents
from varietas.data.text.documents import Document
from varietas.data.tokenizer import training as tokenizer
from varietas.data.tokenizer.model import load

SHARD = 40  # documents
KEYS = 16  # of a bucket
TWICE = "tento text je v korpusu dvakrát"
SIGNALS = {"quality": 0.1, "robots": True, "registers": {"IN": 0.25, "HI": 0.5}, "pii": [[1, 5]], "crawl": "CC-1"}
DOCUMENTS = [
    Document(
        f"id{i}",
        "ces_Latn" if i % 3 else "mlt_Latn",
        TWICE if i in (3, 100) else f"Věta {i} o {i * i} slovech. " * (1 + i % 4),
        f"https://example.org/{i}",
        ("web", "knihy", "noviny\tdenní")[0 if i < 100 else i % 4 % 3],
        "CC0",
        SIGNALS if i % 2 else {},
    )
    for i in range(300)
]


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    """Shards and buckets are small, so that these few documents make many."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (corpus_module, prepare_module, commit_module, proofs, differences, index):
            patch.setattr(module, "SHARD_DOCUMENTS", SHARD)
        patch.setattr(sorted_tree, "BUCKET_KEYS", KEYS)
        patch.setattr(sorted_tree, "CHUNK_BITS", 2)
        yield


@pytest.fixture(scope="module")
def model() -> bytes:
    return tokenizer.train(lambda: DOCUMENTS, 330)


@pytest.fixture(scope="module")
def whole(model: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "corpus"
    prepare_documents(DOCUMENTS, model, path)
    return path


@pytest.fixture
def mine(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(whole, tmp_path / "c"))


def top(leaves: list[bytes]) -> bytes:
    """The root by RFC 9162, section 2.1.1."""
    if len(leaves) <= 1:
        return sha256(b"\0" + leaves[0] if leaves else b"").digest()
    k = max(1 << i for i in range(20) if 1 << i < len(leaves))
    return sha256(b"\1" + top(leaves[:k]) + top(leaves[k:])).digest()


def test_the_roots_follow_from_the_documents_and_the_secret(whole: Path, model: bytes) -> None:
    """Everything is computed from the raw documents, by the definitions."""
    secret, processor = (whole / "commitment" / "secret").read_bytes(), load(model)
    public = HMAC(secret, b"sorted", "sha256").digest()
    sources: dict[tuple[str, str], dict[int, list[bytes]]] = {}
    keys = []
    for code in ("ces_Latn", "mlt_Latn"):
        for number, document in enumerate(d for d in DOCUMENTS if d.lang == code):
            salts = [HMAC(secret, f"{code}/{number}/{part}".encode(), "sha256").digest() for part in ("text", "entry")]
            ids = np.array(processor.encode(document.text, add_bos=True, add_eos=True), "<u2")
            digest = sha256(document.text.encode()).digest()
            entry = {"id": document.id, "source": document.source, "url": document.url, "license": "CC0", "language": code}
            entry |= {"bytes": len(document.text.encode()), "tokens": len(ids)}
            if document.signals:
                entry |= {**SIGNALS, "quality": float(np.float32(0.1))}
            said = json.dumps(entry, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
            leaf = number.to_bytes(8, "big") + sha256(salts[0] + digest + sha256(ids.tobytes()).digest()).digest()
            leaf += sha256(salts[1] + said).digest()
            sources.setdefault((code, document.source), {}).setdefault(number // SHARD, []).append(leaf)
            keys.append(sha256(public + digest).digest())
    entries = []
    for (code, source), shards in sorted(sources.items()):
        n = sum(map(len, shards.values()))
        entries.append(f"{code}\t{source}\t{n}\t".encode() + top([top(leaves) for _, leaves in sorted(shards.items())]))
    named = Corpus(whole).manifest["commitment"]
    assert named["root"] == top(entries).hex() and len(entries) == 6
    buckets = [[key for key in sorted(keys) if key[0] >> 3 == k] for k in range(32)]  # 300 keys, 16 each at most: 5 bits
    assert named["sorted_root"] == top([f"{len(bucket)}\t".encode() + public + top(bucket) for bucket in buckets]).hex()


def test_only_the_owner_can_read_the_secret(whole: Path) -> None:
    file = whole / "commitment" / "secret"
    assert file.stat().st_mode & 0o777 == 0o600 and len(file.read_bytes()) == 32


def test_each_document_has_a_proof_that_needs_only_the_root(whole: Path) -> None:
    corpus = Corpus(whole)
    root, others = corpus.manifest["commitment"]["root"], []
    for code in corpus.languages:
        for number in range(corpus.documents(code)):
            proof = json.loads(json.dumps(inclusion(corpus, code, number)))
            check_inclusion(proof, root)
            assert (proof["language"], proof["number"], proof["root"]) == (code, number, root)
            others.append(proof)
    assert len({proof["text_commitment"] for proof in others}) == 300  # also of the text that is there twice
    first, other = others[0], others[250]
    for field in first:
        if field not in ("claim", "root"):
            with pytest.raises(ValueError, match="does not hold"):
                check_inclusion({**first, field: other[field] if other[field] != first[field] else 77}, root)
    for proof in ({}, {**first, "number": "1"}, {**first, "in_shard": None}, {**first, "text_commitment": 5}, {**first, "number": 1 << 70}):
        with pytest.raises(ValueError, match="this is no proof of inclusion: a field is missing or of another kind"):
            check_inclusion(proof, root)
    with pytest.raises(ValueError, match=f"it leads to the root {root}, not to 00"):
        check_inclusion(first, "00" * 32)


def test_documents_that_do_not_exist_have_no_proof(whole: Path) -> None:
    corpus = Corpus(whole)
    for number in (-1, 200):
        with pytest.raises(ValueError, match=rf"has no document {number} of ces_Latn; it has 200, from 0 on"):
            inclusion(corpus, "ces_Latn", number)
    with pytest.raises(ValueError, match="has no language deu_Latn; it has ces_Latn, mlt_Latn"):
        open_document(corpus, "deu_Latn", 0)


def test_an_opening_shows_one_document_and_nothing_else_passes_for_it(whole: Path) -> None:
    corpus = Corpus(whole)
    czech = [d for d in DOCUMENTS if d.lang == "ces_Latn"]
    proof, opening = inclusion(corpus, "ces_Latn", 70), json.loads(json.dumps(open_document(corpus, "ces_Latn", 70)))
    check_opening(opening, proof)
    assert opening["content_digest"] == sha256(czech[70].text.encode()).hexdigest()
    assert json.loads(opening["entry"])["url"] == czech[70].url
    for parts in (("text",), ("entry",)):
        half = open_document(corpus, "ces_Latn", 70, parts)  # type: ignore[arg-type]
        assert half.items() < opening.items()
        check_opening(half, proof)
    digest = sha256(czech[71].text.encode()).hexdigest()
    with pytest.raises(ValueError, match="document 70 of ces_Latn: its text is not what the corpus committed to"):
        check_opening({**opening, "content_digest": digest}, proof)
    with pytest.raises(ValueError, match="document 70 of ces_Latn: its index entry is not what the corpus committed to"):
        check_opening({**opening, "entry": opening["entry"].replace("CC0", "CC1")}, proof)
    with pytest.raises(ValueError, match="it shows document 71 of ces_Latn, and the proof is of document 70"):
        check_opening(open_document(corpus, "ces_Latn", 71), proof)
    with pytest.raises(ValueError, match="it shows nothing"):
        check_opening({"language": "ces_Latn", "number": 70}, proof)
    with pytest.raises(ValueError, match="this is no opening: a field is missing"):
        check_opening({**opening, "entry_salt": None}, proof)


def test_texts_are_found_in_all_languages(whole: Path) -> None:
    corpus, numbers = Corpus(whole), dict.fromkeys(("ces_Latn", "mlt_Latn"), 0)
    tree, where = open_sorted(corpus), dict[str, list[tuple[str, int]]]()
    for document in DOCUMENTS:
        where.setdefault(document.text, []).append((document.lang, numbers[document.lang]))
        numbers[document.lang] += 1
    for text, expected in where.items():
        assert find(tree, sha256(text.encode()).digest()) == sorted(expected)
    assert len(where[TWICE]) == 2
    assert find(tree, sha256(b"elsewhere").digest()) == []
    keys = np.concatenate([np.empty(0, sorted_tree.KEYS)] + [tree.records[["key", "number"]][tree.records["language"] == 0]]).copy()
    keys["number"][5] += 1
    assert holds(tree, "ces_Latn", keys.astype(sorted_tree.KEYS)).tolist() == [k != 5 for k in range(200)]


def test_what_is_absent_can_be_proved_and_what_is_there_cannot(whole: Path) -> None:
    corpus = Corpus(whole)
    tree, root = open_sorted(corpus), corpus.manifest["commitment"]["sorted_root"]
    shapes = set()
    for i in range(1500):
        digest = sha256(b"absent %d" % i).digest()
        proof = json.loads(json.dumps(absence(tree, digest)))
        check_absence(proof, digest, root)
        shapes.add((proof["before"] is None, proof["after"] is None))
    assert {(False, False), (True, False), (False, True)} <= shapes
    for document in DOCUMENTS:
        with pytest.raises(ValueError, match="the text is in the corpus, as document"):
            absence(tree, sha256(document.text.encode()).digest())


def test_no_other_proof_of_absence_holds(whole: Path) -> None:
    """Forgeries for a text that is there: around its key, over it, with another salt, bucket or count."""
    corpus = Corpus(whole)
    tree, root = open_sorted(corpus), corpus.manifest["commitment"]["sorted_root"]
    number, begin, end = max((tree.bucket(key) for key in tree.records["key"].tolist()), key=lambda found: found[2] - found[1])
    record = tree.records[begin + 1]
    there = next(d for d in DOCUMENTS if find(tree, sha256(d.text.encode()).digest())[0] == _named(tree, record))
    digest = sha256(there.text.encode()).digest()
    absent = next(
        proof
        for i in range(10_000)
        if (proof := absence(tree, sha256(b"%d" % i).digest()))["bucket"]["index"] == number and proof["before"] and proof["after"]
    )
    keys = tree.records["key"][begin:end].tolist()

    def side(at: int) -> dict[str, Any]:
        return {"index": at, "key": keys[at].hex(), "path": [s.hex() for s in sorted_tree.path(keys, at)]}

    base = {**absent, "content_digest": digest.hex()}
    forged = {
        "not neighbours": {**base, "before": side(0), "after": side(2)},
        "is not between the two keys": {**base, "before": side(0), "after": side(1)},
        "is not between": {**base, "before": side(2), "after": side(3)},
        "two keys are not neighbours": {**base, "before": None, "after": side(2)},
        "not neighbours in": {**base, "before": side(0), "after": None},
        "not in the bucket": {**base, "before": {**side(0), "index": 1}, "after": side(2)},
        "another bucket": {**base, "bucket": {**base["bucket"], "index": number ^ 1}},
        "not neighbours in the bucket": {**base, "before": None, "after": None},
        "leads to the root": {**base, "before": None, "after": None, "bucket": {**base["bucket"], "documents": 0, "root": top([]).hex()}},
    }
    for says, proof in forged.items():
        with pytest.raises(ValueError, match=f"this proof of absence does not hold: .*{says}"):
            check_absence(proof, digest, root)
    other = sha256(b"another salt").digest()
    for proof in ({**absent, "salt": other.hex()}, {**absent, "bucket": {**absent["bucket"], "documents": len(keys) + 1}}):
        with pytest.raises(ValueError, match="does not hold"):
            check_absence(proof, bytes.fromhex(absent["content_digest"]), root)
    with pytest.raises(ValueError, match="it is about another text"):
        check_absence(absent, digest, root)
    for proof in ({}, {**absent, "bucket": 1}, {**absent, "before": {}}):
        with pytest.raises(ValueError, match="this is no proof of absence: a field is missing or of another kind"):
            check_absence(proof, bytes.fromhex(absent["content_digest"]), root)


def _named(tree: sorted_tree.SortedTree, record: np.void) -> tuple[str, int]:
    return tree.languages[record["language"]], int(record["number"])


def test_a_small_corpus_has_one_bucket_and_a_bucket_may_be_empty(model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_documents(DOCUMENTS[:1], model, tmp_path / "one")
    monkeypatch.setattr(sorted_tree, "BUCKET_KEYS", 1)
    prepare_documents(DOCUMENTS[:9], model, tmp_path / "nine")
    for name, empty in (("one", False), ("nine", True)):
        corpus = Corpus(tmp_path / name)
        tree, found = open_sorted(corpus), set()
        for i in range(100):
            digest = sha256(b"%d" % i).digest()
            proof = absence(tree, digest)
            check_absence(proof, digest, corpus.commitment["sorted"]["root"])
            found.add(proof["bucket"]["documents"] == 0)
        assert (True in found) == empty and tree.bits == (4 if empty else 0)


# --- changes to a corpus


def edit_index(column: str, value: Any, number: int = 47) -> Callable[[Path], None]:
    def change(corpus: Path) -> None:
        file = corpus / "index" / f"ces_Latn-{number // SHARD:05d}.parquet"
        table = pq.read_table(file)
        rows = table.to_pylist()
        rows[number % SHARD][column] = value
        pq.write_table(pa.Table.from_pylist(rows, table.schema), file)

    return change


def edit_tokens(corpus: Path) -> None:
    """One token of document 47 is another one."""
    texts = [ids.copy() for ids in read(Corpus(corpus), range(SHARD, 2 * SHARD))]
    texts[7][3] ^= 1
    write_tokens(corpus / "tokens" / "ces_Latn-00001.array_record", texts)


def read(corpus: Corpus, numbers: range) -> list[np.ndarray]:
    return corpus.read(np.zeros(len(numbers), int), np.array(numbers))


def write_tokens(file: Path, texts: list[np.ndarray]) -> None:
    writer = ArrayRecordWriter(str(file), "group_size:1")
    for ids in texts:
        writer.write(ids.tobytes())
    writer.close()


def exchange(corpus: Path) -> None:
    """Documents 47 and 48 change places, in all files."""
    opened = Corpus(corpus)
    texts = read(opened, range(SHARD, 2 * SHARD))
    texts[7], texts[8] = texts[8], texts[7]
    write_tokens(corpus / "tokens" / "ces_Latn-00001.array_record", texts)
    lengths = np.fromfile(corpus / "lengths" / "ces_Latn.u32", "<u4")
    lengths[[47, 48]] = lengths[[48, 47]]
    lengths.tofile(corpus / "lengths" / "ces_Latn.u32")
    file = corpus / "index" / "ces_Latn-00001.parquet"
    table = pq.read_table(file)
    pq.write_table(table.take([*range(7), 8, 7, *range(9, SHARD)]), file)


def resize(by: int) -> Callable[[Path], None]:
    """The last document of Czech is removed, or is there once more, in all files but the commitment."""

    def change(corpus: Path) -> None:
        opened = Corpus(corpus)
        texts, places = read(opened, range(160, 200)), [*range(40), 39][: 40 + by]
        if by > 0:  # a shard is full, so that the document begins another
            write_tokens(corpus / "tokens" / "ces_Latn-00005.array_record", texts[-1:])
            table = pq.read_table(corpus / "index" / "ces_Latn-00004.parquet")
            pq.write_table(table.slice(39), corpus / "index" / "ces_Latn-00005.parquet")
        else:
            write_tokens(corpus / "tokens" / "ces_Latn-00004.array_record", [texts[place] for place in places])
            table = pq.read_table(corpus / "index" / "ces_Latn-00004.parquet")
            pq.write_table(table.take(places), corpus / "index" / "ces_Latn-00004.parquet")
        lengths = np.fromfile(corpus / "lengths" / "ces_Latn.u32", "<u4")
        np.concatenate([lengths[:160], lengths[160:][places]]).tofile(corpus / "lengths" / "ces_Latn.u32")
        manifest = json.loads((corpus / "manifest.json").read_text())
        language = manifest["languages"]["ces_Latn"]
        language["documents"] += by
        del language["shard_bytes"]
        (corpus / "manifest.json").write_text(json.dumps(manifest))

    return change


def edit_commitment(edit: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def change(corpus: Path) -> None:
        file = corpus / "commitment" / "commitment.json"
        content = json.loads(file.read_text())
        edit(content)
        file.write_text(json.dumps(content))

    return change


def flip(name: str, at: int) -> Callable[[Path], None]:
    def change(corpus: Path) -> None:
        content = bytearray((corpus / "commitment" / name).read_bytes())
        content[at] ^= 1
        (corpus / "commitment" / name).write_bytes(content)

    return change


def faults(corpus: Corpus) -> list[str]:
    shards = [(code, shard) for code in corpus.languages for shard in range(corpus.n_shards(code))]
    return list(differences.of_roots(corpus)) or [line for shard in shards for line in differences.of_shard(corpus, *shard)]


def test_a_corpus_that_is_as_it_was_has_no_differences(whole: Path) -> None:
    corpus = Corpus(whole)
    assert faults(corpus) == [] == [line for n in (0, 47, 199) for line in check_document(corpus, "ces_Latn", n)]


ENTRY = r"its index entry \(id, source, url, license, bytes, tokens or signals\) is not what was committed to"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (edit_tokens, "its tokens are not what was committed to"),
        (edit_index("id", "id0"), ENTRY),
        (edit_index("url", None), ENTRY),
        (edit_index("license", "CC-BY-4.0"), ENTRY),
        (edit_index("bytes", 1), ENTRY),
        (edit_index("quality", 0.125), ENTRY),
        (edit_index("digest", bytes(32)), "the digest of its text is not what was committed to"),
        (flip("ces_Latn.leaves", 47 * 64), "its tokens are not what was committed to"),
        (flip("ces_Latn.leaves", 47 * 64 + 63), ENTRY),
    ],
)
def test_a_change_to_one_document_is_found_and_named(change: Callable[[Path], None], says: str, mine: Path) -> None:
    change(mine)
    corpus = Corpus(mine)
    first, *others = faults(corpus)
    assert _matches(f"document 47 of ces_Latn: {says}$", first) and not [line for line in others if line.startswith("document")]
    found, *_ = check_document(corpus, "ces_Latn", 47)
    assert _matches(f"document 47 of ces_Latn: {says}$", found) and check_document(corpus, "ces_Latn", 46)[1:] == []


def _matches(pattern: str, text: str) -> bool:
    return re.match(pattern, text) is not None


def test_documents_in_another_order_are_both_named(mine: Path) -> None:
    exchange(mine)
    found = faults(Corpus(mine))
    assert [line[: line.index(":")] for line in found] == ["document 47 of ces_Latn", "document 48 of ces_Latn"]
    assert all(_matches(rf".*: the digest of its text is not .*; {ENTRY}", line) or "tokens" in line for line in found)


@pytest.mark.parametrize(("by", "n"), [(-1, 199), (1, 201)])
def test_documents_that_were_removed_or_added_are_noticed(by: int, n: int, mine: Path) -> None:
    resize(by)(mine)
    assert faults(Corpus(mine)) == [f"{mine}: it has {n} documents of ces_Latn, and committed to 200"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (edit_commitment(lambda c: c.update(root="00" * 32)), r"it has the root 00.*, but manifest.json names"),
        (edit_commitment(lambda c: c["sorted"].update(root="00" * 32)), r"it has the sorted_root 00.*, but manifest.json names"),
        (
            edit_commitment(lambda c: c["languages"]["ces_Latn"]["sources"]["web"].update(documents=5)),
            r"documents of ces_Latn, source 'web', is 5, and 134 by ces_Latn.trees",
        ),
        (
            edit_commitment(lambda c: c["languages"]["ces_Latn"]["sources"]["web"].update(root="00" * 32)),
            r"root of ces_Latn, source 'web', is 00",
        ),
        (edit_commitment(lambda c: c["languages"]["ces_Latn"].update(documents=7)), "committed to 7"),
        (edit_commitment(lambda c: c["languages"].pop("mlt_Latn")), "100 documents of mlt_Latn, and committed to 0"),
        (edit_commitment(lambda c: c["sorted"].update(salt="00" * 32)), r"buckets.bin: it has the root"),
        (edit_commitment(lambda c: c.pop("languages")), r"commitment.json: a field is missing or of another kind; restore the folder"),
        (edit_commitment(lambda c: c["sorted"].update(salt="xy")), r"commitment.json: a field is missing or of another kind"),
        (edit_commitment(lambda c: c.update(format=2)), r"commitment.json: format 2, this version reads 1"),
        (lambda corpus: (corpus / "commitment" / "commitment.json").unlink(), "no such file, but manifest.json names a commitment"),
        (edit_commitment(lambda c: c["sorted"].update(bits=3)), r"buckets.bin: expected 320 bytes"),
        (flip("ces_Latn.trees", 20), r"root of ces_Latn, source"),
        (flip("ces_Latn.sources", 47 * 4), r"ces_Latn.sources: document 47 has no source of commitment.json"),
        (
            flip("ces_Latn.sources", 104 * 4),
            r"shard 2 of source 'knihy' .* shard 2 of source 'noviny\\tdenní' has .* document 104 of ces_Latn",
        ),
        (flip("sorted.bin", 38 * 20), r"sorted.bin: the keys of bucket \d+ are not those of buckets.bin"),
        (flip("sorted.bin", 38 * 20 + 35), r"its text is not in the sorted tree"),
        (flip("buckets.bin", 12), r"buckets.bin: it has the root"),
        (lambda corpus: (corpus / "commitment" / "secret").unlink(), "only who has the secret of a corpus can show its documents"),
        (lambda corpus: (corpus / "commitment" / "secret").write_bytes(b""), "it has 0 bytes, expected 32"),
        (lambda corpus: (corpus / "commitment" / "ces_Latn.leaves").unlink(), "ces_Latn.leaves: expected 200 records of 64 bytes"),
    ],
)
def test_a_change_to_the_commitment_is_found_and_named(change: Callable[[Path], None], says: str, mine: Path) -> None:
    change(mine)
    try:
        found = " ".join(faults(Corpus(mine)))
    except ValueError as error:
        found = str(error)
    assert _matches(f"(?s).*{says}", found), found


# --- corpora of older versions


@pytest.fixture
def old(mine: Path) -> Path:
    """A corpus without a commitment."""
    shutil.rmtree(mine / "commitment")
    manifest = json.loads((mine / "manifest.json").read_text())
    del manifest["commitment"]
    (mine / "manifest.json").write_text(json.dumps(manifest))
    return mine


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_corpus_without_a_commitment_says_how_to_make_one(old: Path) -> None:
    with pytest.raises(ValueError, match=f"{old} has no commitment; `varietas audit commit --corpus {old}` makes one"):
        inclusion(Corpus(old), "ces_Latn", 0)


def test_a_commitment_made_later_is_the_same(old: Path, whole: Path) -> None:
    """Given the same secret. The call is interrupted, and continued."""
    work = old / ".committing"
    work.mkdir()
    shutil.copy(whole / "commitment" / "secret", work)

    def stopping(stage: str, tasks: Any, do: Callable[[str], None]) -> None:
        one_by_one(stage, tasks[:3], do)
        if tasks:
            raise KeyboardInterrupt

    for _ in range(4):  # eight shards, eight chunks
        with pytest.raises(KeyboardInterrupt):
            commit(old, stopping)
    done = sorted(path.name for path in work.iterdir())
    assert done == ["commitments", "secret", "sorted", "sorting.json"]
    content = commit(old, one_by_one)
    assert content == Corpus(old).commitment == Corpus(whole).commitment
    assert files(old) | {"manifest.json": b""} == files(whole) | {"manifest.json": b""}
    with pytest.raises(ValueError, match="has a commitment already"):
        commit(old, one_by_one)


def test_a_damaged_document_is_not_committed_to(old: Path) -> None:
    file = old / "tokens" / "ces_Latn-00001.array_record"
    content = bytearray(file.read_bytes())
    content[200] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"ces_Latn-00001.array_record: document \d+ of ces_Latn is damaged"):
        commit(old, one_by_one)
    assert not (old / "commitment").exists()
