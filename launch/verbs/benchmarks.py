"""`varietas benchmarks`: tasks for lm_eval, made from text of any language or from published benchmarks in local files."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from varietas.launch.flags import add_files, add_input, path, positive_int, refuse_unused, seed
from varietas.launch.tables import align_right

if TYPE_CHECKING:
    from varietas.data.benchmarks.making import Benchmark

SUMMARY = "make benchmarks from text of any language, as tasks for lm_eval"
EXAMPLE = "varietas benchmarks --input 'held_out/*.jsonl' --reference 'texts/*.jsonl' --out made"


def add_flags(parser: argparse.ArgumentParser) -> None:
    from varietas.data.benchmarks.making import KINDS

    add_input(parser)
    add_files(parser, "--reference", "more text, which says what is usual in each language, beside that of --input")
    add_files(parser, "--published", "instead of text: files of Belebele, INCLUDE, MultiBLiMP, ARC, HellaSwag, MMLU, GSM8K or TruthfulQA")
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="the folder to write; must not exist")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND", help="%(choices)s (default: all)")
    parser.add_argument("--items", type=positive_int, default=200, metavar="N", help="items of each task at most (default: %(default)s)")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="other items of the same text (default: %(default)s)")


def run(args: argparse.Namespace, console: Console) -> int:
    out: Path = args.out
    if out.exists():
        raise ValueError(f"--out {out} exists; name a new folder or remove it")
    if args.published:
        refuse_unused(args, ("input", "fields", "reference", "kinds", "items", "seed"), "is for text; leave it out with --published")
        return _published(args, console)
    return _made(args, console)


def _made(args: argparse.Namespace, console: Console) -> int:
    from rich.progress import track

    from varietas.data.benchmarks.making import make, task_of
    from varietas.data.benchmarks.sentences import gather
    from varietas.data.benchmarks.tasks import write
    from varietas.launch.inputs import documents_of, reading_of

    reading = reading_of(args)
    with console.status("reading"):
        texts = gather(documents_of("--input", args.input, console, reading)())
        more = gather(documents_of("--reference", args.reference, console, reading)()) if args.reference else {}
    found: list[Benchmark] = []
    for lang in track(texts, "making items", console=console, transient=True):
        counted = list(dict.fromkeys([*texts[lang], *more.get(lang, [])]))  # a text in both counts once
        found += make(lang, texts[lang], counted, args.kinds, args.items, args.seed)
    source = ", ".join(args.input) or "the text that is installed with Varietas"
    write([task_of(benchmark) for benchmark in found if benchmark.items], args.out, f"Made by `varietas benchmarks` from {source}.")
    console.print(made_table(found))
    _told(args.out, "varietas", console)
    return 0


def _published(args: argparse.Namespace, console: Console) -> int:
    from varietas.data.benchmarks.published import read
    from varietas.data.benchmarks.tasks import write
    from varietas.data.formats.read import expand
    from varietas.data.text.documents import GUESS
    from varietas.data.text.languages import name

    if args.lang == GUESS:
        raise ValueError("--lang guess is for --input; name the language of the questions in --published, or leave it out")
    with console.status("reading"):
        tasks = read(expand(args.published, "--published"), args.lang)
        write(tasks, args.out, f"Made by `varietas benchmarks --published {' '.join(args.published)}`.")
    table = Table("task", "", "items", "by chance", box=None, pad_edge=False)
    align_right(table, 2, 3)
    for task in tasks:
        table.add_row(task.name, name(task.lang), f"{len(task.records):,}", f"{task.chance:.0%}" if task.chance else "")
    console.print(table)
    _told(args.out, tasks[0].group, console)
    return 0


def _told(out: Path, task: str, console: Console) -> None:
    console.print(f"tasks: {out}; {out / 'README.md'} shows some items of each", soft_wrap=True)
    console.print(f"lm_eval --model hf --model_args pretrained=MODEL --tasks {task} --include_path {out}", soft_wrap=True)


def made_table(found: "Sequence[Benchmark]") -> Table:
    """Tables the items of each language and kind, those of the language with fewest first. What was left out is in parentheses."""
    from varietas.data.benchmarks.making import FEWEST
    from varietas.data.text.languages import name

    kinds = list(dict.fromkeys(benchmark.kind for benchmark in found))
    items: dict[str, dict[str, int]] = {}
    for benchmark in found:  # of recall, the distance with the fewest items
        mine = items.setdefault(benchmark.lang, {})
        mine[benchmark.kind] = min(benchmark.found, mine.get(benchmark.kind, benchmark.found))
    table = Table("language", "", *kinds, box=None, pad_edge=False)
    align_right(table, *range(2, 2 + len(kinds)))
    for lang, mine in sorted(items.items(), key=lambda row: sum(row[1].values())):
        table.add_row(lang, name(lang), *(f"{mine[kind]:,}" if mine[kind] >= FEWEST else f"({mine[kind]})" for kind in kinds))
    if any(not benchmark.items for benchmark in found):
        table.caption = f"in parentheses: fewer than {FEWEST} items, left out; give more text of that language"
        table.caption_justify = "left"
    return table
