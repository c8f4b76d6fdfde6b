"""Tables and bars for the terminal."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from varietas.data.languages import name
from varietas.data.tokenizer import Fertility

MANY = 30  # languages that are listed by name
FEW_BYTES = 500  # below it a language's figure is mostly chance


@contextmanager
def progress(console: Console, what: str) -> Iterator[Callable[[int], None]]:
    """A bar of megabytes; gives the function that moves it on."""
    columns = (TextColumn(what), BarColumn(), TextColumn("{task.fields[mb]} MB"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None, mb="0.0")
        done = 0

        def advance(n_bytes: int) -> None:
            nonlocal done
            done += n_bytes
            bar.update(task, mb=f"{done / 1e6:,.1f}")

        yield advance


def fertility_table(rows: Mapping[str, Fertility]) -> Table:
    """Most tokens a word first."""
    table = Table("language", "", "bytes", "tokens a word", "bytes a token", box=None, pad_edge=False)
    _right(table, 2, 3, 4)
    for code, row in sorted(rows.items(), key=lambda item: -item[1].tokens_per_word):
        table.add_row(code, name(code), f"{row.bytes:,}", f"{row.tokens_per_word:.2f}", f"{row.bytes_per_token:.2f}")
    return table


def corpus_table(manifest: Mapping[str, Any]) -> Table:
    table = Table("language", "", "documents", "tokens", "bytes", "bytes a token", box=None, pad_edge=False)
    _right(table, 2, 3, 4, 5)
    for code, row in sorted(manifest["languages"].items(), key=lambda item: -item[1]["tokens"]):
        table.add_row(
            code, name(code), *(f"{row[field]:,}" for field in ("documents", "tokens", "bytes")), f"{row['bytes'] / row['tokens']:.2f}"
        )
    table.add_section()
    table.add_row(
        "all", "", *(f"{manifest[field]:,}" for field in ("documents", "tokens", "bytes")), f"{manifest['bytes'] / manifest['tokens']:.2f}"
    )
    return table


def evaluation_table(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """Worst first, as the rows come."""
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for heading in ("language", "", "bits/byte", "×English", "<unigram", "unigram", "untrained", "tokens/word", "bytes"):
        table.add_column(heading, justify="left" if heading in ("language", "") else "right", no_wrap=True)
    table.columns[1].max_width = 18
    english = rows.get("eng_Latn")
    for code, row in rows.items():
        below = 1 - row["bits_per_byte"] / row["unigram"] if row["unigram"] else 0
        table.add_row(
            code,
            name(code),
            f"{row['bits_per_byte']:.3f}",
            f"{row['bits_per_byte'] / english['bits_per_byte']:.2f}" if english else "–",
            f"{below:.0%}",
            f"{row['unigram']:.3f}",
            f"{row['untrained']:.3f}",
            f"{row['tokens'] / max(1, row['words']):.2f}",
            f"{row['bytes']:,}{'*' if row['bytes'] < FEW_BYTES else ' '}",
            style="" if row["trained_on"] else "dim",
        )
    return table


def spread(rows: Mapping[str, Mapping[str, Any]]) -> Text:
    """Best, worst and the gap between them, of the languages trained on; and what the marks mean."""
    trained = [code for code, row in rows.items() if row["trained_on"] and row["bytes"] >= FEW_BYTES] or list(rows)
    worst, best = trained[0], trained[-1]
    low, high = rows[best]["bits_per_byte"], rows[worst]["bits_per_byte"]
    lines = [
        "<unigram: how far below an order-0 model, the token frequencies of the mixture; ×English: ratio of bits per byte",
        f"best {name(best)} {low:.3f}, worst {name(worst)} {high:.3f}: {high / low:.2f} × as many bits per byte",
    ]
    if not all(row["trained_on"] for row in rows.values()):
        untrained = [name(code) for code, row in rows.items() if not row["trained_on"]]
        listed = ", ".join(untrained) if len(untrained) <= MANY else f"{len(untrained)} languages"
        lines.append(f"dim, nothing trained on: {listed}")
    if any(row["bytes"] < FEW_BYTES for row in rows.values()):
        lines.append(f"*: under {FEW_BYTES} bytes of text, mostly chance")
    return Text("\n".join(lines))


def _right(table: Table, *columns: int) -> None:
    for column in columns:
        table.columns[column].justify = "right"
