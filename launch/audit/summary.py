"""`varietas audit summary`: the public summary of training content."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from rich.console import Console

from varietas.launch.audit import opened
from varietas.launch.flags import path

if TYPE_CHECKING:
    from varietas.data.summary.facts import Facts
    from varietas.data.summary.summary import Training

SUMMARY = "write the public summary of training content that the EU's AI Act asks for"
EXAMPLE = "varietas audit summary --run runs/demo --facts provider.toml --out summary.md"


def add_flags(parser: argparse.ArgumentParser) -> None:
    opened.add_run(parser)
    opened.add_corpus(parser)
    parser.add_argument("--facts", type=path, metavar="FILE", help="TOML or JSON with what no corpus knows; what is missing stays a blank")
    parser.add_argument("--small_company", action="store_true", help="list 5 %% of the domains, 1,000 at most, rather than 10 %%")
    parser.add_argument("--json", action="store_true", help="JSON instead of Markdown")
    parser.add_argument("--out", type=path, metavar="FILE", help="the file to write (default: print)")


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.data.files import write_atomically
    from varietas.data.summary.facts import Facts, read_facts
    from varietas.data.summary.text import markdown

    facts = read_facts(args.facts) if args.facts else Facts()
    found = summary_of(opened.audited(args.run, args.corpus), facts, args.small_company)
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n" if args.json else markdown(found)
    if args.out is None:
        print(text, end="")
        return 0
    write_atomically(args.out, text.encode())
    blanks = f"; {len(found['to_fill_in'])} fields are left to fill in, with --facts" if found["to_fill_in"] else ""
    console.print(f"summary: {args.out}{blanks}", soft_wrap=True)
    return 0


def summary_of(audited: opened.Audited, facts: "Facts", small_company: bool) -> dict[str, Any]:
    """Returns the public summary of training content of a run. Raises ValueError if the facts speak of a source that it has not read."""
    from varietas.data.summary.consumed import read_by
    from varietas.data.summary.measured import measured
    from varietas.data.summary.summary import summary

    rows = ((span.stream(audited.corpus), span.first * span.batch_size, span.stop * span.batch_size) for span in audited.spans)
    return summary(_training(audited), audited.corpus, measured(audited.corpus, read_by(rows)), facts, small_company)


def _training(audited: opened.Audited) -> "Training":
    from varietas.data.corpus.removals import removed_from
    from varietas.data.ledger.steps import steps_of
    from varietas.data.summary.summary import Training
    from varietas.train.run_folder.corrupt import read_corrupt
    from varietas.train.run_folder.origin import read_origin

    mixtures = [span.context["mixture"] for span in audited.spans]
    mixtures += [phase["mixture"] for mixture in mixtures for phase in mixture["phases"]]
    return Training(
        run=audited.run.resolve().name,
        steps=sum(span.stop - span.first for span in audited.spans),
        rows=sum((span.stop - span.first) * span.batch_size for span in audited.spans),
        seq_len=audited.spans[-1].context["seq_len"],
        left_out=sum(bool(step.left_out) for step in steps_of(audited.ledger)),
        damaged=len(read_corrupt(audited.run)),
        begun_from=origin.named if (origin := read_origin(audited.run)) else "",
        filters=tuple(filter(None, dict.fromkeys(mixture["where"] for mixture in mixtures))),
        removed=sum(map(len, removed_from(audited.corpus).documents.values())),
    )
