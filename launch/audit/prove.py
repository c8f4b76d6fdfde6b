"""`varietas audit prove`: a proof about a document, which others check without the corpus."""

import argparse

from rich.console import Console

from varietas.data.files import write_json
from varietas.launch.audit import opened
from varietas.launch.audit.find import add_what, asked_for
from varietas.launch.flags import path

SUMMARY = "write a proof that a document is in the corpus and which steps have read it, or that a text is not there"
EXAMPLE = "varietas audit prove --run runs/demo --id eld:hu:0045 --out proof.json"
MOST = 100  # documents of a proof


def add_flags(parser: argparse.ArgumentParser) -> None:
    opened.add_run(parser)
    opened.add_corpus(parser)
    add_what(parser)
    parser.add_argument("--out", type=path, required=True, metavar="FILE", help="the proof, as JSON; `varietas audit check` checks it")


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.data.audit import proof
    from varietas.data.audit.find import documents_with, not_searched, uses_of
    from varietas.data.corpus.sources import sources_of
    from varietas.data.ledger.signing import public_key
    from varietas.data.ledger.statement import KEY

    by, value = asked_for(args)
    audited = opened.audited(args.run, args.corpus)
    written, texts = proof.envelope_of(audited.ledger)
    sought, sources = documents_with(audited.corpus, by, value), sources_of(audited.corpus)
    n = sum(len(numbers) for numbers in sought.values())
    if n > MOST:
        raise ValueError(
            f"{n:,} documents have this {by}; a proof is of {MOST} at most: `varietas audit find` lists them, prove them by --id"
        )
    if n == 0 and (sealed := not_searched(audited.corpus, by)):
        raise ValueError(f"{args.corpus}: this is the public part of the corpus; proofs about {', '.join(sealed)} need the sealed part")
    if n == 0 and by != "text":
        raise ValueError(f"no document has this {by}. That a text is absent can be proved with --text FILE")
    documents = {
        (name, code, number): {**proof.of_document(sources[name], name, code, number), "uses": []}
        for (name, code), numbers in sought.items()
        for number in numbers.tolist()
    }
    uses = list(uses_of(audited.corpus, audited.spans, sought))
    for (_, _, piece), proved in zip(uses, proof.of_uses(texts, uses), strict=True):
        documents[piece.source, piece.language, piece.document]["uses"].append(proved)
    if n == 0:
        written["absent"] = [one for name, source in sources.items() for one in proof.of_absence(source, name, value)]
    written["documents"] = list(documents.values())
    for _ in proof.check(written, public_key(audited.ledger / KEY)):
        pass
    write_json(args.out, written)
    said = f"{opened.count(n, 'document')} with {opened.count(len(uses), 'use')}" if n else "the absence of the text"
    console.print(f"{args.out} ({args.out.stat().st_size:,} bytes) proves {said}", highlight=False, soft_wrap=True, markup=False)
    return 0
