"""`varietas.quantization_damage`: what small forms of a model cost in each language."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from varietas.data.files import read_json, write_json
from varietas.data.text.documents import Document
from varietas.data.tokenizer.model import file_in
from varietas.data.tokenizer.model import load as load_tokenizer
from varietas.launch import backend, resolve
from varietas.launch.flags import FORMS, SMALL
from varietas.train.run_folder.config import read_config
from varietas.train.run_folder.evaluations import DECLARATION, Row, evaluation_text, text_digest
from varietas.train.run_folder.folder import saved_step
from varietas.train.run_folder.origin import languages_of

if TYPE_CHECKING:
    from varietas.model.formats.gguf import Importances
    from varietas.train.inference.network import Network

log = logging.getLogger("varietas")
FILE = "quantization.json"  # in the run's folder
CALIBRATED = ("q4_k", "int4")


@dataclass(frozen=True)
class Small:
    """A form in which a model is evaluated and generates: `int8` or `int4`, the latter perhaps calibrated on text."""

    form: str
    calibration: Iterable[Document] | None = None  # read at once

    def __post_init__(self) -> None:
        """Raises ValueError if there is no such form, or if it is not calibrated."""
        if self.form not in SMALL:
            raise ValueError(f"small={self.form!r} is not one of {', '.join(SMALL)}; GGUF files of other forms are written by export")
        if self.calibration is not None and self.form not in CALIBRATED:
            raise ValueError(f"only {', '.join(CALIBRATED)} are calibrated, not {self.form}")
        if self.calibration is not None:
            object.__setattr__(self, "calibration", tuple(self.calibration))

    @property
    def name(self) -> str:
        """What is added to the names of evaluations."""
        return f"{self.form}-calibrated" if self.calibration is not None else self.form


@dataclass(frozen=True)
class Form:
    """A form of a model, and how well the model predicts each language in it."""

    name: str  # of FORMS or SMALL
    bytes: int
    languages: Mapping[str, Row]


def made_small(network: "Network", run: Path, small: Small) -> "Network":
    """Returns a model with its matrices as whole numbers."""
    from varietas.model.linear.quantize import quantize

    known = {} if small.calibration is None else _importances(network, run, small.calibration)
    return replace(network, params=quantize(network.params, small.form, network.mesh, known))


def _importances(network: "Network", run: Path, documents: Iterable[Document]) -> "Importances":
    """Returns how large the inputs of the layers are, and says of which languages of the run there is no text."""
    from varietas.train.release.calibrating import importances

    listed = list(documents)
    if lacking := sorted(set(languages_of(run)) - {document.lang for document in listed}):
        shown = ", ".join(lacking[:8]) + (", …" if len(lacking) > 8 else "")
        log.warning("the text to calibrate on has none of %d languages that the model was trained on: %s", len(lacking), shown)
    return importances(network, load_tokenizer(file_in(run)), listed)


def quantization_damage(
    folder: str | Path,
    forms: Sequence[str],
    documents: Iterable[Document] | None = None,
    calibration: Iterable[Document] | None = None,
    step: int | None = None,
    cpu_devices: int | None = None,
) -> list[Form]:
    """Evaluates a model in small forms, and adds the figures to quantization.json.

    They take the place of figures of the same forms, checkpoint, text and calibration text; others stay. Weights are rounded as the GGUF
    files of `export` hold them, or as `evaluate` and `generate` compute with them (`int8`, `int4`).

    Args:
        folder: The run.
        forms: Which forms, of FORMS or SMALL.
        documents: The text to evaluate on; None for the Declaration of Human Rights.
        calibration: Text by which weights are rounded to q4_k and int4 (see train/release/calibrating.py); None to round each by itself
            only.
        step: The checkpoint after this many steps; None for the newest.
        cpu_devices: On a CPU, the number of virtual devices; one for every two cores if not given.

    Returns:
        The unrounded model (f32), then each form; with `calibration` q4_k and int4 twice, the second time as `q4_k calibrated`.

    Raises:
        ValueError: If there is no such checkpoint, or llama.cpp has no model that computes the same.
        ModuleNotFoundError: If the package gguf is not installed.
    """
    backend.stop_second_run()
    run = Path(folder).absolute()
    config = resolve.reopened(read_config(run))
    step = saved_step(run, step)
    reports = _reports(run)
    calibration = None if calibration is None else list(calibration)
    calibrated_on = None if calibration is None else text_digest(calibration)
    from varietas.train.release.gguf import check_installed

    in_files = [form for form in forms if form not in SMALL]
    if unknown := [form for form in in_files if form not in FORMS]:
        raise ValueError(f"{unknown[0]!r} is not a form; there are {', '.join((*FORMS[1:], *SMALL))}")
    if in_files:
        check_installed()
    resolved = resolve.with_mesh(config, cpu_devices, fit=True)
    from varietas.model.decoder import Decoder
    from varietas.model.linear.quantize import quantize
    from varietas.train.inference.network import load
    from varietas.train.inference.score import baselines, score
    from varietas.train.program import mesh_of

    exp, languages = resolve.experiment_of(resolved), languages_of(run)
    if in_files:
        from varietas.model.formats.dequantized import as_in_file, bytes_in_file
        from varietas.model.formats.gguf import architecture_of

        architecture_of(exp.model)  # raises what llama.cpp does not know
    network, _ = load(run, exp.model, mesh_of(exp), step)
    text = evaluation_text(DECLARATION, None if documents is None else list(documents), languages)
    base = baselines(exp, None, run, network.mesh, text, Decoder)
    found = [Form("f32", _bytes(network.params), score(network, base, exp, step, {}).languages)]
    known = {} if calibration is None else _importances(network, run, calibration)
    for form in forms:
        for name, by in ((form, {}), *([(f"{form} calibrated", known)] if known and form in CALIBRATED else [])):
            if form in SMALL:
                params = quantize(network.params, form, network.mesh, by)
                size = _bytes(params)
            else:
                params, size = as_in_file(network.params, exp.model, form, network.mesh, by), bytes_in_file(exp.model, form)
            found.append(Form(name, size, score(replace(network, params=params), base, exp, step, {}).languages))
    bits = {each.name: {code: row["bits_per_byte"] for code, row in each.languages.items()} for each in found}
    record = {each.name: {"bytes": each.bytes, "bits_per_byte": bits[each.name]} for each in found}
    about = {"step": step, "text": text.about, "text_digest": text_digest(text.documents), "calibration_digest": calibrated_on}
    write_json(run / FILE, {"reports": _with_report(reports, about, record)})
    return found


def _reports(run: Path) -> list[dict[str, Any]]:
    """Returns the reports that a run already has."""
    if not (run / FILE).exists():
        return []
    kept = read_json(run / FILE, "restore it from a copy, or delete it")
    return kept.get("reports", [kept])  # files of before had one report


def _with_report(reports: list[dict[str, Any]], about: dict[str, Any], forms: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the reports with the forms of another one, in the one of the same things if there is one."""
    same = [report for report in reports if all(report.get(key) == value for key, value in about.items())]
    others = [report for report in reports if report not in same]
    return [*others, about | {"forms": {name: form for report in same for name, form in report["forms"].items()} | forms}]


def _bytes(params: Any) -> int:
    import jax

    return sum(x.nbytes for x in jax.tree.leaves(params))
