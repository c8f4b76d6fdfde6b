"""Pages in the character sets of European languages, with right labels, wrong labels or none, are read from WARC files."""

from pathlib import Path

import pytest

from varietas.data.formats.charset import decode
from varietas.data.formats.read import read
from varietas.data.text.documents import Document, Reject
from varietas.data.text.embedded import parallel_documents
from varietas.data.text.fields import Reading

DECLARATION = {document.lang[:3]: " ".join(document.text.split("\n")[:4]) for document in parallel_documents()}
TYPOGRAPHY = {  # quotation marks, dashes and letters beyond ISO 8859-1
    "fra": "« L’œuvre coûtera 5 € », dit-il – et c’est tout… “Vraiment” ?",
    "deu": "„Das kostet 5 €“, sagt er – und sonst nichts… ‚Wirklich?‘ Größer wäre schöner.",
}


def text_in(lang: str, charset: str) -> str:
    """Returns the beginning of the Declaration of Human Rights, without characters that the character set does not have."""
    text = DECLARATION[lang].encode(charset, "ignore").decode(charset)
    return f"{text} {TYPOGRAPHY[lang]}" if lang in TYPOGRAPHY and charset in ("cp1252", "utf-8") else text


def page(lang: str, charset: str, meta: str = "") -> bytes:
    head = f"<html><head>{meta}<title>T</title></head><body>"
    return f"{head}<article><p>{text_in(lang, charset)}</p></article></body></html>".encode(charset)


def read_page(folder: Path, content: bytes, header: str) -> Document | Reject:
    """Reads one page from a WARC file in which its HTTP header has this `charset`."""
    http = f"HTTP/1.1 200 OK\r\nContent-Type: text/html{f'; charset={header}' if header else ''}\r\n\r\n".encode() + content
    kind = "WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http; msgtype=response\r\n"
    names = "WARC-Record-ID: <urn:uuid:1>\r\nWARC-Target-URI: https://a.example/\r\nWARC-Date: 2024-01-01T00:00:00Z\r\n"
    (folder / "x.warc").write_bytes(f"{kind}{names}Content-Length: {len(http)}\r\n\r\n".encode() + http + b"\r\n\r\n")
    (record,) = read(str(folder / "x.warc"), reading=Reading("eng_Latn"))
    return record


def meta(charset: str) -> str:
    return f'<meta charset="{charset}">'


def http_equiv(charset: str) -> str:
    return f'<meta http-equiv="Content-Type" content="text/html; charset={charset}">'


@pytest.mark.parametrize(
    ("languages", "charset", "header", "tags"),
    [
        # windows-1252, which pages call ISO-8859-1
        ("fra deu", "cp1252", "ISO-8859-1", ""),
        ("fra deu", "cp1252", '"latin1"', ""),
        ("fra deu", "cp1252", "us-ascii", ""),
        ("fra deu", "cp1252", "", meta("iso-8859-1")),
        ("fra deu", "cp1252", "", http_equiv("ISO_8859-1")),
        ("fra deu", "cp1252", "iso-8859-15", ""),
        ("fra deu", "cp1252", "", ""),
        # Central Europe, also with labels that no standard defines
        ("ces pol hun ron", "cp1250", "windows-1250", ""),
        ("ces pol hun ron", "cp1250", "x-cp1250", ""),
        ("ces pol hun ron", "cp1250", "win-1250", ""),
        ("ces pol hun ron", "cp1250", "", http_equiv("cp1250")),
        ("ces pol hun ron", "iso8859-2", "latin2", ""),
        ("ces pol hun ron", "iso8859-2", "", meta("ISO8859-2")),
        ("ces pol hun ron", "iso8859-2", "", http_equiv("l2")),
        ("ces pol hun", "cp1250", "none", meta("utf8mb4")),
        ("ces pol hun", "cp1250", "utf-8", ""),
        ("ces pol hun", "cp1250", "utf-8", meta("utf-8")),
        ("ces pol", "cp1250", "", meta("iso-8859-2")),
        ("ces pol hun", "iso8859-2", "utf-8", ""),
        ("ces pol hun", "iso8859-2", "", "<!-- " + meta("windows-1251") + " -->" + meta("iso-8859-2")),
        ("ces slk", "cp852", "cp852", ""),
        # Cyrillic and Greek
        ("bul ukr", "cp1251", "win-1251", ""),
        ("bul ukr", "cp1251", "", http_equiv("windows-1251")),
        ("bul ukr", "cp1251", "utf-8", ""),
        ("ukr", "koi8-u", "koi8-u", ""),
        ("bul ukr", "koi8-u", "koi8", ""),
        ("ukr", "koi8-u", "", meta("koi8-r")),
        ("bul ukr", "koi8-u", "unknown", ""),
        ("bul ukr", "iso8859-5", "", meta("iso-8859-5")),
        ("ell", "cp1253", "windows-1253", ""),
        ("ell", "cp1253", "", meta("iso-8859-7")),
        ("ell", "cp1253", "utf-8", ""),
        ("ell", "iso8859-7", "iso-8859-7", ""),
        ("ell", "iso8859-7", "", http_equiv("greek")),
        # Baltic and Turkish
        ("lit lvs", "cp1257", "windows-1257", ""),
        ("lit lvs", "cp1257", "", meta("x-cp1257")),
        ("lit lvs", "cp1257", "utf-8", ""),
        ("lit lvs", "iso8859-13", "iso-8859-13", ""),
        ("lit lvs", "iso8859-4", "", meta("latin4")),
        ("tur", "cp1254", "windows-1254", ""),
        ("tur", "cp1254", "", meta("iso-8859-9")),
        ("tur", "cp1254", "utf-8", ""),
        # UTF-8, whatever the labels say
        ("mlt gle", "utf-8", "iso-8859-1", ""),
        ("mlt gle", "utf-8", "", meta("iso-8859-1")),
        ("mlt gle ces ell bul", "utf-8", "windows-1252", http_equiv("iso-8859-2")),
        ("mlt gle ces ell bul", "utf-8", "shift_jis", ""),
        ("mlt gle ces", "utf-8", "utf-16", ""),
        ("mlt gle ces", "utf-8", "utf8mb4", ""),
        ("mlt gle ces", "utf-8", "", meta("no-such-thing")),
        ("mlt gle ces", "utf-8", "", ""),
        # byte order marks, and UTF-16 with and without one
        ("mlt ces ell", "utf-8-sig", "iso-8859-1", meta("windows-1250")),
        ("mlt ces ell", "utf-16", "", ""),
        ("mlt ces ell", "utf-16", "iso-8859-1", meta("utf-8")),
        ("mlt ces ell", "utf-16-le", "utf-16", ""),
        ("mlt ces ell", "utf-16-be", "utf-16be", ""),
        ("ces fra", "utf-16-be", "", meta("utf-8")),
    ],
)
def test_pages_are_decoded_correctly(languages: str, charset: str, header: str, tags: str, tmp_path: Path) -> None:
    for lang in languages.split():
        record = read_page(tmp_path, page(lang, charset, tags), header)
        assert isinstance(record, Document), (lang, record)
        assert record.text == text_in(lang, charset), lang


def test_texts_have_enough_characters_to_tell_character_sets_apart() -> None:
    for lang in ("fra", "deu", "ces", "pol", "hun", "ron", "bul", "ukr", "ell", "lit", "lvs", "tur", "mlt", "gle"):
        assert sum(not character.isascii() for character in text_in(lang, "utf-8")) >= 10, lang


@pytest.mark.parametrize("header", ["", "utf-8", "windows-1252"])
def test_pages_that_fit_no_character_set_are_rejected(header: str, tmp_path: Path) -> None:
    noise = bytes(0x80 + i * 37 % 0x80 for i in range(3000))  # every byte beyond ASCII equally often
    record = read_page(tmp_path, b"<html><body><article><p>" + noise + b"</p></article></body></html>", header)
    assert isinstance(record, Reject) and record.reason == "unreadable page"


def test_a_cut_character_or_an_invalid_byte_does_not_change_the_character_set() -> None:
    text = "<p>Kulħadd għandu d-dritt</p>"
    assert decode((text + "ħ").encode()[:-1], "iso-8859-1") == text + "\ufffd"
    czech = "<p>" + "Příliš žluťoučký kůň " * 20 + "</p>"
    assert decode(czech.encode() + b"\xff", "windows-1250") == czech + "\ufffd"
    assert decode(czech.encode("cp1250") + b"\x81", "windows-1250") == czech + "\ufffd"


def test_replacement_characters_in_a_page_do_not_change_its_character_set() -> None:
    text = "<p>the author\ufffds own words, the printer\ufffds own errors</p>"
    assert decode(text.encode(), "iso-8859-1") == text


def test_iso_2022_jp_is_decoded() -> None:
    text = "<p>すべての人間は、生まれながらにして自由である</p>"
    assert decode(text.encode("iso-2022-jp"), "iso-2022-jp") == text
