"""Function words confirm right labels, and no label of a neighbour, of a mixture or of a language that they do not know."""

import numpy as np
import pytest

from varietas.data.clean import fences, labels, words
from varietas.data.text.embedded import training_documents


@pytest.fixture(scope="module")
def texts() -> dict[str, list[str]]:
    """Some documents of 12 sentences of each language."""
    found: dict[str, list[str]] = {}
    for document in training_documents():
        found.setdefault(document.lang, []).append(document.text)
    return {label: of_label[:20] for label, of_label in found.items()}


def ahead(texts: list[str], label: str) -> list[float]:
    return labels.by_function_words([label] * len(texts), words.split(texts), fences.load(""))[0].tolist()


def test_most_labels_are_confirmed_without_an_identifier(texts: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "check", lambda text, label, likely: labels.Verdict("unsure"))
    batch = [(text, label) for label, of_label in texts.items() for text in of_label if not fences.is_shared(label)]
    split, known = words.split([text for text, _ in batch]), fences.load("")
    found = labels.by_function_words([label for _, label in batch], split, known)
    verdicts = labels.compare(*zip(*batch, strict=True), *found)
    assert {verdict.outcome for verdict in verdicts} == {"same", "unsure"}
    assert sum(verdict.outcome == "same" for verdict in verdicts) > 0.9 * len(batch)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("spa_Latn", "glg_Latn"), ("por_Latn", "glg_Latn"), ("deu_Latn", "ltz_Latn"), ("ces_Latn", "slk_Latn"), ("slk_Latn", "ces_Latn"),
        ("ukr_Cyrl", "bel_Cyrl"), ("bul_Cyrl", "mkd_Cyrl"), ("dan_Latn", "nob_Latn"), ("nob_Latn", "dan_Latn"), ("slv_Latn", "hrv_Latn"),
        ("hrv_Latn", "slv_Latn"), ("spa_Latn", "cat_Latn"), ("fra_Latn", "oci_Latn"), ("isl_Latn", "fao_Latn"), ("srp_Cyrl", "mkd_Cyrl"),
        ("hrv_Latn", "srp_Cyrl"), ("ekk_Latn", "fin_Latn"), ("lvs_Latn", "lit_Latn"), ("eng_Latn", "fur_Latn"),
    ],
)  # fmt: skip
def test_no_neighbour_is_confirmed(texts: dict[str, list[str]], text: str, label: str) -> None:
    assert max(ahead(texts[text], label)) < labels.CONFIRMED


def test_a_text_that_is_half_english_is_not_confirmed(texts: dict[str, list[str]]) -> None:
    for label in ("fin_Latn", "ces_Latn", "ell_Grek", "hun_Latn"):
        mixed = [one[:800] + "\n" + english[:800] for one, english in zip(texts[label], texts["eng_Latn"], strict=True)]
        assert max(ahead(mixed, label)) < labels.CONFIRMED


def test_labels_that_share_their_words_are_left_to_an_identifier(texts: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []
    monkeypatch.setattr(labels, "check", lambda text, label, likely: asked.append((label, likely)) or labels.Verdict("unsure"))
    croatian = [" ".join(texts["hrv_Latn"])] * 2
    named = ["bos_Latn", "hrv_Latn"]
    labels.compare(croatian, named, *labels.by_function_words(named, words.split(croatian), fences.load("")))
    assert asked == [("bos_Latn", True), ("hrv_Latn", True)]


def test_a_text_that_is_mostly_in_another_language_is_found_and_no_other(texts: dict[str, list[str]]) -> None:
    """Of 20 sentences, 16 are English; and no sound text of LONG characters or more is taken for another language."""
    known, size = fences.load(""), labels.LONG
    english = [line for text in texts["eng_Latn"] for line in text.split("\n")]
    for label in ("fin_Latn", "ces_Latn", "ell_Grek", "hun_Latn", "isl_Latn", "nld_Latn", "dan_Latn", "hrv_Latn"):
        own = [line for text in texts[label] for line in text.split("\n")]
        mixed = ["\n".join([*english[k : k + 8], *own[k : k + 4], *english[k + 8 : k + 16]]) for k in range(0, 200, 16)]
        split = words.split(mixed)
        verdicts = labels.compare(mixed, [label] * len(mixed), *labels.by_function_words([label] * len(mixed), split, known))
        assert sum(verdict == labels.Verdict("other", "eng") for verdict in verdicts) >= 0.9 * len(mixed)
    for label, of_label in texts.items():
        pieces = [text[begin : begin + size] for text in of_label for begin in range(0, len(text) - size, size)]
        found = labels.by_function_words([label] * len(pieces), words.split(pieces), known)[1]
        assert min(of.get(label, 0.0) for of in found) >= labels.LEAST


def test_the_share_of_each_language_in_a_mixed_document(texts: dict[str, list[str]]) -> None:
    known = fences.load("")
    for label in ("fin_Latn", "ces_Latn", "ell_Grek", "nld_Latn", "kat_Geor"):
        mixed, english = [], []  # and the share of the words that are English
        for own, other in zip(texts[label], texts["eng_Latn"], strict=True):
            mixed.append("\n".join([own] * 4 + [other] * 8))
            n, m = len(own.split()), len(other.split())
            english.append(2 * m / (2 * m + n))
        found = labels.by_function_words([label] * len(mixed), words.split(mixed), known)[1]
        assert abs(np.mean([of["eng_Latn"] for of in found]) - np.mean(english)) < 0.05
        assert all(of[label] + of["eng_Latn"] > 0.95 and abs(sum(of.values()) - 1) < 1e-9 for of in found)


def test_a_document_in_one_language_is_that_alone(texts: dict[str, list[str]]) -> None:
    found = {label: labels.by_function_words([label] * 20, words.split(texts[label]), fences.load(""))[1] for label in texts}
    assert all(np.mean([of.get(label, 0) for of in of_label]) > 0.98 for label, of_label in found.items())
    split = words.split(["De la cjase o soi.", "12"])
    assert labels.by_function_words(["fur_Latn", "eng_Latn"], split, fences.load(""))[1] == [{}, {"eng_Latn": 1.0}]
