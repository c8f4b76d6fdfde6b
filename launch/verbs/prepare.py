"""`varietas prepare`: text to a corpus."""

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from varietas.launch.flags import add_fields, add_input, non_negative_int, path, positive_int, refuse_unused
from varietas.launch.tables import align_right

if TYPE_CHECKING:
    from varietas.data.prepare.engine import Engine, Watch

SUMMARY = "turn text into a corpus: tokens, an index of documents, digests"
EXAMPLE = "varietas prepare --input 'texts/*.jsonl.zst' --out corpus --tokenizer euro.model --config web --config.clean.pii=drop"
# Flags that mean nothing without --input.
OF_INPUT = ("chat", "preferences", "lang", "fields", "config", "engine", "workers", "slurm", "max_rejects")
SECONDS_BETWEEN_LINES = 30  # where there is no terminal to show a bar on


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_input(parser)
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="the corpus folder to write; must not exist")
    parser.add_argument(
        "--tokenizer",
        type=path,
        required=True,
        metavar="FILE",
        help="a SentencePiece .model file, or a tokenizer.json",
    )
    parser.add_argument(
        "--chat",
        action="store_true",
        help="records are conversations (`messages`); only the assistant's turns are learned. The chat template lies beside --tokenizer",
    )
    parser.add_argument(
        "--preferences",
        action="store_true",
        help="records are pairs of conversations (`chosen`, `rejected`), for training with optim.dpo_beta",
    )
    parser.add_argument(
        "--config",
        default="base",
        metavar="NAME|PATH[:ARG]",
        help="its `clean` fields say how text is cleaned; web: all cleaning (default: %(default)s)",
    )
    add_fields(parser, "--config.clean.FIELD=VALUE sets one kind of cleaning, as in --config.clean.pii=mask. configs/base.py lists them.")
    parser.add_argument(
        "--engine", choices=("local", "slurm", "ray"), default="local", help="what runs the work; the corpus is the same (default: local)"
    )
    parser.add_argument("--workers", type=positive_int, metavar="N", help="how many work at a time (default: one a core; Slurm: no limit)")
    parser.add_argument(
        "--slurm",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="options of sbatch, as in partition=small time=4:00:00 account=p1",
    )
    parser.add_argument("--html", type=path, metavar="FILE", help="also write a page that draws what each language lost, and why")
    parser.add_argument(
        "--max_rejects", type=non_negative_int, metavar="N", help="stop if more than N records of a file cannot be read (default: never)"
    )


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.data.prepare.damage import damage
    from varietas.data.tokenizer.model import load
    from varietas.launch.check import check
    from varietas.launch.config import load_config
    from varietas.launch.prepare.losses import losses_table, write_page

    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # as Ctrl-C: workers end with this process
    if not args.input:
        refuse_unused(args, OF_INPUT, "says how files are prepared; name them with --input, or leave it out for the installed text")
    config = load_config(args.config, args.overrides)
    check(config)
    for other in (flag for flag in args.overrides if flag.startswith("--config.") and not flag.startswith("--config.clean.")):
        raise ValueError(f"{other} has no effect on a corpus: prepare reads only the fields of --config.clean; leave it out")
    if args.html and not args.html.absolute().parent.is_dir():
        raise ValueError(f"--html {args.html}: there is no folder {args.html.parent}; make it first")
    load(args.tokenizer)  # raises an error that names the file if it is not a tokenizer
    manifest = _prepare(args, config.clean.to_dict(), console)
    console.print(corpus_table(manifest))
    if manifest["rejected"]:
        console.print(rejects_table(manifest))
        if (losses := losses_table(manifest)).row_count:
            console.print(losses)
        console.print(f"each with file, line and beginning: {args.out / 'rejects.jsonl'}", soft_wrap=True)
        for found in damage(args.out):
            places = f"damaged in {found.places:,} places, the first" if found.places > 1 else "damaged"
            where = f"{found.file}: {places} at record {found.first.line} ({found.first.sample})"
            console.print(f"[yellow]{where}; what was there could not be read and is not counted[/]", soft_wrap=True)
    if changed := ", ".join(f"{what} {n:,}" for what, n in manifest["changed"].items()):
        console.print(f"changed: {changed}")
    if held_out := manifest.get("held_out", {}):
        documents, n_bytes = (sum(counts[field] for counts in held_out.values()) for field in ("documents", "bytes"))
        console.print(f"held out for evaluation: {documents:,} documents, {n_bytes:,} bytes in {len(held_out)} languages")
    if args.html:
        write_page(args.html, manifest)
        console.print(f"page: {args.html}", soft_wrap=True)
    console.print(f"corpus {manifest['digest'][:16]}…: {args.out}")
    console.print("commitment/secret in it opens the digests of its documents: keep a copy, and keep it to yourself (docs/audit.md)")
    return 0


def _prepare(args: argparse.Namespace, clean: Mapping[str, Any], console: Console) -> dict[str, Any]:
    """Makes the corpus and returns its manifest."""
    from varietas.data.chat.encoder import chat_model
    from varietas.data.chat.template import template_of
    from varietas.data.clean.cleaning import Cleaning
    from varietas.data.formats.read import expand
    from varietas.data.prepare import plan
    from varietas.data.prepare.prepare import prepare, prepare_documents
    from varietas.data.text.embedded import training_documents
    from varietas.data.tokenizer.model import read
    from varietas.launch.inputs import reading_of

    content = read(args.tokenizer)
    if not args.input:
        return prepare_documents(training_documents(), content, args.out)
    reading, out = reading_of(args), args.out.resolve()
    model = content if reading.kind == "text" else chat_model(content, template_of(args.tokenizer))
    files, copies = plan.without_copies(expand(args.input))
    for file, same in copies:
        console.print(f"[yellow]{file} has the same content as {same}, and is read once[/]", soft_wrap=True)
    for file in plan.changed_inputs(args.out, files):
        console.print(f"[yellow]{file} has changed since the last call and is read again[/]", soft_wrap=True)
    working = plan.working_folder(args.out)
    with (
        stage_bars(console, lambda task: plan.bytes_of(args.out, task)) as watch,
        _on_interrupt(f"stopped; finished work is kept in {working}, and the same command continues"),
    ):
        run = _engine(args, plan.working_folder(out), watch)
        return prepare(files, model, out, Cleaning(**clean), run, args.max_rejects, reading)


def _engine(args: argparse.Namespace, work: Path, watch: "Watch") -> "Engine":
    """Returns what runs the tasks of `prepare`."""
    from varietas.data.prepare import engine
    from varietas.launch.backend import cores

    if args.slurm and args.engine != "slurm":
        raise ValueError("--slurm gives options to sbatch; add --engine slurm, or leave it out")
    if args.engine == "local":
        return engine.local(args.workers or cores(), watch)
    if args.engine == "ray":
        return engine.ray(args.workers or cores(), work / "jobs", watch)
    options = dict(option.partition("=")[::2] for option in args.slurm)
    return engine.slurm(args.workers or -1, options, work / "jobs", watch)


@contextmanager
def _on_interrupt(message: str) -> Iterator[None]:
    """Prints the message when Ctrl-C or SIGTERM ends the block."""
    try:
        yield
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # standard error may be closed
            print(f"varietas: {message}", file=sys.stderr)
        raise


@contextmanager
def stage_bars(console: Console, weigh: Callable[[str], int]) -> "Iterator[Watch]":
    """Shows a bar for each stage of `prepare`; without a terminal, a line now and then.

    Args:
        console: Where to show it.
        weigh: Returns the bytes of input that a task of the first stage reads.

    Yields:
        What an engine calls with a stage and its tasks.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[speed_shown]}"), TimeRemainingColumn())
    last_line = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:

        def watch(stage: str, tasks: Sequence[str]) -> Callable[[str], None]:
            weights = {task: max(1, weigh(task)) if stage == "parts" else 1 for task in tasks}
            total, left, begun = sum(weights.values()), set(tasks), time.monotonic()
            bar = bars.add_task(f"{stage}: {len(tasks):,}", total=total, speed_shown="")

            def done(task: str) -> None:
                nonlocal last_line
                left.discard(task)
                so_far = total - sum(weights[other] for other in left)
                seconds = time.monotonic() - begun
                speed = f"{so_far / 1e6:,.1f} MB, {so_far / 1e6 / max(seconds, 1e-3):,.1f} MB/s" if stage == "parts" else ""
                bars.update(bar, completed=so_far, speed_shown=speed)
                if not console.is_terminal and left and time.monotonic() - last_line > SECONDS_BETWEEN_LINES:
                    last_line = time.monotonic()
                    rest = seconds * (total - so_far) / max(1, so_far)
                    of_all = f"{len(tasks) - len(left):,} of {len(tasks):,}"
                    console.print(f"{stage}: {of_all} done {speed}, about {rest:,.0f} s left".replace("  ", " "))
                if not left and stage == "parts":
                    console.print(f"read {speed} of input in {seconds:,.0f} s, {len(tasks):,} part{'s' * (len(tasks) > 1)}")

            return done

        yield watch


def corpus_table(manifest: Mapping[str, Any]) -> Table:
    """Tables the languages of a corpus, the one with most tokens first."""
    from varietas.data.text.languages import name

    fields = ("documents", "tokens", *(["learned"] if "learned" in manifest else []), "bytes")
    table = Table("language", "", *fields, "bytes/token", box=None, pad_edge=False)
    align_right(table, *range(2, 3 + len(fields)))

    def add(code: str, name: str, row: Mapping[str, Any]) -> None:
        counts = (f"{row[field]:,}" for field in fields)
        table.add_row(code, name, *counts, f"{row['bytes'] / row['tokens']:.2f}")

    for code, row in sorted(manifest["languages"].items(), key=lambda item: -item[1]["tokens"]):
        add(code, name(code), row)
    table.add_section()
    add("all", "", manifest)
    return table


def rejects_table(manifest: Mapping[str, Any]) -> Table:
    """Tables why records were rejected and in which languages most, the most common reason first."""
    table = Table("rejected", "records", "of all", "most in", box=None, pad_edge=False)
    align_right(table, 1, 2)
    by_language = manifest["rejected_by_language"]
    for reason, n in sorted(manifest["rejected"].items(), key=lambda item: -item[1]):
        most = sorted(((reasons.get(reason, 0), code or "?") for code, reasons in by_language.items() if reason in reasons), reverse=True)
        listed = ", ".join(f"{code} {number:,}" for number, code in most[:4]) + (" …" if len(most) > 4 else "")
        table.add_row(reason, f"{n:,}", f"{n / manifest['records_read']:.2%}", listed)
    return table
