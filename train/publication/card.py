"""The model card of a whole release: that of the weights, and what a person wants to know of the rest of the folder."""

from collections.abc import Mapping
from typing import Any

from varietas.data.text.languages import name
from varietas.train.publication.openness import Openness
from varietas.train.publication.published import Published
from varietas.train.publication.sums import PUBLIC_KEY, SIGNATURE, SUMS
from varietas.train.release.card import model_card

FOLDERS = {  # what each is for
    "gguf/": "the model for llama.cpp, each file with the tokenizer inside",
    "data/": "what the model was trained on: the public summary of training content, and the metadata of each corpus",
    "ledger/": "which rows each step of the training read, as hashes in a chain, and who signed it",
    "evaluations/": "how well the model does in each language",
    "training/": "config, environment, losses, time and energy, and the report of the run",
    "tokenizer/": "what the tokenizer makes of each language",
    "documentation/": "the documentation form of the EU's Code of Practice, and how open this release is",
    "code/": "the source code that made the model",
    "bom.cdx.json": "the bill of materials (CycloneDX)",
}
SAID = {  # fields of what the provider says, and their headings
    "intended": "Intended uses",
    "systems": "Where it can be built in",
    "limits": "Limits",
    "policy": "Acceptable use policy",
}


def card(of: Published, architecture: str, openness: Openness, signed: bool) -> str:
    """Returns README.md of a release. `folder.write_documents` explains the arguments."""
    title = of.said.get("model", "name") or of.name
    more = [*_uses(of), *_small_forms(of), *_made(of), *_folders(of), *_check(signed), *_open(openness)]
    return model_card(title, architecture, of.model, of.facts, of.said.get("release", "license") or "", more)


def _uses(of: Published) -> list[str]:
    said = [f"**{heading}.** {text}" for field, heading in SAID.items() if (text := of.said.get("use", field))]
    provider = [f"Provided by {text}"] if (text := of.said.get("provider", "name")) else []
    lines = [line for paragraph in (*provider, *said) for line in (paragraph, "")]
    return ["## Uses and limits", "", *lines] if lines else []


def _small_forms(of: Published) -> list[str]:
    """Returns what rounding the weights costs, worst language named, from the newest report of `varietas quantize`."""
    reports = [report for report in of.small_forms if report.get("step") == of.facts.step]
    if not reports:
        return []
    rows = [_damage(form, each, reports[-1]["forms"]["f32"]) for form, each in reports[-1]["forms"].items() if form != "f32"]
    return [
        "## Smaller forms",
        "",
        "| form | size | bits per byte, mean over languages | worst language |",
        "|---|---:|---:|---|",
        *rows,
        "",
        "The changes are those of bits per byte against the model in float32.",
        "",
    ]


def _damage(form: str, small: Mapping[str, Any], whole: Mapping[str, Any]) -> str:
    change = {code: bits / whole["bits_per_byte"][code] - 1 for code, bits in small["bits_per_byte"].items()}
    worst = max(change, key=lambda code: change[code])
    mean = sum(change.values()) / len(change)
    return f"| {form} | {small['bytes'] / 1e6:,.1f} MB | {mean:+.2%} | {name(worst)} {change[worst]:+.2%} |"


def _made(of: Published) -> list[str]:
    if of.flops is None:
        return []
    facts = [f"{of.flops:.2g} FLOP by formula on {of.environment.get('devices', 'unknown devices')}"]
    if of.seconds is not None:
        facts.append(f"{of.seconds / 3600:,.1f} hours")
    if of.account is not None and of.account.kwh is not None:
        facts.append(f"{of.account.kwh:,.2g} kWh ({of.account.energy_source})")
    return ["## Training", "", f"It took {', '.join(facts)}{of.went_on}. Its settings are in `training/config.json`.", ""]


def _folders(of: Published) -> list[str]:
    """Returns what lies in the folder. The documents are written together with the card."""
    later = ("documentation/", "bom.cdx.json")
    there = [
        f"| `{place}` | {what} |" for place, what in FOLDERS.items() if place in later or any(path.startswith(place) for path in of.files)
    ]
    lacking = ["Not in this release:", "", *(f"- {what}: {why}" for what, why in of.left_out.items()), ""] if of.left_out else []
    return ["## In this folder", "", "| | |", "|---|---|", *there, "", *lacking]


def _check(signed: bool) -> list[str]:
    lines = ["## How to check it", "", "```", f"sha256sum --check {SUMS}"]
    if signed:
        lines.append(f"model_signing verify key . --signature {SIGNATURE} --public_key {PUBLIC_KEY}")
    lines += ["```", ""]
    if signed:
        lines += ["Compare the public key with one that the provider publishes elsewhere.", ""]
    return lines


def _open(openness: Openness) -> list[str]:
    met = (
        "all elements of the Open Source AI Definition 1.0"
        if openness.is_open_source
        else "not all elements of the Open Source AI Definition 1.0"
    )
    lines = [f"This release has {met}. Its class in the Model Openness Framework: {openness.reached}.", ""]
    if missing := openness.missing:
        names = ", ".join(name for listed in missing.values() for name in listed)
        lines += [f"Missing: {names}. `documentation/openness.md` says what to do about each.", ""]
    return ["## How open it is", "", *lines]
