"""Right labels of texts are told from wrong ones, and what cannot be told apart is unsure."""

import pytest

from varietas.data.text import identify

TEXTS = {
    "ces_Latn": "Všichni lidé rodí se svobodní a sobě rovní co do důstojnosti a práv. Jsou nadáni rozumem a svědomím.",
    "mlt_Latn": "Il-bnedmin kollha jitwieldu ħielsa u ugwali fid-dinjità u d-drittijiet. Huma mogħnija bir-raġuni u bil-kuxjenza.",
    "gle_Latn": "Saolaítear gach duine den chine daonna saor agus comhionann i ndínit agus i gcearta. Tá bua an réasúin acu.",
    "fin_Latn": "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan. Heille on annettu järki.",
    "srp_Cyrl": "Сва људска бића рађају се слободна и једнака у достојанству и правима. Она су обдарена разумом и свешћу.",
}


@pytest.mark.parametrize("code", TEXTS)
def test_right_and_wrong_labels_are_told_apart(code: str) -> None:
    assert identify.check(TEXTS[code], code).outcome == "same"
    outcomes = {label: identify.check(TEXTS[code] * 3, label).outcome for label in TEXTS if label != code}
    assert "same" not in outcomes.values() and list(outcomes.values()).count("other") >= 1
    assert all(outcome == "other" for label, outcome in outcomes.items() if label[4:] != code[4:])


def test_bosnian_croatian_montenegrin_and_serbian_are_not_told_apart() -> None:
    text = "Sva ljudska bića rađaju se slobodna i jednaka u dostojanstvu i pravima. Ona su obdarena razumom i sviješću."
    assert {identify.check(text, code).outcome for code in ("bos_Latn", "hrv_Latn", "cnr_Latn", "srp_Latn")} <= {"same", "unsure"}
    assert identify.check(text, "cnr_Latn").outcome == "unsure"
    assert identify.check(text, "srp_Cyrl").outcome == "other"  # another script
    assert identify.check("Ona su obdarena razumom.", "ltg_Latn").outcome == "unsure"  # the model does not know Latgalian
