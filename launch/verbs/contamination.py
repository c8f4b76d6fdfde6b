"""`varietas contamination`: which evaluation items a run has read, and scores without them."""

import argparse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from varietas.launch.flags import add_files, add_reading, positive_int, refuse_unused
from varietas.launch.tables import align_right, fold, progress_on

if TYPE_CHECKING:
    from varietas.data.audit.contamination import Reading
    from varietas.data.audit.items import Item
    from varietas.data.prepare.engine import Watch
    from varietas.launch.audit.opened import Audited
    from varietas.train.statistics.contaminated import Cleaned, Samples

SUMMARY = "find evaluation items in what a run has read, in every language, and give scores without them"
EXAMPLE = "varietas contamination --run runs/demo --items 'flores/*.jsonl'"
FILE = "contamination.json"  # in the run's folder
SHOWN = 20  # items that are named
DEFAULT_BYTES = 100_000  # of held-out text, for runs of other trainers


def add_flags(parser: argparse.ArgumentParser) -> None:
    from varietas.launch.audit import opened

    opened.add_run(parser)
    parser.add_argument("--step", type=positive_int, metavar="N", help="what the run had read after N steps (default: all its steps)")
    add_files(
        parser,
        "--items",
        "items to look for, as prepare --input takes them (default: texts of evaluate, and samples of benchmarks)",
    )
    add_reading(parser)
    opened.add_corpus(parser)
    parser.add_argument("--workers", type=positive_int, metavar="N", help="processes that search (default: one a core)")
    opened.add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.data.audit.contamination import readings
    from varietas.data.audit.spans import up_to
    from varietas.data.files import write_json
    from varietas.data.prepare.engine import local
    from varietas.launch.audit import opened
    from varietas.launch.backend import cores
    from varietas.train.statistics.contaminated import samples_in

    if not args.items:
        refuse_unused(args, ("lang", "fields"), "says how the files of --items are read; name some with --items")
    audited = opened.audited(args.run, args.corpus)
    spans = up_to(audited.spans, args.step)
    samples = {} if args.items else {f"{one.task} ({k})": one for k, one in enumerate(samples_in(args.run))}
    sets = {**_documents(args, audited, console), **{name: _items_of(one) for name, one in samples.items()}}
    with progress_on(console if not args.json else Console(stderr=True)) as progress:
        engine = local(args.workers or cores(), _watch(progress))
        found = readings(audited.corpus, spans, [item for items in sets.values() for item in items], engine)
    left = iter(found)
    of_set = {name: list(islice(left, len(items))) for name, items in sets.items()}
    scores = _scores(args.run, spans[-1].stop, of_set, samples)
    record = record_of(spans[-1].stop, of_set, scores)
    if args.run.is_dir():
        write_json(args.run / FILE, record)
    if args.json:
        opened.print_json(record)
        return 0
    for table in (counts_table(record), scores_table(record), items_table(record)):
        if table.row_count:
            console.print(table, soft_wrap=not console.is_terminal)
    console.print(summary(record), highlight=False, soft_wrap=True)
    console.print(f"kept in {args.run / FILE}", soft_wrap=True, highlight=False)
    return 0


def _watch(progress: Progress) -> "Watch":
    """Returns what an engine calls with a stage and its tasks, of which the bars of `progress` show how many are done."""

    def watch(stage: str, tasks: Sequence[str]) -> Callable[[str], None]:
        shown = progress.add_task(f"searching {stage}", total=len(tasks))
        return lambda task: progress.advance(shown)

    return watch


def _documents(args: argparse.Namespace, audited: "Audited", console: Console) -> "dict[str, list[Item]]":
    """Returns the items of --items, or those of the texts on which runs are evaluated, by the name of the text."""
    import hashlib

    from varietas.data.audit.items import Item
    from varietas.data.corpus.held_out import held_out_documents
    from varietas.launch.inputs import documents_of, reading_of
    from varietas.train.run_folder.config import read_config
    from varietas.train.run_folder.evaluations import DECLARATION, DIGITS, HELD_OUT, default_name, evaluation_text

    if args.items:
        texts = {default_name(args.items): list(documents_of("--items", args.items, console, reading_of(args))())}
    else:
        config = read_config(args.run) if (args.run / "config.json").exists() else {}
        most = config.get("eval", {}).get("held_out_bytes", DEFAULT_BYTES)
        texts = {DECLARATION: evaluation_text(DECLARATION, None, audited.corpus.languages).documents}
        texts[HELD_OUT] = held_out_documents(audited.corpus, most)
    return {
        name: [Item(hashlib.sha256(d.content).hexdigest()[:DIGITS], d.lang, (d.text,)) for d in documents]
        for name, documents in texts.items()
        if documents
    }


def _items_of(samples: "Samples") -> "list[Item]":
    from varietas.data.audit.items import Item

    return [Item(str(number), samples.language, tuple(texts)) for number, texts in enumerate(samples.texts)]


def _scores(run: Path, step: int, of_set: "Mapping[str, Sequence[Reading]]", samples: "Mapping[str, Samples]") -> "list[Cleaned]":
    """Returns the newest scores up to a step with and without what was read: of evaluations on these documents, and of benchmarks."""
    from varietas.data.audit.contamination import NEARLY, PART, WHOLE
    from varietas.train.run_folder.evaluations import read_all
    from varietas.train.statistics.contaminated import cleaned_evaluation, cleaned_samples

    read = (WHOLE, NEARLY)
    found: list[Cleaned] = []
    documents = {reading.item.name: reading.kind for name, readings in of_set.items() if name not in samples for reading in readings}
    kinds = {kind: {digest for digest, its in documents.items() if its in kind} for kind in (read, (*read, PART))}
    for evaluations in read_all(run).values():
        newest = [evaluation for evaluation in evaluations if evaluation.step <= step and evaluation.documents][-1:]
        if newest and any(digest in documents for of in newest[0].documents.values() for digest in of.digests):
            found += cleaned_evaluation(newest[0], kinds[read], kinds[*read, PART])
    for name, one in samples.items():
        if one.step <= step:
            numbers = ({k for k, reading in enumerate(of_set[name]) if reading.kind in kind} for kind in (read, (*read, PART)))
            found += cleaned_samples(one, *numbers)
    return found


def record_of(step: int, of_set: "Mapping[str, Sequence[Reading]]", scores: "Sequence[Cleaned]") -> dict[str, Any]:
    """Returns the content of contamination.json."""
    from dataclasses import asdict

    from varietas.data.audit.contamination import NEAR, NONE, SHORT, as_json
    from varietas.data.audit.items import OVERLAP, SHORTEST

    counts = []
    for name, readings in of_set.items():
        by_language: dict[str, Counter[str]] = {}
        for reading in readings:
            by_language.setdefault(reading.item.lang, Counter())[reading.kind] += 1
        counts += [{"text": name, "language": code, "items": kinds.total(), **kinds} for code, kinds in by_language.items()]
    found = [
        {"text": name, **as_json(reading), "beginning": " ".join(reading.item.texts)[:80]}
        for name, readings in of_set.items()
        for reading in readings
        if reading.kind not in (NONE, SHORT)
    ]
    settings = {"words": OVERLAP, "shortest": SHORTEST, "near": NEAR}
    return {"step": step, **settings, "counts": counts, "scores": [asdict(score) for score in scores], "found": found}


def share(counts: Mapping[str, Any]) -> float:
    """Returns which share of the items that could be looked for was read, whole or nearly."""
    looked_for = counts["items"] - counts.get("short", 0)
    return (counts.get("whole", 0) + counts.get("nearly", 0)) / looked_for if looked_for else 0.0


def counts_table(record: Mapping[str, Any]) -> Table:
    """Tables the languages of which something was read, those with the largest share first."""
    from varietas.data.text.languages import name

    table = Table("text", "language", "", "items", "whole", "nearly", "in part", "too short", "read", box=None, pad_edge=False)
    align_right(table, *range(3, 9))
    kinds = ("whole", "nearly", "part", "short")
    touched = [counts for counts in record["counts"] if any(counts.get(kind) for kind in kinds[:3])]
    for counts in sorted(touched, key=lambda counts: (-share(counts), -counts.get("part", 0))):
        figures = (f"{counts.get(kind, 0):,}" for kind in kinds)
        table.add_row(
            counts["text"], counts["language"], name(counts["language"]), f"{counts['items']:,}", *figures, f"{share(counts):.1%}"
        )
    return table


def scores_table(record: Mapping[str, Any]) -> Table:
    """Tables scores with and without what was read, where anything was."""
    table = Table("text", "language", "metric", "all items", "without those read", "of which nothing was read", box=None, pad_edge=False)
    align_right(table, 3, 4, 5)
    for score in record["scores"]:
        if score["touched"]:
            counts = (score["items"], score["items"] - score["read"], score["items"] - score["touched"])
            values = (score["every"], score["unread"], score["untouched"])
            figures = (("–" if value is None else f"{value:.3f}") + f" ({n:,})" for value, n in zip(values, counts, strict=True))
            table.add_row(f"{score['text']}, step {score['step']}", score["language"], score["metric"], *figures)
    return table


def items_table(record: Mapping[str, Any]) -> Table:
    """Tables some of the items that were read, those of which most was read first, with a document of each."""
    from varietas.launch.audit.opened import name_of

    table = Table("item", "read", "words in a row", "documents", "first in", "id", "steps", box=None, pad_edge=False)
    align_right(table, 2, 3)
    fold(table, 5)
    order = {"whole": 0, "nearly": 1, "part": 2}
    for item in sorted(record["found"], key=lambda item: (order[item["kind"]], -item["share"]))[:SHOWN]:
        place = next(iter(item["places"]), None)
        where = (name_of(place), place["id"], f"{place['first_step']} to {place['last_step']}") if place else ("", "", "")
        about = f"{item['language']} {item['beginning'][:40]}".replace("\n", " ")
        table.add_row(about, item["kind"], f"{item['share']:.0%}", f"{item['n_documents']:,}", *where)
    return table


def summary(record: Mapping[str, Any]) -> str:
    """Says how many items were read, and what the words mean."""
    total = Counter[str]()
    for counts in record["counts"]:
        total.update({kind: n for kind, n in counts.items() if isinstance(n, int)})
    n, languages = total["items"], len({counts["language"] for counts in record["counts"]})
    said = f"of {n:,} items in {languages} languages, {total['whole']:,} were read whole up to step {record['step']:,}, "
    said += f"{total['nearly']:,} nearly, {total['part']:,} in part; {total['short']:,} are too short to tell\n"
    said += f"whole: all its words in a row; nearly: {record['near']:.0%} or more of its sequences of {record['words']} words; "
    return said + f"in part: one of them; too short: less than {record['shortest']} words"
