"""`varietas.quantization_damage`: what small forms of a model cost in each language."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from varietas.data.files import write_json
from varietas.data.text.documents import Document
from varietas.data.tokenizer.model import file_in
from varietas.data.tokenizer.model import load as load_tokenizer
from varietas.launch import backend, resolve
from varietas.train.run_folder.config import read_config
from varietas.train.run_folder.evaluations import text_digest
from varietas.train.run_folder.folder import saved_step
from varietas.train.run_folder.origin import languages_of

if TYPE_CHECKING:
    from varietas.train.inference.evaluate import Row

FILE = "quantization.json"  # in the run's folder


@dataclass(frozen=True)
class Form:
    """A form in which a model is written, and how well the model predicts each language in it."""

    name: str  # of `model.formats.quants.FILE_TYPES`
    bytes: int
    languages: "dict[str, Row]"


def quantization_damage(
    folder: str | Path,
    forms: Sequence[str],
    documents: Iterable[Document] | None = None,
    calibration: Iterable[Document] | None = None,
    step: int | None = None,
    cpu_devices: int | None = None,
) -> list[Form]:
    """Evaluates a model with its weights rounded as the GGUF files of `export` hold them, and keeps the figures in quantization.json.

    Args:
        folder: The run.
        forms: Which forms, of `model.formats.quants.FILE_TYPES`.
        documents: The text to evaluate on; None for the Declaration of Human Rights.
        calibration: Text by which weights are rounded to q4_k (see train/release/calibrating.py); None to round each by itself only.
        step: The checkpoint after this many steps; None for the newest.
        cpu_devices: On a CPU, the number of virtual devices; one for every two cores if not given.

    Returns:
        The unrounded model (f32), then each form; with `calibration` q4_k twice, the second time as `q4_k calibrated`.

    Raises:
        ValueError: If there is no such checkpoint, or llama.cpp has no model that computes the same.
        ModuleNotFoundError: If the package gguf is not installed.
    """
    backend.stop_second_run()
    run = Path(folder).absolute()
    config = resolve.reopened(read_config(run))
    step = saved_step(run, step)
    from varietas.train.release.gguf import check_installed

    check_installed()
    resolved = resolve.with_mesh(config, cpu_devices, fit=True)
    from varietas.model.decoder import Decoder
    from varietas.model.formats.dequantized import as_in_file, bytes_in_file
    from varietas.train.inference.network import load
    from varietas.train.inference.score import baselines, evaluation_text, score
    from varietas.train.program import mesh_of
    from varietas.train.release.calibrating import importances

    exp, languages = resolve.experiment_of(resolved), languages_of(run)
    network, _ = load(run, exp.model, mesh_of(exp), step)
    text = evaluation_text(None if documents is None else list(documents), languages)
    base = baselines(exp, None, run, network.mesh, text, Decoder)
    found = [Form("f32", bytes_in_file(exp.model, "f32"), score(network, base, exp))]
    known = {} if calibration is None else importances(network, load_tokenizer(file_in(run)), calibration)
    for form in forms:
        for name, by in ((form, {}), *([(f"{form} calibrated", known)] if known and form == "q4_k" else [])):
            params = as_in_file(network.params, exp.model, form, network.mesh, by)
            found.append(Form(name, bytes_in_file(exp.model, form), score(replace(network, params=params), base, exp)))
    bits = {each.name: {code: row["bits_per_byte"] for code, row in each.languages.items()} for each in found}
    record = {each.name: {"bytes": each.bytes, "bits_per_byte": bits[each.name]} for each in found}
    write_json(run / FILE, {"step": step, "text": text.about, "text_digest": text_digest(text.documents), "forms": record})
    return found
