"""`varietas audit remove`: documents that no run may read any more."""

import argparse

from rich.console import Console

from varietas.launch.audit import opened
from varietas.launch.flags import not_empty, path

SUMMARY = "remove documents: runs that start or continue from now on do not read them, and all other rows stay"
EXAMPLE = "varietas audit remove --corpus corpus --domain example.org --reason 'request of 2026-11-28'"


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--corpus", type=path, required=True, metavar="DIR", help="a prepared corpus")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--id", type=not_empty, help="the id of a document")
    what.add_argument("--url", type=not_empty, help="the URL of documents")
    what.add_argument("--domain", type=not_empty, metavar="NAME", help="all documents of a domain, and of those below it")
    what.add_argument("--list", type=path, metavar="FILE", help="a text file with an id or a URL on each line")
    parser.add_argument("--reason", type=not_empty, required=True, help="why, for the list")
    parser.add_argument("--key", type=path, metavar="FILE", help="the private key that signs the list (default: as in audit sign)")
    opened.add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.data.audit import removal
    from varietas.data.audit.documents import described
    from varietas.data.corpus.corpus import Corpus
    from varietas.data.ledger.signing import own_key, private_key

    corpus = Corpus(args.corpus)
    wanted = removal.in_list(args.list.read_text("utf-8").splitlines()) if args.list else []
    if args.id:
        tests = removal.with_id(args.id)
    elif args.url:
        tests = removal.with_url(args.url)
    elif args.domain:
        tests = removal.of_domain(args.domain)
    else:
        tests = {**removal.with_id(*wanted), **removal.with_url(*wanted)}
    documents = removal.chosen(corpus, tests)
    places = [("", code, number) for (_, code), numbers in documents.items() for number in numbers.tolist()]
    known = {entry[field] for entry in described(corpus, places) for field in ("id", "url")} if wanted else set()
    unknown = [text for text in wanted if text not in known]
    n = sum(len(numbers) for numbers in documents.values())
    if not n:
        if corpus.sealed:
            raise corpus.needs_sealed_part("which documents to remove")
        meant = args.id or args.url or args.domain or f"a line of {args.list}"
        raise ValueError(f"no document of {args.corpus} has {meant}; `varietas audit find` shows what a run has")
    added = removal.remove(corpus, documents, args.reason, private_key(args.key) if args.key else own_key())
    tokens = sum(int(corpus.lengths(code)[numbers].sum()) for (_, code), numbers in documents.items())
    share = tokens / sum(corpus.tokens(code) for code in corpus.languages)
    if args.json:
        opened.print_json({"documents": n, "added": added, "tokens": tokens, "share": share, "not_found": unknown})
        return 1 if unknown else 0
    before = f"; {opened.count(n - added, 'document')} had been removed before" if added < n else ""
    said = f"removed {opened.count(added, 'document')}{before}: {tokens:,} tokens in all, {share:.2%} of the corpus"
    console.print(said, highlight=False, soft_wrap=True)
    console.print(
        f"The list is {args.corpus / removal.FILE}. Their text stays on the disk until the corpus is prepared again without them. "
        "`varietas audit exposure` says which runs had read them.",
        highlight=False, soft_wrap=True, markup=False,
    )  # fmt: skip
    for text in unknown:
        console.print(f"NOT FOUND {text}: no document has this id or URL", markup=False, highlight=False, soft_wrap=True)
    return 1 if unknown else 0
