"""From chat JSON Lines to rows: only the assistant's turns are learned, in whichever row they come to lie."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from varietas.data.chat.encoder import ChatModel, chat_model
from varietas.data.chat.marks import learned as is_learned
from varietas.data.chat.marks import mark, widened, without_marks
from varietas.data.chat.marks import rejected as is_rejected
from varietas.data.chat.template import OWN, Chat
from varietas.data.clean.cleaning import Cleaning
from varietas.data.corpus.corpus import Corpus, corpus_digest, decoded
from varietas.data.corpus.sources import Sources, open_corpus
from varietas.data.prepare.prepare import one_by_one, prepare
from varietas.data.stream.mixture import Mixture
from varietas.data.stream.stream import Stream
from varietas.data.text.conversation import turns_of
from varietas.data.text.fields import Reading
from varietas.data.tokenizer.model import load

N, L = 240, 128
WORDS = ("jedna", "dvě", "tři", "čtyři", "pět")


def conversation(i: int) -> list[dict[str, str]]:
    """Some are one turn long, some are longer than a row."""
    turns = [{"role": "system", "content": "Buď stručný."}] if i % 3 == 0 else []
    for turn in range(1 + i % 4 + 8 * (i % 40 == 0)):
        turns.append({"role": "user", "content": f"{WORDS[(i + turn) % 5]} {i}?"})
        turns.append({"role": "assistant", "content": " ".join(WORDS[: 1 + (i + turn) % 5]) + "!"})
    return turns


@pytest.fixture(scope="module")
def model(corpus_folder: Path) -> ChatModel:
    return chat_model((corpus_folder / "tokenizer.model").read_bytes(), OWN)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chats")
    lines = [{"id": str(i), "lang": ("ces_Latn", "slk_Latn")[i % 2], "messages": conversation(i)} for i in range(N)]
    bad = [
        {"lang": "cs", "text": "no conversation"},
        {"lang": "cs", "messages": [{"role": "user", "content": "a"}]},
        {"lang": "cs", "messages": [{"role": "user", "content": "</s>"}, {"role": "assistant", "content": "a"}]},
        {"messages": [{"role": "assistant", "content": "a"}]},
    ]
    (folder / "chats.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines + bad))
    return folder


@pytest.fixture(scope="module")
def corpus(files: Path, model: ChatModel) -> Corpus:
    prepare([str(files / "chats.jsonl")], model, files / "corpus", Cleaning(unicode=True), one_by_one, reading=Reading(kind="chat"))
    return Corpus(files / "corpus")


def stream_of(corpus: Corpus | Sources) -> Stream:
    return Stream(corpus, Mixture(), L, seed=3)


def test_marks_keep_ids() -> None:
    for dtype, most in (("<u2", 1 << 14), ("<u4", 1 << 30)):
        ids = np.array([0, 1, most - 1, 2], dtype)
        learned, rejected = np.array([True, False, False, True]), np.array([False, False, True, True])
        marked = mark(ids, learned, rejected)
        assert marked.dtype == ids.dtype and without_marks(marked).tolist() == ids.tolist()
        for learns in (True, False):
            wide = widened(marked, learns)
            assert wide.dtype == np.uint32 and without_marks(wide).tolist() == ids.tolist()
            assert is_learned(wide).tolist() == (learned & learns).tolist() and is_rejected(wide).tolist() == rejected.tolist()


def test_a_corpus_of_conversations(corpus: Corpus, model: ChatModel) -> None:
    manifest = corpus.manifest
    assert manifest["documents"] == N and manifest["rejected"] == {
        "a turn spells the special token </s>": 1,
        "no lang": 1,
        "not a conversation: no messages": 1,
        "nothing said by the assistant": 1,
    }
    chat = Chat(load(corpus.tokenizer), OWN)
    for at, code in enumerate(corpus.languages):
        mine = [i for i in range(N) if i % 2 == at]
        found = corpus.read(np.full(len(mine), at), np.arange(len(mine)))
        for i, ids in zip(mine, found, strict=True):
            expected, learned = chat.encode(tuple((turn["role"], turn["content"]) for turn in conversation(i)))
            assert without_marks(ids).tolist() == expected.tolist() and is_learned(ids).tolist() == learned.tolist()
        digests = pq.read_table(corpus.path / "index" / f"{code}-00000.parquet").column("digest").to_pylist()
        turns = [[turn["role"], turn["content"]] for turn in conversation(mine[0])]
        assert digests[0] == hashlib.sha256(json.dumps(turns, ensure_ascii=False).encode()).digest()
    assert manifest["digest"] != corpus_digest(manifest["tokenizer_digest"], manifest["languages"])  # the template counts
    assert corpus.unigrams.sum() == manifest["tokens"]
    assert manifest["learned"] == sum(int(chat.encode(turns_of({"messages": conversation(i)}))[1].sum()) for i in range(N))
    assert sum(document.text.count("!") for document in decoded(corpus)) == sum(json.dumps(conversation(i)).count("!") for i in range(N))


def test_rows_learn_only_what_the_assistant_says(corpus: Corpus) -> None:
    stream, chat = stream_of(corpus), Chat(load(corpus.tokenizer), OWN)
    n = corpus.manifest["tokens"] // L
    rows = stream.rows(0, n)
    begun, cut, at = 0, 0, dict.fromkeys(range(n), 0)
    for piece in stream.documents(0, n):
        language = corpus.languages.index(piece.language)
        turns = conversation(2 * piece.document + language)
        ids, learned = chat.encode(tuple((turn["role"], turn["content"]) for turn in turns))
        part, here = slice(piece.begin, piece.begin + piece.size), slice(at[piece.row], at[piece.row] + piece.size)
        at[piece.row] += piece.size
        assert rows["tokens"][piece.row, here].tolist() == ids[part].tolist()
        languages = rows["languages"][piece.row, here]
        assert ((languages >= 0) == learned[part] & (piece.begin == 0)).all()  # without its beginning, a conversation is only read
        assert set(np.maximum(languages, ~languages).tolist()) == {language}
        begun, cut = begun + (piece.begin == 0), cut + (piece.begin > 0)
    assert begun > 200 and cut > 0


def test_conversations_and_texts_in_one_mixture(corpus: Corpus, corpus_folder: Path) -> None:
    both = open_corpus(f"{corpus.path},{corpus_folder}")
    assert both.chat_template == corpus.chat_template
    stream = Stream(both, Mixture(sources="corpus:50"), L, seed=3)
    rows = stream.rows(0, 64)
    sources = {piece.source for piece in stream.documents(0, 64)}
    assert sources == {"corpus", corpus_folder.name}
    real = rows["segments"] > 0
    assert (rows["tokens"] >= 0).all() and (rows["languages"][real] < 0).any() and (rows["languages"][real] >= 0).mean() > 0.5


def test_conversations_without_the_flag(model: ChatModel, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps({"messages": conversation(1)}))
    with pytest.raises(ValueError, match="a conversation, which --chat reads: 1"):
        prepare([str(tmp_path / "x.jsonl")], model.tokenizer, tmp_path / "c", Cleaning(), one_by_one, reading=Reading("ces_Latn"))


def test_a_template_that_was_changed_is_damage(files: Path, model: ChatModel, tmp_path: Path) -> None:
    prepare([str(files / "chats.jsonl")], model, tmp_path / "c", Cleaning(), one_by_one, reading=Reading(kind="chat"))
    (tmp_path / "c" / "chat_template.jinja").write_text("other")
    with pytest.raises(ValueError, match=r"chat_template.jinja: it is not the chat template with which the corpus was prepared"):
        Corpus(tmp_path / "c")
    (tmp_path / "c" / "chat_template.jinja").unlink()
    with pytest.raises(ValueError, match=r"chat_template.jinja: no such file"):
        Corpus(tmp_path / "c")
