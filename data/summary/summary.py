"""The public summary of training content, in the sections of the template of the EU's AI Office, from what a run has read.

Article 53(1)(d) of the AI Act; template of 24 July 2025, issued again on 5 December 2025 as C(2025) 8311. `summary` returns a dict, for
JSON; `text.py` makes Markdown of it. Counts are measured; what only a person knows comes from `Facts`, or is None.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from varietas.data.clean.cleaning import OPTED_OUT
from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.sources import Sources, sources_of
from varietas.data.summary.facts import FACTS, KINDS, OF_A_SOURCE, Facts, check_sources
from varietas.data.summary.measured import Amount, Sums, by, largest, sums_of, total
from varietas.data.text.languages import name

TEMPLATE = "Explanatory Notice and Template for the Public Summary of Training Content for general-purpose AI models, C(2025) 8311"
SIZES = ((10**9, "less than 1 billion tokens"), (10**13, "1 billion to 10 trillion tokens"), (math.inf, "more than 10 trillion tokens"))
LARGE = 0.03  # share of a modality from which on a public dataset is named
TOP, TOP_OF_SMALL, MOST_OF_SMALL = 0.1, 0.05, 1000  # domains that are listed: these shares, and of a small company no more than this


@dataclass(frozen=True)
class Training:
    """What a run says of its training."""

    run: str
    steps: int  # done so far
    rows: int
    seq_len: int
    left_out: int  # steps of which nothing was learned
    damaged: int  # documents that could not be read
    begun_from: str  # where its first parameters come from; "" if they were random
    removed: int  # documents of the corpus that may not be read any more
    filters: tuple[str, ...]  # by which documents of the corpus were chosen, by their signals


def summary(training: Training, corpus: Corpus | Sources, tables: Mapping[str, pa.Table], facts: Facts, small: bool) -> dict[str, Any]:
    """Returns the summary of a run.

    Args:
        training: How far the run is.
        corpus: Its corpus.
        tables: What it has read, from `measured`.
        facts: What a person knows.
        small: Whether the provider is a small or medium company, which lists fewer domains.

    Raises:
        ValueError: If the facts speak of a source that the run has not read.
    """
    sums = {view: sums_of(table) for view, table in tables.items() if view != "domains"}
    read = total(sums["languages"])
    sources = by(sums["languages"], 0)
    check_sources(facts, sources)
    described = [_source(one, amount, read, sums, facts) for one, amount in sorted(sources.items(), key=lambda item: -item[1].tokens)]
    months = [month for month in by(sums["months"], 1) if month]
    general = {
        **{table: {field: facts.get(table, field) for field in FACTS[table]} for table in ("provider", "model", "content")},
        "modalities": {"text": {"size": next(words for most, words in SIZES if read.tokens < most), **_amount(read)}},
        "latest_acquisition": max(months, default=facts.get("content", "latest_acquisition")),
        "languages": [
            {"language": code, "name": name(code), **_amount(amount), "share": _share(amount.read, read.read)}
            for code, amount in sorted(by(sums["languages"], 1).items(), key=lambda item: -item[1].read)
        ],
    }
    found = {
        "template": TEMPLATE,
        "training": {**vars(training), "corpora": {part.path.name: part.digest for part in sources_of(corpus).values()}},
        "general": general,
        "sources": {kind or "not_assigned": [one for one in described if one["kind"] == kind] for kind in (*KINDS, None)},
        "domains": _domains(tables["domains"], small),
        "processing": {
            **{field: facts.get("measures", field) for field in FACTS["measures"]},
            "documents_read_by_opt_out": _by_opt_out(sums["opt_outs"]),
            "corpora": {part.path.name: _processing(part) for part in sources_of(corpus).values()},
        },
    }
    return {**found, "to_fill_in": _blanks(described, facts, bool(months))}


def _source(source: str, amount: Amount, read: Amount, sums: Mapping[str, Sums], facts: Facts) -> dict[str, Any]:
    def of(view: str) -> dict[str, Amount]:
        return {str(key): one for (other, key), one in sums[view].items() if other == source}

    kind, months = facts.of_source(source, "kind"), [month for month in of("months") if month]
    share = _share(amount.tokens, read.tokens)
    return {
        "source": source,
        "kind": kind,
        "modality": "text",
        **{field: facts.of_source(source, field) for field in OF_A_SOURCE.get(kind or "", ())},
        **_amount(amount),
        "share": share,
        "large": share > LARGE,
        "languages": {code: one.tokens for code, one in of("languages").items()},
        "licenses": {name or "not stated": _amount(one) for name, one in of("licenses").items()},
        "crawls": {name: _amount(one) for name, one in of("crawls").items() if name},
        "months": [min(months), max(months)] if months else None,
        "documents_with_a_date": sum(one.documents for month, one in of("months").items() if month),
    }


def _domains(table: pa.Table, small: bool) -> dict[str, Any]:
    """Returns the domains with the most text: as many as the template asks for."""
    n = len(table.filter(pc.not_equal(table["domain"], "")))
    listed = min(math.ceil(TOP_OF_SMALL * n), MOST_OF_SMALL) if small else math.ceil(TOP * n)
    rule = f"{TOP_OF_SMALL:.0%} of the domains or {MOST_OF_SMALL:,}, whichever is lower" if small else f"{TOP:.0%} of the domains"
    found = [{"domain": domain, "documents": amount.documents, "bytes": amount.bytes} for domain, amount in largest(table, listed)]
    return {"domains_read": n, "listed": listed, "rule": f"the top {rule}, by bytes of text", "domains": found}


def _processing(corpus: Corpus) -> dict[str, Any]:
    """Returns what was done when a corpus was prepared, from its manifest."""
    manifest = corpus.manifest
    rejected, changed = Counter(manifest.get("rejected", {})), dict(manifest.get("changed", {}))
    repaired = changed.pop("unicode", 0)
    return {
        "records_read": manifest.get("records_read"),
        "documents_kept": sum(language["documents"] for language in manifest["languages"].values()),
        "cleaning": manifest.get("cleaning", {}),
        "opt_outs_honoured": bool(manifest.get("cleaning", {}).get("opt_outs")),
        "opted_out": {reason: n for reason, n in rejected.items() if reason.startswith(OPTED_OUT)},
        "personal_data_masked": changed,
        "personal_data_left_out": rejected["personal data"],
        "evaluation_text_left_out": rejected["overlaps evaluation text"],
        "blocked_domains_left_out": rejected["blocked domain"],
        "characters_repaired": repaired,
        "rejected": dict(rejected.most_common()),
    }


def _by_opt_out(sums: Sums) -> dict[str, dict[str, Any]]:
    """Returns how much has been read by what robots.txt and reservations say of it."""
    words = {None: "not known", True: "yes", False: "no"}
    found: dict[str, dict[str, Any]] = {"robots_allows": {}, "rights_reserved": {}}
    for place, said in enumerate(found.values()):
        for value, word in words.items():
            if some := {key: amount for key, amount in sums.items() if key[place] is value}:
                said[word] = _amount(total(some))
    return found


def _blanks(described: list[dict[str, Any]], facts: Facts, dated: bool) -> dict[str, str]:
    """Returns what is left to a person: the name of each field in the file of facts, and what it is.

    Args:
        described: The sources.
        facts: What a person has said.
        dated: Whether the data itself says when it was acquired.
    """
    blank = {f"{table}.{field}": what for table, fields in FACTS.items() for field, what in fields.items() if not facts.get(table, field)}
    for one in described:
        table = f"sources.{json.dumps(one['source'], ensure_ascii=False)}"  # as TOML quotes it
        if one["kind"] is None:
            blank[f"{table}.kind"] = f"its kind: one of {', '.join(KINDS)}"
        else:
            fields = OF_A_SOURCE[one["kind"]]
            lacking = {field: what for field, what in fields.items() if one[field] is None and not (field == "period" and one["months"])}
            blank |= {f"{table}.{field}": what for field, what in lacking.items()}
    if dated:
        blank.pop("content.latest_acquisition", None)
    return blank


def _amount(amount: Amount) -> dict[str, Any]:
    return {
        "documents": amount.documents,
        "bytes": amount.bytes,
        "tokens": amount.tokens,
        "tokens_read": amount.read,
        "times_read": round(amount.times, 3),
    }


def _share(part: int, whole: int) -> float:
    return round(part / max(1, whole), 6)
