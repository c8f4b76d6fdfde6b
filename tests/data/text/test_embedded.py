"""The text that is installed with Varietas is complete, and it is refused if a package is missing, damaged or of another version."""

import unicodedata
from collections import Counter
from importlib import metadata
from pathlib import Path

import pytest

from varietas.data.text import embedded
from varietas.data.text.documents import Document
from varietas.data.text.languages import LANGUAGES, WORLD

Records = list[Document]


@pytest.fixture(scope="module")
def training() -> Records:
    return list(embedded.training_documents())


@pytest.fixture(scope="module")
def declaration() -> Records:
    return list(embedded.parallel_documents())


def test_training_text_has_thirty_three_languages(training: Records) -> None:
    count = Counter(record.lang for record in training)
    assert len(count) == 33 and not count.keys() & WORLD
    assert set(count.values()) == {84}  # 83 of 12 sentences and one of 4
    missing = {code for code in LANGUAGES if LANGUAGES[code].status == "eu"} - count.keys()
    assert missing == {"gle_Latn", "mlt_Latn"}


def test_every_sentence_is_in_one_document(training: Records) -> None:
    czech = [record for record in training if record.lang == "ces_Latn"]
    assert [record.id for record in czech[:2]] == ["eld:cs:0000", "eld:cs:0001"]
    sentences = [line for record in czech for line in record.text.split("\n")]
    assert len(sentences) == len(set(sentences)) == 1000


def test_serbian_is_labelled_by_its_script(training: Records) -> None:
    for record in training:
        if record.lang.startswith("srp"):
            names = [unicodedata.name(c, "") for c in record.text if c.isalpha()]
            cyrillic = sum(name.startswith("CYRILLIC") for name in names) > len(names) / 2
            assert record.lang == ("srp_Cyrl" if cyrillic else "srp_Latn")


def test_parallel_text_covers_all_languages_but_one(declaration: Records) -> None:
    languages = [record.lang for record in declaration]
    assert len(set(languages)) == len(languages)
    assert LANGUAGES.keys() - languages == {"ltg_Latn"}


def test_parallel_text_repeats_nothing(declaration: Records) -> None:
    for record in declaration:
        paragraphs = record.text.split("\n")
        assert len(set(paragraphs)) == len(paragraphs)
    german = next(record.text for record in declaration if record.lang == "deu_Latn")
    assert german.startswith("Alle Menschen sind frei und gleich") and "\n" not in german


def test_documents_are_complete(training: Records, declaration: Records) -> None:
    records = training + declaration
    assert len({record.id for record in records}) == len(records)
    for record in records:
        assert record.id and record.text and record.url and record.source and record.license and record.lang in LANGUAGES
        assert record.text.encode().decode() == record.text and "\\" not in record.text


def test_fields_are_read_as_the_package_itself_reads_them() -> None:
    from gfmetadata import LanguageProto  # installed with gflanguages, as is protobuf
    from google.protobuf import text_format

    folder = Path(str(metadata.distribution("gflanguages").locate_file(embedded.GFLANGUAGES_FOLDER)))
    files = [folder / f"{stem}.textproto" for stem in ("cs_Latn", "fr_Latn", "uk_Cyrl", "txo_Toto")]
    texts = [file.read_text(encoding="utf-8") for file in files]
    assert any(r"\'" in text for text in texts) and any(r"\n" in text for text in texts)
    texts.append('id: "x"\nsample_text {\n  styles: "a \\"b\\" \\\\ c\\303\\251\\n\\tc\\\'est"\n}\n')
    for text in texts:
        fields = text_format.Parse(text, LanguageProto()).sample_text.ListFields()
        assert embedded.sample_text(text) == {field.name: value for field, value in fields}


def test_an_unknown_escape_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown escape"):
        embedded.sample_text('id: "x"\nsample_text {\n  styles: "\\x41"\n}\n')


class _Package:
    def __init__(self, version: str, folder: Path):
        self.version = version
        self.folder = folder

    def locate_file(self, path: str) -> Path:
        return self.folder / path


@pytest.mark.parametrize("content", [b"cs\tAhoj\n", None])
def test_a_damaged_file_is_refused(content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if content is not None:
        path = tmp_path / embedded.ELD_FILE
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    monkeypatch.setattr(metadata, "distribution", lambda name: _Package("1.0.6", tmp_path))
    with pytest.raises(ValueError, match=r"big-test\.txt: expected sha256 .* --force-reinstall"):
        next(embedded.training_documents())


@pytest.mark.parametrize("read", [embedded.training_documents, embedded.parallel_documents])
def test_a_wrong_version_is_refused(read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda name: _Package("9.9", tmp_path))
    with pytest.raises(ValueError, match=r"found 9\.9; run: pip install (eld==1|gflanguages==0)"):
        next(read())


@pytest.mark.parametrize("read", [embedded.training_documents, embedded.parallel_documents])
def test_a_missing_package_says_what_to_install(read, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(ValueError, match=r"pip install (eld|gflanguages)=="):
        next(read())
