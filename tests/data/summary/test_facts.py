"""The file of what only a person knows."""

import json
import re
from pathlib import Path

import pytest

from varietas.data.summary.facts import FACTS, OF_RELEASES, Facts, check_sources, read_facts

TOML = """
[provider]
name = "Example Lab, Praha"
[model]
market_date = 2027-02-01
[measures]
code_of_practice = true
[sources."hplt v3"]
kind = "public"
link = "https://hplt.example"
"""


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text(TOML)
    (tmp_path / "f.json").write_text(
        json.dumps(
            {
                "provider": {"name": "Example Lab, Praha"},
                "model": {"market_date": "2027-02-01"},
                "measures": {"code_of_practice": "yes"},
                "sources": {"hplt v3": {"kind": "public", "link": "https://hplt.example"}},
            }
        )
    )
    facts = read_facts(tmp_path / "f.toml")
    assert facts == read_facts(tmp_path / "f.json")
    assert facts.get("model", "market_date") == "2027-02-01" and facts.get("model", "name") is None
    assert facts.of_source("hplt v3", "kind") == "public" and facts.of_source("other", "kind") is None
    check_sources(facts, ["hplt v3", "books"])
    with pytest.raises(ValueError, match=r"sources\.hplt v3 is unknown; did you mean hplt v2\?"):
        check_sources(facts, ["hplt v2"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[provider", "is not valid TOML"),
        ("[producer]\nname = 'a'", "producer is unknown; did you mean provider"),
        ("[provider]\nnane = 'a'", r"provider\.nane is unknown; did you mean name"),
        ("provider = 'a'", "provider is 'a'; expected a table"),
        ("sources = 3", "sources is 3; expected a table of fields"),
        ("[sources]\nweb = 'public'", r"sources\.web is 'public'; expected a table of fields"),
        ("[sources.a]\nlink = 'x'", r"sources\.a\.kind is ''; expected one of public"),
        ("[sources.a]\nkind = 'scraped'", "kind is 'scraped'; expected one of public"),
        ("[provider]\nname = ['a']", r"provider\.name: \['a'\] is not a text"),
        ("[sources.a]\nkind = 'user'\nlink = 'x'", r"sources\.a\.link is unknown; did you mean kind"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "facts.toml").write_text(content)
    with pytest.raises(ValueError, match=f"facts.toml.*{message}"):
        read_facts(tmp_path / "facts.toml")


def documented(name: str, folder: Path) -> Facts:
    """Returns the facts of the example in a page of the documentation."""
    page = (Path(__file__).parents[3] / "docs" / name).read_text("utf-8")
    example = re.search(r"```toml\n(.*?)```", page, re.DOTALL)
    assert example
    (folder / "facts.toml").write_text(example[1])
    return read_facts(folder / "facts.toml")


def test_the_example_in_the_documentation_fills_every_blank(tmp_path: Path) -> None:
    facts = documented("summary.md", tmp_path)
    given = {f"{table}.{name}" for table, names in FACTS.items() for name in names if facts.get(table, name)}
    assert {f"{table}.{name}" for table, names in FACTS.items() for name in names} - given == {"content.latest_acquisition"}
    assert {name: table["kind"] for name, table in facts.sources.items()} == {"hplt": "public", "own": "crawled"}


def test_the_example_of_releases_fills_every_blank(tmp_path: Path) -> None:
    facts = documented("release.md", tmp_path)
    assert all(facts.get(table, name) for table, names in OF_RELEASES.items() for name in names)
