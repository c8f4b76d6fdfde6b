"""The picture of the comparison of tokenizers: where each dot lies, and what stands beside it."""

from xml.etree import ElementTree

from varietas.data.tokenizer.compare import Treatment
from varietas.launch.picture import comparison_svg

SVG = "{http://www.w3.org/2000/svg}"


def treatment(language: str, premium: float) -> Treatment:
    return Treatment(language, bytes=100, words=20, tokens=40, premium=premium, fallback=0.0, continued=0.5)


def test_a_dot_lies_at_its_premium_in_the_line_of_its_language() -> None:
    dear, cheap = ([treatment("ell_Grek", k), treatment("eng_Latn", 1.0)] for k in (4.0, 2.0))
    picture = ElementTree.fromstring(comparison_svg({"a<b": dear, "c": cheap[::-1]}, what="on <i>these</i> pages"))
    dots = {dot[0].text: (float(dot.get("cx", 0)), float(dot.get("cy", 0))) for dot in picture.iter(f"{SVG}circle") if len(dot)}
    marks = {text.text: float(text.get("x", 0)) for text in picture.iter(f"{SVG}text") if text.get("text-anchor") == "middle"}
    assert marks.keys() == {"0", "0.5", "1", "1.5", "2", "2.5", "3", "3.5", "4"}
    for label, code, premium in (("a<b", "ell_Grek", 4), ("a<b", "eng_Latn", 1), ("c", "ell_Grek", 2), ("c", "eng_Latn", 1)):
        assert dots[f"{label}, {code}: {premium:.2f}"][0] == marks[str(premium)]
    lines = {text.text: float(text.get("y", 0)) for text in picture.iter(f"{SVG}text") if text.get("text-anchor") == "end"}
    assert lines["Greek"] < lines["English"]  # the order of the first tokenizer
    assert len(dots) == 4 and all(0 < lines["Greek" if "ell" in name else "English"] - y < 9 for name, (_, y) in dots.items())
    words = [text.text for text in picture.iter(f"{SVG}text")]
    assert {"a<b", "c", "tokens on <i>these</i> pages; English is 1"} <= set(words)
