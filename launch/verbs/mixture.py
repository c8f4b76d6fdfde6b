"""`varietas mixture`: what a run would read of each language and source."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from varietas.launch.flags import add_config
from varietas.launch.tables import align_right

if TYPE_CHECKING:
    from varietas.data.stream.stream import Stream

SUMMARY = "show what a run would read of each language and source"
EXAMPLE = "varietas mixture --config demo --config.data.mixture.strategy=unimax"
MANY_EPOCHS = 4  # up to here repeated text is nearly as good as new text (Muennighoff et al., 2023)


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_config(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.launch.check import check
    from varietas.launch.config import load_config
    from varietas.launch.resolve import corpus_of, experiment_of, stream_of, with_values

    config = load_config(args.config, args.overrides)
    check(config)
    tokens = experiment_of(config).tokens
    config = with_values(config, {"data.mixture.budget": config.data.mixture.budget or tokens})
    stream = stream_of(config, corpus_of(config))
    console.print(mixture_table(stream, tokens))
    for warning in mixture_warnings(stream, tokens):
        console.print(f"[yellow]{warning}[/]", soft_wrap=True)
    console.print(f"{tokens:,} tokens: {config.train.steps:,} steps of {config.train.batch_size:,} × {config.data.seq_len:,}")
    return 0


def mixture_table(stream: "Stream", tokens: int) -> Table:
    """Tables what the first `tokens` of a run read of each language and source, the most repeated first."""
    from varietas.data.text.languages import name

    phases = ["begin", *(phase.name for phase in stream.mixture.phases)] if stream.mixture.phases else ["share"]
    table = Table("language", "", "source", "tokens available", "tokens read", "epochs", *phases, box=None, pad_edge=False)
    align_right(table, *range(3, 6 + len(phases)))
    taken, epochs = stream.taken(tokens), stream.epochs(tokens)
    for k in sorted(range(len(taken)), key=lambda k: -epochs[k]):
        stratum, share = stream.strata[k], stream.course.end[:, k]
        if share.any():
            source = " ".join(filter(None, (stratum.source, stratum.where)))
            figures = f"{stream.tokens[k]:,}", f"{taken[k]:,.0f}", f"{epochs[k]:.2f}", *(f"{part:.2%}" for part in share)
            table.add_row(stratum.code, name(stratum.code), source, *figures)
    return table


def mixture_warnings(stream: "Stream", tokens: int) -> Iterator[str]:
    """Yields what one should know before a run of so many tokens begins."""
    for mixture in (stream.mixture, *(phase.mixture for phase in stream.mixture.phases)):
        if mixture.where:
            left = {s.code for s, n in zip(stream.strata, stream.tokens.tolist(), strict=True) if s.where == mixture.where and n}
            if gone := [code for code in stream.corpus.languages if code not in left]:
                yield f"where={mixture.where!r} leaves nothing of {', '.join(gone)}: a document that lacks the signal does not pass"
    for phase in stream.mixture.phases:
        if phase.begin >= tokens:
            yield f"phase {phase.name} begins at token {phase.begin:,}, after the end of this run"
    epochs: dict[tuple[str, str], float] = {}
    for stratum, n in zip(stream.strata, stream.epochs(tokens).tolist(), strict=True):
        key = (stratum.code, stratum.source)
        epochs[key] = max(epochs.get(key, 0.0), n)
    often = sorted(((n, *key) for key, n in epochs.items() if n > MANY_EPOCHS), reverse=True)
    if often:
        listed = ", ".join(f"{code} {n:.1f} {source}".rstrip() for n, code, source in often[:8]) + (" …" if often[8:] else "")
        yield (
            f"repeated more than {MANY_EPOCHS} times: {listed}. Text that is repeated more often teaches less and less "
            "(Muennighoff et al., 2023): give it a smaller share, add text, or train fewer steps"
        )
    if stream.mixture.strategy == "unimax" and min(filter(None, epochs.values()), default=0) >= stream.mixture.max_epochs * 0.999:
        yield f"too little text: all of it, {stream.mixture.max_epochs:g} times over, is less than the {tokens:,} tokens of the run"
