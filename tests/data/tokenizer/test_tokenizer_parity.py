"""The search for shares with which the same content costs about as much in every language."""

from collections.abc import Callable

import pytest
from texts import aligned, documents, text_of

from varietas.data.text.documents import Document
from varietas.data.tokenizer import parity
from varietas.data.tokenizer import training as tokenizer
from varietas.data.tokenizer.model import load
from varietas.data.tokenizer.parallel import halves, parallel, premiums
from varietas.data.tokenizer.parity import Round, estimated, search


def test_the_search_makes_an_expensive_language_cheaper_on_unseen_text() -> None:
    tune, held = halves(parallel(aligned()))
    rounds: list[Round] = []

    def premium(sampling: str) -> float:
        processor = load(tokenizer.train(documents, 400, sampling, texts=tune, progress=rounds.append))
        return premiums(held, lambda text: len(processor.encode(text)))["ell_Grek"]

    before = premium("alpha:1")
    assert premium("parity") < 0.95 * before
    assert rounds[0].premium["ell_Grek"] == max(r.premium["ell_Grek"] for r in rounds)
    assert all(sum(r.shares.values()) == pytest.approx(1) for r in rounds)


def test_the_search_keeps_the_best_round_within_the_limit_for_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "TRUSTED_BYTES", 0)
    pool = {"eng_Latn": ["a"], "ell_Grek": ["b"]}
    texts = parallel([Document("1", code, code) for code in pool])
    tokens = iter([(100, 200), (105, 150), (120, 120), (108, 140), (108, 170), *[(100, 200)] * 7])

    def train(_: object) -> tuple[bytes, Callable[[str], int]]:
        english, greek = next(tokens)
        return b"", lambda text: english if text == "eng_Latn" else greek

    rounds: list[Round] = []
    assert search(pool, {"eng_Latn": 0.9, "ell_Grek": 0.1}, train, 1000, texts, rounds.append) is rounds[3]
    assert rounds[1].shares["ell_Grek"] == pytest.approx(0.1 * (2 / 1.5) ** 3 / (0.1 * (2 / 1.5) ** 3 + 0.9 * (1 / 1.5) ** 3))


def test_english_gets_more_text_when_it_becomes_too_expensive() -> None:
    """English costs 1.5 times as much as at first, and half as much as Greek. Its weight follows that, not cost over median."""
    pool = {"eng_Latn": ["abcd"], "ell_Grek": ["αβ"]}
    tokens = iter([2, *[3] * 11])

    def train(_: object) -> tuple[bytes, Callable[[str], int]]:
        english = next(tokens)
        return b"", lambda text: english if text == "abcd" else 3

    rounds: list[Round] = []
    search(pool, {"eng_Latn": 0.5, "ell_Grek": 0.5}, train, 1000, None, rounds.append)
    assert rounds[1].shares["eng_Latn"] < rounds[0].shares["eng_Latn"]
    premium, shares = rounds[1].premium, rounds[1].shares
    median = (1 + premium["ell_Grek"]) / 2
    weights = {
        "eng_Latn": shares["eng_Latn"] * (1.5 / parity.ENGLISH_AIM) ** 3,
        "ell_Grek": shares["ell_Grek"] * (premium["ell_Grek"] / median) ** 3,
    }
    assert rounds[2].shares["eng_Latn"] == pytest.approx(weights["eng_Latn"] / sum(weights.values()))


def test_more_parallel_text_counts_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Greek costs 4.32 times as much as English by the table, and 2 times as much by the text."""
    pool = {"eng_Latn": ["abcd"], "ell_Grek": ["αβ"]}
    texts = {"eng_Latn": {"1": "x" * 500}, "ell_Grek": {"1": "χ"}}
    count = {"abcd": 2, "αβ": 4, "x" * 500: 100, "χ": 200}.__getitem__
    for trusted, expected in ((0, 2), (500, (2 * 2 * 2.16) ** 0.5), (10**12, 2 * 2.16)):
        monkeypatch.setattr(parity, "TRUSTED_BYTES", trusted)
        rounds: list[Round] = []
        search(pool, {"eng_Latn": 0.5, "ell_Grek": 0.5}, lambda _: (b"", count), 1000, texts, rounds.append)
        assert rounds[0].premium == pytest.approx({"eng_Latn": 1.0, "ell_Grek": expected})


def test_premiums_are_estimated_from_bytes_without_parallel_text() -> None:
    """Greek needs 2.16 times the bytes of English. With one token per byte, against one per two bytes, it costs 4.32 times the tokens."""
    pool = {"eng_Latn": ["abcd"], "ell_Grek": ["αβ"]}
    assert estimated(pool, lambda text: 2 if text == "abcd" else 4)["ell_Grek"] == pytest.approx(2 * 2.16)


def test_the_search_takes_parts_of_large_documents() -> None:
    """A plain-text file without empty lines is one large document."""
    large = Document("0", "ell_Grek", "\n".join(text_of("ell_Grek", k) for k in range(400)))
    model = tokenizer.train(lambda: [large, *documents()[:400]], 400, "parity")
    assert load(model).get_piece_size() == 400


def test_the_search_refuses_languages_that_it_cannot_measure() -> None:
    with pytest.raises(ValueError, match="no measure for xyz_Latn; give it parallel text"):
        tokenizer.train(lambda: [Document("1", "xyz_Latn", text_of("eng_Latn", 1, 2000))], 330, "parity")
