"""The rules tell made junk from good text in many languages, by fences that do not depend on what else is cleaned."""

import json
import random
import re
from collections import Counter
from pathlib import Path

import junk_kinds
import numpy as np
import pytest

from varietas.data.clean import fences, rules, words
from varietas.data.clean.cleaning import Cleaning
from varietas.data.clean.rules import RULES
from varietas.data.prepare.prepare import one_by_one, prepare
from varietas.data.text.documents import Document
from varietas.data.text.embedded import training_documents
from varietas.data.tokenizer import training as tokenizer

LANGUAGES = ("ces_Latn", "fin_Latn", "ell_Grek", "bul_Cyrl", "ukr_Cyrl", "eus_Latn", "eng_Latn", "ekk_Latn", "lit_Latn", "hye_Armn")


def sentences(label: str) -> list[str]:
    return [line for document in training_documents() if document.lang == label for line in document.text.split("\n") if len(line) > 40]


def values_of(texts: list[str], label: str) -> np.ndarray:
    return rules.statistics(texts, [fences.load("").of(label)] * len(texts), words.split(texts))


def verdicts(texts: list[str], label: str) -> list[str]:
    return rules.broken(values_of(texts, label), [fences.load("").of(label)] * len(texts))


def words_by_hand(text: str) -> list[str]:
    return "".join(c.lower() if c.isalnum() else " " for c in text).split()


def repeated(pieces: list[str]) -> float:
    seen, again = set[str](), 0
    for piece in pieces:
        again += len(piece) if piece in seen else 0
        seen.add(piece)
    return again / max(1, sum(map(len, pieces)))


def covered(found: list[str], n: int) -> float:
    seen, inside = set[tuple[str, ...]](), set[int]()
    for k in range(len(found) - n + 1):
        gram = tuple(found[k : k + n])
        if gram in seen:
            inside |= set(range(k, k + n))
        seen.add(gram)
    return sum(len(found[k]) for k in inside) / max(1, sum(map(len, found)))


def commonest(found: list[str]) -> float:
    grams = Counter(tuple(found[k : k + 3]) for k in range(len(found) - 2))
    return max((n * sum(map(len, gram)) for gram, n in grams.items() if n > 1), default=0) / max(1, sum(map(len, found)))


def test_values_equal_those_of_a_slow_program() -> None:
    texts = [
        *(" ".join(sentences("ces_Latn")[k : k + 9]) for k in range(5)),
        "Ahoj, světe!\n" * 9 + "a b c " * 40,
        "### $$$ %%%\n" * 9,
        "x",
    ]
    czech = fences.load("").of("ces_Latn")
    for text, row in zip(texts, values_of(texts, "ces_Latn").tolist(), strict=True):
        mine, lines = words_by_hand(text), [line for line in text.split("\n") if line]
        shown, cased = [c for c in text if not c.isspace()], [c for c in text if c.isupper() or c.islower()]
        share = sum(word in czech.words for word in mine) / max(1, sum(not word.isdigit() for word in mine))
        expected = {
            "word length": np.mean([len(word) for word in mine]) if mine else 5.0,
            "letters": sum(map(str.isalpha, shown)) / len(shown),
            "short lines": len(lines) / len(mine) if mine else 0.0,
            "repeated lines": repeated(lines),
            "top 3-gram": commonest(mine),
            "repeated 5-grams": covered(mine, 5) - repeated(lines),
            "repeated 10-grams": covered(mine, 10) - repeated(lines),
            "capitals": sum(map(str.isupper, cased)) / max(1, len(cased)),
        }
        found = dict(zip(RULES, row, strict=True))
        assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-5), text[:20]
        # Diacritics make no difference to the hashes of words, so a few more words are function words.
        assert share / czech.usual <= found["function words"] + 1e-6 <= share / czech.usual + 0.35


@pytest.mark.parametrize("label", LANGUAGES)
def test_junk_is_rejected_and_good_text_of_unusual_forms_is_not(label: str) -> None:
    """The embedded sentences are not among the text that the fences of the package were fitted to."""
    make = junk_kinds.Maker([line for line in sentences(label) if not re.search("[ìøþðùãº]", line)], random.Random(7))
    for name, kind in (junk_kinds.FIRST | junk_kinds.SECOND).items():
        found = Counter(verdicts([kind(make) for _ in range(20)], label))
        assert found[""] <= 3, (name, found)
    for name, kind in junk_kinds.GOOD.items():
        found = Counter(verdicts([kind(make) for _ in range(20)], label))
        assert found[""] >= 18, (name, found)


def test_abbreviations_end_no_sentence() -> None:
    at = list(RULES).index("sentences")
    abbreviated, ended = "Aptarta 2010 m. gegužės mėn. pabaigoje\n" * 3, "Aptarta tai ir tas. Gegužės pabaigoje\n" * 3
    assert values_of([abbreviated, ended], "lit_Latn")[:, at].tolist() == [0.0, 1.0]
    georgian = "ეს არის კარგი და. სხვა არ არის\n" * 3  # which has no capitals at the beginning of sentences
    assert values_of([georgian], "kat_Geor")[0, at] == 1.0


def test_a_verdict_depends_on_the_text_alone() -> None:
    """Thresholds that were quantiles of what is cleaned let junk pass where much of it was junk."""
    make = junk_kinds.Maker(sentences("fin_Latn"), random.Random(1))
    texts = [" ".join(make.sentence() for _ in range(10)), junk_kinds.menu(make)]
    alone = [verdicts([text], "fin_Latn")[0] for text in texts]
    assert alone == ["", "sentences"]
    assert verdicts([*texts, *(junk_kinds.menu(make) for _ in range(60))], "fin_Latn")[:2] == alone


def test_a_language_that_is_not_in_the_file_has_the_widest_fences_of_its_script() -> None:
    known, unknown = (fences.load("").of(label) for label in ("fin_Latn", "xyz_Latn"))
    assert (unknown.bounds[0] <= known.bounds[0]).all() and (unknown.bounds[1] >= known.bounds[1]).all()
    menu = junk_kinds.menu(junk_kinds.Maker(sentences("eus_Latn"), random.Random(1)))
    prose = " ".join(sentences("eus_Latn")[:8])
    assert verdicts([menu, prose, prose.upper()], "xyz_Latn") == ["sentences", "", "capitals"]


def test_labels_of_one_language_share_their_fences() -> None:
    serbian, croatian = (fences.load("").of(label) for label in ("srp_Latn", "hrv_Latn"))
    assert serbian.words == croatian.words and (serbian.bounds == croatian.bounds).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{", "cannot be read"),
        ("{}", "is not a file of fences"),
        (
            '{"languages": {"ces_Latn": {"usual": 0.3, "words": "", "letters": "", "bounds": {"hue": [0, 1]}}}, "scripts": {}}',
            "'hue'",
        ),
    ],
)
def test_a_bad_file_is_named_with_what_to_do(content: str | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "my.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match=rf"clean.fences: .*my.json .*{message}.*varietas fences"):
        fences.digest(str(file))


def test_fences_of_ones_own_decide_and_the_manifest_records_them(tmp_path: Path) -> None:
    loud = " ".join(sentences("ces_Latn")[:8]).upper()
    (tmp_path / "in.jsonl").write_text("\n".join(json.dumps({"lang": "ces_Latn", "text": text}) for text in (loud, loud.lower())))
    reference = [Document(str(k), "ces_Latn", " ".join(sentences("ces_Latn")[k : k + 8]), file="a") for k in range(0, 320, 8)]
    content = fences.fitted(reference, "the embedded text")
    content["languages"]["ces_Latn"]["bounds"]["capitals"] = [None, 1.0]
    fences.save(content, tmp_path / "my.json")
    model, found = tokenizer.train(lambda: reference, 400), list[dict[str, int]]()
    for file in ("", str(tmp_path / "my.json")):
        cleaning, out = Cleaning(rules=True, fences=file), tmp_path / f"corpus {len(found)}"
        manifest = prepare([str(tmp_path / "in.jsonl")], model, out, cleaning, one_by_one)
        found.append(manifest["rejected"])
    assert found == [{"capitals": 1}, {}]
    assert manifest["fences"]["bounds"]["ces_Latn"]["capitals"] == [None, 1.0]
    assert manifest["fences"]["sha256"] == fences.digest(str(tmp_path / "my.json"))


def test_function_words_are_those_that_most_files_have() -> None:
    """A file about one subject does not bring its own words."""
    lines = sentences("ces_Latn")
    files = [("a", lines[:300]), ("b", lines[300:600]), ("c", [f"{line} klávesnice klávesnice" for line in lines[600:]])]
    documents = [Document("", "ces_Latn", " ".join(part[k : k + 8]), file=name) for name, part in files for k in range(0, len(part), 8)]
    found = fences.fitted(documents, "")["languages"]["ces_Latn"]["words"].split()
    assert {"a", "na", "se", "je", "že"} <= set(found[:15]) and "klávesnice" not in found
