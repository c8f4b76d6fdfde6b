"""The table of languages: which languages it has, and which codes it understands."""

import warnings
from collections import Counter

import pytest

from varietas.data.text.languages import LANGUAGES, WORLD, canonical, find, name

EU = "bg cs da de el en es et fi fr ga hr hu it lt lv mt nl pl pt ro sk sl sv"
CANDIDATES = {
    "als_Latn",
    "bos_Latn",
    "cnr_Latn",
    "kat_Geor",
    "mkd_Cyrl",
    "srp_Cyrl",
    "srp_Latn",
    "tur_Latn",
    "ukr_Cyrl",
}


def test_the_table_has_all_official_languages_of_the_eu_and_the_candidates() -> None:
    by_status = {status: [language for language in LANGUAGES.values() if language.status == status] for status in ("eu", "candidate")}
    assert " ".join(sorted(language.iso639_1 for language in by_status["eu"])) == EU
    assert {language.code for language in by_status["candidate"]} == CANDIDATES
    assert LANGUAGES.keys() >= WORLD
    assert all(LANGUAGES[code].status == "other" for code in WORLD)


def test_the_table_is_well_formed() -> None:
    assert len({language.name for language in LANGUAGES.values()}) == len(LANGUAGES)
    for code, language in LANGUAGES.items():
        bare, script = code.split("_")
        assert code == language.code and len(bare) == 3 and bare.islower()
        assert len(script) == 4 and script.istitle()
        assert language.own_name and len(language.iso639_1) in (0, 2)


def test_no_alias_means_two_languages() -> None:
    claims = Counter(alias.lower() for language in LANGUAGES.values() for alias in language.aliases)
    own = Counter({c for code in LANGUAGES for c in (code.lower(), code.split("_")[0])})
    own.update({language.iso639_1 for language in LANGUAGES.values()})
    assert [code for code, count in (claims + own).items() if count > 1] == []


@pytest.mark.parametrize(
    ("codes", "label"),
    [
        ("cs ces cze ces_Latn cs_Latn cze_Latn CES_LATN ces-Latn cs-CZ cs-Latn-CZ", "ces_Latn"),
        ("et est est_Latn et_Latn ekk", "ekk_Latn"),
        ("lv lav lav_Latn lvs", "lvs_Latn"),
        ("sq sqi alb sqi_Latn als", "als_Latn"),
        ("no nor nb nob nor_Latn no_Latn", "nob_Latn"),
        ("nn nno", "nno_Latn"),
        ("sr srp sr_Cyrl sr-RS", "srp_Cyrl"),
        ("sr_Latn sr-Latn-RS srp-Latn sr-ME", "srp_Latn"),
        ("zh zho chi cmn zho_Hans zh-Hans zh-CN", "cmn_Hans"),
        ("ar ara arb ara_Arab", "arb_Arab"),
        ("ko kor ko-Kore", "kor_Hang"),
        ("pt-BR por", "por_Latn"),
        ("es-419", "spa_Latn"),
        ("cnr", "cnr_Latn"),
    ],
)
def test_every_spelling_of_a_code_gives_the_label(codes: str, label: str) -> None:
    assert {canonical(code) for code in codes.split()} == {label}


def test_bibliographic_codes_are_understood() -> None:
    pairs = "ger/deu fre/fra dut/nld gre/ell slo/slk rum/ron ice/isl mac/mkd arm/hye baq/eus wel/cym"
    for pair in (pairs + " geo/kat cze/ces alb/als").split():
        code, bare = pair.split("/")
        assert canonical(code).startswith(bare + "_")


@pytest.mark.parametrize("code", ["bos_Cyrl", "tur_Arab", "zh-TW", "zho_Hant", "qqq", ""])
def test_codes_with_another_script_are_unknown(code: str) -> None:
    assert find(code) is None


def test_an_unknown_code_is_kept_with_a_warning_that_names_the_nearest() -> None:
    with pytest.warns(UserWarning, match=r"'cez_Latn' is kept as it is.*'ces_Latn' \(Czech\)"):
        assert canonical("cez_Latn") == "cez_Latn"
    with pytest.warns(UserWarning, match="kept as it is"):
        assert canonical("Klingon") == "Klingon"
    with pytest.warns(UserWarning, match="'swe_Latn'"):
        canonical("swed")


def test_a_known_code_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(canonical(code) == code for code in LANGUAGES)


@pytest.mark.parametrize("code", ["", " ", "čes", "cs,sk", "a/b", "cs\n"])
def test_malformed_codes_are_refused(code: str) -> None:
    with pytest.raises(ValueError, match="expected letters, digits"):
        canonical(code)


def test_name_gives_the_english_name_or_the_code() -> None:
    assert name("mt") == "Maltese"
    assert name("xyz_Latn") == "xyz_Latn"


@pytest.mark.parametrize(("code", "label"), [("hbs", "hbs_Latn"), ("vi", "vie_Latn"), ("AF", "afr_Latn"), ("fa", "pes_Arab")])
def test_codes_of_hplt_1_2_give_the_current_labels(code: str, label: str) -> None:
    with warnings.catch_warnings(action="error"):
        assert canonical(code) == label
