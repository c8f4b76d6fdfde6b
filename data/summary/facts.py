"""What publications need and neither run nor corpus knows: who provides the model, of which kind a source is, what was done besides.

A person writes it into a TOML or JSON file, all of it as text. What is left out stays a visible blank in the summary.
"""

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from varietas.data.hints import nearest

KINDS = {  # of sources: the sections of the template
    "public": "2.1 Publicly available datasets",
    "licensed": "2.2.1 Datasets commercially licensed by rightsholders or their representatives",
    "third_party": "2.2.2 Private datasets obtained from other third parties",
    "crawled": "2.3 Data crawled and scraped from online sources",
    "user": "2.4 User data",
    "synthetic": "2.5 Synthetic data",
    "other": "2.6 Other sources of data",
}
FACTS = {  # what to fill in for the summary of training content, and what it is
    "provider": {
        "name": "the provider of the model, with its address",
        "contact": "how to reach the provider",
        "representative": "authorised representative in the Union, for a provider outside of it",
    },
    "model": {
        "name": "names and versions of the model that this summary covers",
        "dependencies": "the model that this one was made from, if any, and the summary of its training content",
        "market_date": "when the model was placed on the market of the Union",
    },
    "content": {
        "types": "types of content, such as news, fiction, forums, encyclopaedias, program code",
        "latest_acquisition": "month and year in which the latest document was acquired",
        "continues": "whether data is collected, and the model trained further, after the latest date of acquisition",
        "comments": "anything else about the training data as a whole",
    },
    "measures": {
        "code_of_practice": "whether the provider has signed the Code of Practice for general-purpose AI",
        "opt_outs": "what was done to respect reservations of rights before the data was prepared, such as by the crawler",
        "illegal_content": "what was done to find and remove illegal content",
    },
}
OF_RELEASES = {  # what to fill in besides for a release of the model
    "release": {
        "date": "when the model was first released",
        "channels": "where the model can be had, such as the address of a repository",
        "license": "the licence of the weights, as an SPDX identifier such as Apache-2.0",
        "documentation_license": "the licence of documentation and of information on data, as an SPDX identifier such as CC-BY-4.0",
        "technical_report": "where the technical report is",
        "research_paper": "where the research paper is",
        "checkpoints": "where checkpoints of earlier steps are",
        "datasets": "where the training data can be had, if no source says it",
    },
    "design": {
        "model": "why the model has this shape, and what was assumed",
        "training": "what training optimises for, in which stages, and why these decisions were taken",
    },
    "use": {
        "policy": "the address of the acceptable use policy, or that there is none",
        "intended": "the uses that are intended, or those that are restricted",
        "systems": "in which AI systems the model can be built, and in which it should not",
        "limits": "what the model does badly, and what to do about it",
    },
    "data": {
        "obtained": "how data was obtained and selected, with the rights it was used by",
        "unsuitable": "what was done to find sources that are unsuitable, such as with illegal content or personal data",
        "bias": "what was done to find biases that can be identified",
    },
}
OF_A_SOURCE = {  # the same for each source, by its kind
    "public": {"link": "where the dataset is", "description": "what it holds, and how it was changed"},
    "licensed": {"description": "what it holds"},
    "third_party": {"description": "what it holds, and how it was obtained"},
    "crawled": {
        "crawler": "names or identifiers of the crawlers",
        "purpose": "purposes of the crawlers",
        "behaviour": "how crawlers behave: robots.txt, paywalls, captchas, rate",
        "period": "the period of collection",
        "description": "what kinds of content and of websites were crawled",
    },
    "user": {"description": "which services and interactions it comes from"},
    "synthetic": {"models": "the models that made it, with their versions", "description": "what it holds, and what it was made from"},
    "other": {"description": "what it holds, and how it was obtained"},
}


@dataclass(frozen=True)
class Facts:
    """The content of such a file."""

    said: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # table of FACTS or OF_RELEASES -> field -> text
    sources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # name of a source -> "kind" and what belongs to it

    def get(self, table: str, name: str) -> str | None:
        """Returns what is said, or None."""
        return self.said.get(table, {}).get(name) or None

    def of_source(self, source: str, name: str) -> str | None:
        """Returns what is said of a source, or None."""
        return self.sources.get(source, {}).get(name) or None


def read_facts(file: Path) -> Facts:
    """Reads a file of facts.

    Raises:
        ValueError: If it is not TOML or JSON, or a name in it is unknown.
        FileNotFoundError: If there is no such file.
    """
    try:
        content = file.read_text("utf-8")
        found = tomllib.loads(content) if file.suffix == ".toml" else json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not valid {'TOML' if file.suffix == '.toml' else 'JSON'}: {error}") from None
    tables = _tables(found, file, "")
    sources = _tables(tables.pop("sources", {}), file, "sources.")
    for name, table in tables.items():
        _check_names(f"{file}: ", [name], [*FACTS, *OF_RELEASES, "sources"])
        _check_names(f"{file}: {name}.", table, (FACTS | OF_RELEASES)[name])
    for name, table in sources.items():
        kind = str(table.get("kind", ""))
        if kind not in KINDS:
            raise ValueError(f"{file}: sources.{name}.kind is {kind!r}; expected one of {', '.join(KINDS)}")
        _check_names(f"{file}: sources.{name}.", table, ["kind", *OF_A_SOURCE[kind]])
    return Facts(_texts(tables, file, ""), _texts(sources, file, "sources."))


def check_sources(facts: Facts, known: Iterable[str]) -> None:
    """Raises ValueError if the facts speak of a source that the run does not have."""
    _check_names("sources.", facts.sources, known)


def _texts(tables: Mapping[str, Mapping[str, Any]], file: Path, prefix: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name, table in tables.items():
        for key, value in table.items():
            try:
                found.setdefault(name, {})[key] = _text(value)
            except ValueError as error:
                raise ValueError(f"{file}: {prefix}{name}.{key}: {error}") from None
    return found


def _tables(value: object, file: Path, prefix: str) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict):
        raise ValueError(f"{file}: expected tables of fields{f' in {prefix[:-1]}' if prefix else ''}, as [provider] begins one in TOML")
    for name, table in value.items():
        if not isinstance(table, dict):
            raise ValueError(f"{file}: {prefix}{name} is {table!r}; expected a table of fields")
    return dict(value)


def _check_names(where: str, names: Iterable[str], known: Iterable[str]) -> None:
    listed = list(known)
    for name in names:
        if name not in listed:
            raise ValueError(f"{where}{name} is unknown; did you mean {nearest(name, listed)}? There are {', '.join(listed)}")


def _text(value: object) -> str:
    """Returns a value as text: TOML has dates, yes and no, and JSON has null. Raises ValueError for what is no single value."""
    if isinstance(value, (list, dict)):
        raise ValueError(f"{value!r} is not a text")
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else "" if value is None else str(value).strip()
