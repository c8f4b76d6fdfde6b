"""Fair tokenizers: premiums by hand, the search against what it is for, the comparison against the libraries themselves."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sentencepiece as spm
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from varietas.data import compare, parity, tokenizer
from varietas.data.documents import Document
from varietas.data.parallel import halves, parallel, premiums, summary
from varietas.data.parity import Round, estimated, search

LETTERS = {"eng_Latn": ("bcdfghklmnprst", "aeiou"), "ell_Grek": ("βγδζθκλμνπρστ", "αειου")}


def text_of(code: str, seed: int, n: int = 30) -> str:
    """Words of random syllables, so that there is always more to learn."""
    rng = np.random.default_rng(seed)
    consonants, vowels = LETTERS[code]
    syllables = [c + v for c in consonants for v in vowels]
    return " ".join("".join(syllables[k] for k in rng.integers(0, len(syllables), 3)) for _ in range(n))


def documents() -> list[Document]:
    """Much English, little Greek."""
    counts = {"eng_Latn": 400, "ell_Grek": 25}
    return [Document(f"{i}", code, text_of(code, i)) for code, n in counts.items() for i in range(n)]


def aligned() -> list[Document]:
    return [Document(f"p{i}", code, text_of(code, 1000 + i)) for i in range(40) for code in LETTERS]


def test_premiums_by_hand_over_shared_ids_only() -> None:
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
def test_what_is_not_parallel(records: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parallel([Document(key, code, "x") for key, code in records])


def test_halves_share_no_content() -> None:
    first, second = halves(parallel(aligned()))
    for code in LETTERS:
        assert not first[code].keys() & second[code].keys() and len(first[code]) + len(second[code]) == 40
    assert first["eng_Latn"].keys() == first["ell_Grek"].keys()


def test_the_search_makes_the_dear_language_cheaper_on_text_it_did_not_see() -> None:
    tune, held = halves(parallel(aligned()))
    rounds: list[Round] = []

    def premium(sampling: str) -> float:
        processor = tokenizer.load(tokenizer.train(documents, 400, sampling, texts=tune, progress=rounds.append))
        return premiums(held, lambda text: len(processor.encode(text)))["ell_Grek"]

    before = premium("alpha:1")
    assert premium("parity") < 0.95 * before
    assert rounds[0].premium["ell_Grek"] == max(r.premium["ell_Grek"] for r in rounds)
    assert all(sum(r.shares.values()) == pytest.approx(1) for r in rounds)


def test_the_search_keeps_the_best_round_that_english_can_bear(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_english_that_became_too_dear_gets_more_again() -> None:
    """It is 1.5 times as dear as at first and half as dear as Greek: at 1.5 / AIM, not at half of the median, its share grows."""
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
        "eng_Latn": shares["eng_Latn"] * (1.5 / parity.AIM) ** 3,
        "ell_Grek": shares["ell_Grek"] * (premium["ell_Grek"] / median) ** 3,
    }
    assert rounds[2].shares["eng_Latn"] == pytest.approx(weights["eng_Latn"] / sum(weights.values()))


def test_parallel_text_counts_the_more_the_more_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the table Greek costs 4.32, by the text 2 times as much as English."""
    pool = {"eng_Latn": ["abcd"], "ell_Grek": ["αβ"]}
    texts = {"eng_Latn": {"1": "x" * 500}, "ell_Grek": {"1": "χ"}}
    count = {"abcd": 2, "αβ": 4, "x" * 500: 100, "χ": 200}.__getitem__
    for trusted, expected in ((0, 2), (500, (2 * 2 * 2.16) ** 0.5), (10**12, 2 * 2.16)):
        monkeypatch.setattr(parity, "TRUSTED_BYTES", trusted)
        rounds: list[Round] = []
        search(pool, {"eng_Latn": 0.5, "ell_Grek": 0.5}, lambda _: (b"", count), 1000, texts, rounds.append)
        assert rounds[0].premium == pytest.approx({"eng_Latn": 1.0, "ell_Grek": expected})


def test_without_parallel_text_bytes_stand_for_content() -> None:
    """Greek needs 2.16 × the bytes; at one token a byte against one for two it costs 4.32 × the tokens."""
    pool = {"eng_Latn": ["abcd"], "ell_Grek": ["αβ"]}
    assert estimated(pool, lambda text: 2 if text == "abcd" else 4)["ell_Grek"] == pytest.approx(2 * 2.16)


@pytest.mark.parametrize("sampling", ["alpha", "alpha:2", "alpha:x", "unimaxx", "parity:1"])
def test_no_such_sampling(sampling: str) -> None:
    with pytest.raises(ValueError, match="expected alpha:X"):
        tokenizer.train(documents, 400, sampling)


def test_unimax_gives_small_languages_what_four_epochs_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(spm.SentencePieceTrainer, "train", lambda **options: lines.extend(options["sentence_iterator"]))
    texts = [Document("", "b", "b" * 100)] * 90 + [Document("", "a", "a" * 100)] * 10
    tokenizer.train(lambda: texts, 300, "unimax")
    assert sum(line[0] == "a" for line in lines) == pytest.approx(40, abs=1)
    assert sum(line[0] == "b" for line in lines) == pytest.approx(60, abs=1)


def test_code_and_emoji_as_people_expect() -> None:
    code = "def f(x):\n    if x:\n        return x + 1  # ok\n\tpass\n"
    processor = tokenizer.load(tokenizer.train(lambda: [Document("", "eng_Latn", f"{code}{i} " * 3) for i in range(300)], 340))
    pieces = processor.encode_as_pieces("\n        return 2026")
    assert "▁▁▁▁▁▁▁▁" in pieces or pieces[1].startswith("▁" * 4)
    assert pieces[-4:] == ["2", "0", "2", "6"] and pieces[0] == "\n"
    for text in (code, "🇪🇺 👩‍👩‍👧 é  \u00a0ß", "a\tb\n\n  c", "中文 العربية"):
        assert processor.decode(processor.encode(text)) == text


@pytest.fixture(scope="module")
def models_of(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizers")
    (folder / "ours.model").write_bytes(tokenizer.train(documents, 400))
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    theirs.train_from_iterator((d.text for d in documents()), trainer)
    (folder / "theirs").mkdir()
    theirs.save(str(folder / "theirs" / "tokenizer.json"))
    (folder / "broken.json").write_text("{}")
    (folder / "noise.model").write_bytes(b"\x01noise")
    return folder


def test_the_comparison_counts_as_the_libraries_do(models_of: Path) -> None:
    texts = parallel(aligned())
    ours = spm.SentencePieceProcessor(model_file=str(models_of / "ours.model"))
    theirs = Tokenizer.from_file(str(models_of / "theirs" / "tokenizer.json"))
    counts: dict[str, Callable[[str], int]] = {
        "ours.model": lambda text: len(ours.encode(text)),
        "theirs/tokenizer.json": lambda text: len(theirs.encode(text).ids),
    }
    for file, count in counts.items():
        rows = compare.compare(compare.load(models_of / file), texts)
        assert [row.language for row in rows] == ["ell_Grek", "eng_Latn"] and rows[1].premium == 1
        for row in rows:
            mine = texts[row.language].values()
            assert row.tokens == sum(map(count, mine)) and row.words == 30 * 40
            assert row.continued == pytest.approx(np.mean([count(" " + word) > 1 for text in mine for word in text.split()]))
            assert row.bytes_per_token == sum(len(text.encode()) for text in mine) / row.tokens
    assert compare.load(models_of / "theirs" / "tokenizer.json").name == "theirs"


def test_fallback_is_bytes_that_are_no_characters(models_of: Path) -> None:
    texts = parallel([Document("1", "eng_Latn", "the house"), Document("1", "cmn_Hans", "中文")])
    for file in ("ours.model", "theirs/tokenizer.json"):
        found = {row.language: row.fallback for row in compare.compare(compare.load(models_of / file), texts)}
        assert found["eng_Latn"] == 0 and found["cmn_Hans"] == 1


@pytest.mark.parametrize("name", ["broken.json", "noise.model", "missing.model"])
def test_what_is_no_tokenizer(name: str, models_of: Path) -> None:
    with pytest.raises(ValueError, match=name):
        compare.load(models_of / name)


def test_the_picture_is_well_formed(models_of: Path) -> None:
    from xml.etree import ElementTree

    from varietas.launch.picture import comparison_svg

    rows = compare.compare(compare.load(models_of / "ours.model"), parallel(aligned()))
    picture = ElementTree.fromstring(comparison_svg({"a<b": rows, "c": rows}))
    assert sum(element.tag.endswith("circle") for element in picture.iter()) == 2 + 4
    assert json.dumps([row.language for row in rows])


def test_few_large_documents_do_not_stop_the_search() -> None:
    """A file without empty lines is one document: pieces of it are taken."""
    large = Document("0", "ell_Grek", "\n".join(text_of("ell_Grek", k) for k in range(400)))
    model = tokenizer.train(lambda: [large, *documents()[:400]], 400, "parity")
    assert tokenizer.load(model).get_piece_size() == 400


def test_the_search_says_where_it_has_no_measure() -> None:
    with pytest.raises(ValueError, match="no measure for xyz_Latn; give it parallel text"):
        tokenizer.train(lambda: [Document("1", "xyz_Latn", text_of("eng_Latn", 1, 2000))], 330, "parity")
