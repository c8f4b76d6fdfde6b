"""The table of languages: HPLT's label, names, status, and other codes of each language.

A language is identified everywhere by its HPLT label: ISO 639-3 code and script ("ces_Latn"). Each label is also found under its
ISO 639-1 code ("cs"), under its ISO 639-3 code alone ("ces"), under `aliases`, and under any of these with the script ("cs_Latn"). If a
language has two scripts, codes without a script mean the one that comes first in the table; for records, that of their text.
"""

import difflib
import re
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Literal


@dataclass(frozen=True)
class Language:
    """A language in one script."""

    code: str  # HPLT's label: ISO 639-3 and ISO 15924, "ces_Latn"
    iso639_1: str  # "cs", or "" if there is none
    name: str  # in English
    own_name: str  # in the language itself
    status: Literal["eu", "candidate", "other"]  # official in the EU, in a candidate country, or neither
    aliases: tuple[str, ...] = ()  # further codes: ISO 639-2/B, macrolanguages, retired ones


_TABLE = (
    Language("bul_Cyrl", "bg", "Bulgarian", "български", "eu"),
    Language("ces_Latn", "cs", "Czech", "čeština", "eu", ("cze",)),
    Language("dan_Latn", "da", "Danish", "dansk", "eu"),
    Language("deu_Latn", "de", "German", "Deutsch", "eu", ("ger",)),
    Language("ell_Grek", "el", "Greek", "ελληνικά", "eu", ("gre",)),
    Language("eng_Latn", "en", "English", "English", "eu"),
    Language("spa_Latn", "es", "Spanish", "español", "eu"),
    Language("ekk_Latn", "et", "Estonian", "eesti", "eu", ("est",)),
    Language("fin_Latn", "fi", "Finnish", "suomi", "eu"),
    Language("fra_Latn", "fr", "French", "français", "eu", ("fre",)),
    Language("gle_Latn", "ga", "Irish", "Gaeilge", "eu"),
    Language("hrv_Latn", "hr", "Croatian", "hrvatski", "eu"),
    Language("hun_Latn", "hu", "Hungarian", "magyar", "eu"),
    Language("ita_Latn", "it", "Italian", "italiano", "eu"),
    Language("lit_Latn", "lt", "Lithuanian", "lietuvių", "eu"),
    Language("lvs_Latn", "lv", "Latvian", "latviešu", "eu", ("lav",)),
    Language("mlt_Latn", "mt", "Maltese", "Malti", "eu"),
    Language("nld_Latn", "nl", "Dutch", "Nederlands", "eu", ("dut",)),
    Language("pol_Latn", "pl", "Polish", "polski", "eu"),
    Language("por_Latn", "pt", "Portuguese", "português", "eu"),
    Language("ron_Latn", "ro", "Romanian", "română", "eu", ("rum", "mo", "mol")),
    Language("slk_Latn", "sk", "Slovak", "slovenčina", "eu", ("slo",)),
    Language("slv_Latn", "sl", "Slovenian", "slovenščina", "eu"),
    Language("swe_Latn", "sv", "Swedish", "svenska", "eu"),
    Language("als_Latn", "sq", "Albanian", "shqip", "candidate", ("sqi", "alb")),
    Language("bos_Latn", "bs", "Bosnian", "bosanski", "candidate"),
    Language("cnr_Latn", "", "Montenegrin", "crnogorski", "candidate"),
    Language("kat_Geor", "ka", "Georgian", "ქართული", "candidate", ("geo",)),
    Language("mkd_Cyrl", "mk", "Macedonian", "македонски", "candidate", ("mac",)),
    Language("srp_Cyrl", "sr", "Serbian (Cyrillic)", "српски", "candidate"),
    Language("srp_Latn", "sr", "Serbian (Latin)", "srpski", "candidate", ("sr_ME", "sh")),
    Language("tur_Latn", "tr", "Turkish", "Türkçe", "candidate"),
    Language("ukr_Cyrl", "uk", "Ukrainian", "українська", "candidate"),
    Language("arg_Latn", "an", "Aragonese", "aragonés", "other"),
    Language("ast_Latn", "", "Asturian", "asturianu", "other"),
    Language("bel_Cyrl", "be", "Belarusian", "беларуская", "other"),
    Language("bre_Latn", "br", "Breton", "brezhoneg", "other"),
    Language("cat_Latn", "ca", "Catalan", "català", "other"),
    Language("cos_Latn", "co", "Corsican", "corsu", "other"),
    Language("cym_Latn", "cy", "Welsh", "Cymraeg", "other", ("wel",)),
    Language("eus_Latn", "eu", "Basque", "euskara", "other", ("baq",)),
    Language("fao_Latn", "fo", "Faroese", "føroyskt", "other"),
    Language("fry_Latn", "fy", "West Frisian", "Frysk", "other"),
    Language("fur_Latn", "", "Friulian", "furlan", "other"),
    Language("gla_Latn", "gd", "Scottish Gaelic", "Gàidhlig", "other"),
    Language("glg_Latn", "gl", "Galician", "galego", "other"),
    Language("gsw_Latn", "", "Swiss German", "Schwyzerdütsch", "other"),
    Language("hye_Armn", "hy", "Armenian", "հայերեն", "other", ("arm",)),
    Language("isl_Latn", "is", "Icelandic", "íslenska", "other", ("ice",)),
    Language("lij_Latn", "", "Ligurian", "lìgure", "other"),
    Language("lmo_Latn", "", "Lombard", "lombard", "other"),
    Language("ltg_Latn", "", "Latgalian", "latgalīšu", "other"),
    Language("ltz_Latn", "lb", "Luxembourgish", "Lëtzebuergesch", "other"),
    Language("nno_Latn", "nn", "Norwegian Nynorsk", "norsk nynorsk", "other"),
    Language("nob_Latn", "nb", "Norwegian Bokmål", "norsk bokmål", "other", ("nor", "no")),
    Language("oci_Latn", "oc", "Occitan", "occitan", "other"),
    Language("roh_Latn", "rm", "Romansh", "rumantsch", "other"),
    Language("scn_Latn", "", "Sicilian", "sicilianu", "other"),
    Language("sme_Latn", "se", "Northern Sami", "davvisámegiella", "other"),
    Language("srd_Latn", "sc", "Sardinian", "sardu", "other"),
    Language("vec_Latn", "", "Venetian", "vèneto", "other"),
    Language("wln_Latn", "wa", "Walloon", "walon", "other"),
    Language("arb_Arab", "ar", "Arabic", "العربية", "other", ("ara",)),
    Language("cmn_Hans", "zh", "Chinese (simplified)", "中文", "other", ("zho", "chi")),
    Language("hin_Deva", "hi", "Hindi", "हिन्दी", "other"),
    Language("jpn_Jpan", "ja", "Japanese", "日本語", "other"),
    Language("kor_Hang", "ko", "Korean", "한국어", "other", ("ko_Kore",)),
    Language("rus_Cyrl", "ru", "Russian", "русский", "other"),
)

LANGUAGES: dict[str, Language] = {language.code: language for language in _TABLE}

# These are in the table because EuroLLM trains on them, so that its data has names here. They are left out wherever European languages
# are counted.
WORLD = frozenset({"arb_Arab", "cmn_Hans", "hin_Deva", "jpn_Jpan", "kor_Hang", "rus_Cyrl"})

# The region in "cs-CZ" or "es-419". Chinese of Taiwan, Hong Kong and Macao is left out, because it is written in another script.
_REGION = re.compile(r"_(?!tw|hk|mo)([a-z]{2}|[0-9]{3})$")


def _codes(language: Language) -> list[str]:
    """Returns all codes under which a language is found."""
    bare, script = language.code.split("_")
    short = [code for code in (bare, language.iso639_1, *language.aliases) if code]
    return [language.code, *short, *(f"{code}_{script}" for code in short if "_" not in code)]


# Codes that HPLT v1.2 has for languages of other continents, with HPLT's later labels. Only v1.2 has a label for Serbo-Croatian.
_FURTHER = dict(
    re.findall(
        r"(\w+):(\w+)",
        "af:afr_Latn az:azj_Latn bn:ben_Beng eo:epo_Latn fa:pes_Arab gu:guj_Gujr hbs:hbs_Latn he:heb_Hebr id:ind_Latn kk:kaz_Cyrl "
        "kn:kan_Knda ky:kir_Cyrl la:lat_Latn ml:mal_Mlym mn:khk_Cyrl mr:mar_Deva ms:zsm_Latn my:mya_Mymr ne:npi_Deva pa:pan_Guru "
        "ps:pbt_Arab si:sin_Sinh so:som_Latn sw:swh_Latn ta:tam_Taml te:tel_Telu th:tha_Thai tl:fil_Latn tt:tat_Cyrl ur:urd_Arab "
        "uz:uzn_Latn vi:vie_Latn",
    )
)

FURTHER_NAMES = {"hbs_Latn": "Bosnian, Croatian or Serbian"}  # of labels that are not in the table

_INDEX: dict[str, Language] = {}
for _language in _TABLE:
    for _code in _codes(_language):
        _INDEX.setdefault(_code.lower(), _language)


def find(code: str) -> Language | None:
    """Returns the language that `code` means, or None. Case, "-" instead of "_", and a region ("cs-CZ") make no difference."""
    key = code.lower().replace("-", "_")
    return _INDEX.get(key) or _INDEX.get(_REGION.sub("", key))


@cache
def _nearest(key: str) -> Language:
    """Returns the language with the most similar code. Cached, since that takes milliseconds, and a corpus asks for each document."""
    return _INDEX[max(_INDEX, key=lambda known: difflib.SequenceMatcher(None, key, known).ratio())]


def canonical(code: str) -> str:
    """Returns HPLT's label for a code. An unknown code is returned unchanged, with a UserWarning.

    Raises:
        ValueError: If `code` is empty or has characters other than ASCII letters, digits, _ and -.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", code):
        raise ValueError(f"language code {code!r}: expected letters, digits, _ or -, as in 'ces_Latn'")
    if language := find(code):
        return language.code
    if label := _FURTHER.get(code.lower()):
        return label
    if code in FURTHER_NAMES:
        return code
    near = _nearest(code.lower().replace("-", "_"))
    warnings.warn(
        f"unknown language code {code!r} is kept as it is; the nearest known one is {near.code!r} ({near.name})",
        UserWarning,
        stacklevel=2,
    )
    return code


def name(code: str) -> str:
    """Returns the English name of the language that `code` means, or `code` itself if it is unknown."""
    language = find(code)
    return language.name if language else FURTHER_NAMES.get(code, code)
