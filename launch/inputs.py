"""The documents that --input, --text and --parallel name."""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rich.console import Console

from varietas.data.text.documents import Document, Reject
from varietas.data.text.fields import USUAL, Kind, Reading, parse_fields
from varietas.launch.flags import refuse_unused
from varietas.launch.models.quantizing import Small

Records = Callable[[], Iterator[Document | Reject]]
KINDS: tuple[Kind, ...] = ("chat", "preferences")  # kinds of records that have a flag


def reading_of(args: argparse.Namespace) -> Reading:
    """Returns how records are read, from --lang, --fields, --chat and --preferences.

    Raises:
        ValueError: If --fields cannot be understood, or the flags do not go together.
    """
    fields, flags = parse_fields(args.fields), [kind for kind in KINDS if getattr(args, kind, False)]
    if len(flags) > 1:
        raise ValueError("--chat reads conversations and --preferences pairs of them; leave one of them out")
    if flags and fields.text:
        raise ValueError(f"--fields text=… says where a text is, but --{flags[0]} reads messages; leave one of them out")
    return Reading(args.lang, fields, flags[0] if flags else "text")


def records_of(flag: str, patterns: list[str], reading: Reading) -> Records:
    """Returns a function that reads the records of all files, or of the embedded text, each time it is called."""
    if not patterns:
        from varietas.data.text.embedded import training_documents

        return training_documents
    if len(patterns) == 1 and (Path(patterns[0]) / "manifest.json").exists():
        from varietas.data.corpus.corpus import Corpus, decoded

        if reading != USUAL:
            raise ValueError(
                f"{flag} {patterns[0]} is a prepared corpus: --lang, --fields, --chat and --preferences mean nothing; leave them out"
            )
        corpus = Corpus(patterns[0])
        if corpus.is_chat and flag != "--input":
            raise ValueError(
                f"{flag} {patterns[0]} is a corpus of conversations, whose turns are not kept apart; name the files, with --chat"
            )
        return partial(decoded, corpus)
    from varietas.data.formats.read import expand, read

    files = expand(patterns, flag)
    return lambda: (record for file in files for record in read(file, reading=reading))


def text_of(args: argparse.Namespace, console: Console) -> Iterator[Document] | None:
    """Returns the documents that --text names; None if it was not given.

    Raises:
        ValueError: If they cannot be read, or a flag says how to read them although there are none.
    """
    if not args.text:
        if getattr(args, "calibrate", None):  # whose files are read in the same way
            return None
        refuse_unused(
            args, ("lang", "fields", *(["chat"] if "chat" in args else [])), "says how the files of --text are read; name some with --text"
        )
        return None
    return documents_of("--text", args.text, console, reading_of(args))()


def small_of(args: argparse.Namespace, console: Console) -> Small | None:
    """Returns the form that --quantize and --calibrate ask for. Raises ValueError if they do not go together."""
    if args.calibrate is not None and args.quantize != "int4":
        raise ValueError("--calibrate is for --quantize int4; other forms are not calibrated")
    if args.quantize is None:
        return None
    return Small(args.quantize, calibration_of(args, console))


def calibration_of(args: argparse.Namespace, console: Console) -> Iterator[Document] | None:
    """Returns the documents that --calibrate names, read as those of --text are; None if it was not given."""
    if args.calibrate is None:
        return None
    reading = reading_of(args) if args.calibrate and "lang" in args else USUAL
    return documents_of("--calibrate", args.calibrate, console, reading)()


def documents_of(flag: str, patterns: list[str], console: Console, reading: Reading = USUAL) -> Callable[[], Iterator[Document]]:
    """Returns a function that reads the documents which a flag names, each time it is called.

    Args:
        flag: The flag, for messages.
        patterns: Its values: paths, globs and URLs, or one prepared corpus; none for the embedded text.
        console: Where the first of each kind of records that are left out is shown: rejects, and documents that opt out.
        reading: How records are read.
    """
    from varietas.data.clean.cleaning import opted_out

    records, told = records_of(flag, patterns, reading), set[str]()

    def documents() -> Iterator[Document]:
        for record in records():
            reason = opted_out(record) if isinstance(record, Document) else record.reason
            if isinstance(record, Document) and not reason:
                yield record
                continue
            if reason not in told:
                told.add(reason)
                console.print(f"[yellow]left out {record.file}, line {record.line}: {reason}[/]; others like it are not shown")

    return documents
