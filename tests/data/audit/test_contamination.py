"""Items planted in training text are found, whole, nearly and in part, with the documents and steps; the search against plain Python."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from varietas.data.audit import contamination
from varietas.data.audit.contamination import Reading, readings
from varietas.data.audit.items import Item, search, sought
from varietas.data.audit.spans import Span, up_to
from varietas.data.clean import words
from varietas.data.corpus.corpus import Corpus
from varietas.data.prepare.engine import local
from varietas.data.prepare.prepare import one_by_one, prepare_documents
from varietas.data.stream.context import context_of
from varietas.data.stream.mixture import Mixture
from varietas.data.stream.stream import Stream
from varietas.data.text.documents import Document
from varietas.data.tokenizer.training import train

RNG = np.random.default_rng(0)
VOCABULARY = [f"slovo{k}" for k in range(300)]


def text(n: int) -> str:
    return " ".join(RNG.choice(VOCABULARY, n))


def grams(of: str, n: int) -> set[tuple[str, ...]]:
    split = of.lower().replace(",", " ").replace(".", " ").split()
    return {tuple(split[k : k + n]) for k in range(len(split) - n + 1)}


def test_the_search_finds_what_plain_python_finds() -> None:
    documents = [text(n) for n in (200, 30, 12, 5, 400, 13)]
    pieces = [" ".join(documents[4].split()[k : k + n]) for k, n in ((0, 400), (10, 20), (50, 13), (60, 12), (70, 6), (80, 5), (390, 10))]
    mixed = f"{pieces[1]}. {text(20)}, {documents[0]}"
    items = [Item(str(k), "ces_Latn", (each,)) for k, each in enumerate([*pieces, mixed, text(50), documents[1] + " a"])]
    items.append(Item("two texts", "ces_Latn", (pieces[2], text(9))))
    wanted = sought(items)
    hits = search(words.split(documents), wanted)
    found = {(d, i): n for d, i, n in zip(hits.document.tolist(), hits.item.tolist(), hits.shared.tolist(), strict=True)}
    expected = {
        (d, i): len(shared)
        for (d, document), (i, item) in itertools.product(enumerate(documents), enumerate(items))
        if (shared := grams(document, 13) & set().union(*(grams(each, 13) for each in item.texts)))
    }
    assert found == expected and len(expected) > 5
    assert wanted.totals.tolist() == [len(set().union(*(grams(each, 13) for each in item.texts))) for item in items]
    whole = {(d, int(wanted.item_of_text[t])) for d, t in zip(hits.whole_document.tolist(), hits.whole_text.tolist(), strict=True)}
    assert whole == {(4, k) for k in (0, 1, 2, 3, 4, 6, 10)}  # the sixth has five words
    assert search(words.split(documents), sought([])).grams.tolist() == []
    assert search(words.split([""]), wanted).document.tolist() == []


def test_case_punctuation_and_diacritics_make_no_difference() -> None:
    item = Item("1", "ces_Latn", ("Všichni lidé rodí se svobodní a sobě rovní.",))
    hits = search(words.split(["Úvod. VŠICHNI lidé, rodí se „svobodní“ a sobě rovni!"]), sought([item]))
    assert len(hits.whole_document) == 1


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, list[Span], list[Document]]:
    """A run of 40 steps whose corpus has 600 documents, of which it reads a part."""
    folder = tmp_path_factory.mktemp("run")
    documents = [Document(f"doc{k}", ("ces_Latn", "fin_Latn")[k % 2], text(60), f"https://a.b/{k}") for k in range(600)]
    prepare_documents(documents, train(lambda: documents, 300), folder / "corpus")
    corpus = Corpus(folder / "corpus")
    stream = Stream(corpus, Mixture(weights="ces_Latn:1, fin_Latn:1"), 512, 0)
    return corpus, [Span(0, 40, context_of(stream, 4))], documents


def test_planted_items_are_found_with_their_documents_and_steps(run: tuple[Corpus, list[Span], list[Document]], tmp_path: Path) -> None:
    corpus, spans, documents = run
    stream = spans[0].stream(corpus)
    first: dict[str, list[int]] = {}
    order = {code: [d for d in documents if d.lang == code] for code in corpus.languages}
    for piece in stream.documents(0, 160):
        first.setdefault(order[piece.language][piece.document].id, []).append(piece.row // 4)
    read = [d for d in documents if d.id in first]
    unread = [d for d in documents if d.id not in first]
    assert len(read) > 50 and len(unread) > 50
    near = " ".join([*read[3].text.split()[:50], *text(8).split()])  # 38 of 46 sequences of 13 words
    part = f"{text(40)} {' '.join(read[4].text.split()[20:33])} {text(30)}"
    items = [
        Item("whole", "ces_Latn", (read[2].text.upper(),)),
        Item("near", "ces_Latn", (near,)),
        Item("part", "fin_Latn", (part,)),
        Item("unread", "ces_Latn", (unread[0].text,)),
        Item("nowhere", "ces_Latn", (text(40),)),
        Item("short", "ces_Latn", ("slovo1 slovo2",)),
    ]
    found = {reading.item.name: reading for reading in readings(corpus, spans, items, one_by_one)}
    assert [found[item.name].kind for item in items] == ["whole", "nearly", "part", "none", "none", "short"]
    assert found["near"].share == pytest.approx(38 / 46, abs=1e-4) and found["whole"].share == 1.0
    (place,) = found["whole"].places
    assert (place.id, place.url, place.language) == (read[2].id, read[2].url, read[2].lang)
    steps = first[read[2].id]
    assert (place.first_step, place.last_step, place.pieces) == (min(steps), max(steps), len(steps))
    assert found["part"].n_documents == 1 and found["part"].places[0].id == read[4].id and found["unread"].places == ()


def test_processes_and_tasks_change_nothing(run: tuple[Corpus, list[Span], list[Document]], monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, spans, documents = run
    items = [Item(d.id, d.lang, (" ".join(d.text.split()[:30]), d.text[-60:])) for d in documents[::7]]
    once = readings(corpus, spans, items, one_by_one)
    assert readings(corpus, spans, items, local(2)) == once
    monkeypatch.setattr(contamination, "DOCUMENTS", 64)
    monkeypatch.setattr(contamination, "TOKENS", 500)
    assert readings(corpus, spans, items, one_by_one) == once
    assert 0 < sum(reading.kind == "whole" for reading in once) < len(items)


def test_only_what_was_read_up_to_a_step_counts(run: tuple[Corpus, list[Span], list[Document]]) -> None:
    corpus, spans, documents = run
    items = [Item(d.id, d.lang, (d.text,)) for d in documents]

    def read(step: int | None) -> dict[str, Reading]:
        return {each.item.name: each for each in readings(corpus, up_to(spans, step), items, one_by_one) if each.kind == "whole"}

    early, late = read(10), read(None)
    assert set(early) < set(late) and all(reading.places[0].last_step < 10 for reading in early.values())
    assert {name for name, reading in late.items() if reading.places[0].first_step < 10} == set(early)
    with pytest.raises(ValueError, match=r"--step 41: the ledger has 40 steps; give one of 1 to 40"):
        up_to(spans, 41)


def test_of_many_documents_the_best_are_named(tmp_path: Path) -> None:
    phrase = text(15)
    documents = [Document(str(k), "ces_Latn", f"{text(20)} {phrase} {text(20)} {k}") for k in range(40)]
    prepare_documents(documents, train(lambda: documents, 300), tmp_path / "corpus")
    corpus = Corpus(tmp_path / "corpus")
    spans = [Span(0, 100, context_of(Stream(corpus, Mixture(), 512, 0), 4))]
    (found,) = readings(corpus, spans, [Item("1", "ces_Latn", (phrase,))], one_by_one)
    assert found.kind == "whole" and found.n_documents == 40 and len(found.places) == contamination.MOST
