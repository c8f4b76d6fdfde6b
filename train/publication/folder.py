"""What lies in a release beside the weights, and who writes it. A file that the run does not have is left out and named.

README.md                the model card            data/           what it was trained on
*.safetensors, *.json    for transformers, vLLM    ledger/         which rows each step read
gguf/                    for llama.cpp             evaluations/    how well it does in each language
documentation/           form, openness            training/       config, losses, time, energy
code/                    the source                tokenizer/      what it makes of each language
bom.cdx.json, SHA256SUMS, model.sig, model.pub
"""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from varietas.data.files import digest_of, write_atomically, write_json
from varietas.data.summary.text import markdown as summary_text
from varietas.train.publication import form, openness
from varietas.train.publication.bill import bill
from varietas.train.publication.card import card
from varietas.train.publication.published import Published
from varietas.train.publication.source import archive
from varietas.train.publication.sums import SUMS, digests, lines, sizes
from varietas.train.report.page import render
from varietas.train.run_folder.benchmarks import FOLDER as BENCHMARKS
from varietas.train.run_folder.evaluations import HELD_OUT

COPIED = {  # files of a run, and where they lie in a release
    "metrics.jsonl": "training/metrics.jsonl",
    "samples.json": "evaluations/samples.json",
    "quantization.json": "evaluations/small_forms.json",
}
BILL = "bom.cdx.json"


def write_records(run: Path, folder: Path, of: Published) -> None:
    """Writes what the run has recorded: its logs, ledger, evaluations, config, time and energy, and the summary of its data."""
    for name, place in COPIED.items():
        if (run / name).exists():
            _copy(run / name, folder / place)
    for file in (run / BENCHMARKS).rglob("*.json"):  # without samples, whose questions may have a licence of their own
        _copy(file, folder / "evaluations" / BENCHMARKS / file.relative_to(run / BENCHMARKS))
    write_atomically(folder / "training" / "report.html", render(run, of.config).encode())
    if (run / "ledger").is_dir():
        shutil.copytree(run / "ledger", folder / "ledger")
    for name, evaluation in of.evaluations.items():
        private = name.startswith(HELD_OUT)  # digests would tell whether a text is in the corpus, which may be sealed
        write_json(folder / "evaluations" / f"{name}.json", asdict(replace(evaluation, documents={}) if private else evaluation))
    write_json(folder / "training" / "config.json", of.config)
    if of.environment:
        write_json(folder / "training" / "environment.json", of.environment)
    if of.account:
        spent = {"devices": of.environment.get("devices"), "restarts": of.account.restarts, "seconds": of.account.seconds}
        energy = {"kwh": of.account.kwh, "source_of_kwh": of.account.energy_source}
        write_json(folder / "training" / "time_and_energy.json", spent | energy)
    if of.summary:
        write_json(folder / "data" / "summary.json", of.summary)
        write_atomically(folder / "data" / "summary.md", summary_text(of.summary).encode())
    name, content = archive()
    write_atomically(folder / "code" / name, content)


def write_documents(folder: Path, of: Published, architecture: str, signed: bool) -> openness.Openness:
    """Writes what is said of a release whose other files are there: form, openness, model card, bill of materials and SHA256SUMS.

    Args:
        folder: The folder of the release.
        of: What is published.
        architecture: The name of the model in transformers; "" if the release has no files for it.
        signed: Whether the release will be signed.

    Returns:
        How open the release is.
    """
    of = replace(of, files={path: ("", size) for path, size in {**sizes(folder), "README.md": 0}.items()})  # digests come later
    sections, found = form.form(of), openness.openness(of)
    entries = {heading: [asdict(entry) for entry in listed] for heading, listed in sections.items()}
    write_json(folder / "documentation" / "model_documentation.json", {"sections": entries, "to_fill_in": form.blanks(sections)})
    write_atomically(folder / "documentation" / "model_documentation.md", form.markdown(sections).encode())
    write_json(folder / "documentation" / "openness.json", _as_json(found))
    write_atomically(folder / "documentation" / "openness.md", openness.markdown(found).encode())
    write_atomically(folder / "README.md", card(of, architecture, found, signed).encode())
    of = replace(of, files=digests(folder))
    write_json(folder / BILL, bill(of))
    files = {**of.files, BILL: (digest_of(folder / BILL), (folder / BILL).stat().st_size)}
    write_atomically(folder / SUMS, lines(files).encode())
    return found


def _as_json(found: openness.Openness) -> dict[str, Any]:
    def listed(groups: Mapping[str, Any]) -> dict[str, Any]:
        return {name: [{**asdict(part), "there": part.open} for part in parts] for name, parts in groups.items()}

    return {
        "open_source_ai_definition_1.0": {"met": found.is_open_source, "elements": listed(found.definition)},
        "model_openness_framework": {"class": found.reached, "classes": listed(found.framework)},
        "missing": found.missing,
    }


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
