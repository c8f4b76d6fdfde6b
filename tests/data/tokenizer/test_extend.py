"""New pieces come where a plain training of byte pair encoding would have put them, old ones stay, and no text is lost."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from texts import byte_level

from varietas.data.text.documents import Document
from varietas.data.text.embedded import parallel_documents
from varietas.data.tokenizer.extend import extend
from varietas.data.tokenizer.model import fertility, load, read
from varietas.data.tokenizer.tokenizer_json import ODD_TEXTS, first_difference


def maltese_and_finnish() -> list[Document]:
    return [document for document in parallel_documents() if document.lang in ("mlt_Latn", "fin_Latn")]


@pytest.fixture(scope="module", params=["tokenizer.model", "tokenizer.json"])
def content(request: pytest.FixtureRequest, corpus_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    if request.param == "tokenizer.model":
        return read(corpus_folder / "tokenizer.model")
    theirs = byte_level((d.text for d in parallel_documents()), 700, ("<s>", "</s>"))
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"bos_token_id": 0, "eos_token_id": 1}))
    return read(folder / "tokenizer.json")


def test_old_pieces_keep_their_ids_and_text_takes_fewer_tokens(content: bytes) -> None:
    old, found = load(content), extend(content, maltese_and_finnish(), 150)
    new, size = load(found.content), load(content).get_piece_size()
    assert new.get_piece_size() == size + 150 and [new.id_to_piece(i) for i in range(size)] == [old.id_to_piece(i) for i in range(size)]
    before, after = (fertility(tokenizer, maltese_and_finnish()) for tokenizer in (old, new))
    assert all(after[code].tokens < 0.8 * before[code].tokens for code in ("mlt_Latn", "fin_Latn"))
    for text in (*ODD_TEXTS, *(document.text for document in parallel_documents())):
        assert new.decode(new.encode(text)) == old.decode(old.encode(text))
    for piece, parts in enumerate(found.parts, size):
        assert new.id_to_piece(piece) == "".join(old.id_to_piece(part) for part in parts) and len(parts) > 1
    used = {piece for document in maltese_and_finnish() for piece in new.encode(document.text)}
    assert sum(piece in used for piece in range(size, size + 150)) > 120  # the rest are parts of longer ones


def test_the_first_new_piece_is_the_most_frequent_pair_with_languages_weighed_alike(content: bytes) -> None:
    tokenizer = load(content)
    text = {"mlt_Latn": "qxqx zvzv zvzv", "fin_Latn": "wjwj " * 50}
    documents = [Document(code, code, words) for code, words in text.items()]
    counts: Counter[str] = Counter()
    for words in text.values():
        ids = tokenizer.encode(words)
        for word in words.split():
            pieces = tokenizer.encode(" " + word)
            for one, other in pairwise(pieces):
                counts[tokenizer.id_to_piece(one) + tokenizer.id_to_piece(other)] += 1 / len(ids)
    best = counts.most_common(1)[0][1]
    first = load(extend(content, documents, 1).content).id_to_piece(tokenizer.get_piece_size())
    assert counts[first] == pytest.approx(best, rel=0.3) and "wj" in first


def test_it_is_the_same_for_any_order_of_the_text(content: bytes) -> None:
    documents = maltese_and_finnish()
    assert extend(content, documents, 40).content == extend(content, documents[::-1], 40).content


def test_a_model_and_its_json_are_extended_alike(corpus_folder: Path) -> None:
    from varietas.data.tokenizer.tokenizer_json import tokenizer_json

    wider = load(extend(read(corpus_folder / "tokenizer.model"), maltese_and_finnish(), 100).content)
    as_json = {**tokenizer_json(wider), "varietas": {"bos": 1, "eos": 2}}
    assert first_difference(wider, load(json.dumps(as_json).encode()), (d.text for d in parallel_documents())) is None


def test_too_little_text_is_told(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"the text yields only \d+ new pieces; ask for fewer, or give more text"):
        extend(content, [Document("1", "fin_Latn", "Hyvää päivää")], 100)
