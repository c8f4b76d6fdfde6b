"""How open a release is, by the Open Source AI Definition 1.0 and the Model Openness Framework, with what is missing named.

Sources: https://opensource.org/ai/open-source-ai-definition (1.0, October 2024); White et al., "The Model Openness Framework" (2024,
arXiv:2403.13784), whose classes build on each other: III open model, II open tooling, I open science.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from varietas.train.publication.published import Published
from varietas.train.run_folder.evaluations import DECLARATION, HELD_OUT, without_form

CODE = "Apache-2.0"  # ours
OPEN = frozenset(  # licences that let anybody use, study, change and share; SPDX identifiers
    (
        "0BSD", "AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0",
        "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0", "EUPL-1.2", "GPL-2.0-only", "GPL-3.0-only", "GPL-3.0-or-later",
        "ISC", "LGPL-3.0-only", "MIT", "MPL-2.0", "ODbL-1.0", "OpenMDW-1.0", "PDDL-1.0", "Unlicense",
    )
)  # fmt: skip
CLASSES = ("III, open model", "II, open tooling", "I, open science")
NO_CLASS = "none yet"


@dataclass(frozen=True)
class Part:
    """A part that a definition asks for."""

    name: str
    where: str  # in the release, or an address; "" if it is missing
    license: str  # an SPDX identifier; "" if it is not known, or none is needed
    missing: str  # what to do about it, if something is missing

    @property
    def open(self) -> bool:
        """Whether it is there, under a licence that is known to be open."""
        return bool(self.where) and not self.missing


@dataclass(frozen=True)
class Openness:
    """What a release holds of what is asked for."""

    definition: Mapping[str, Sequence[Part]]  # of the Open Source AI Definition, by its three elements
    framework: Mapping[str, Sequence[Part]]  # of the Model Openness Framework, by class

    @property
    def is_open_source(self) -> bool:
        """Whether every element of the definition is there."""
        return all(part.open for parts in self.definition.values() for part in parts)

    @property
    def reached(self) -> str:
        """The highest class whose parts, and those of the classes below, are all there."""
        reached = NO_CLASS
        for name, parts in self.framework.items():
            if not all(part.open for part in parts):
                break
            reached = name
        return reached

    @property
    def missing(self) -> dict[str, list[str]]:
        """What to do about what is missing, each with the names of these parts."""
        found = dict[str, list[str]]()
        for part in (part for group in (self.definition, self.framework) for listed in group.values() for part in listed):
            if not part.open and part.name not in (names := found.setdefault(part.missing, [])):
                names.append(part.name)
        return found


def openness(of: Published) -> Openness:
    """Compares a release with both definitions."""
    code = _part("code", "code", CODE, of.has("code/*.tar.gz"), "make the release again")
    return Openness(_definition(of, code), _framework(of, code))


def _definition(of: Published, code: Part) -> dict[str, list[Part]]:
    documentation = of.said.get("release", "documentation_license") or ""
    blank = len(of.summary["to_fill_in"]) if of.summary else 0
    complete = f"fill in the {blank} blanks of data/summary.md with --facts" if blank else ""
    made = "publish the data information of the model that this one was made from"
    not_here = "" if of.summary else made if of.facts.origin else "the run has no ledger, from which a summary of its data is made"
    sources = {kind: listed for kind, listed in of.summary["sources"].items() if listed} if of.summary else {}
    unknown = [one["source"] for one in sources.get("not_assigned", ())]
    unlinked = [one["source"] for one in sources.get("public", ()) if not one.get("link")]
    parties = [one["source"] for kind in ("licensed", "third_party") for one in sources.get(kind, ()) if not one.get("description")]
    kinds = f"say of which kind these sources are: {_few(unknown)}" if unknown else ""
    return {
        "Data information": [
            _licensed("complete description of all data", "data/summary.md", documentation, not_here or complete),
            _licensed(
                "list of public data and where to get it",
                "data/summary.md",
                documentation,
                not_here or kinds or (f"say where to get these sources: {_few(unlinked)}" if unlinked else ""),
            ),
            _licensed(
                "list of data of third parties and where to get it",
                "data/summary.md",
                documentation,
                not_here or kinds or (f"describe these sources, and where they can be had: {_few(parties)}" if parties else ""),
            ),
        ],
        "Code": [code],
        "Parameters": [_weights(of)],
    }


def _framework(of: Published, code: Part) -> dict[str, list[Part]]:
    documentation = of.said.get("release", "documentation_license") or ""

    def documented(name: str, pattern: str, advice: str) -> Part:
        return _licensed(name, pattern if of.has(pattern) else "", documentation, "" if of.has(pattern) else advice)

    def elsewhere(name: str, field: str, license: str = "") -> Part:
        where = of.said.get("release", field) or ""
        return Part(name, where, license, "" if where else f"say where it is with release.{field} in --facts")

    return {
        CLASSES[0]: [
            Part("model architecture", code.where, code.license, code.missing),
            _weights(of),
            elsewhere("technical report", "technical_report", documentation),
            _licensed(
                "evaluation results",
                "evaluations" if of.evaluations else "",
                documentation,
                "" if of.evaluations else "run `varietas evaluate`, then make the release again",
            ),
            documented("model card", "README.md", "make the release again"),
            documented("data card", "data/summary.md", "publish that of the model that this one was made from"),
        ],
        CLASSES[1]: [
            *(Part(f"{what} code", code.where, code.license, code.missing) for what in ("training", "inference", "evaluation")),
            _evaluation_data(of),
        ],
        CLASSES[2]: [
            elsewhere("research paper", "research_paper"),
            _datasets(of),
            Part("data preprocessing code", code.where, code.license, code.missing),
            elsewhere("checkpoints of earlier steps", "checkpoints"),
        ],
    }


def _weights(of: Published) -> Part:
    there = "*.safetensors" if of.has("*.safetensors") else "gguf/*.gguf" if of.has("gguf/*.gguf") else ""
    return _licensed("final parameters", there, of.said.get("release", "license") or "", "" if there else "export them", "license")


def _evaluation_data(of: Published) -> Part:
    places = {DECLARATION: "the package gflanguages", HELD_OUT: _datasets(of).where}  # held-out text is part of the corpus
    names = {without_form(name) for name in of.evaluations}
    own = sorted(name for name in names if not places.get(name))
    advice = f"publish the texts of these evaluations: {_few(own)}" if own else "" if of.evaluations else "evaluate the model"
    where = ", ".join(place for name, place in places.items() if name in names and place)
    return Part("evaluation data", where, "Apache-2.0" if HELD_OUT not in names else "", advice)


def _datasets(of: Published) -> Part:
    if where := of.said.get("release", "datasets"):
        return Part("training data", where, "", "")
    sources = [(kind, one) for kind, listed in of.summary["sources"].items() for one in listed] if of.summary else []
    closed = [one["source"] for kind, one in sources if kind != "public" or not one.get("link")]
    if sources and not closed:
        return Part("training data", "links in data/summary.md", "", "")
    of_whom = f"these sources have no public address: {_few(closed)}; " if closed else ""
    return Part("training data", "", "", f"{of_whom}say where the data can be had with release.datasets in --facts")


def _part(name: str, where: str, license: str, there: bool, advice: str) -> Part:
    return Part(name, where if there else "", license, "" if there else advice)


def _licensed(name: str, where: str, license: str, missing: str, field: str = "documentation_license") -> Part:
    """Returns a part that has to have an open licence."""
    if not missing and not license:
        missing = f"choose its licence with release.{field} in --facts, such as {'Apache-2.0' if field == 'license' else 'CC-BY-4.0'}"
    elif not missing and license not in OPEN:
        missing = f"{license} is not in our list of open licences; show that anybody may use, study, change and share it"
    return Part(name, where, license, missing)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def markdown(found: Openness) -> str:
    """Returns the comparison as Markdown."""
    verdict = "Every element is there." if found.is_open_source else "Something is missing, see below."
    lines = ["# How open this release is", "", "## Open Source AI Definition 1.0", "", verdict, ""]
    lines += _table("element", found.definition)
    lines += ["", "## Model Openness Framework", "", f"Class reached: {found.reached}.", "", *_table("class", found.framework), ""]
    if found.missing:
        lines += ["## What is missing", "", *(f"- {', '.join(names)}: {advice}" for advice, names in found.missing.items()), ""]
    lines.append("This list compares files and licences. It is no legal advice, and no verdict of the authors of either definition.")
    return "\n".join(lines) + "\n"


def _table(heading: str, groups: Mapping[str, Iterable[Part]]) -> list[str]:
    rows = [
        f"| {group} | {part.name} | {'yes' if part.open else 'no'} | {part.where or '–'} | {part.license or '–'} |"
        for group, parts in groups.items()
        for part in parts
    ]
    return [f"| {heading} | part | there | where | licence |", "|---|---|---|---|---|", *rows]
