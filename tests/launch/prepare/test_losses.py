"""The losses of languages are shown beside the median language, by reason, and none is hidden behind larger ones."""

import re
from typing import Any

from rich.console import Console

from varietas.launch.prepare import losses

MANIFEST: dict[str, Any] = {
    "records_read": 1151,
    "documents": 1000,
    "languages": {"eng_Latn": {"documents": 950}, "mlt_Latn": {"documents": 10}, "ces_Latn": {"documents": 40}},
    "rejected_by_language": {
        "eng_Latn": {"short": 30, "duplicate": 20},
        "mlt_Latn": {"another language": 6, "sentences": 2, "symbols": 1, "<b>": 1},
        "ces_Latn": {"short": 10},
        "gle_Latn": {"sentences": 80},
        "": {"invalid JSON": 1},
    },
}


def test_shares_are_those_of_the_language_and_the_worst_comes_first() -> None:
    found = losses.losses_of(MANIFEST)
    assert [(code, round(loss.share, 3)) for code, loss in found.items()] == [
        ("gle_Latn", 1.0), ("mlt_Latn", 0.5), ("ces_Latn", 0.2), ("eng_Latn", 0.05),
    ]  # fmt: skip
    assert losses.median_share(found) == 0.35


def test_the_table_says_how_many_times_the_median_a_language_loses() -> None:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(losses.losses_table(MANIFEST))
    rows = [re.split(r" {2,}", line.strip()) for line in captured.get().splitlines()[1:]]
    assert rows == [
        ["gle_Latn", "Irish", "80", "100.0%", "2.9 ×", "sentences (80)"],
        ["mlt_Latn", "Maltese", "10", "50.0%", "1.4 ×", "another language (6)"],
    ]


def test_the_page_has_every_language_with_its_reasons() -> None:
    page = losses.render(MANIFEST)
    assert page.index("Irish") < page.index("Maltese") < page.index("Czech") < page.index("English")
    reasons = re.findall(r"<th>([^<]*)</th>", page)[5:]
    assert reasons == ["sentences", "short", "duplicate", "another language", "other reasons"]
    (maltese,) = re.findall(r"<tr><td>Maltese</td>(.*?)</tr>", page)
    assert re.findall(r"<td>([^<]*)</td>", maltese)[:2] == ["20", "10"]
    assert re.findall(r"<td>([^<]*)</td>", maltese)[4:] == ["2", "0", "0", "6", "2"]
    widths = [float(width) for width in re.findall(r'width="([\d.]+)%" height', page)]
    assert sum(widths) == 175  # of a scale that ends at the 100 % of Irish: 100 + 50 + 20 + 5
    assert "http" not in page and "<script src" not in page


def test_a_corpus_without_losses_has_a_page_too() -> None:
    manifest = {**MANIFEST, "rejected_by_language": {}}
    assert "No record was rejected" in losses.render(manifest)
    assert losses.losses_table(manifest).row_count == 0
