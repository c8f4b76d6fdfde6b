"""`varietas memorisation`: how much of its training text a model repeats word for word."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from varietas.launch.flags import add_cpu_devices, positive_int
from varietas.launch.tables import align_right, progress_on

if TYPE_CHECKING:
    from varietas.data.audit.excerpts import Excerpt

SUMMARY = "measure how much of its training text a model repeats word for word, in every language"
EXAMPLE = "varietas memorisation --run runs/demo --documents 200"
FILE = "memorisation.json"  # in the run's folder
BATCH = 64  # prompts at a time
TIMES = ((1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 1 << 62))  # groups of repetitions


def add_flags(parser: argparse.ArgumentParser) -> None:
    from varietas.launch.audit import opened

    opened.add_run(parser)
    add_cpu_devices(parser)
    parser.add_argument("--step", type=positive_int, metavar="N", help="the checkpoint after N steps (default: the newest)")
    parser.add_argument(
        "--documents", type=positive_int, default=100, metavar="N", help="documents of each language (default: %(default)s)"
    )
    parser.add_argument("--prompt_tokens", type=positive_int, default=50, metavar="N", help="tokens of a prompt (default: %(default)s)")
    parser.add_argument("--tokens", type=positive_int, default=50, metavar="N", help="tokens to repeat (default: %(default)s)")
    opened.add_corpus(parser)
    opened.add_json(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.data.audit.excerpts import excerpts, unread_excerpts
    from varietas.data.audit.spans import up_to
    from varietas.data.corpus.held_out import held_out_documents
    from varietas.data.files import write_json
    from varietas.data.tokenizer.model import load as load_tokenizer
    from varietas.launch import resolve
    from varietas.launch.audit import opened
    from varietas.train.run_folder.config import read_config
    from varietas.train.run_folder.folder import saved_step

    step, size = saved_step(args.run, args.step), args.prompt_tokens + args.tokens
    config = resolve.reopened(read_config(args.run), args.corpus)
    if size > config.data.seq_len:
        raise ValueError(
            f"--prompt_tokens {args.prompt_tokens} and --tokens {args.tokens} are more than data.seq_len={config.data.seq_len}, so no row "
            "of the run had such an excerpt; ask for fewer"
        )
    audited = opened.audited(args.run, args.corpus)
    with console.status("choosing excerpts"):
        read = excerpts(audited.corpus, up_to(audited.spans, step), args.documents, size)
        processor = load_tokenizer(audited.corpus.tokenizer)
        unread = unread_excerpts(held_out_documents(audited.corpus, config.eval.held_out_bytes), processor, args.documents, size)
    if not read:
        raise ValueError(f"{args.run} has read no document of {size} tokens or more in one row; ask for fewer with --tokens")
    config = resolve.with_mesh(config, args.cpu_devices, fit=True)
    from varietas.train.inference.generate import generator
    from varietas.train.inference.memorisation import repeated
    from varietas.train.inference.network import load
    from varietas.train.program import mesh_of

    exp = resolve.experiment_of(config)
    model = generator(load(args.run, exp.model, mesh_of(exp), step)[0])
    ids = [each.ids for each in read] + [tuple(text) for _, text in unread]
    with progress_on(console if not args.json else Console(stderr=True)) as progress:
        shown = progress.add_task("continuing excerpts", total=len(ids))
        count = processor.get_piece_size()
        tokens = repeated(model, ids, args.prompt_tokens, count, BATCH, lambda n: progress.update(shown, completed=n))
    record = record_of(read, [code for code, _ in unread], (tokens == args.tokens).tolist())
    record = {"step": step, "prompt_tokens": args.prompt_tokens, "tokens": args.tokens, **record}
    write_json(args.run / FILE, record)
    if args.json:
        opened.print_json(record)
        return 0
    console.print(languages_table(record))
    console.print(times_table(record))
    console.print(summary(record), soft_wrap=True, highlight=False)
    console.print(f"kept in {args.run / FILE}", soft_wrap=True, highlight=False)
    return 0


def record_of(read: "Sequence[Excerpt]", unread: Sequence[str], repeated: Sequence[bool]) -> dict[str, Any]:
    """Returns the content of memorisation.json: shares of languages, worst first, and by repetitions; and which excerpts are repeated.

    Args:
        read: The excerpts of training text.
        unread: The languages of the excerpts of held-out text.
        repeated: Of the former, then of the latter, whether the model repeats each.
    """
    of_read, of_unread = repeated[: len(read)], repeated[len(read) :]
    languages = {}
    for code in sorted({each.language for each in read}):
        found = share(hit for each, hit in zip(read, of_read, strict=True) if each.language == code)
        languages[code] = {**found, "held_out": share(hit for its, hit in zip(unread, of_unread, strict=True) if its == code)}
    order = sorted(languages, key=lambda code: (-languages[code]["share"], code))
    kept = ("corpus", "language", "document", "begin", "reads", "copies", "last_step")
    return {
        "languages": {code: languages[code] for code in order},
        "all": {**share(of_read), "held_out": share(of_unread)},
        "by_reads": by_times([(each.reads, hit) for each, hit in zip(read, of_read, strict=True)]),
        "by_copies": by_times([(each.copies, hit) for each, hit in zip(read, of_read, strict=True)]),
        "repeated": [{name: getattr(each, name) for name in kept} for each, hit in zip(read, of_read, strict=True) if hit],
    }


def share(hits: Iterable[bool]) -> dict[str, Any]:
    """Returns how many excerpts there are, how many are repeated, and that share with its interval; None if there are none."""
    from varietas.data.benchmarks.significance import wilson

    listed = list(hits)
    n, found = len(listed), sum(listed)
    return {"excerpts": n, "repeated": found, "share": found / n if n else None, "interval": wilson(found, n) if n else None}


def by_times(pairs: Sequence[tuple[int, bool]]) -> list[dict[str, Any]]:
    """Returns shares by how often something happened, in groups that TIMES names."""
    groups = [(low, high, [hit for times, hit in pairs if low <= times <= high]) for low, high in TIMES]
    return [{"least": low, "most": high if high < 1 << 62 else None, **share(hits)} for low, high, hits in groups if hits]


def languages_table(record: Mapping[str, Any]) -> Table:
    """Tables the share of excerpts that is repeated of each language, worst first, beside that of held-out text."""
    from varietas.data.text.languages import name

    table = Table("language", "", "excerpts", "repeated", "share", "95 %", "held-out text", box=None, pad_edge=False)
    align_right(table, *range(2, 7))
    rows = {**record["languages"], "all": record["all"]}
    for code, row in rows.items():
        if code == "all":
            table.add_section()
        other = row["held_out"]
        control = f"{other['share']:.1%} of {other['excerpts']:,}" if other["excerpts"] else "–"
        title = "" if code == "all" else name(code)
        table.add_row(code, title, f"{row['excerpts']:,}", f"{row['repeated']:,}", f"{row['share']:.1%}", between(row["interval"]), control)
    return table


def times_table(record: Mapping[str, Any]) -> Table:
    """Tables the share by how often the run has read an excerpt, and by how many copies its collection had."""
    table = Table("", "times", "excerpts", "repeated", "share", "95 %", box=None, pad_edge=False)
    align_right(table, *range(1, 6))
    for what, key in (("read", "by_reads"), ("copies in the collection", "by_copies")):
        groups = record[key] if key == "by_reads" or len(record[key]) > 1 else []  # without copies there is nothing to say of them
        for row in groups:
            least, most = row["least"], row["most"]
            times = str(least) if least == most else f"{least} or more" if most is None else f"{least} to {most}"
            table.add_row(what, times, f"{row['excerpts']:,}", f"{row['repeated']:,}", f"{row['share']:.1%}", between(row["interval"]))
            what = ""
    return table


def between(interval: Sequence[float]) -> str:
    """Formats the interval of a share."""
    return f"{interval[0]:.1%} – {interval[1]:.1%}"


def summary(record: Mapping[str, Any]) -> str:
    """Says what was measured, and what held-out text says about it."""
    given, wanted, every = record["prompt_tokens"], record["tokens"], record["all"]
    said = (
        f"after step {record['step']:,}: given {given} tokens of a text that it has read, the model writes the {wanted} that "
        f"follow in {every['repeated']:,} of {every['excerpts']:,} excerpts"
    )
    if not every["held_out"]["excerpts"]:
        return f"{said}\nthere is no held-out text of {given + wanted} tokens to compare with; prepare some with clean.held_out"
    return f"{said}; in held-out text, where it can only guess, in {every['held_out']['repeated']:,} of {every['held_out']['excerpts']:,}"
