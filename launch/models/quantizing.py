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
    from varietas.train.inference.network import Network

FILE = "quantization.json"  # in the run's folder
CALIBRATED = ("q4_k", "int4")


@dataclass(frozen=True)
class Small:
    """A form in which a model is evaluated and generates: `int8` or `int4`, the latter perhaps calibrated on text."""

    form: str
    calibration: Iterable[Document] | None = None


@dataclass(frozen=True)
class Form:
    """A form of a model, and how well the model predicts each language in it."""

    name: str  # of `model.formats.quants.FILE_TYPES` or `model.linear.quantize.FORMS`
    bytes: int
    languages: "dict[str, Row]"


def made_small(network: "Network", run: Path, small: Small) -> "Network":
    """Returns a model with its matrices as whole numbers."""
    from varietas.model.linear.quantize import quantize
    from varietas.train.release.calibrating import importances

    known = {} if small.calibration is None else importances(network, load_tokenizer(file_in(run)), small.calibration)
    return replace(network, params=quantize(network.params, small.form, network.mesh, known))


def quantization_damage(
    folder: str | Path,
    forms: Sequence[str],
    documents: Iterable[Document] | None = None,
    calibration: Iterable[Document] | None = None,
    step: int | None = None,
    cpu_devices: int | None = None,
) -> list[Form]:
    """Evaluates a model in small forms, and keeps the figures in quantization.json.

    Weights are rounded as the GGUF files of `export` hold them, or as `evaluate` and `generate` compute with them (`int8`, `int4`).

    Args:
        folder: The run.
        forms: Which forms, of `model.formats.quants.FILE_TYPES` or `model.linear.quantize.FORMS`.
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
    from varietas.train.release.gguf import check_installed

    check_installed()
    resolved = resolve.with_mesh(config, cpu_devices, fit=True)
    import jax

    from varietas.model.decoder import Decoder
    from varietas.model.formats.dequantized import as_in_file, bytes_in_file
    from varietas.model.linear.quantize import FORMS, quantize
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
        for name, by in ((form, {}), *([(f"{form} calibrated", known)] if known and form in CALIBRATED else [])):
            if form in FORMS:
                params = quantize(network.params, form, network.mesh, by)
                size = sum(x.nbytes for x in jax.tree.leaves(params))
            else:
                params, size = as_in_file(network.params, exp.model, form, network.mesh, by), bytes_in_file(exp.model, form)
            found.append(Form(name, size, score(replace(network, params=params), base, exp)))
    bits = {each.name: {code: row["bits_per_byte"] for code, row in each.languages.items()} for each in found}
    record = {each.name: {"bytes": each.bytes, "bits_per_byte": bits[each.name]} for each in found}
    write_json(run / FILE, {"step": step, "text": text.about, "text_digest": text_digest(text.documents), "forms": record})
    return found
