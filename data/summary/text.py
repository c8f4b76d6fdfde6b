"""The public summary of training content as Markdown, from the dict of `summary.summary`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from varietas.data.summary.facts import FACTS, KINDS, OF_A_SOURCE

BLANK = "**[to be filled in]**"
AMOUNT = ("documents", "text", "tokens", "tokens read", "times read")  # headings of `_amounts`
LISTED = 40  # rows of a table of crawls or licences


def markdown(found: Mapping[str, Any]) -> str:
    """Returns the summary as Markdown. What a person has to fill in stands out as BLANK, and is listed at the end."""
    parts = ["# Public summary of training content", *_training(found), *_general(found), *_sources(found), *_processing(found)]
    if found["to_fill_in"]:
        rows = ([f"`{name}`", what] for name, what in found["to_fill_in"].items())
        parts += ["## Left to fill in", "Give these in a TOML or JSON file with `--facts`.", _table(("field", "what it is"), rows)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _training(found: Mapping[str, Any]) -> list[str]:
    training = found["training"]
    corpora = ", ".join(f"`{name}` (digest `{digest}`)" for name, digest in training["corpora"].items())
    held = f"{training['steps']:,} steps, {training['rows']:,} rows of {training['seq_len']:,} tokens"
    notes = (
        [f"{training['left_out']:,} steps changed nothing in the model; their text counts all the same."] if training["left_out"] else []
    )
    if training["removed"]:
        notes.append(f"{training['removed']:,} documents have been removed since; they count as far as they had been read.")
    if training["damaged"]:
        notes.append(f"{training['damaged']:,} damaged documents could not be read; they count all the same.")
    return [
        f"Template: {found['template']}.",
        f"All figures are counts of what training has read so far: {held}. Corpora: {corpora}.",
        "Documents, text and tokens count once, however often they were read; of a document that was read in part, that part counts.",
        " ".join(notes),
    ]


def _general(found: Mapping[str, Any]) -> list[str]:
    general = found["general"]
    text = general["modalities"]["text"]
    begun = found["training"]["begun_from"]
    languages = ([one["name"], f"`{one['language']}`", *_amounts(one), f"{one['share']:.2%}"] for one in general["languages"])
    return [
        "## 1. General information",
        "### 1.1 Identification of the provider",
        _facts(general, "provider"),
        "### 1.2 Identification of the model",
        _facts(general, "model") + (f"\n- The parameters of this run were {begun}." if begun else ""),
        "### 1.3 Modalities, overall size and other characteristics",
        _table(("modality", "size", *AMOUNT), [["text", text["size"], *_amounts(text)]]),
        "No image, audio or video was read.",
        _facts({"content": {**general["content"], "latest_acquisition": general["latest_acquisition"]}}, "content"),
        f"Languages, by their share of what was read ({len(general['languages'])}):",
        _table(("language", "", *AMOUNT, "share"), languages, 2),
    ]


def _sources(found: Mapping[str, Any]) -> list[str]:
    sources, parts = found["sources"], ["## 2. List of data sources"]
    if unknown := sources["not_assigned"]:
        parts += [f"### Sources whose kind is {BLANK}", *(text for one in unknown for text in _source(one))]
    for kind, heading in KINDS.items():
        parts.append(f"### {heading}")
        parts.append("Used: yes." if sources[kind] else f"Used: {BLANK}, see above." if unknown else "Used: no.")
        if kind == "public" and sources[kind]:
            large = [one["source"] for one in sources[kind] if one["large"]]
            parts.append(f"Large ones, with more than 3 % of the text: {', '.join(large) or 'none'}.")
        parts += [text for one in sources[kind] for text in _source(one)]
        if kind == "crawled":
            parts += _domains(found["domains"])
    return parts


def _source(one: Mapping[str, Any]) -> list[str]:
    months = " to ".join(one["months"] or ())
    said = [f"- {field}: {one[field] or (field == 'period' and months) or BLANK}" for field in OF_A_SOURCE.get(one["kind"], ())]
    said += [
        f"- documents with a date: {one['documents_with_a_date']:,} of {one['documents']:,}{f', from {months}' if months else ''}",
        f"- share of all text: {one['share']:.2%}",
        f"- languages: {', '.join(one['languages'])}",
    ]
    return [
        f"#### {_plain(one['source'])}",
        _table(("modality", *AMOUNT), [[one["modality"], *_amounts(one)]], 1),
        "\n".join(said),
        _named("licence", one["licenses"]),
        _named("crawl", one["crawls"]),
    ]


def _domains(found: Mapping[str, Any]) -> list[str]:
    if not found["domains_read"]:
        return ["No document has a URL."]
    rows = ([_plain(one["domain"]), f"{one['documents']:,}", f"{one['bytes']:,} B"] for one in found["domains"])
    heading = f"Domains of all documents with a URL, of any source: {found['listed']:,} of {found['domains_read']:,}, {found['rule']}."
    return [heading, _table(("domain", "documents", "text"), rows, 1)]


def _processing(found: Mapping[str, Any]) -> list[str]:
    processing = found["processing"]
    said = processing["documents_read_by_opt_out"]
    parts = [
        "## 3. Data processing",
        "### 3.1 Respect of reservations of rights from text and data mining",
        _fact("measures", "code_of_practice", processing["code_of_practice"])
        + "\n"
        + _fact("measures", "opt_outs", processing["opt_outs"]),
    ]
    for heading, answers in (("robots.txt allows crawlers", "robots_allows"), ("rights are reserved", "rights_reserved")):
        parts.append(_table((f"read: {heading}", *AMOUNT), ([word, *_amounts(one)] for word, one in said[answers].items()), 1))
    for name, one in processing["corpora"].items():
        n = sum(one["opted_out"].values())
        respected = (
            "documents were left out that robots.txt excludes, whose page reserves its rights (TDM Reservation Protocol, `noai`, ai.txt) or"
            f" whose collection says so: {n:,} of {one['records_read'] or 0:,} records"
            if one["opt_outs_honoured"]
            else "reservations of rights were not looked at when it was prepared"
        )
        reasons = "; ".join(f"{reason.partition(': ')[2]} {count:,}" for reason, count in one["opted_out"].items())
        parts.append(f"Corpus `{_plain(name)}`: {respected}{f' ({reasons})' if reasons else ''}.")
    parts += ["### 3.2 Removal of illegal content", _fact("measures", "illegal_content", processing["illegal_content"])]
    parts.append("### 3.3 Other processing")
    if filters := found["training"]["filters"]:
        parts.append(f"Documents were chosen by these filters: {'; '.join(f'`{_plain(one)}`' for one in filters)}.")
    for name, one in processing["corpora"].items():
        parts += _prepared(name, one)
    return parts


def _prepared(name: str, one: Mapping[str, Any]) -> list[str]:
    """Says what was done when a corpus was prepared."""
    steps = ", ".join(f"{field}={value}" for field, value in one["cleaning"].items() if value and value != "keep")
    masked = ", ".join(f"{kind} {n:,}" for kind, n in sorted(one["personal_data_masked"].items())) or "none"
    blocked = f", {one['blocked_domains_left_out']:,} pages of blocked domains" if one["blocked_domains_left_out"] else ""
    n_read = one["records_read"] or 0
    return [
        f"#### Corpus `{_plain(name)}`, as it was prepared: {one['documents_kept']:,} documents kept of {n_read:,} records",
        f"- places of personal data that were masked: {masked}; documents left out for it: {one['personal_data_left_out']:,}\n"
        f"- documents left out because they share text with evaluations: {one['evaluation_text_left_out']:,}{blocked}\n"
        f"- documents whose characters were repaired: {one['characters_repaired']:,}\n"
        f"- settings of cleaning: {steps or 'none'}",
        _table(("left out because", "records"), ([_plain(reason), f"{n:,}"] for reason, n in one["rejected"].items()), 1),
    ]


def _facts(general: Mapping[str, Any], table: str) -> str:
    return "\n".join(_fact(table, field, value) for field, value in general[table].items())


def _fact(table: str, field: str, value: str | None) -> str:
    what = FACTS[table][field]
    return f"- {what[0].upper()}{what[1:]}: {value or BLANK}"


def _amounts(one: Mapping[str, Any]) -> list[str]:
    return [f"{one['documents']:,}", _bytes(one["bytes"]), f"{one['tokens']:,}", f"{one['tokens_read']:,}", f"{one['times_read']:.2f}"]


def _bytes(n: int) -> str:
    """Returns a number of bytes with three digits."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n} B"


def _named(heading: str, amounts: Mapping[str, Mapping[str, Any]]) -> str:
    """Tables licences or crawls, those with most tokens first."""
    if not amounts:
        return ""
    most = sorted(amounts.items(), key=lambda item: -item[1]["tokens"])
    more = f"\n\nand {len(most) - LISTED:,} more, which the JSON lists" if len(most) > LISTED else ""
    return _table((heading, *AMOUNT), ([_plain(name), *_amounts(one)] for name, one in most[:LISTED]), 1) + more


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]], left: int = 2) -> str:
    """Returns a table, "" without rows. Its first `left` columns are text, the others numbers."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    rule = ["---"] * min(left, len(heading)) + ["---:"] * (len(heading) - left)
    return "\n".join([f"| {' | '.join(heading)} |", f"|{'|'.join(rule)}|", *lines]) if lines else ""


def _plain(text: str) -> str:
    """Returns a text of somebody else's so that it cannot end a cell or a line, or begin a tag."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
