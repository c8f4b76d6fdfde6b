"""`varietas audit find`: which steps have read a document."""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from varietas.launch.audit import opened
from varietas.launch.flags import not_empty, path
from varietas.launch.tables import align_right, fold

SUMMARY = "find every step and row that has read a document, or say that none has"
EXAMPLE = "varietas audit find --run runs/demo --url https://example.org/"
SHOWN = 50  # documents in the table


def add_flags(parser: argparse.ArgumentParser) -> None:
    opened.add_flags(parser)
    add_what(parser)


def add_what(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say which documents are meant."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--id", type=not_empty, help="the id of a document")
    what.add_argument("--url", type=not_empty, metavar="PREFIX", help="documents whose URL begins so")
    what.add_argument("--source", type=not_empty, metavar="NAME", help="all documents of a source, as the index calls it")
    what.add_argument(
        "--text", type=path, metavar="FILE", help="documents with exactly the text of this file, also as `prepare` cleaned it"
    )


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.data.audit.documents import described
    from varietas.data.audit.find import documents_with, not_searched, use, uses_of
    from varietas.data.ledger.steps import steps_of

    audited = opened.audited(args.run, args.corpus)
    by, value = asked_for(args)
    sought = documents_with(audited.corpus, by, value)
    left_out = {step.step: step.left_out for step in steps_of(audited.ledger) if step.left_out}
    found = [use(span, piece, left_out) for span, _, piece in uses_of(audited.corpus, audited.spans, sought)]
    documents = [(source, code, number) for (source, code), numbers in sought.items() for number in numbers.tolist()]
    sealed = not_searched(audited.corpus, by)
    if args.json:
        known = [
            {**({"corpus": source} if source else {}), "language": code, "document": number, **entry}
            for (source, code, number), entry in zip(documents, described(audited.corpus, documents), strict=True)
        ]
        more = {"not_searched": sealed} if sealed else {}
        opened.print_json({"steps": steps_in(audited), **more, "documents": known, "uses": found})
        return 0
    what = f"{by} {args.text if by == 'text' else value}"
    if sealed:
        console.print(f"Not searched, since this is the public part of the corpus: {', '.join(sealed)}", markup=False, soft_wrap=True)
    if not documents:
        searched = "No document that could be searched" if sealed else f"No document of {audited.corpus.path}"
        console.print(f"{searched} has {what}{'' if sealed else ', so no step has read it'}.", markup=False, soft_wrap=True)
        return 0
    of: dict[tuple[str, str, int], list[dict[str, Any]]] = defaultdict(list)
    for entry in found:
        of[entry.get("corpus", ""), entry["language"], entry["document"]].append(entry)
    shown = sorted(documents, key=lambda document: -len(of.get(document, ())))[:SHOWN]
    shown = [document for document in shown if document in of] or shown
    table = Table("document", "id", "URL", "pieces", "tokens", "epochs", "first step", "last step", box=None, pad_edge=False)
    align_right(table, 3, 4, 5, 6, 7)
    fold(table, 1, 2)
    for document, about in zip(shown, described(audited.corpus, shown), strict=True):
        uses = of.get(document, [])
        steps = (str(uses[0]["step"]), str(uses[-1]["step"])) if uses else ("none", "")
        figures = f"{len(uses):,}", f"{sum(entry['tokens'] for entry in uses):,}", str(len({entry["epoch"] for entry in uses}))
        table.add_row(" ".join(filter(None, map(str, document))), about["id"] or "", about["url"] or "", *figures, *steps)
    console.print(table, soft_wrap=not console.is_terminal, markup=False)
    if len(of) > SHOWN:
        console.print(f"… and {opened.count(len(of) - SHOWN, 'more document')} that were read; --json has all", highlight=False)
    if 0 < len(found) <= SHOWN:
        console.print(uses_table(found), soft_wrap=not console.is_terminal)
    console.print(summary(what, documents, found, audited), markup=False, highlight=False, soft_wrap=True)
    return 0


def asked_for(args: argparse.Namespace) -> tuple[str, str]:
    """Returns which flag of `add_what` was given, and its value; that of --text is the text itself."""
    by = next(name for name in ("id", "url", "source", "text") if getattr(args, name) is not None)
    return by, args.text.read_bytes().decode("utf-8") if by == "text" else getattr(args, by)


def steps_in(audited: opened.Audited) -> dict[str, int]:
    """Returns the first and the last step of the ledger."""
    return {"first": audited.spans[0].first, "last": audited.spans[-1].stop - 1}


def uses_table(found: Sequence[dict[str, Any]]) -> Table:
    """Tables each use."""
    table = Table("step", "row", "document", "tokens", "of the document", "epoch", "", box=None, pad_edge=False)
    align_right(table, 0, 1, 3, 5)
    for entry in found:
        part = f"{entry['begin']:,} to {entry['begin'] + entry['tokens']:,}"
        without = "the step did not change the model" if "left_out" in entry else ""
        place = str(entry["step"]), str(entry["row"]), opened.name_of(entry)
        table.add_row(*place, f"{entry['tokens']:,}", part, str(entry["epoch"]), without)
    return table


def summary(what: str, documents: Sequence[object], found: Sequence[dict[str, Any]], audited: opened.Audited) -> str:
    """Says in a sentence what was found."""
    steps = steps_in(audited)
    read = {(entry.get("corpus", ""), entry["language"], entry["document"]) for entry in found}
    said = f"{opened.count(len(documents), 'document')} with {what}: steps {steps['first']} to {steps['last']} have read "
    if not read:
        return said + "none of their tokens."
    return said + f"{len(read):,} of them, {opened.count(sum(entry['tokens'] for entry in found), 'token')} in all."
