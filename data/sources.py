"""Several corpora as one: each is a source, known by the name of its folder. And filters: which documents of one a mixture wants."""

import difflib
import hashlib
import json
import re
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from varietas.data.corpus import SHARD_DOCUMENTS, Corpus
from varietas.data.files import write_atomically
from varietas.data.mixture import Mixture, Stratum

COUNTS = ("documents", "tokens", "bytes")
_COMPARISON = re.compile(r"(\w+)(?:\.(\w+))?\s*(==|!=|>=|<=|>|<)\s*([\w.+-]+)")
_OPERATORS = {"==": pc.equal, "!=": pc.not_equal, ">=": pc.greater_equal, "<=": pc.less_equal, ">": pc.greater, "<": pc.less}


class Sources:
    """Corpora under one tokenizer, with what the rest asks of a Corpus. Pickles as its paths."""

    def __init__(self, *corpora: Corpus):
        """Raises ValueError if two have one name, or another tokenizer than the first."""
        self.corpora = {corpus.path.name: corpus for corpus in corpora}
        if len(self.corpora) < len(corpora):
            raise ValueError("data.corpus names two folders of the same name; sources are told apart by it: rename one")
        first = corpora[0]
        for corpus in corpora:
            if corpus.manifest["tokenizer_digest"] != first.manifest["tokenizer_digest"]:
                raise ValueError(f"data.corpus: {corpus.path} has another tokenizer than {first.path}; prepare both with the same")
        self.path = Path(",".join(str(corpus.path) for corpus in corpora))
        self.languages = tuple(sorted({code for corpus in corpora for code in corpus.languages}))
        self.pad_id = first.pad_id
        self.digest = hashlib.sha256(json.dumps({name: corpus.digest for name, corpus in self.corpora.items()}).encode()).hexdigest()
        self.manifest: dict[str, Any] = {
            **first.manifest,
            "languages": {
                code: {field: sum(c.manifest["languages"].get(code, {}).get(field, 0) for c in corpora) for field in COUNTS}
                for code in self.languages
            },
        }

    def __reduce__(self) -> tuple[Any, tuple]:
        return Sources, tuple(self.corpora.values())

    def tokens(self, code: str) -> int:
        return self.manifest["languages"][code]["tokens"]

    @cached_property
    def unigrams(self) -> np.ndarray:
        """int64 (languages, vocabulary): occurrences of each token id in all sources."""
        total = np.zeros((len(self.languages), self.manifest["vocab_size"]), np.int64)
        for corpus in self.corpora.values():
            total[[self.languages.index(code) for code in corpus.languages]] += corpus.unigrams
        return total


def open_corpus(paths: str) -> Corpus | Sources:
    """The corpus at a path, or the corpora at several, set apart by commas. Raises ValueError if one is none."""
    corpora = [Corpus(path.strip()) for path in paths.split(",") if path.strip()]
    return corpora[0] if len(corpora) == 1 else Sources(*corpora)


def sources_of(corpus: Corpus | Sources) -> dict[str, Corpus]:
    """Source -> its corpus; one that stands alone has the name ""."""
    return corpus.corpora if isinstance(corpus, Sources) else {"": corpus}


def strata_of(corpus: Corpus | Sources, mixture: Mixture) -> list[Stratum]:
    """Everything that the mixture may draw from, in an order that depends on nothing else."""
    filters = dict.fromkeys([mixture.where, *(phase.mixture.where for phase in mixture.phases)])
    return [Stratum(source, code, where) for where in filters for source, part in sources_of(corpus).items() for code in part.languages]


def selected(corpus: Corpus, code: str, where: str, cache: Path) -> np.ndarray:
    """Numbers of a language's documents that a filter lets through, uint32, found once and kept in `cache`.

    `where` is comparisons joined by `and`, as in "quality >= 0.8 and robots != false and registers.IN >= 0.5", over the signals of the
    index (documents.SIGNALS). Where a signal is not known, only != holds. Raises ValueError if it cannot be read.
    """
    index = [corpus.path / "index" / f"{code}-{number:05d}.parquet" for number in range(-(-corpus.documents(code) // SHARD_DOCUMENTS))]
    stamps = [(file.stat().st_size, file.stat().st_mtime_ns) for file in index]  # the digest is of texts, not of their signals
    key = hashlib.sha256(f"{corpus.digest} {where} {stamps}".encode()).hexdigest()[:32]
    file = cache / "selections" / key / f"{code}.u32"
    if not file.exists():
        found = []
        for number, part in enumerate(index):
            table = pq.read_table(part, columns=_columns(where))
            found.append(number * SHARD_DOCUMENTS + np.flatnonzero(_holds(table, where)))
        write_atomically(file, np.concatenate(found).astype("<u4").tobytes())
    return np.memmap(file, "<u4", "r") if file.stat().st_size else np.zeros(0, np.uint32)


def comparisons(where: str) -> list[tuple[str, str, str, str]]:
    """(signal, key in it or "", operator, value) of each. Raises ValueError that shows what was expected."""
    from varietas.data.documents import SIGNALS

    out = []
    for part in re.split(r"\s+and\s+|,", where.strip()):
        match = _COMPARISON.fullmatch(part.strip())
        if not match:
            raise ValueError(
                f"data.mixture.where: {part.strip()!r} is no comparison; join some by `and`, as in 'quality >= 0.8 and robots != false'"
            )
        if match[1] not in SIGNALS:
            near = difflib.get_close_matches(match[1], SIGNALS, n=1, cutoff=0.0)
            raise ValueError(f"data.mixture.where: there is no signal {match[1]}; did you mean {near[0]}? There are {', '.join(SIGNALS)}")
        if (match[1] == "registers") != bool(match[2]):
            raise ValueError(f"data.mixture.where: {part.strip()!r}: only registers has parts, and needs one, as in registers.IN >= 0.5")
        out.append((match[1], match[2] or "", match[3], match[4]))
    return out


def _columns(where: str) -> list[str]:
    return list(dict.fromkeys(signal for signal, *_ in comparisons(where)))


def _holds(table: pa.Table, where: str) -> np.ndarray:
    """bool, for each document."""
    holds = np.ones(len(table), bool)
    for signal, key, operator, text in comparisons(where):
        column = table[signal].combine_chunks()
        if pa.types.is_map(column.type):
            column = pc.map_lookup(column, pa.scalar(key), "first")
        kind = column.type
        try:
            value = pa.scalar({"true": True, "false": False}[text] if pa.types.is_boolean(kind) else text).cast(kind)
            answer = _OPERATORS[operator](column, value)
        except (KeyError, pa.ArrowException):
            raise ValueError(f"data.mixture.where: {signal} is of type {kind}; {text!r} cannot be compared with it") from None
        holds &= pc.fill_null(answer, operator == "!=").to_numpy(zero_copy_only=False)
    return holds
