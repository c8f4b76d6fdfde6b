"""Text that was decoded with the wrong character set comes back, and other text stays as it is."""

import pytest

from varietas.data.clean import charsets, fences
from varietas.data.text.embedded import training_documents

CZECH = "Při psaní dopisů se někdy stane, že příjemce přečte jen část, protože písmena s háčky a kroužky někdo cestou změnil. Už to ví."
POLISH = "Kiedy się okazało, że książka jest już w księgarniach, wszyscy chcieli ją mieć i czytać. Był też list, który można kupić."
TURKISH = "Bu sabah erken kalktım ve çay içtim. Sonra dışarı çıktım, çünkü hava çok güzeldi ve kuşlar ağaçlarda ötüyordu."
LATVIAN = "Vakar mēs bijām mežā un lasījām sēnes, kas tur aug. Pēc tam visi gājām mājās, jo sāka līt, bet māte bija mājās."
SWEDISH = "På våren går vi ofta till sjön och då får barnen bada. Vi åker också båt när det är varmt, och sedan äter vi på ön."
BULGARIAN = "Когато дойде пролетта, всички излязоха на двора и започнаха да работят. Само дядо не беше там, защото го болеше кракът."


def repaired(text: str, label: str) -> str:
    known = fences.load("")
    return charsets.repair(text, known.of(label), known.others(label))


@pytest.mark.parametrize(
    ("text", "label", "written", "read"),
    [
        (CZECH, "ces_Latn", "cp1250", "cp1252"),
        (CZECH, "ces_Latn", "iso8859_2", "latin_1"),
        (POLISH, "pol_Latn", "cp1250", "cp1252"),
        (TURKISH, "tur_Latn", "cp1254", "cp1252"),
        (LATVIAN, "lvs_Latn", "cp1257", "cp1252"),
        (SWEDISH, "swe_Latn", "cp1252", "cp1250"),
        (BULGARIAN, "bul_Cyrl", "cp1251", "cp1252"),
        (BULGARIAN, "bul_Cyrl", "koi8_r", "cp1251"),
    ],
)
def test_the_text_comes_back(text: str, label: str, written: str, read: str) -> None:
    wrong = text.encode(written).decode(read)
    assert wrong != text and repaired(wrong, label) == text


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (CZECH, "ces_Latn"),
        (POLISH, "pol_Latn"),
        (BULGARIAN, "bul_Cyrl"),
        (CZECH + " Přijeli Søren Sørensen, Jørgen Bjørnson, Løvland i François Müller z Malmø." + 4 * CZECH, "ces_Latn"),
        (BULGARIAN + " «Добре», каза той — «ще почакаме…»", "bul_Cyrl"),
        (CZECH.encode("cp1250").decode("cp1252"), "xyz_Latn"),
    ],
)
def test_sound_text_and_text_of_an_unknown_language_stay(text: str, label: str) -> None:
    assert repaired(text, label) == text


@pytest.mark.parametrize(
    ("language", "label"),
    [("ces_Latn", "slk_Latn"), ("pol_Latn", "ces_Latn"), ("por_Latn", "spa_Latn"), ("ukr_Cyrl", "rus_Cyrl"), ("bel_Cyrl", "ukr_Cyrl")],
)
def test_a_sentence_under_the_label_of_a_related_language_stays(language: str, label: str) -> None:
    """Its letters are foreign to that language, and no damage. Of Polish as Czech, one in five would be spoiled otherwise."""
    sentences = [line for document in training_documents() if document.lang == language for line in document.text.split("\n")]
    spoiled = [sentence for sentence in sentences if repaired(sentence, label) != sentence]
    assert len(sentences) == 1000 and len(spoiled) <= 2, spoiled
    assert repaired("jedna dvě tři čtyři pět!", "slk_Latn") == "jedna dvě tři čtyři pět!"
