"""The picture of `varietas tokenizer --report`: how tokenizers treat languages, as SVG."""

from collections.abc import Mapping, Sequence
from html import escape

from varietas.data.text.languages import name
from varietas.data.tokenizer.compare import Treatment

COLOURS = ("#1f6f8b", "#d1495b", "#66a182", "#edae49", "#6c5b7b", "#444444")


def comparison_svg(found: Mapping[str, Sequence[Treatment]], what: str = "for the same content") -> str:
    """Draws premiums as dots, with a line for each language and a colour for each tokenizer.

    Args:
        found: The rows of each tokenizer, from `compare.compare`. The languages stand in the order of the first tokenizer's rows.
        what: Says under the axis what the tokens are counted for.

    Returns:
        The SVG file.
    """
    codes = [row.language for row in next(iter(found.values()))]
    highest = max(row.premium for rows in found.values() for row in rows)
    left, top, line, width = 170, 30 + 18 * len(found), 18, 520

    def x(premium: float) -> float:
        return left + width * premium / highest

    parts = []
    for tick in [t / 2 for t in range(int(highest * 2) + 1)]:
        height = top + line * len(codes)
        stroke = "#888" if tick == 1 else "#ddd"
        parts.append(f'<path d="M{x(tick):.1f} {top - 8}V{height}" stroke="{stroke}"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{top - 12}" text-anchor="middle">{tick:g}</text>')
    for place, code in enumerate(codes):
        parts.append(f'<text x="{left - 10}" y="{top + place * line + 12}" text-anchor="end">{escape(name(code))}</text>')
    for number, (label, rows) in enumerate(found.items()):
        colour = COLOURS[number % len(COLOURS)]
        parts.append(
            f'<circle cx="16" cy="{18 + 18 * number}" r="5" fill="{colour}"/><text x="28" y="{22 + 18 * number}">{escape(label)}</text>'
        )
        for row in rows:
            dot = f'cx="{x(row.premium):.1f}" cy="{top + codes.index(row.language) * line + 8}" r="5" fill="{colour}"'
            parts.append(
                f'<circle {dot} fill-opacity="0.8"><title>{escape(label)}, {escape(row.language)}: {row.premium:.2f}</title></circle>'
            )
    size = f'width="{left + width + 40}" height="{top + line * len(codes) + 30}"'
    axis = f'<text x="{left}" y="{top + line * len(codes) + 20}">tokens {escape(what)}; English is 1</text>'
    style = "<style>text{font:12px sans-serif;fill:#333}</style><rect width='100%' height='100%' fill='white'/>"
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{style}{"".join(parts)}{axis}</svg>\n'
