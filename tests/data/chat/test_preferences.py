"""From records with `chosen` and `rejected` to rows: both conversations of a pair in one row, each in a segment of its own."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from varietas.data.chat.encoder import ChatModel, chat_model
from varietas.data.chat.marks import learned, rejected, without_marks
from varietas.data.chat.template import OWN, Chat
from varietas.data.clean.cleaning import Cleaning
from varietas.data.corpus.corpus import Corpus
from varietas.data.prepare.prepare import one_by_one, prepare
from varietas.data.stream.mixture import Mixture
from varietas.data.stream.stream import Stream
from varietas.data.text.conversation import preference_of
from varietas.data.text.fields import Reading
from varietas.data.tokenizer.model import load

N, L = 120, 128
PREFERENCES = Reading(kind="preferences")


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def record(i: int) -> dict[str, Any]:
    """The forms that TRL knows; some are longer than a row."""
    question, good, bad = f"Kolik je {i}?", f"To je {i}.", f"Nevím, {i}." + " Asi nic." * (60 if i % 30 == 0 else i % 7)
    before = [said("system", "Buď stručný."), said("user", "Ahoj"), said("assistant", "Ahoj!")] if i % 2 else []
    if i % 4 == 0:
        return {"prompt": question, "chosen": good, "rejected": bad}
    prompt = [*before, said("user", question)]
    if i % 4 == 1:
        return {"prompt": prompt, "chosen": [said("assistant", good)], "rejected": [said("assistant", bad)]}
    return {"chosen": [*prompt, said("assistant", good)], "rejected": [*prompt, said("assistant", bad)], "prompt": question}


@pytest.fixture(scope="module")
def model(corpus_folder: Path) -> ChatModel:
    return chat_model((corpus_folder / "tokenizer.model").read_bytes(), OWN)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, model: ChatModel) -> Corpus:
    folder = tmp_path_factory.mktemp("preferences")
    bad = [
        {"messages": [said("user", "a"), said("assistant", "b")]},
        {"prompt": "a", "chosen": "b", "rejected": "b"},
        {"chosen": "Human: a Assistant: b", "rejected": "Human: a Assistant: c"},
        {"prompt": "a", "chosen": {"content": "b"}, "rejected": "c"},
        {"prompt": "a", "chosen": "</s>", "rejected": "c"},
        {"prompt": "a", "chosen": [said("assistant", "b"), said("user", "c")], "rejected": "c"},
    ]
    lines = [{"id": str(i), "lang": "ces_Latn", **record(i)} for i in range(N)] + [{"lang": "cs", **one} for one in bad]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    prepare([str(folder / "pairs.jsonl")], model, folder / "corpus", Cleaning(unicode=True), one_by_one, reading=PREFERENCES)
    return Corpus(folder / "corpus")


def test_a_corpus_of_preferences(corpus: Corpus) -> None:
    assert corpus.has_preferences and corpus.manifest["documents"] == N
    assert corpus.manifest["rejected"] == {
        "a turn spells the special token </s>": 1,
        "chosen and rejected are the same": 1,
        "chosen or rejected does not end with what the assistant says to a prompt": 1,
        "chosen or rejected without a prompt": 1,
        "chosen, rejected or prompt is neither a text nor a list of messages": 1,
        "a conversation, not a preference": 1,
    }
    chat = Chat(load(corpus.tokenizer), OWN)
    for i, ids in enumerate(corpus.read(np.zeros(N, int), np.arange(N))):
        both = [chat.encode(turns)[0].tolist() for turns in preference_of(record(i))]
        assert [without_marks(ids)[side].tolist() for side in (~rejected(ids), rejected(ids))] == both
        read = [corpus_text(corpus, without_marks(ids)[side & learned(ids)]) for side in (~rejected(ids), rejected(ids))]
        good, bad = (turns[-1][1] for turns in preference_of(record(i)))
        # What both answers begin with is read but not learned.
        assert good.endswith(read[0].strip()) and bad.endswith(read[1].strip()) and all(read)


def corpus_text(corpus: Corpus, ids: np.ndarray) -> str:
    return load(corpus.tokenizer).decode(ids.tolist())


def test_rows_hold_both_sides_in_segments_of_their_own(corpus: Corpus) -> None:
    stream = Stream(corpus, Mixture(), L, seed=3)
    n = corpus.manifest["tokens"] // L
    rows, whole, cut = stream.rows(0, n), 0, 0
    at = dict.fromkeys(range(n), 0)
    place = dict.fromkeys(range(n), 0)
    for piece in stream.documents(0, n):
        (ids,) = corpus.read(np.zeros(1, int), np.array([piece.document]))
        part = ids[piece.begin : piece.begin + piece.size]
        here = (piece.row, slice(at[piece.row], at[piece.row] + piece.size))
        at[piece.row] += piece.size
        assert rows["tokens"][here].tolist() == without_marks(part).tolist()
        assert rows["segments"][here].tolist() == (2 * place[piece.row] + 1 + rejected(part)).tolist()
        place[piece.row] += 1
        is_whole = piece.size == len(ids)
        assert ((rows["languages"][here] >= 0) == (learned(part) & is_whole)).all()
        for side in (~rejected(part), rejected(part)):
            assert rows["positions"][here][side].tolist() == list(range(side.sum()))
        whole, cut = whole + is_whole, cut + (not is_whole)
    assert whole > 80 and cut > 3


def test_preferences_without_the_flag(model: ChatModel, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps(record(1), ensure_ascii=False))
    with pytest.raises(ValueError, match="a preference, which --preferences reads: 1"):
        prepare([str(tmp_path / "x.jsonl")], model.tokenizer, tmp_path / "c", Cleaning(), one_by_one, reading=Reading("ces_Latn"))
