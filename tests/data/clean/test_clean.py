"""Each cleaning step finds what is planted for it and nothing else, and the rules adapt to the language."""

import json
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from varietas.data.clean import cleaning as clean
from varietas.data.clean import duplicates, words
from varietas.data.clean.cleaning import Cleaning
from varietas.data.prepare.engine import local
from varietas.data.prepare.prepare import prepare
from varietas.data.text.documents import Document, NotADocument
from varietas.data.text.embedded import training_documents
from varietas.data.tokenizer import training as tokenizer

SYLLABLES = [c + v for c in "bdfghjklmnprstv" for v in "aeiou"]


@cache
def lexicon(syllables: int) -> list[str]:
    return ["".join(np.random.default_rng(k).choice(SYLLABLES, syllables)) for k in range(3000)]


def prose(seed: int, n_words: int = 120, syllables: int = 2) -> str:
    """Returns lines of words that are made of random syllables. Some words are more common than others."""
    rng = np.random.default_rng(seed)
    picked = [lexicon(syllables)[int(k)] for k in 3000 * rng.random(n_words) ** 2]
    lines = [" ".join(picked[k : k + 12]).capitalize() + "." for k in range(0, n_words, 12)]
    return "\n".join(lines)


def words_by_hand(text: str) -> list[str]:
    return "".join(c.lower() if c.isalnum() else " " for c in text).split()


def test_words_and_lines_are_those_that_python_finds() -> None:
    texts = ["Ahoj, světe! Ahoj.\n\nDruhý  řádek: 3x", "", "ahoj", "Ř" * 3 + "\u0301 𐌰𐌱 中文\n"]
    batch = words.split(texts)
    expected = [words_by_hand(text.replace("\u0301", "a")) for text in texts]
    assert batch.words.document.tolist() == [k for k, found in enumerate(expected) for _ in found]
    assert batch.words.size.tolist() == [len(word) for found in expected for word in found]
    flat = [word for found in expected for word in found]
    same = np.array([[a == b for a in flat] for b in flat])
    assert np.array_equal(batch.words.hash[:, None] == batch.words.hash[None], same)
    assert batch.lines.size.tolist() == [len(line) for text in texts for line in text.split("\n") if line]
    assert batch.kinds.sum(1).tolist() == [len(text) for text in texts]


def shares_a_band(a: str, b: str) -> bool:
    first, second = duplicates.signatures(words.split([a, b]))
    return bool((first == second).any())


def test_near_duplicates_share_a_band_and_others_do_not() -> None:
    """By the formula, 0.92 of the pairs with four fifths of their 5-grams in common share one, and 0.05 of those with half."""
    changed = [prose(k, 400).replace(".", ",", 30) + " konec" for k in range(40)]
    assert sum(shares_a_band(prose(k, 400), text) for k, text in enumerate(changed)) == 40
    halves = [prose(k, 200) + prose(1000 + k, 200) for k in range(40)]
    assert sum(shares_a_band(prose(k, 400), text) for k, text in enumerate(halves)) < 12
    assert not any(shares_a_band(prose(k, 400), prose(k + 500, 400)) for k in range(40))


SPELLINGS = ["Příliš žluťoučký kůň úpěl ďábelské ódy v roce 2024", "PŘÍLIŠ ŽLUŤOUČKÝ KŮŇ ÚPĚL ĎÁBELSKÉ ÓDY V ROCE 2024",
    "Prilis zlutoucky kun upel dabelske ody v roce 2024", "Pří\u00adliš žlu\u200bťoučký kůň úpěl ďábelské ódy v roce 1989"]  # fmt: skip


def test_spelling_makes_no_difference_to_duplicates_and_evaluation_text() -> None:
    signatures = [duplicates.signatures(words.split([text])) for text in SPELLINGS]
    assert all((found == signatures[0]).all() for found in signatures) and signatures[0].any()
    greek = [duplicates.signatures(words.split([text])) for text in ("ΟΔΟΣ ΤΟΥ ΛΟΓΟΥ ΚΑΙ ΤΗΣ", "οδος του λόγου και της")]
    assert (greek[0] == greek[1]).all()
    held = duplicates.held_out([SPELLINGS[0]])
    texts = [f"Napsal: {text}. A dál." for text in SPELLINGS] + ["Příliš žluťoučký kůň úpěl ďábelské ódy"]
    assert duplicates.overlaps(words.split(texts), held).tolist() == [True] * 3 + [False] * 2  # the line as a whole, with its numbers


def test_numbers_alone_make_no_texts_alike() -> None:
    tables = ["\n".join(f"{a * k} {b + k} {k}" for k in range(40)) for a, b in ((3, 7), (11, 5))]
    assert not shares_a_band(*tables)
    held = duplicates.held_out(["3 + 4 * 5 - 6 / 2 = 11", " ".join(map(str, range(20)))])
    assert not duplicates.overlaps(words.split(["2024-11-28 15:24:21", tables[0]]), held).any()


def test_short_lines_of_evaluation_text_are_found_whole_and_phrases_are_not() -> None:
    question, phrase = "Which of these rivers flows through Vienna?", "None of the above"
    held = duplicates.held_out([f"{question}\n{phrase}", prose(1, 40)])
    texts = [f"Quiz! {question} The Danube.", phrase, "Which of these rivers flows through Paris?", prose(1, 40)[20:], prose(2, 40)]
    assert duplicates.overlaps(words.split(texts), held).tolist() == [True, False, False, True, False]


@pytest.mark.parametrize(
    ("broken", "whole"),
    [("e\u0301te\u0301", "été"), ("pÅ™Ã\xadliÅ¡", "příliš"), ("a\r\nb", "a\nb"), ("ﬁ „ab“ ﾊ", "ﬁ „ab“ ﾊ"), ("a\x07b", "ab")],
)
def test_unicode_is_repaired_and_nothing_else_changes(broken: str, whole: str) -> None:
    assert clean.repair(broken) == whole


@pytest.mark.parametrize(
    ("signals", "cleaning", "reason"),
    [
        ({"robots": False}, Cleaning(), "opted out: robots.txt"),
        ({"filter": "optout"}, Cleaning(), "opted out: collection"),
        ({"opt_out": True}, Cleaning(), "opted out: rights reserved"),
        ({"filter": "length_500"}, Cleaning(verdicts=True), "filter: length_500"),
        ({}, Cleaning(min_chars=50), "short"),
        ({"pii": [[0, 3]]}, Cleaning(pii="drop"), "personal data"),
    ],
)
def test_documents_are_left_out_for_a_reason(signals: dict[str, object], cleaning: Cleaning, reason: str) -> None:
    document = Document("1", "ces_Latn", "Jan bydlí v Brně.", signals=signals)
    with pytest.raises(NotADocument, match=reason):
        clean.clean(document, cleaning, Counter())
    assert clean.clean(document, Cleaning(opt_outs=False), Counter()) is document


def test_personal_data_that_the_collection_found_is_masked() -> None:
    changed = Counter[str]()
    document = Document("1", "ces_Latn", "Jan píše na jan@firma.cz.", signals={"pii": [[0, 3]], "robots": True})
    masked = clean.clean(document, Cleaning(pii="mask"), changed)
    assert masked.text == "<pii> píše na <email>." and masked.signals == {"robots": True}
    assert changed == {"pii": 1, "email": 1}


def test_pages_of_blocked_domains_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "domains.txt").write_text("# a list\nspam.example\nČlánky.example # IDN\n")
    steps = Cleaning(blocked=str(tmp_path / "domains.txt"))
    for url, out in (
        ("https://spam.example/a", True), ("http://www.Spam.example:80/a?b", True), ("https://nospam.example/", False),
        ("https://články.example./", True), ("", False), ("http://[bad", False), ("https://example/", False),
    ):  # fmt: skip
        document = Document("1", "ces_Latn", "Jan bydlí v Brně.", url=url)
        if out:
            with pytest.raises(NotADocument, match="blocked domain"):
                clean.clean(document, steps, Counter())
        else:
            assert clean.clean(document, steps, Counter()) is document
    with pytest.raises(ValueError, match=r"clean.blocked: .*missing.txt cannot be read"):
        clean.clean(Document("1", "ces_Latn", "Jan.", url="https://a.b/"), Cleaning(blocked=str(tmp_path / "missing.txt")), Counter())


@pytest.mark.parametrize("workers", [1, 2])
def test_rejects_of_a_dirty_corpus_are_counted_by_reason(workers: int, tmp_path: Path) -> None:
    """Two files have 200 good texts, copies, near copies, spam, opt-outs, evaluation text, wrong labels and a short text."""
    good = [Document(str(k), "xyz_Latn", prose(k, 150)) for k in range(200)]
    planted: list[tuple[str, dict[str, object]]] = [
        *((document.text, {}) for document in good[:10]),
        *((document.text + " konec", {}) for document in good[10:20]),
        *((f"kup {k} levně hned. " * 40, {}) for k in range(5)),
        *((prose(900 + k, 150), {"robotstxt": "disallowed"}) for k in range(2)),
        *((prose(902 + k, 150), {"tdm-reservation": 1}) for k in range(2)),
        *((prose(950 + k, 150) + "\n" + secret(), {}) for k in range(3)),
        *((prose(990 + k, 150), {"lang": "ell_Grek"}) for k in range(2)),
        ("kratké", {}),
    ]
    lines = [json.dumps({"lang": "xyz_Latn", "text": d.text}) for d in good] + [
        json.dumps({"lang": "xyz_Latn", "text": text, **more}) for text, more in planted
    ]
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    files[0].write_text("\n".join(lines[:180]))
    files[1].write_text("\n".join(lines[180:]))
    (tmp_path / "secret.txt").write_text(secret())
    cleaning = Cleaning(
        unicode=True, language=True, min_chars=50, rules=True, pii="mask", duplicates="near", overlap=True,
        overlap_text=str(tmp_path / "secret_eng_Latn.txt"),
    )  # fmt: skip
    (tmp_path / "secret.txt").rename(tmp_path / "secret_eng_Latn.txt")
    model = tokenizer.train(lambda: good, 400)
    with pytest.warns(UserWarning, match="xyz_Latn"):
        manifest = prepare(list(map(str, files)), model, tmp_path / "c", cleaning, local(workers))
    rejected = manifest["rejected"]
    assert rejected.pop("top 3-gram") == 5  # nothing is known of the language, but spam repeats itself
    assert rejected == {
        "duplicate": 10, "near duplicate": 10, "opted out: rights reserved": 2, "opted out: robots.txt": 2,
        "overlaps evaluation text": 3, "another language": 2, "short": 1,
    }  # fmt: skip
    assert manifest["documents"] == 200 and manifest["records_read"] == 235
    index = pq.read_table(tmp_path / "c" / "index", columns=["id", "cluster_size"]).to_pylist()
    assert [row["cluster_size"] for row in index] == [2] * 20 + [None] * 180  # a copy of each of ten, a near copy of each of ten others
    kept = [json.loads(line) for line in (tmp_path / "c" / "rejects.jsonl").read_text().splitlines()]
    assert len(kept) == 35 and all(line["reason"] and line["line"] and line["sample"] for line in kept)
    assert {line["line"] for line in kept if line["reason"] == "duplicate"} == set(range(21, 31))


def test_the_index_and_the_rejects_say_how_much_is_in_which_language(tmp_path: Path) -> None:
    """Whole Finnish, a third English, and four fifths English documents are labelled Finnish."""
    texts: dict[str, list[str]] = {}
    for document in training_documents():
        texts.setdefault(document.lang, []).append(document.text)
    finnish, english = ("\n".join(texts[label]) for label in ("fin_Latn", "eng_Latn"))
    made = [finnish[:4000], finnish[:4000] + "\n" + english[:2000], finnish[:1000] + "\n" + english[:4000]]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text, "lang": "fin_Latn"}) + "\n" for text in made))
    model = tokenizer.train(lambda: [Document("1", "fin_Latn", finnish)], 400)
    prepare([str(tmp_path / "a.jsonl")], model, tmp_path / "c", Cleaning(language=True), local(1))
    index = pq.read_table(tmp_path / "c" / "index", columns=["lang_share"]).to_pylist()
    assert [row["lang_share"] for row in index] == [1.0, pytest.approx(0.6, abs=0.1)]  # English has more words for as many characters
    reject = json.loads((tmp_path / "c" / "rejects.jsonl").read_text())
    assert reject["reason"] == "another language" and reject["languages"]["eng_Latn"] == pytest.approx(0.85, abs=0.05)


def secret() -> str:
    return " ".join(f"tajné{k}slovo" for k in range(20))


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([[0, 9], [2, 4]], "<pii>, rest"),
        ([[0, 3], [0, 3]], "<pii> Novak, rest"),
        ([[4, 9], [0, 5]], "<pii>, rest"),
        ([[0, 3], [4, 9]], "<pii> <pii>, rest"),
    ],
)
def test_overlapping_spans_are_masked_as_one(spans: list[list[int]], expected: str) -> None:
    document = Document("1", "eng_Latn", "Jan Novak, rest", signals={"pii": spans})
    assert clean.clean(document, Cleaning(pii="mask"), Counter()).text == expected


def test_repairs_and_masks_are_both_counted() -> None:
    changed: Counter[str] = Counter()
    clean.clean(Document("1", "eng_Latn", "e\u0301 a@b.example.com"), Cleaning(unicode=True, pii="mask"), changed)
    assert changed == {"unicode": 1, "email": 1}


@pytest.mark.parametrize("content", ['{"text": "TEXT"}', '{"text": "TEXT", "lang": "xx_nonsense"}'])
def test_evaluation_text_needs_no_language_but_must_be_readable(content: str, tmp_path: Path) -> None:
    text = prose(1)
    (tmp_path / "in.jsonl").write_text(
        json.dumps({"lang": "cs", "text": text}) + "\n" + json.dumps({"lang": "cs", "text": prose(2)}), "utf-8"
    )
    (tmp_path / "held.jsonl").write_text(content.replace("TEXT", text.replace("\n", " ")), "utf-8")
    model = tokenizer.train(lambda: [Document("1", "ces_Latn", text)], 330)
    cleaning = Cleaning(overlap=True, overlap_text=str(tmp_path / "held.jsonl"))

    def prepared() -> dict[str, int]:
        return prepare([str(tmp_path / "in.jsonl")], model, tmp_path / "c", cleaning, local(1))["rejected"]

    if "lang" in content:
        with pytest.raises(ValueError, match=r"held.jsonl, line 1: unknown lang"):
            prepared()
    else:
        assert prepared() == {"overlaps evaluation text": 1}
