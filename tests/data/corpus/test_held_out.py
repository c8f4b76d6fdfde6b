"""Documents that are held out for evaluation: chosen by digest alone, whole, in no shard, and bounded when they are read."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from varietas.data.chat.template import OWN
from varietas.data.clean.cleaning import Cleaning
from varietas.data.corpus.corpus import Corpus, decoded
from varietas.data.corpus.held_out import held_out_documents
from varietas.data.corpus.sources import Sources
from varietas.data.prepare.engine import local
from varietas.data.prepare.prepare import one_by_one, prepare
from varietas.data.text.documents import Document
from varietas.data.text.fields import Reading
from varietas.data.tokenizer.training import train

SHARE = 0.25
TEXTS = [f"Věta číslo {i} o {i * i} slovech.\n{chr(10).join(['další'] * (i % 7))}" for i in range(400)]


def is_held_out(text: str) -> bool:
    """By the definition in the documentation: the first 8 bytes of the SHA-256 as a fraction of 2^64, least significant byte first."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") / 2**64 < SHARE


def write(file: Path, texts: list[str], **fields: str) -> str:
    lines = [{"text": text, "lang": "ces_Latn" if i % 4 else "fin_Latn", **fields} for i, text in enumerate(texts)]
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    return str(file)


@pytest.fixture(scope="module")
def model() -> bytes:
    return train(lambda: [Document(str(i), "ces_Latn", text) for i, text in enumerate(TEXTS)], 320)


@pytest.fixture(scope="module")
def corpus(model: bytes, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("held")
    files = [write(folder / "a.jsonl", TEXTS[:300], source="noviny"), write(folder / "b.jsonl", TEXTS[200:])]
    prepare(files, model, folder / "web", Cleaning(duplicates="exact", held_out=SHARE), local(2))
    return Corpus(folder / "web")


def test_digests_decide_and_every_record_is_accounted_for(corpus: Corpus) -> None:
    held = [d.text for d in held_out_documents(corpus, 1 << 30)]
    assert Counter(held) == Counter(filter(is_held_out, TEXTS)) and 60 < len(held) < 140
    assert Counter(d.text for d in decoded(corpus)) == Counter(text for text in TEXTS if not is_held_out(text))
    manifest = corpus.manifest
    counts = manifest["held_out"]
    assert sum(of["documents"] for of in counts.values()) == len(held)
    assert sum(of["bytes"] for of in counts.values()) == sum(len(text.encode()) for text in held)
    assert manifest["records_read"] == manifest["documents"] + len(held) + manifest["rejected"]["duplicate"] == 500
    assert "held out" not in (corpus.path / "rejects.jsonl").read_text()


def test_no_held_out_document_is_in_the_index(corpus: Corpus) -> None:
    digests = {row for file in (corpus.path / "index").iterdir() for row in pq.read_table(file)["digest"].to_pylist()}
    assert not digests & {hashlib.sha256(d.text.encode()).digest() for d in held_out_documents(corpus, 1 << 30)}


def test_the_first_documents_are_those_with_the_least_digests_and_long_ones_are_passed_over(corpus: Corpus) -> None:
    everything = [d for d in held_out_documents(corpus, 1 << 30) if d.lang == "ces_Latn"]
    assert [d.text for d in everything] == sorted((d.text for d in everything), key=lambda t: hashlib.sha256(t.encode()).digest())
    size = sum(len(d.text.encode()) for d in everything[:5])
    assert [d for d in held_out_documents(corpus, size) if d.lang == "ces_Latn"] == everything[:5]
    short = min(everything, key=lambda d: len(d.text.encode()))
    assert short in held_out_documents(corpus, len(short.text.encode())) and held_out_documents(corpus, 0) == []


def test_a_share_of_zero_changes_nothing(model: bytes, tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", TEXTS[:50])
    manifest = prepare([file], model, tmp_path / "c", Cleaning(), one_by_one)
    assert "held_out" not in manifest and not (tmp_path / "c" / "held_out").exists() and manifest["documents"] == 50


def test_documents_without_a_source_have_the_name_of_their_corpus(corpus: Corpus, model: bytes, tmp_path: Path) -> None:
    prepare(
        [write(tmp_path / "c.jsonl", [f"{t} {i}" for i, t in enumerate(TEXTS)])],
        model,
        tmp_path / "wiki",
        Cleaning(held_out=0.1),
        one_by_one,
    )
    alone = {d.source for d in held_out_documents(corpus, 1 << 30)}
    assert alone == {"noviny", ""}
    assert {d.source for d in held_out_documents(Sources(corpus, Corpus(tmp_path / "wiki")), 1 << 30)} == {"noviny", "web", "wiki"}


def test_conversations_keep_their_turns(model: bytes, tmp_path: Path) -> None:
    from varietas.data.chat.encoder import ChatModel

    turns = [{"role": "user", "content": "Kolik?"}, {"role": "assistant", "content": "Dvě."}]
    lines = [{"lang": "ces_Latn", "messages": [{**turns[0], "content": f"Kolik je {i}?"}, turns[1]]} for i in range(40)]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    chat = ChatModel(model, OWN)
    prepare([str(tmp_path / "chats.jsonl")], chat, tmp_path / "c", Cleaning(held_out=0.5), one_by_one, reading=Reading(kind="chat"))
    held = held_out_documents(Corpus(tmp_path / "c"), 1 << 30)
    assert 8 < len(held) < 32 and all(d.turns[1] == ("assistant", "Dvě.") and d.turns[0][1].startswith("Kolik je") for d in held)
    with pytest.raises(ValueError, match="models are not evaluated on preferences"):
        prepare(
            [str(tmp_path / "chats.jsonl")], chat, tmp_path / "d", Cleaning(held_out=0.5), one_by_one, reading=Reading(kind="preferences")
        )


def test_nothing_left_and_a_damaged_file_are_told(corpus: Corpus, model: bytes, tmp_path: Path) -> None:
    held = next(text for text in TEXTS if is_held_out(text))
    with pytest.raises(ValueError, match=r"only documents that are held out; lower clean.held_out=0.25"):
        prepare([write(tmp_path / "a.jsonl", [held])], model, tmp_path / "c", Cleaning(held_out=SHARE), one_by_one)
    (tmp_path / "copy" / "held_out").mkdir(parents=True)
    for file in corpus.path.iterdir():
        if file.name != "held_out":
            (tmp_path / "copy" / file.name).symlink_to(file)
    (tmp_path / "copy" / "held_out" / "ces_Latn.jsonl").write_text('{"lang": "ces_Latn", "te')
    with pytest.raises(ValueError, match=r"ces_Latn.jsonl, line 1: .*restore the file"):
        held_out_documents(Corpus(tmp_path / "copy"), 1000)
