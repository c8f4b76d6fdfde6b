"""Function words confirm right labels, and no label of a neighbour, of a mixture or of a language that they do not know."""

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
    return labels.ahead_of_others([label] * len(texts), words.split(texts), fences.load("")).tolist()


def test_most_labels_are_confirmed_without_an_identifier(texts: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "check", lambda text, label, likely: labels.Verdict("unsure"))
    batch = [(text, label) for label, of_label in texts.items() for text in of_label if not fences.is_shared(label)]
    verdicts = labels.compare(*zip(*batch, strict=True), words.split([text for text, _ in batch]), fences.load(""))
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
    labels.compare(croatian, ["bos_Latn", "hrv_Latn"], words.split(croatian), fences.load(""))
    assert asked == [("bos_Latn", True), ("hrv_Latn", True)]
