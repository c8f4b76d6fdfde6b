"""What --input, --text and --parallel name, as documents."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console


def records_of(patterns: list[str], lang: str) -> Callable[[], Iterator[Any]]:
    """A function that reads the records of all files, or of the embedded text, anew each time it is called."""
    from varietas.data.corpus import decoded
    from varietas.data.default import training_documents
    from varietas.data.read import expand, read

    if not patterns:
        return lambda: iter(training_documents())
    if len(patterns) == 1 and (Path(patterns[0]) / "manifest.json").exists():
        return partial(decoded, Path(patterns[0]))
    files = expand(patterns)
    return lambda: (record for file in files for record in read(file, default_lang=lang))


def documents_of(patterns: list[str], console: Console, lang: str = "") -> Callable[[], Iterator[Any]]:
    """The same without the rejects and what opts out, of which the first of each kind is told."""
    from varietas.data.clean import opted_out
    from varietas.data.documents import Document

    records, told = records_of(patterns, lang), set[str]()

    def documents() -> Iterator[Any]:
        for record in records():
            if isinstance(record, Document) and not opted_out(record):
                yield record
                continue
            reason = "opted out" if isinstance(record, Document) else record.reason
            if reason not in told:
                told.add(reason)
                console.print(f"[yellow]left out {record.file}, line {record.line}: {reason}[/]; others like it are not shown")

    return documents
