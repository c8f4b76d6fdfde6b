"""`varietas audit exposure`: which runs have read documents that are removed now."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from varietas.launch.audit import opened
from varietas.launch.flags import path
from varietas.launch.tables import align_right, fold

SUMMARY = "say which runs have read documents that are removed now, how often and when last"
EXAMPLE = "varietas audit exposure --run runs/a runs/b"


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=path, required=True, nargs="+", metavar="DIR", help="folders of runs")
    opened.add_corpus(parser)
    opened.add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    found = [exposed(folder, args.corpus) for folder in args.run]
    if args.json:
        opened.print_json({"runs": found})
        return 0
    for one in found:
        console.print(summary(one), markup=False, highlight=False, soft_wrap=True)
        if one["documents"]:
            table = Table("document", "id", "pieces", "tokens", "first step", "last step", "removed", "reason", box=None, pad_edge=False)
            align_right(table, 2, 3, 4, 5)
            fold(table, 1, 7)
            for entry in one["documents"]:
                figures = (f"{entry[name]:,}" for name in ("pieces", "tokens", "first_step", "last_step"))
                table.add_row(opened.name_of(entry), entry["id"] or "", *figures, entry["removed"], entry["reason"])
            console.print(table, soft_wrap=not console.is_terminal, markup=False)
    return 0


def exposed(folder: Path, corpus: str | None) -> dict[str, Any]:
    """Returns what a run has read of the documents that are removed now."""
    from varietas.data.audit.removal import exposures, requests_of
    from varietas.data.corpus.removals import removed_from
    from varietas.data.corpus.sources import sources_of

    audited = opened.audited(folder, corpus)
    removed = dict(removed_from(audited.corpus).documents)
    requests = {name: requests_of(source) for name, source in sources_of(audited.corpus).items()}
    documents = []
    for found in exposures(audited.corpus, audited.spans, removed):
        request = requests[found["corpus"]].get((found["language"], found["document"]), {})
        documents.append({**found, **{name: request.get(name) or "" for name in ("id", "url", "removed", "reason")}})
    applied = [span.first for span in audited.spans if span.context.get("removed")]
    return {
        "run": str(folder),
        "steps": {"first": audited.spans[0].first, "last": audited.spans[-1].stop - 1},
        "removed": sum(map(len, removed.values())),
        "list_since_step": min(applied, default=None),
        "documents": sorted(documents, key=lambda entry: -entry["tokens"]),
    }


def summary(one: dict[str, Any]) -> str:
    """Says in a sentence what a run has read of removed documents."""
    steps = f"steps {one['steps']['first']} to {one['steps']['last']}"
    if not one["removed"]:
        return f"{one['run']}: no document of its corpus is removed"
    if not one["documents"]:
        return f"{one['run']}: {steps} have read none of {opened.count(one['removed'], 'removed document')}"
    tokens = sum(entry["tokens"] for entry in one["documents"])
    since = "" if one["list_since_step"] is None else f"; it knows a list of removals from step {one['list_since_step']} on"
    last = max(entry["last_step"] for entry in one["documents"])
    read = f"{tokens:,} tokens of {len(one['documents']):,} of {opened.count(one['removed'], 'removed document')}"
    return f"{one['run']}: {steps} have read {read}, last at step {last}{since}"
