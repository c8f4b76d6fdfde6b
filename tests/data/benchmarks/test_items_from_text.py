"""Items that are made from text: right ones are right by a grammar that is known, and nothing but the language gives them away."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binomtest

from varietas.data.benchmarks import inflection, orthography, word_order
from varietas.data.benchmarks.counts import Counts, count
from varietas.data.benchmarks.items import Item
from varietas.data.benchmarks.making import FEWEST, Benchmark, make
from varietas.data.benchmarks.sentences import TOKEN, Paragraph, gather, passages, sentences
from varietas.data.text.documents import Document
from varietas.data.text.embedded import training_documents

LANGUAGES = ("spa_Latn", "hun_Latn", "ell_Grek", "tur_Latn", "ukr_Cyrl")
# Words of a language that does not exist.
MIDDLES, LASTS = ("mi", "la", "ro", "te", "bu"), "srldmp"
NOUNS = [f"{first}{middle}{last}on" for first in ("ca", "pe", "li", "so", "nu") for middle in MIDDLES for last in LASTS]
VERBS = [f"{a}{b}ra" for a in ("mi", "to", "bus", "pin", "sal") for b in ("ga", "le", "fu", "zo", "di", "ne")]
ADVERBS = ["hoy", "ayer", "siempre", "nunca"]


@cache
def texts() -> dict[str, list[Paragraph]]:
    return gather(document for document in training_documents() if document.lang in LANGUAGES)


@cache
def made(kind: str) -> tuple[Benchmark, ...]:
    return tuple(benchmark for lang, mine in texts().items() for benchmark in make(lang, mine, mine, [kind], 100, 0))


def items(kind: str) -> list[Item]:
    return [item for benchmark in made(kind) for item in benchmark.items]


def wrong(item: Item) -> str:
    return item.choices[1 - item.answer]


def invented(n: int) -> list[Paragraph]:
    """Text of a language with two genders: nouns in -o follow `elo`, those in -a `ela`. The verb comes between two such pairs."""
    rng = np.random.default_rng(0)

    def phrase() -> str:
        masculine = rng.integers(2)
        return f"{('ela', 'elo')[masculine]} {rng.choice(NOUNS)}{'ao'[masculine]}"

    lines = [f"Que {phrase()} {rng.choice(VERBS)} {phrase()} con {phrase()} {rng.choice(ADVERBS)}." for _ in range(n)]
    return [Paragraph(line, "") for line in dict.fromkeys(lines)]


def is_grammatical(sentence: str) -> bool:
    """Returns whether a sentence is one of the invented language."""
    phrase = "(?:elo [a-z]+ono|ela [a-z]+ona)"
    return bool(re.fullmatch(f"Que {phrase} (?:{'|'.join(VERBS)}) {phrase} con {phrase} (?:{'|'.join(ADVERBS)})[.]", sentence))


def test_wrong_sentences_break_the_grammar_and_right_ones_do_not() -> None:
    text = invented(1000)
    counts, whole = count(text), [paragraph.text for paragraph in text]
    ordered = word_order.make(whole, counts, 50, 0, "order")
    inflected = inflection.make(whole, inflection.forms(text, counts), counts, 100, 0, "forms")
    assert len(ordered) >= 30 and len(inflected) >= 10
    for item in (*ordered, *inflected):
        assert is_grammatical(item.choices[item.answer]) and not is_grammatical(wrong(item))


def test_a_moved_word_makes_no_pair_of_the_text_and_loses_nothing() -> None:
    assert len(items("word_order")) > 200
    for benchmark in made("word_order"):
        pairs = count(texts()[benchmark.lang]).pairs
        for item in benchmark.items:
            right, moved = (TOKEN.findall(choice.lower()) for choice in (item.choices[item.answer], wrong(item)))
            assert sorted(right) == sorted(moved) and right != moved
            new = set(pairwise(moved)) - set(pairwise(right))
            assert not any(pairs[pair] for pair in new)


def test_spelling_follows_from_the_letters_of_the_language() -> None:
    def found(lang: str, kind: str) -> set[tuple[str, str]]:
        return set(orthography.changes(lang, Counts(Counter(), Counter(), frozenset(), 1))[kind])

    assert found("hun_Latn", "character set") == {("ő", "õ"), ("ű", "û")}
    assert {("ș", "ş"), ("ț", "ţ"), ("ă", "ã")} <= found("ron_Latn", "character set")
    assert {("ő", "ö"), ("á", "a")} <= found("hun_Latn", "other mark") | found("hun_Latn", "mark lost")
    assert ("ς", "σ") in found("ell_Grek", "mark lost") and ("σ", "ς") not in found("ell_Grek", "mark gained")
    assert ("ı", "i") in found("tur_Latn", "mark lost") and ("i", "ı") in found("tur_Latn", "mark gained")
    assert ("і", "i") in found("ukr_Cyrl", "look-alike") and ("ѕ", "s") not in found("ukr_Cyrl", "look-alike")
    assert {("ħ", "h"), ("ż", "z")} <= found("mlt_Latn", "mark lost")
    assert not found("eng_Latn", "mark lost") and not found("kat_Geor", "look-alike")


def test_a_word_is_written_wrongly_as_it_is_nowhere_in_the_text() -> None:
    for benchmark in made("orthography"):
        assert len(benchmark.items) == 100
        counts = count(texts()[benchmark.lang])
        kinds = Counter(item.about.partition(":")[0] for item in benchmark.items)
        assert abs(kinds["mark gained"] - kinds["mark lost"]) <= 2
        for item in benchmark.items:
            before, after = item.about.partition(": ")[2].split(" → ")
            assert counts.words[before.lower()] >= 2 and not counts.words[after.lower()]
            assert item.choices[item.answer].count(before) == wrong(item).count(before) + 1


def test_a_passage_goes_on_as_in_the_text() -> None:
    for benchmark in made("continuation"):
        known = {passage.text for passage in passages(texts()[benchmark.lang], benchmark.lang)}
        for item in benchmark.items:
            assert [item.context + choice in known for choice in item.choices] == [i == item.answer for i in range(4)]
            sizes = [len(choice.encode()) for choice in item.choices]
            assert max(sizes) <= 1.1 * min(sizes)


def test_recall_asks_for_each_word_once_after_as_much_text_as_it_says() -> None:
    for benchmark in made("recall"):
        for group in np.arange(len(benchmark.items)).reshape(-1, 4):
            four = [benchmark.items[i] for i in group]
            begin, between, _ = four[0].context.split("\n\n") if benchmark.part != "0" else (four[0].context.split("\n\n")[0], "", "")
            given = dict(line.split(":") for line in begin.split("\n"))
            assert len(between) >= int(benchmark.part)
            assert {item.choices[item.answer] for item in four} == set(given.values()) == set(four[0].choices)
            for item in four:
                assert given[item.context.rpartition("\n")[2][:-1]] == item.choices[item.answer]
            assert not (set(re.findall(r"\w+", between.lower())) & {word.strip() for pair in given.items() for word in pair})


@pytest.mark.parametrize("kind", ["continuation", "recall"])
def test_who_sees_only_the_choices_is_right_by_chance(kind: str) -> None:
    """Exactly, whatever he goes by: here the shortest, the longest, the one with the commonest words, and the first of the alphabet."""
    words = Counter(word for mine in texts().values() for paragraph in mine for word in paragraph.text.lower().split())

    def common(choice: str) -> float:
        return float(np.mean([np.log(1 + words[word]) for word in choice.lower().split()]))

    for score in (len, lambda choice: -len(choice), common, lambda choice: [-ord(c) for c in choice]):
        right = [max(item.choices, key=score) == item.choices[item.answer] for item in items(kind)]
        assert sum(right) == len(right) / 4


def test_length_and_frequency_say_nothing_about_forms() -> None:
    found = [(benchmark.lang, item) for benchmark in made("inflection") for item in benchmark.items]
    counts = {lang: count(mine) for lang, mine in texts().items()}
    longer, rarer = [], []
    for lang, item in found:
        right, other = item.about.split(" → ")
        longer.append(np.sign(len(other) - len(right)))
        rarer.append(np.sign(counts[lang].words[right] - counts[lang].words[other]))
    assert len(found) >= 100
    for signs in (longer, rarer):
        assert abs(sum(signs)) <= 2


@pytest.mark.parametrize("kind", ["continuation", "word_order", "inflection", "orthography", "recall"])
def test_the_place_of_the_answer_says_nothing(kind: str) -> None:
    found = items(kind)
    first = sum(item.answer == 0 for item in found)
    assert binomtest(first, len(found), 1 / len(found[0].choices)).pvalue > 0.01


def test_the_same_text_gives_the_same_items_in_any_order_and_another_seed_others() -> None:
    documents = [document for document in training_documents() if document.lang == "spa_Latn"]
    there, back = (gather(order)["spa_Latn"] for order in (documents, documents[::-1]))
    kinds = ["continuation", "word_order", "inflection", "orthography", "recall"]

    def all_items(text: Sequence[Paragraph], seed: int) -> list[Benchmark]:
        return list(make("spa_Latn", text, text, kinds, 40, seed))

    first = all_items(there, 0)
    assert first == all_items(back, 0)
    assert all(mine.items != other.items for mine, other in zip(first, all_items(there, 1), strict=True) if mine.items)


def test_a_language_with_too_little_text_has_no_items() -> None:
    few = texts()["spa_Latn"][:50]
    for benchmark in make("spa_Latn", few, few, ["continuation", "word_order", "inflection"], 100, 0):
        assert benchmark.items == () and benchmark.found < FEWEST


def test_more_text_says_more_of_what_is_usual() -> None:
    mine = texts()["hun_Latn"]
    alone, helped = (next(make("hun_Latn", mine[:300], text, ["word_order"], 500, 0)).found for text in (mine[:300], mine))
    assert helped > alone


def test_sentences_are_whole_and_of_the_language() -> None:
    good = "Los perros de la casa duermen bajo la mesa grande."
    bad = [
        "los perros de la casa duermen bajo la mesa grande.",  # no capital
        "Los perros de la casa duermen bajo la mesa grande",  # no end
        "Los perros de la kaŝa duermen bajo la mesa grande.",  # another language's letter
        "Los perros (de la casa duermen bajo la mesa grande.",  # half of a bracket
        "Los perros duermen.",
        "The dogs sleep under the big old kitchen table here.",  # no word of Spanish
        "Los perrosDe la casa duermen bajo la mesa grande.",  # two words in one
        "Los perros de la casa, 1 2 3 4, bajo la mesa grande.",
    ]
    text = [Paragraph(line, "") for line in (good, good.replace("grande", "pequeña"), *bad)]
    assert sentences(text, "spa_Latn") == [good]  # the second begins as the first does
    assert sentences([Paragraph(f"{good} Mientras tanto, los gatos no hacen nada en el jardín.", "")], "spa_Latn")[1].startswith("Mientras")


def test_text_is_sampled_by_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varietas.data.benchmarks.sentences.PARAGRAPHS", 10)
    documents = [Document(str(i), "spa_Latn", f"Una línea con el número {i} y nada más.") for i in range(50)]
    kept = gather(documents)["spa_Latn"]
    assert len(kept) == 10 and kept == gather(replace(d, id="other") for d in reversed(documents))["spa_Latn"]
