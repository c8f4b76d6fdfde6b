"""What the rows of a stream follow from, as a ledger writes it down: with this and the corpora, anyone can compute the rows again."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.removals import removed_from
from varietas.data.corpus.sources import Sources, open_corpus, sources_of
from varietas.data.ledger.log import BrokenLog
from varietas.data.stream.mixture import Mixture, Phase, from_config
from varietas.data.stream.stream import Stream

CHANGES = ("unicode", "pii")  # steps of cleaning that change a text, so that its digest is not that of the text before
FORMAT = 1  # of the rows: changed when the same context would give other rows


def open_stream(corpus: str | Path, seq_len: int, seed: int, mixture: Mapping[str, Any] | None = None) -> Stream:
    """Returns the training rows that a run of Varietas with these values would read.

    Documents that were removed from the corpus (`varietas audit remove`) are left out.

    Args:
        corpus: The folder of a prepared corpus; several with commas between them.
        seq_len: Tokens of a row.
        seed: Seed of the order of documents and rows.
        mixture: Fields of `data.mixture`, as a config or the config.json of a run has them; those that are missing have the default of
            `data.stream.mixture.Mixture`.

    Raises:
        ValueError: If there is no such corpus, it is damaged, or the mixture does not fit it.
    """
    opened = open_corpus(str(corpus))
    return Stream(opened, from_config(mixture or {}), seq_len, seed, without=removed_from(opened))


def context_of(stream: Stream, batch_size: int) -> dict[str, Any]:
    """Returns what the rows of a stream follow from, as JSON can hold it.

    Args:
        stream: The stream.
        batch_size: Rows of a step.
    """
    corpora = {
        name: {
            "digest": source.digest,
            "tokenizer": source.manifest["tokenizer_digest"],
            "commitment": source.manifest.get("commitment", {}),  # root and sorted_root
            "languages": list(source.languages),
            "cleaning": {step: source.manifest["cleaning"][step] for step in CHANGES if step in source.manifest.get("cleaning", {})},
        }
        for name, source in sources_of(stream.corpus).items()
    }
    return {
        "format": FORMAT,
        "corpora": corpora,
        "seed": stream.seed,
        "seq_len": stream.seq_len,
        "batch_size": batch_size,
        "block_rows": stream.block_rows,
        "mixture": _plain(asdict(stream.mixture)),
        **({"removed": _plain(stream.without.lists)} if stream.without.lists else {}),
    }


def _plain(value: Any) -> Any:
    """Returns a value as JSON gives it back: tuples become lists."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def stream_in(context: Mapping[str, Any], corpus: Corpus | Sources) -> Stream:
    """Returns the stream that a context describes.

    Args:
        context: What `context_of` returned.
        corpus: The corpora of the context.

    Raises:
        ValueError: If the corpora are others, or if this version computes other rows from such a context.
        BrokenLog: If a list of removed documents was changed.
    """
    if context["format"] != FORMAT:
        raise ValueError(f"the ledger has rows of format {context['format']}, this version makes {FORMAT}; use the version that trained")
    sources, named = sources_of(corpus), context["corpora"]
    if len(named) == len(sources) == 1:  # a folder may have another name now
        named = dict(zip(sources, named.values(), strict=True))
    if set(named) != set(sources):
        raise ValueError(f"the run has read {_names(named)}; --corpus names {_names(sources)}: give the same folders")
    if isinstance(corpus, Sources):  # the rows depend on their order, too
        corpus = Sources(*(sources[name] for name in named))
    for name, source in sources.items():
        of_run = named[name]
        if source.sealed:  # it has another digest, so that nobody can guess at the texts that are left out
            pairs = [("root", source.commitment["root"], of_run["commitment"].get("root", ""))]
        else:
            pairs = [("digest", source.digest, of_run["digest"])]
            pairs += [(field, source.manifest.get("commitment", {}).get(field, ""), root) for field, root in of_run["commitment"].items()]
        for field, found, known in (*pairs, ("tokenizer", source.manifest["tokenizer_digest"], of_run["tokenizer"])):
            if found != known:
                raise ValueError(
                    f"{source.path}: its {field} is {found[:12]}…, but the run has read a corpus with {known[:12]}…; --corpus says where "
                    "that is"
                )
    lists = context.get("removed", {})
    without = removed_from(corpus, {name: entry["size"] for name, entry in lists.items()})
    if without.lists != lists:
        raise BrokenLog(f"removals.jsonl of {corpus.path} is not the list that the run has read; restore it from a copy")
    mixture, blocks = _mixture(context["mixture"]), context["block_rows"]
    return Stream(corpus, mixture, context["seq_len"], context["seed"], blocks, skip_damaged=True, without=without)


def _mixture(values: Mapping[str, Any]) -> Mixture:
    phases = [Phase(**{**phase, "mixture": _mixture(phase["mixture"])}) for phase in values["phases"]]
    return Mixture(**{**values, "phases": tuple(phases)})


def _names(sources: Mapping[str, Any]) -> str:
    return ", ".join(name or "one corpus" for name in sources)
