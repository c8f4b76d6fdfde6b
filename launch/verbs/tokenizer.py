"""`varietas tokenizer`: trains a SentencePiece tokenizer, or compares tokenizers."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from varietas.launch.flags import add_files, add_input, path, positive_int, refuse_unused
from varietas.launch.tables import align_right

if TYPE_CHECKING:
    from varietas.data.tokenizer.compare import Treatment
    from varietas.data.tokenizer.model import Fertility
    from varietas.data.tokenizer.parallel import Parallel
    from varietas.data.tokenizer.parity import Round

SUMMARY = "train a SentencePiece tokenizer that is fair to small languages, or compare tokenizers"
EXAMPLE = "varietas tokenizer --input 'texts/*.jsonl.zst' --out euro.model --vocab_size 32000 --sampling parity --parallel flores.jsonl"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_input(parser)
    parser.add_argument("--out", type=path, metavar="PATH", help="the .model file to write; with --report: a folder")
    parser.add_argument("--vocab_size", type=positive_int, default=32000, metavar="N", help="number of pieces (default: %(default)s)")
    parser.add_argument(
        "--sampling",
        default="alpha:0.3",
        metavar="HOW",
        help="how much of each language to train on: alpha:X (p ∝ bytes^X), unimax or parity (default: %(default)s)",
    )
    add_files(
        parser,
        "--parallel",
        "parallel text as JSON Lines, read as --input is: records with the same id say the same in different languages",
    )
    parser.add_argument(
        "--report",
        nargs="+",
        action="extend",
        type=path,
        default=[],
        metavar="TOKENIZER",
        help="compare these .model and tokenizer.json files instead of training",
    )


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.data.tokenizer.parallel import parallel
    from varietas.launch.inputs import documents_of, reading_of

    if args.report:
        refuse_unused(args, ("input", "vocab_size", "sampling"), "is about training; leave it out, since --report compares tokenizers")
    if not args.parallel and (args.report or not args.input):
        refuse_unused(args, ("lang", "fields"), "says how files are read; name them with --input or --parallel")
    texts = parallel(documents_of("--parallel", args.parallel, console, reading_of(args))()) if args.parallel else None
    return _compare(args, texts, console) if args.report else _train(args, texts, console)


def _train(args: argparse.Namespace, texts: "Parallel | None", console: Console) -> int:
    from varietas.data.tokenizer.model import counter, fertility, load, save
    from varietas.data.tokenizer.parallel import halves, premiums
    from varietas.data.tokenizer.training import check_vocab_size, parse_sampling
    from varietas.data.tokenizer.training import train as train_tokenizer
    from varietas.launch.inputs import documents_of, reading_of

    if args.out is None:
        raise ValueError("--out is missing; say where to write the .model file, as in --out euro.model")
    if args.out.is_dir():
        raise ValueError(f"--out {args.out} is a folder; name the .model file to write, as in --out {args.out / 'euro.model'}")
    parse_sampling(args.sampling)
    check_vocab_size(args.vocab_size)
    documents = documents_of("--input", args.input, console, reading_of(args))
    args.out.parent.mkdir(parents=True, exist_ok=True)  # an impossible place is refused before the work
    tune, held_out = halves(texts) if texts else (None, None)
    rounds: list[Round] = []
    with console.status("training the tokenizer") as status:

        def progress(result: "Round") -> None:
            rounds.append(result)
            status.update(f"parity search, round {len(rounds)}: worst {max(result.premium.values()):.2f}")

        train = partial(train_tokenizer, documents, args.vocab_size, texts=tune)
        before = load(train("alpha:0.3")) if held_out and args.sampling == "parity" else None
        model = train(args.sampling, progress=progress)
    save(model, args.out)
    processor = load(model)
    trained = fertility(processor, documents())
    console.print(fertility_table(trained))
    if held_out and before:
        held_out = {code: mine for code, mine in held_out.items() if code in trained or code == "eng_Latn"}
        console.print("\nThe same content, measured on the half of --parallel that the search did not use:")
        counts = [counter(each) for each in (before, processor)]
        english = [sum(map(count, held_out["eng_Latn"].values())) for count in counts]
        console.print(parity_table(premiums(held_out, counts[0]), premiums(held_out, counts[1])))
        console.print(f"English itself takes {english[1] / english[0]:.3f} times the tokens")
    elif rounds:
        best = next(result for result in rounds if result.model == model)
        console.print("\nThe same content, estimated without parallel text (about 5 % off; --parallel measures it):")
        console.print(parity_table(rounds[0].premium, best.premium))
        if best.english:
            console.print(f"English itself takes {best.english:.3f} times the tokens")
    console.print(f"{args.vocab_size:,} pieces: {args.out}")
    return 0


def _compare(args: argparse.Namespace, texts: "Parallel | None", console: Console) -> int:
    """`tokenizer --report`: prints a table for each tokenizer and writes report.json and report.svg to --out."""
    from varietas.data.files import write_atomically, write_json
    from varietas.data.text.embedded import parallel_documents
    from varietas.data.tokenizer import compare
    from varietas.data.tokenizer.parallel import parallel
    from varietas.launch.picture import comparison_svg

    encoders = [compare.load(path) for path in args.report]
    aligned = texts is not None
    if texts is None:
        console.print(
            "[yellow]no --parallel: tokens are counted on passages of the Declaration of Human Rights, which are not the same in all "
            "languages. ×English is estimated from the length of the whole Declaration in each language: about 5 % off, more where a "
            "passage is short (see the column bytes)[/]",
            soft_wrap=True,
        )
        texts = parallel(replace(document, id="declaration") for document in parallel_documents())
    found = {}
    for number, encoder in enumerate(encoders):
        label = encoder.name if encoder.name not in found else f"{encoder.name} ({number + 1})"
        with console.status(label):
            found[label] = compare.compare(encoder, texts, aligned)
        console.print(f"\n[bold]{label}[/], {encoder.n_pieces:,} pieces")
        console.print(comparison_table(found[label]))
    if args.out:
        rows = {label: [asdict(row) for row in treatments] for label, treatments in found.items()}
        write_json(args.out / "report.json", rows)
        picture = comparison_svg(found, "for the same content" if aligned else "for the same content, estimated")
        write_atomically(args.out / "report.svg", picture.encode())
        console.print(f"\nreport: {args.out / 'report.json'}, {args.out / 'report.svg'}")
    return 0


def fertility_table(rows: "Mapping[str, Fertility]") -> Table:
    """Tables what a tokenizer makes of the text it was trained on, most tokens a word first."""
    from varietas.data.text.languages import name

    table = Table("language", "", "bytes", "tokens/word", "bytes/token", "byte fallback", box=None, pad_edge=False)
    align_right(table, 2, 3, 4, 5)
    for code, row in sorted(rows.items(), key=lambda item: -item[1].tokens_per_word):
        figures = f"{row.tokens_per_word:.2f}", f"{row.bytes_per_token:.2f}", f"{row.fallback / max(1, row.tokens):.3%}"
        table.add_row(code, name(code), f"{row.bytes:,}", *figures)
    return table


def parity_table(before: Mapping[str, float], after: Mapping[str, float]) -> Table:
    """Tables tokens for the same content over those of English, before and after the search, the worst after it first."""
    from varietas.data.text.languages import LANGUAGES, name

    table = Table("language", "", "alpha:0.3", "parity", box=None, pad_edge=False)
    align_right(table, 2, 3)
    for code, premium in sorted(after.items(), key=lambda item: -item[1]):
        table.add_row(code, name(code), f"{before[code]:.2f}", f"{premium:.2f}")
    table.add_section()
    of_union = [code for code in after if code in LANGUAGES and LANGUAGES[code].status == "eu"]
    for what, codes in (("all", after), (f"{len(of_union)} of the EU", of_union)):
        if codes:
            table.add_row(what, "worst", *(f"{max(side[code] for code in codes):.2f}" for side in (before, after)))
            table.add_row("", "mean", *(f"{sum(side[code] for code in codes) / len(codes):.2f}" for side in (before, after)))
    return table


def comparison_table(rows: "Sequence[Treatment]") -> Table:
    """Tables what one tokenizer makes of each language, in the order of the rows, which is the highest premium first."""
    from varietas.data.text.languages import name

    table = Table(
        "language", "", "×English", "tokens/word", "bytes/token", "byte fallback", "split words", "bytes", box=None, pad_edge=False
    )
    align_right(table, 2, 3, 4, 5, 6, 7)
    for row in rows:
        table.add_row(
            row.language,
            name(row.language),
            f"{row.premium:.2f}",
            f"{row.tokens_per_word:.2f}",
            f"{row.bytes_per_token:.2f}",
            f"{row.fallback:.2%}",
            f"{row.continued:.0%}",
            f"{row.bytes:,}",
        )
    worst, best = rows[0], rows[-1]
    table.caption = (
        f"worst {name(worst.language)} {worst.premium:.2f}, best {name(best.language)} {best.premium:.2f}: "
        f"{worst.premium / best.premium:.2f} × as many tokens for the same content"
    )
    table.caption_justify = "left"
    return table
