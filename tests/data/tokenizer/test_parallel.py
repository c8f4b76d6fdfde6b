"""Premiums are counted on the ids that a language shares with English."""

import pytest
from texts import LETTERS, aligned

from varietas.data.text.documents import Document
from varietas.data.tokenizer.parallel import halves, parallel, premiums, summary


def test_premiums_count_shared_ids_only() -> None:
    records = [("1", "eng_Latn", "a b"), ("2", "eng_Latn", "c d e"), ("1", "mlt_Latn", "x y z"), ("9", "mlt_Latn", "q " * 9)]
    texts = parallel([Document(*record) for record in records])
    assert premiums(texts, lambda text: len(text.split())) == {"eng_Latn": 1.0, "mlt_Latn": 1.5}
    assert summary({"a": 1.0, "b": 2.0, "c": 9.0}, ["a", "b", "d"]) == ("b", 2.0, 1.5)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([("1", "mlt_Latn")], "no English"),
        ([("1", "eng_Latn"), ("1", "eng_Latn")], "has the id '1' twice"),
        ([("1", "eng_Latn"), ("2", "mlt_Latn")], "no id that mlt_Latn and English share"),
    ],
)
def test_text_that_is_not_parallel_is_refused(records: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parallel([Document(key, code, "x") for key, code in records])


def test_halves_share_no_content() -> None:
    first, second = halves(parallel(aligned()))
    for code in LETTERS:
        assert not first[code].keys() & second[code].keys() and len(first[code]) + len(second[code]) == 40
    assert first["eng_Latn"].keys() == first["ell_Grek"].keys()
