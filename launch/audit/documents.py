"""`varietas audit documents`: what a step has read."""

import argparse
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from varietas.launch.audit import opened
from varietas.launch.flags import non_negative_int
from varietas.launch.tables import align_right, fold

if TYPE_CHECKING:
    from varietas.data.audit.spans import Span
    from varietas.data.stream.stream import Stream

SUMMARY = "list the documents of a step, in their order"
EXAMPLE = "varietas audit documents --run runs/demo --step 120 --row 3 --text"


def add_flags(parser: argparse.ArgumentParser) -> None:
    opened.add_flags(parser)
    parser.add_argument("--step", type=non_negative_int, required=True, metavar="N", help="the step, from 0")
    parser.add_argument("--row", type=non_negative_int, metavar="I", help="only this row of the step, from 0")
    parser.add_argument("--text", action="store_true", help="show the text of each piece too")


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.data.audit.documents import documents_of, texts_of
    from varietas.data.audit.spans import line_of, span_at
    from varietas.data.corpus.sources import sources_of

    audited = opened.audited(args.run, args.corpus)
    span = span_at(audited.spans, args.step)
    first, size = args.step * span.batch_size, span.batch_size
    if args.row is not None and args.row >= size:
        raise ValueError(f"--row {args.row}: a step has {size} rows, from 0 to {size - 1}")
    rows = (first, first + size) if args.row is None else (first + args.row, first + args.row + 1)
    stream = span.stream(audited.corpus)
    for source in sources_of(audited.corpus).values():
        if args.text and source.sealed:
            raise source.needs_sealed_part("--text")
    found = [{"row": entry["stream_row"] - first, **entry} for entry in documents_of(stream, *rows)]
    if args.text:
        found = [{**entry, "text": text} for entry, text in zip(found, texts_of(stream, found), strict=True)]
    line = line_of(audited.ledger, args.step)
    left_out, agrees = line.get("left_out"), agrees_with(stream, span, args.step, line["rows"])
    if args.json:
        more = {"left_out": left_out} if left_out else {}
        opened.print_json({"step": args.step, "agrees_with_ledger": agrees, **more, "documents": found})
        return 1 if agrees is False else 0
    id_name = "commitment" if any("text_commitment" in entry for entry in found) else "id"
    table = Table("row", "place", "tokens", "of the document", "document", id_name, "source", "URL", "licence", box=None, pad_edge=False)
    align_right(table, 0, 1, 2)
    fold(table, 5, 7)
    for entry in found:
        span_of = f"{entry['begin']:,} to {entry['begin'] + entry['tokens']:,}"
        id_of = entry.get("text_commitment") or entry["id"] or ""  # of a sealed source there is nothing else
        about = (id_of, *(entry[name] or "" for name in ("source", "url", "license")))
        if args.text:  # over the whole width, each after its own line
            place = f"row {entry['row']}, place {entry['place']}: {entry['tokens']:,} tokens, {span_of} of {opened.name_of(entry)}"
            console.print(" · ".join((place, *filter(None, about))), style="bold", markup=False, highlight=False, soft_wrap=True)
            console.print(entry["text"], markup=False, highlight=False, soft_wrap=True)
            console.print()
        else:
            table.add_row(str(entry["row"]), str(entry["place"]), f"{entry['tokens']:,}", span_of, opened.name_of(entry), *about)
    if not args.text:
        console.print(table, soft_wrap=not console.is_terminal, markup=False)
    documents = {(entry.get("corpus"), entry["language"], entry["document"]) for entry in found}
    tokens = sum(entry["tokens"] for entry in found)
    console.print(f"step {args.step}: {opened.count(tokens, 'token')} of {opened.count(len(documents), 'document')}", highlight=False)
    if agrees is False:
        console.print("FAULT: these are not the rows that the ledger has; `varietas audit verify` says why", highlight=False)
    elif agrees:
        console.print("The rows are those that the ledger commits to.")
    if left_out:
        console.print(f"The step did not change the model: {left_out}", markup=False, soft_wrap=True)
    return 1 if agrees is False else 0


def agrees_with(stream: "Stream", span: "Span", step: int, rows: str) -> bool | None:
    """Whether the rows of a step are those of the ledger, whose root is `rows`; None if this is the public part of a corpus."""
    from varietas.data.audit.verify import root_of
    from varietas.data.corpus.sources import sources_of
    from varietas.data.stream.row_digests import row_digests

    if any(source.sealed for source in sources_of(stream.corpus).values()):
        return None
    first = step * span.batch_size
    return root_of(row_digests(stream, first, stream.rows(first, first + span.batch_size))) == rows
