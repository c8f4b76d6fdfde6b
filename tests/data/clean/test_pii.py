"""Personal data is masked in each language, and what only looks like personal data is kept."""

import sys
from collections import Counter

import pytest

from varietas.data.clean import cleaning, phones, pii
from varietas.data.clean.callwords import NATIONS
from varietas.data.text.documents import Document
from varietas.data.text.languages import LANGUAGES, WORLD


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("GB82 WEST 1234 5698 7654 32", "iban"),
        ("DE89370400440532013000", "iban"),
        ("44051401359", "id"),
        ("MRTMTT91D08F205J", "id"),
        ("37605030299", "id"),
        ("1800101221144", "id"),
        ("131052-308T", "id"),
        ("811218-9876", "id"),
        ("4111 1111 1111 1111", "card"),
    ],
)
def test_numbers_with_valid_check_digits_are_masked(text: str, kind: str) -> None:
    """The numbers are specimens from standards and Wikipedia. With one digit changed they are invalid and kept."""
    assert pii.mask(f"Číslo {text}, prosím.")[0] == f"Číslo <{kind}>, prosím."
    last = max(k for k, c in enumerate(text) if c.isdigit())
    changed = f"{text[:last]}{(int(text[last]) + 1) % 10}{text[last + 1 :]}"
    assert kind not in {span.kind for span in pii.find(f"Číslo {changed}, prosím.")}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Napište na a.b+c@mail.example.org!", "Napište na <email>!"),
        ("Zavolejte +420 601 123 456.", "Zavolejte <phone>."),
        ("tel. 0201 123456", "tel. <phone>"),
        ("BSN: 111222333", "BSN: <id>"),
        ("OIB 94577403194", "OIB <id>"),
        ("server 194.160.23.1", "server <ip>"),
    ],
)
def test_personal_data_is_masked(text: str, masked: str) -> None:
    assert pii.mask(text)[0] == masked


# Specimens of Wikipedia, authorities and python-stdnum; those of Luxembourg and Hungary follow the published formulas.
NATIONAL = [
    "Matricule 1985041212393", "SVNR: 1237 010180", "ΑΦΜ: 094259216", "Α.Φ.Τ. 00532445O", "AVS 756.9217.0769.85", "AHV-Nr. 7569217076985",
    "Numéro national 85.07.30-033.28", "NISS: 85073003328", "adóazonosító jele: 8071592153", "TAJ szám: 123-456-788",
    "personas kods 161175-19997", "ID card 123456M", "NID: J91402501L", "Steuer-ID: 36 574 261 809",
]  # fmt: skip


@pytest.mark.parametrize("text", NATIONAL)
def test_national_numbers_are_masked_beside_the_word_of_their_country(text: str) -> None:
    masked = pii.mask(f"{text}, a dál.")[0]
    assert masked.endswith(" <id>, a dál.") and not any(map(str.isdigit, masked)), masked


@pytest.mark.parametrize(
    "text",
    [
        "avsatt 110 000 000 kroner", "Tajemník 123 456 788", "Ahvenanmaa 7569217076985", "Nissan 85073003328", "p. Kovář 110 000 000",
        "identical 1080P", "personal best 1500M", "Identifikation 2000A", "reg. 400030-32949",
    ],
)  # fmt: skip
def test_words_that_only_begin_like_those_before_national_numbers(text: str) -> None:
    assert pii.find(f"Stojí tu {text}, a dál.") == []


def test_an_iban_is_found_after_what_begins_like_one() -> None:
    assert pii.mask("kod ab12 iban DE89 3704 0044 0532 0130 00.")[0] == "kod ab12 iban <iban>."
    assert pii.mask("na DE89-3704-0044-0532-0130-00-abc")[0] == "na <iban>-abc"


def test_national_numbers_without_a_word_or_with_another_check_digit_are_kept() -> None:
    for text in ("1237 010180", "094259216", "8071592153", "123456M", "00532445O"):
        assert pii.find(f"Stojí tu {text}, a dál.") == []
    for text in (
        "Matricule 1985041212394",
        "SVNR: 1238 010180",
        "TAJ szám: 123-456-787",
        "AVS 756.9217.0769.84",
        "adóazonosító 8071592154",
    ):
        assert pii.find(f"{text}, a dál.") == []


@pytest.mark.parametrize("gap", ["", " ", "-", "\u00a0", "\u2011"])
@pytest.mark.parametrize(
    "iban", ["DE89370400440532013000", "RO49AAAA1B31007593840000", "LV80BANK0000435195001", "MT84MALT011000012345MTLCAST001S"]
)
def test_ibans_of_all_countries_in_any_spelling(iban: str, gap: str) -> None:
    grouped = gap.join(iban[at : at + 4] for at in range(0, len(iban), 4))
    for text in (grouped, grouped.lower()):
        assert pii.mask(f"Na účet {text} do pátku.")[0] == "Na účet <iban> do pátku."


def test_what_is_decomposed_or_was_decoded_wrongly_is_repaired_before_the_search() -> None:
    steps = cleaning.Cleaning(unicode=True, pii="mask", opt_outs=False)
    for address in ("jose\u0301@posta.example", "josé@posta.example".encode().decode("cp1252")):
        document = Document("1", "spa_Latn", f"Escriba a {address} hoy, mañana o cuando quiera.")
        assert cleaning.clean(document, steps, Counter()).text == "Escriba a <email> hoy, mañana o cuando quiera."


@pytest.mark.parametrize(
    "text",
    [
        "ISBN 978-3-16-148410-0", "1.234.567,89 Kč", "2024-01-02 12:30:45", "version 94.160.23.1", "192.168.10.200", "12.4.2.1", "a@b",
        "v letech 1914-1918", "50,1234567 14.4208", "111222333 obyvatel", "© 2019-2024", "10 000 000 000 eur", "3 × 4 = 12; 1:2:3:4",
    ],
)  # fmt: skip
def test_other_numbers_are_kept(text: str) -> None:
    assert pii.find(f"Stojí tu {text} a dál.") == []


PHONES = [  # of authorities, reserved for films (Ofcom, Bundesnetzagentur, PTS, ARCEP), or made up in the form of the country
    ("bul_Cyrl", "Обадете се на тел. 02 940 09 00 или 0888 123 456.", 2),
    ("ces_Latn", "mob. tel. č. 777 123 456, pevná 224 812 345", 2),
    ("ces_Latn", "Zavolejte nám kdykoli na číslo 777 123 456 / 777 123 457!", 2),
    ("dan_Latn", "Ring på 33 92 33 33, eller skriv til os. Tlf.nr. 70 10 20 30", 2),
    ("deu_Latn", "Rufen Sie uns an: 030/23125-456", 1),
    ("deu_Latn", "Tel.: (0 30) 2 31 25-456, Fax: -457", 1),
    ("deu_Latn", "In Wien erreichen Sie uns telefonisch unter 01 531 15-0.", 1),
    ("ell_Grek", "Τηλέφωνο: 210 338 9000, κιν. 6912 345 678", 2),
    ("eng_Latn", "Phone Mary on (01) 874 5000, or text her on 087 123 4567.", 2),
    ("eng_Latn", "Call 020 7946 0018 (London) or 2590 0000 (Malta).", 2),
    ("spa_Latn", "Llámenos al 913 12 34 56 o al 612.345.678", 2),
    ("ekk_Latn", "Helista numbril 693 5555 või mob 5123 4567", 2),
    ("fin_Latn", "Puh. 09 1605 7000, soita myös numeroon 040-123 4567", 2),
    ("fra_Latn", "Vous pouvez nous joindre au 02 277 21 11 (Bruxelles).", 1),
    ("fra_Latn", "En France : 01 99 00 12 34, sans indicatif.", 1),
    ("gle_Latn", "Cuir glao ar (01) 647 3000 nó seol facs chuig 01 647 3001.", 2),
    ("hrv_Latn", "Nazovite na broj 01 4569 222 ili 091/234-5678", 2),
    ("hun_Latn", "Hívja a (06 1) 441 3000 számot vagy a 06-20-123-4567-et!", 2),
    ("hun_Latn", "A pult a 30/123-4567-es telefonszámon érhető el.", 1),
    ("ita_Latn", "Numero verde 800 123 456, cell. 347 1234567, tel. 06 6779 1", 3),
    ("lit_Latn", "Skambinkite tel. (8 5) 266 3711 arba 8 612 34567", 2),
    ("lvs_Latn", "Zvaniet pa tālruņiem 67 016 800, 29 123 456", 2),
    ("mlt_Latn", "Ċempel it-telefown 2122 0000 jew il-mobile 7912-3456.", 2),
    ("nld_Latn", "Bel 0471 12 34 56 of mail ons; mobiel: 06-12345678", 2),
    ("pol_Latn", "tel. 22 694 75 00, kom. 601-234-567", 2),
    ("por_Latn", "Ligue 213 921 800 ou telemóvel 912 345 678", 2),
    ("ron_Latn", "Sunați la 021 314 34 00 sau pe mobil: 0721.234.567", 2),
    ("slk_Latn", "Volajte 02/572 95 111 alebo 0912 123 456.", 2),
    ("slv_Latn", "Pokličite na (01) 478 10 00 ali GSM 041 234 567", 2),
    ("swe_Latn", "Ring oss på 08-465 004 00 eller tfn 08-46500401", 2),
    ("als_Latn", "Telefononi në 067 212 3456", 1),
    ("kat_Geor", "დაგვირეკეთ: 555 12 34 56", 1),
    ("tur_Latn", "Bizi 0212 345 67 89 numaralı telefondan arayın", 1),
    ("ukr_Cyrl", "Телефонуйте: 044 256 63 33", 1),
]  # fmt: skip


@pytest.mark.parametrize(("language", "text", "numbers"), PHONES)
def test_national_numbers_beside_a_word_of_the_language_are_masked(language: str, text: str, numbers: int) -> None:
    masked, counts = pii.mask(text, language)
    assert counts == {"phone": numbers}, masked
    assert not any(sum(map(str.isdigit, word)) > 3 for word in masked.split())


def test_every_european_language_has_its_countries() -> None:
    assert set(NATIONS) == set(LANGUAGES) - WORLD | {"hbs_Latn"}


@pytest.mark.parametrize("gap", ["\u00a0", "\u202f", "\u2009", "-", "\u2011", "–", ".", " ", ""])
def test_digits_may_have_any_separator(gap: str) -> None:
    text = f"Telefon: 777{gap}123{gap}456, účet +420{gap}777{gap}123{gap}456."
    assert pii.mask(text, "ces_Latn")[0] == "Telefon: <phone>, účet <phone>."


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Telefon:\n777 123 456\nBrno 602 00", "Telefon:\n<phone>\nBrno 602 00"),
        ("volejte 777 123 456, 777 123 457 nebo 777 123 458", "volejte <phone>, <phone> nebo <phone>"),
        ("tel. (Jan, po 16 h) 777 123 456/7", "tel. (Jan, po 16 h) <phone>"),
        ("tel. 777 123 456 - 777 123 457", "tel. <phone> - <phone>"),
        ("(tel. 777 123 456)", "(tel. <phone>)"),
        ("777 123 456 (mobil)", "<phone> (mobil)"),
        ("tel. 777 123 456 | IČO 601 123 456", "tel. <phone> | IČO 601 123 456"),
        ("Tel.: +420 777 123 456, 777 123 457", "Tel.: <phone>, <phone>"),
        ("mobil Jan 777 123 456 (večer), Eva 777 123 457", "mobil Jan <phone> (večer), Eva <phone>"),
        ("Tel.: (00 49) 30 / 23 12 54 56", "Tel.: <phone>"),
        ("Europe Direct 00 800 67 89 10 11", "Europe Direct <phone>"),
        ("Tel. (11) 3123-4567, São Paulo", "Tel. <phone>, São Paulo"),  # a number of another country after a label
        ("Tel.: +592-225-8482", "Tel.: <phone>"),
        ("Redakce\nT 777 123 456\nF 777 123 457", "Redakce\nT <phone>\nF <phone>"),
        ("777 123 456", "777 123 456"),
        ("telefonů se prodalo celkem víc než loni i předloni a letos jich bude asi 777 123 456", None),
    ],
)
def test_where_a_number_ends_and_how_far_a_word_reaches(text: str, masked: str | None) -> None:
    assert pii.mask(text, "ces_Latn")[0] == (masked or text)


OTHERS = [
    ("hun_Latn", "Telefon: 6.845.318 Ft"),
    ("ces_Latn", "Telefon za 777 123 456 Kč, jiný za € 777 123 456"),
    ("ces_Latn", "Tel. 1914-1918, 2019–2024, 12.03.2024, 12. 3. 2024, 2024-03-12, 8.00–16.30"),
    ("ces_Latn", "Telefon ISBN 978-80-7335-123-4, ISSN 0212-3456, verze 14.2.1, IČO 234 567 890"),
    ("ces_Latn", "Volejte po zápase, skončil 3:2 (1:1), podle 115.2.0.88 a 424/1991 Sb., č. j. 2024/004512"),
    ("ces_Latn", "Kontakt: 602 00 Brno, 45,7 % voličů, 160 x 75 x 8 mm"),
    ("ces_Latn", "Telefonní přístroje podle let: 12 340 560 1 780 234 13 345 567 2 345 678"),
    ("fra_Latn", "Au téléphone, il a dicté le tirage : 05 08 09 12 20 35"),
    ("fra_Latn", "Numéros gagnants : 05 08 09 12 20."),
    ("deu_Latn", "Telefonkunden: Die Zahl der Anrufe stieg von 350 000 auf 1.250.000, also auf 12 345 678."),
    ("deu_Latn", "Das iPhone erreichte mit 35.198 Dollar den Höchststand"),
    ("lit_Latn", "KOM (2009) 442 galutinis"),
    ("eng_Latn", "a call returns 4294967295 or 2147483648, see 10.1016/j.cell.2015.05.002"),
    ("eng_Latn", "Observations\nF\n1.3244637524\nTel: 0.13244637524"),
    ("eng_Latn", "Callers cite resolution 2254 (2015) of the Council"),
    ("eng_Latn", "10 + 13 28 29 30 133, 0,00490825806749606"),
]


@pytest.mark.parametrize(("language", "text"), OTHERS)
def test_other_numbers_beside_the_same_words_are_kept(language: str, text: str) -> None:
    assert pii.mask(text, language)[0] == text


def test_a_number_counts_only_in_the_languages_of_its_country() -> None:
    """0471 12 34 56 is a number of Belgium, not of Poland."""
    assert pii.find("contact: 0471 12 34 56", "nld_Latn") and pii.find("contact: 0471 12 34 56", "fra_Latn")
    assert not pii.find("kontakt: 0471 12 34 56", "pol_Latn")
    assert not pii.find("bel 0471 12 34 56", "fra_Latn")  # "bel" is a Dutch word for calling


def test_long_tables_and_directories_take_little_time() -> None:
    """A search whose time grows with the square of their length would not end."""
    table = "tel. " + "123 456 - " * 100_000
    assert pii.mask(table, "deu_Latn")[0] == table
    assert pii.mask("Tel. 030 23125456, +49 30 23125457 \n" * 5_000, "deu_Latn")[1] == {"phone": 10_000}


def test_cleaning_passes_on_the_language_of_the_document() -> None:
    for language, masked in (("ces_Latn", "Volejte <phone>."), ("xyz_Latn", "Volejte 777 123 456.")):
        document = Document("1", language, "Volejte 777 123 456.")
        assert cleaning.clean(document, cleaning.Cleaning(pii="mask"), Counter()).text == masked


def test_without_phonenumbers_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    phones._library.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r"needs phonenumbers; run: pip install 'varietas\[data\]'"):
        pii.mask("tel. 777 123 456", "ces_Latn")
    assert pii.mask("V roce 2024 bylo 777 123 456 telefonů.", "ces_Latn")[1] == {}
