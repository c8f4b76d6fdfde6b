"""Tables and bars for the terminal."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from varietas.data.compare import Treatment
from varietas.data.languages import LANGUAGES, name
from varietas.data.stream import Stream
from varietas.data.tokenizer import Fertility

SECONDS_BETWEEN_LINES = 30  # where there is no terminal to show a bar on
MANY = 30  # languages that are listed by name
MANY_EPOCHS = 4  # up to here repeated text is nearly as good as new (Muennighoff et al., 2023)
FEW_BYTES = 500  # below it a language's figure is mostly chance


@contextmanager
def stage_bars(console: Console, weigh: Callable[[str], int]) -> Iterator[Callable[[str, Sequence[str]], Callable[[str], None]]]:
    """Gives what engine.py watches with: a bar for each stage of `prepare`, and a line at its end where it read text.

    `weigh` says how many bytes of input a task of the first stage reads.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[speed_shown]}"), TimeRemainingColumn())
    told = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:

        def watch(stage: str, tasks: Sequence[str]) -> Callable[[str], None]:
            weights = {task: max(1, weigh(task)) if stage == "parts" else 1 for task in tasks}
            total, left, began = sum(weights.values()), set(tasks), time.monotonic()
            bar = bars.add_task(f"{stage}: {len(tasks):,}", total=total, speed_shown="")

            def done(task: str) -> None:
                left.discard(task)
                so_far = total - sum(weights[other] for other in left)
                seconds = time.monotonic() - began
                speed = f"{so_far / 1e6:,.1f} MB, {so_far / 1e6 / max(seconds, 1e-3):,.1f} MB/s" if stage == "parts" else ""
                bars.update(bar, completed=so_far, speed_shown=speed)
                nonlocal told
                if not console.is_terminal and left and time.monotonic() - told > SECONDS_BETWEEN_LINES:
                    told = time.monotonic()
                    rest = seconds * (total - so_far) / max(1, so_far)
                    of_all = f"{len(tasks) - len(left):,} of {len(tasks):,}"
                    console.print(f"{stage}: {of_all} done {speed}, about {rest:,.0f} s left".replace("  ", " "))
                if not left and stage == "parts":
                    console.print(f"read {speed} of input in {seconds:,.0f} s, {len(tasks):,} part{'s' * (len(tasks) > 1)}")

            return done

        yield watch


def treatment_table(rows: Mapping[str, Fertility]) -> Table:
    """What a tokenizer makes of the text it was trained on: most tokens a word first."""
    table = Table("language", "", "bytes", "tokens a word", "bytes a token", "bytes alone", box=None, pad_edge=False)
    _right(table, 2, 3, 4, 5)
    for code, row in sorted(rows.items(), key=lambda item: -item[1].tokens_per_word):
        figures = f"{row.tokens_per_word:.2f}", f"{row.bytes_per_token:.2f}", f"{row.fallback / max(1, row.tokens):.3%}"
        table.add_row(code, name(code), f"{row.bytes:,}", *figures)
    return table


def parity_table(before: Mapping[str, float], after: Mapping[str, float]) -> Table:
    """Tokens for the same content over English's, before and after the search: the worst after it first."""
    table = Table("language", "", "alpha:0.3", "parity", box=None, pad_edge=False)
    _right(table, 2, 3)
    for code, premium in sorted(after.items(), key=lambda item: -item[1]):
        table.add_row(code, name(code), f"{before[code]:.2f}", f"{premium:.2f}")
    table.add_section()
    of_union = [code for code in after if code in LANGUAGES and LANGUAGES[code].status == "eu"]
    for what, codes in (("all", after), (f"{len(of_union)} of the EU", of_union)):
        table.add_row(what, "worst", *(f"{max(side[code] for code in codes):.2f}" for side in (before, after)))
        table.add_row("", "mean", *(f"{sum(side[code] for code in codes) / len(codes):.2f}" for side in (before, after)))
    return table


def comparison_table(rows: Sequence[Treatment]) -> Table:
    """One tokenizer: the language with the highest premium first."""
    table = Table("language", "", "×English", "tokens/word", "bytes/token", "byte fallback", "continued words", box=None, pad_edge=False)
    _right(table, 2, 3, 4, 5, 6)
    for row in rows:
        figures = (
            f"{row.premium:.2f}",
            f"{row.tokens_per_word:.2f}",
            f"{row.bytes_per_token:.2f}",
            f"{row.fallback:.2%}",
            f"{row.continued:.0%}",
        )
        table.add_row(row.language, name(row.language), *figures)
    worst, best = rows[0], rows[-1]
    table.caption = (
        f"worst {name(worst.language)} {worst.premium:.2f}, best {name(best.language)} {best.premium:.2f}: "
        f"{worst.premium / best.premium:.2f} × as many tokens for the same content"
    )
    table.caption_justify = "left"
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


def rejects_table(manifest: Mapping[str, Any]) -> Table:
    """Why records were rejected, and in which languages most: the commonest reason first."""
    table = Table("rejected", "records", "of all", "most in", box=None, pad_edge=False)
    _right(table, 1, 2)
    of_language = manifest["rejected_by_language"]
    for reason, n in sorted(manifest["rejected"].items(), key=lambda item: -item[1]):
        most = sorted(((reasons.get(reason, 0), code or "?") for code, reasons in of_language.items() if reason in reasons), reverse=True)
        listed = ", ".join(f"{code} {count:,}" for count, code in most[:4]) + (" …" if len(most) > 4 else "")
        table.add_row(reason, f"{n:,}", f"{n / manifest['records_read']:.2%}", listed)
    return table


def mixture_table(stream: Stream, tokens: int) -> Table:
    """What the first `tokens` of a run take of each language and source, what is repeated most first."""
    phases = ["begin", *(phase.name for phase in stream.mixture.phases)] if stream.mixture.phases else ["share"]
    table = Table("language", "", "source", "tokens there are", "taken", "epochs", *phases, box=None, pad_edge=False)
    _right(table, *range(3, 6 + len(phases)))
    taken = [stream.taken(tokens, k) for k in range(len(stream.strata))]
    epochs = [n / max(1, there) for n, there in zip(taken, stream.tokens.tolist(), strict=True)]
    for k in sorted(range(len(taken)), key=lambda k: -epochs[k]):
        stratum, share = stream.strata[k], stream.course.end[:, k]
        if share.any():
            source = " ".join(filter(None, (stratum.source, stratum.where)))
            figures = f"{stream.tokens[k]:,}", f"{taken[k]:,.0f}", f"{epochs[k]:.2f}", *(f"{part:.2%}" for part in share)
            table.add_row(stratum.code, name(stratum.code), source, *figures)
    return table


def mixture_warnings(stream: Stream, tokens: int) -> Iterator[str]:
    """What one should know before such a run begins."""
    for mixture in (stream.mixture, *(phase.mixture for phase in stream.mixture.phases)):
        if mixture.where:
            left = {s.code for s, n in zip(stream.strata, stream.tokens.tolist(), strict=True) if s.where == mixture.where and n}
            if gone := [code for code in stream.corpus.languages if code not in left]:
                yield f"where={mixture.where!r} leaves nothing of {', '.join(gone)}: a document without the signal does not pass"
    for phase in stream.mixture.phases:
        if phase.begin >= tokens:
            yield f"phase {phase.name} begins at token {phase.begin:,}, behind the end of this run"
    epochs: dict[tuple[str, str], float] = {}
    for k, stratum in enumerate(stream.strata):  # what one filter lets through may come by another too
        key = (stratum.code, stratum.source)
        epochs[key] = epochs.get(key, 0.0) + stream.taken(tokens, k) / max(1, int(stream.tokens[k]))
    often = sorted(((n, *key) for key, n in epochs.items() if n > MANY_EPOCHS), reverse=True)
    if often:
        listed = ", ".join(f"{code} {n:.1f} {source}".rstrip() for n, code, source in often[:8]) + (" …" if often[8:] else "")
        yield (
            f"repeated more than {MANY_EPOCHS} times: {listed}. What comes more often than that teaches less and less "
            "(Muennighoff et al., 2023): give it a smaller share, add text, or take fewer steps"
        )
    if stream.mixture.strategy == "unimax" and min(filter(None, epochs.values()), default=0) >= stream.mixture.max_epochs * 0.999:
        yield f"runs dry: all there is, {stream.mixture.max_epochs:g} times over, is less than the {tokens:,} tokens of the run"


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
