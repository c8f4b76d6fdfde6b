"""`varietas evaluate`: bits per byte of every language."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from varietas.launch.evaluation.tasks import add_tasks, refuse_alone, report, settings_of
from varietas.launch.flags import add_chat, add_processes, add_run, add_small, add_text, non_negative_int, not_empty

if TYPE_CHECKING:
    from varietas.train.inference.evaluate import Row

SUMMARY = "measure bits per byte of every language, the worst first"
EXAMPLE = "varietas evaluate --run runs/demo --text 'my/*.jsonl'"
MANY = 30  # languages that are listed by name


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_processes(parser)
    parser.add_argument("--step", type=non_negative_int, metavar="N", help="the checkpoint after N steps (default: the newest)")
    add_text(parser)
    parser.add_argument(
        "--corpus",
        type=not_empty,
        metavar="PATH",
        help="where the run's corpus lies now, if it has moved",
    )
    add_chat(parser)
    add_small(parser)
    add_tasks(parser)
    parser.add_argument("--name", metavar="NAME", help="the name of the evaluation in the report (default: from the files of --text)")


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.launch.inputs import small_of, text_of
    from varietas.launch.run import Run
    from varietas.train.run_folder.evaluations import name_for

    refuse_alone(args)
    documents = None if args.tasks else text_of(args, console)
    opened = Run.open(args.run, args.cpu_devices, console=console, corpus=args.corpus, small=small_of(args, console))
    if args.tasks:
        report(opened.benchmark(args.tasks, args.step, args.include_path, **settings_of(args)), args.run, console)
        return 0
    name = name_for(args.text, args.name)
    with console.status("evaluating"):
        rows = opened.evaluate(documents, name, args.step)
    console.print(evaluation_table(rows))
    console.print(summary(rows))
    return 0


def evaluation_table(rows: "Mapping[str, Row]") -> Table:
    """Tables the languages in the order of the rows, which is the worst first."""
    from varietas.data.text.languages import name
    from varietas.train.run_folder.evaluations import few_bytes

    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for heading in ("language", "", "bits/byte", "×English", "<unigram", "unigram", "untrained", "tokens/word", "bytes"):
        table.add_column(heading, justify="left" if heading in ("language", "") else "right", no_wrap=True)
    table.columns[1].max_width = 18
    english = rows.get("eng_Latn")
    for code, row in rows.items():
        table.add_row(
            code,
            name(code),
            f"{row['bits_per_byte']:.3f}",
            f"{row['bits_per_byte'] / english['bits_per_byte']:.2f}" if english else "–",
            f"{1 - row['bits_per_byte'] / row['unigram']:.0%}" if row["unigram"] else "–",
            *("–" if bits is None else f"{bits:.3f}" for bits in (row["unigram"], row["untrained"])),
            f"{row['tokens'] / max(1, row['words']):.2f}",
            f"{row['bytes']:,}{'*' if few_bytes(row) else ' '}",
            style="" if row["trained_on"] else "dim",
        )
    return table


def summary(rows: "Mapping[str, Row]") -> Text:
    """Says which languages are best and worst, how far they are apart, and what the marks of the table mean."""
    from varietas.data.text.languages import name
    from varietas.train.run_folder.evaluations import FEW_BYTES, compared, few_bytes

    scores = compared(rows)
    (worst, high), (best, low) = next(iter(scores.items())), list(scores.items())[-1]
    lines = [
        "<unigram: how far below a model that knows only token frequencies; ×English: bits per byte over those of English",
        f"best {name(best)} {low:.3f}, worst {name(worst)} {high:.3f}: {high / low:.2f} × as many bits per byte",
    ]
    if not all(row["trained_on"] for row in rows.values()):
        untrained = [name(code) for code, row in rows.items() if not row["trained_on"]]
        listed = ", ".join(untrained) if len(untrained) <= MANY else f"{len(untrained)} languages"
        lines.append(f"dim, no training text: {listed}")
    if any(map(few_bytes, rows.values())):
        lines.append(f"*: less than {FEW_BYTES} bytes of text, so mostly chance")
    return Text("\n".join(lines))
