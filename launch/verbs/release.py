"""`varietas release`: everything that "truly open" asks for, in one folder."""

import argparse
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from varietas.launch.flags import FORMS, add_run, non_negative_int, not_empty, path

if TYPE_CHECKING:
    from varietas.data.summary.facts import Facts
    from varietas.launch.run import Run
    from varietas.train.publication.openness import Openness

SUMMARY = "write a release that is truly open: weights in all formats, data, code, ledger, evaluations and documentation, signed"
EXAMPLE = "varietas release --run runs/demo --facts provider.toml --key release.key --out releases/demo"

USUAL = ("q8_0", "q4_k")  # GGUF forms
WEIGHTS = ".weights"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--step", type=non_negative_int, metavar="N", help="the checkpoint after N steps (default: the newest)")
    parser.add_argument(
        "--facts",
        type=path,
        metavar="FILE",
        help="TOML or JSON with what only the provider knows; what is missing stays a blank that is named",
    )
    parser.add_argument(
        "--key",
        type=path,
        metavar="FILE",
        help="a private key (PEM, curve prime256v1) to sign the release with (default: it is not signed)",
    )
    parser.add_argument(
        "--gguf",
        nargs="*",
        choices=FORMS,
        default=USUAL,
        metavar="FORM",
        help=f"forms of the files for llama.cpp (default: {' '.join(USUAL)})",
    )
    parser.add_argument(
        "--corpus", type=not_empty, metavar="DIR", help="where the corpus of the run lies, if it has moved; several with commas"
    )
    parser.add_argument(
        "--small_company", action="store_true", help="the summary lists 5 %% of the domains, 1,000 at most, rather than 10 %%"
    )


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.data.files import new_folder, write_atomically
    from varietas.data.summary.facts import Facts, read_facts
    from varietas.launch.run import Run
    from varietas.train.publication import sums
    from varietas.train.run_folder.folder import saved_step

    if args.out.exists():
        raise ValueError(f"--out {args.out} exists; name a new folder")
    facts = read_facts(args.facts) if args.facts else Facts()
    public_key = sums.check_key(args.key) if args.key else None
    opened = Run.open(args.run, args.cpu_devices, console=console, corpus=args.corpus)
    step = saved_step(opened.folder, args.step)
    left_out = dict[str, str]()
    with console.status("counting what was read"):
        summary = _summary(opened.folder, step, args.corpus, facts, args.small_company, left_out)
    with new_folder(args.out) as whole:
        (folder := whole / args.out.name).mkdir()  # whose name the signature holds
        if public_key:
            write_atomically(folder / sums.PUBLIC_KEY, public_key)
        with console.status("weights"):
            architecture = _weights(opened, step, args.gguf, folder, left_out)
        with console.status("records and documents"):
            openness = _documents(opened, step, architecture, facts, summary, folder, left_out)
        if public_key:
            sums.sign(folder, args.key)
        _move_up(folder.rename(whole / WEIGHTS))  # a file in it may have its name
    _show(args.out, openness, left_out, console)
    return 0


def _summary(
    run: Path, step: int, corpus: str | None, facts: "Facts", small_company: bool, left_out: dict[str, str]
) -> dict[str, Any] | None:
    """Returns the summary of what a run had read at a step; None if it has no ledger, as a model that was imported."""
    from varietas.data.audit.spans import before
    from varietas.launch.audit.opened import audited
    from varietas.launch.audit.summary import summary_of
    from varietas.train.run_folder.origin import trains

    if not trains(run) or not (run / "ledger").is_dir():
        left_out["data/summary.md"] = "the model was not trained here" if not trains(run) else "the run has no ledger"
        return None
    found = audited(run, corpus)
    return summary_of(replace(found, spans=before(found.spans, step)), facts, small_company)


def _weights(opened: "Run", step: int, forms: list[str], folder: Path, left_out: dict[str, str]) -> str:
    """Writes the weights in each format that can express the model. Returns its name in transformers; "" if there is none.

    Raises:
        ValueError: If no format can.
    """
    from varietas.model.formats.config_json import architecture_of
    from varietas.train.run_folder.checkpoint import DamagedCheckpoint

    architecture = ""
    try:
        opened.export(folder / WEIGHTS, step)
        architecture = architecture_of(opened._experiment.model)
        _move_up(folder / WEIGHTS)
    except DamagedCheckpoint:
        raise
    except ValueError as error:
        left_out["weights for transformers and vLLM"] = str(error)
    for form in forms:
        try:
            opened.export_gguf(folder / "gguf" / f"{folder.name}-{form}.gguf", step, form)
        except ValueError as error:
            left_out[f"gguf/{folder.name}-{form}.gguf"] = str(error)
    if not architecture and not (folder / "gguf").is_dir():
        raise ValueError(f"no format can express this model: {'; '.join(left_out.values())}")
    return architecture


def _move_up(folder: Path) -> None:
    """Moves what is in a folder to beside it, and removes the folder."""
    for file in folder.iterdir():
        file.rename(folder.parent / file.name)
    folder.rmdir()


def _documents(
    opened: "Run",
    step: int,
    architecture: str,
    facts: "Facts",
    summary: Mapping[str, Any] | None,
    folder: Path,
    left_out: Mapping[str, str],
) -> "Openness":
    """Writes all but the weights. If the public key is in the folder, the card says how to check the signature."""
    from varietas.train.publication.folder import write_documents, write_records
    from varietas.train.publication.published import published
    from varietas.train.publication.sums import PUBLIC_KEY
    from varietas.train.release.card import facts_of

    network, _ = opened._network(step)
    of = published(opened.folder, folder.name, network.config, facts_of(opened.folder, network, step), facts, summary)
    write_records(opened.folder, folder, of)
    _tokenizer(opened.folder, folder / "tokenizer")
    if summary is not None:
        _corpora(opened, folder / "data")
    return write_documents(folder, replace(of, left_out=left_out), architecture, (folder / PUBLIC_KEY).exists())


def _tokenizer(run: Path, folder: Path) -> None:
    """Writes what the tokenizer makes of each language, measured on the Declaration of Human Rights."""
    from varietas.data.files import write_atomically, write_json
    from varietas.data.text.embedded import parallel_documents
    from varietas.data.tokenizer import compare
    from varietas.data.tokenizer.model import file_in
    from varietas.data.tokenizer.parallel import parallel
    from varietas.launch.picture import comparison_svg

    texts = parallel(replace(document, id="declaration") for document in parallel_documents())
    found = {"tokenizer": compare.compare(compare.load(file_in(run)), texts, parallel=False)}
    write_json(folder / "report.json", {label: [asdict(row) for row in rows] for label, rows in found.items()})
    write_atomically(folder / "report.svg", comparison_svg(found, "for the same content, estimated").encode())


def _corpora(opened: "Run", folder: Path) -> None:
    """Writes the metadata of each corpus, and what it commits to."""
    from varietas.data.corpus.corpus import COMMITMENT
    from varietas.data.corpus.sources import sources_of
    from varietas.data.files import write_json
    from varietas.data.summary.croissant import croissant

    for corpus in sources_of(opened.stream.corpus).values():
        name = corpus.path.resolve().name
        write_json(folder / f"{name}.croissant.json", croissant(corpus))
        if (commitment := corpus.path / COMMITMENT / "commitment.json").exists():
            shutil.copyfile(commitment, folder / f"{name}.commitment.json")


def _show(out: Path, openness: "Openness", left_out: Mapping[str, str], console: Console) -> None:
    """Tables what the release holds and says what is missing."""
    from rich.table import Table

    from varietas.launch.tables import align_right
    from varietas.train.publication.sums import SIGNATURE
    from varietas.train.publication.sums import sizes as sizes_of

    sizes = dict[str, list[int]]()
    for file, size in sizes_of(out).items():
        top, _, below = file.partition("/")
        sizes.setdefault(f"{top}/" if below else top, []).append(size)
    table = Table("in the release", "files", "MB", box=None, pad_edge=False)
    align_right(table, 1, 2)
    for top, found in sorted(sizes.items()):
        table.add_row(top, str(len(found)), f"{sum(found) / 1e6:,.1f}")
    console.print(table)
    for what, why in left_out.items():
        console.print(f"left out: {what}: {why}", highlight=False, soft_wrap=True)
    met = "met" if openness.is_open_source else "not met yet"
    console.print(f"Open Source AI Definition 1.0: {met}; Model Openness Framework: class {openness.reached}", highlight=False)
    for advice, names in openness.missing.items():
        console.print(f"missing: {', '.join(names)}: {advice}", highlight=False, soft_wrap=True)
    if not (out / SIGNATURE).exists():
        console.print("it is not signed; give --key")
    console.print(f"release: {out}", soft_wrap=True)
