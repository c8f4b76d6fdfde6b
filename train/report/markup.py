"""Small pieces of HTML. Text from files reaches the page through `esc`, numbers through `figures`."""

from collections.abc import Mapping
from html import escape

from varietas.data.text import languages
from varietas.train.report.style import STYLE


def esc(value: object) -> str:
    """Escapes text for HTML."""
    return escape(str(value))


def quiet(html: str) -> str:
    """Returns a paragraph of explanation."""
    return f'<p class="quiet">{html}</p>'


def warn(html: str) -> str:
    """Returns a paragraph that warns."""
    return f'<p class="warn">{html}</p>'


def title_of(code: str) -> str:
    """Returns the English name, the own name and the code of a language, not escaped."""
    language = languages.find(code)
    return f"{language.name} · {language.own_name} · {code}" if language else code


def sections(parts: Mapping[str, str]) -> str:
    """Returns a section for each title and its content."""
    return "".join(f'<section id="{title.lower()}"><h2>{title}</h2><div>{inner}</div></section>' for title, inner in parts.items())


def document(title: str, main: str, script: str = "", style: str = "") -> str:
    """Returns a page that needs neither network nor other files.

    Args:
        title: Its title, escaped.
        main: The content of its main part.
        script: JavaScript; "" for none.
        style: CSS besides that of all pages.
    """
    after = f"<script>{script}</script>" if script else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}{style}</style></head><body><main>{main}</main>{after}</body></html>\n"
    )
