"""The Model Documentation Form of the EU's Code of Practice for general-purpose AI (transparency chapter, July 2025), filled in.

Measure 1.1 of the code, for Article 53(1)(a) and (b) of the AI Act and its annexes XI and XII. Every entry says where it comes from: a file
of the release, or the provider. What only the provider can know and has not said stays a visible blank.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from varietas.data.summary.facts import FACTS, OF_RELEASES
from varietas.data.summary.text import BLANK
from varietas.model.flops import count_params, forward_flops_per_token
from varietas.train.accounting.goodput import Account
from varietas.train.publication.openness import CODE
from varietas.train.publication.published import Published

SIZES = (
    (5e8, "1 to 500 million"),
    (5e9, "500 million to 5 billion"),
    (1.5e10, "5 to 15 billion"),
    (5e10, "15 to 50 billion"),
    (1e11, "50 to 100 billion"),
    (5e11, "100 to 500 billion"),
    (1e12, "500 billion to 1 trillion"),
    (float("inf"), "more than 1 trillion"),
)
TIMES = ((30, "less than 1 month"), (90, "1 to 3 months"), (180, "3 to 6 months"), (float("inf"), "more than 6 months"))
GENERAL_PURPOSE, SYSTEMIC = 1e23, 1e25  # FLOP: guidelines of the Commission of July 2025, and Article 51(2)
LARGEST = 10  # languages that the form names
BENCHMARKED = 100_000  # tokens of which the cost of inference is said
PROVENANCE = {  # what the form calls the kinds of sources
    "public": "publicly available datasets",
    "licensed": "datasets licensed by rightsholders",
    "third_party": "private datasets obtained from third parties",
    "crawled": "web crawling",
    "user": "user data",
    "synthetic": "synthetic data",
    "other": "data collected by other means",
}


@dataclass(frozen=True)
class Entry:
    """An entry of the form. Without a value it is left to the provider."""

    name: str
    value: str | None
    source: str  # the file of the release, or the field of the provider's facts


def form(of: Published) -> dict[str, list[Entry]]:
    """Returns the entries of the form by section."""
    return {
        "1. General information": _general(of),
        "2. Model properties": _properties(of),
        "3. Methods of distribution and licences": [
            _said(of, "Distribution channels", "release", "channels"),
            _said(of, "Licence of the weights", "release", "license"),
            Entry("Licence of the code", CODE, "code"),
            _said(of, "Licence of the documentation", "release", "documentation_license"),
        ],
        "4. Use": _use(of),
        "5. Training process": _training(of),
        "6. Data used for training, testing and validation": _data(of),
        "7. Computational resources during training": _compute(of),
        "8. Energy consumption during training and inference": _energy(of),
    }


def blanks(sections: Mapping[str, Iterable[Entry]]) -> dict[str, str]:
    """Returns what is left to the provider: the names of fields of facts, and what they are."""
    lacking = [entry.source for entries in sections.values() for entry in entries if entry.value is None]
    known = {f"{table}.{field}": what for table, fields in (FACTS | OF_RELEASES).items() for field, what in fields.items()}
    return {name: known[name] for name in dict.fromkeys(lacking)}


def markdown(sections: Mapping[str, Iterable[Entry]]) -> str:
    """Returns the form as Markdown."""
    lines = ["# Model documentation form", "", "Code of Practice for general-purpose AI, transparency chapter, measure 1.1.", ""]
    for heading, entries in sections.items():
        lines += [f"## {heading}", ""]
        for entry in entries:
            lines += [f"**{entry.name}.** {entry.value or BLANK} *({entry.source})*", ""]
    if left := blanks(sections):
        lines += ["## Left to fill in", "", *(f"- `{name}`: {what}" for name, what in left.items()), ""]
    return "\n".join(lines)


def _said(of: Published, name: str, table: str, field: str, usual: str | None = None, source: str = "") -> Entry:
    """Returns what the provider says, or else what is usual, with where that is from."""
    said = of.said.get(table, field)
    return Entry(name, said or usual, source if usual and not said else f"{table}.{field}")


def _general(of: Published) -> list[Entry]:
    origin = of.facts.origin
    return [
        _said(of, "Legal name of the provider", "provider", "name"),
        _said(of, "Model name", "model", "name", of.name, "name of the release"),
        Entry("Model authenticity", f"SHA-256 of the parameters {of.facts.digest}; SHA-256 of every file in SHA256SUMS", "SHA256SUMS"),
        _said(of, "Release date", "release", "date"),
        _said(of, "Union market release date", "model", "market_date"),
        _said(of, "Model dependencies", "model", "dependencies", origin.named if origin else "N/A", "README.md"),
    ]


def _properties(of: Published) -> list[Entry]:
    cfg, n = of.model, count_params(of.model)
    experts = f", a mixture of {cfg.n_experts} experts of which each token meets {cfg.n_experts_per_token}" if cfg.n_expert_layers else ""
    attention = "latent attention" if cfg.kv_rank else f"{cfg.n_heads} query and {cfg.n_kv_heads} key-value heads of width {cfg.head_dim}"
    shape = (
        f"{cfg.n_layers} layers of width {cfg.d_model}, {attention}, rotary positions, a feed-forward part ({cfg.feed_forward}) of width "
        f"{cfg.d_ff}, {'tied' if cfg.tied_embeddings else 'untied'} embeddings, a vocabulary of {cfg.vocab_size:,}"
    )
    longest = f"text, at most {cfg.max_seq_len:,} tokens together with the output"
    return [
        Entry("Model architecture", f"a decoder-only transformer for text{experts}", "config.json"),
        Entry("Design specifications of the model", shape, "config.json"),
        _said(of, "Rationale and assumptions of the design", "design", "model"),
        Entry("Input modalities and maximum size", longest, "config.json"),
        Entry("Output modalities and maximum size", longest, "config.json"),
        Entry("Total model size", f"{n:.2g} parameters ({n:,}): {within(n, SIZES)}", "config.json"),
    ]


def _use(of: Published) -> list[Entry]:
    sizes = {path: size for path, (_, size) in of.files.items() if path.endswith((".gguf", ".safetensors"))}
    heaviest, lightest = max(sizes.values(), default=0), min(sizes.values(), default=0)
    memory = (
        f"memory for the weights, {lightest / 1e9:.2g} GB in the smallest form of this release and {heaviest / 1e9:.2g} GB in the largest"
    )
    loaders = {"*.safetensors": "transformers and vLLM load the folder", "gguf/*.gguf": "llama.cpp loads the files in gguf/"}
    programs = {"*.safetensors": "transformers or vLLM", "gguf/*.gguf": "llama.cpp"}
    ways = ", ".join(text for pattern, text in loaders.items() if of.has(pattern))
    software = " or ".join(text for pattern, text in programs.items() if of.has(pattern))
    return [
        _said(of, "Acceptable use policy", "use", "policy"),
        _said(of, "Intended or restricted uses", "use", "intended"),
        _said(of, "Type and nature of AI systems in which it can be integrated", "use", "systems"),
        Entry("Technical means for integration", f"{ways}, with no code of ours; the tokenizer is part of them", "README.md"),
        Entry(
            "Required hardware",
            f"{memory}, and some for the keys and values of the tokens that it has read; no accelerator is needed",
            "SHA256SUMS",
        ),
        Entry("Required software", software, "README.md"),
    ]


def _training(of: Published) -> list[Entry]:
    if not of.facts.step:
        return [_said(of, "Design specifications of the training process", "design", "training")]
    optim, train, data = (of.config[part] for part in ("optim", "train", "data"))
    method = (
        f"It learned to predict the next token, in {of.facts.step:,} steps of {train['batch_size']:,} rows of {data['seq_len']:,} tokens, "
        f"by {'Muon and AdamW' if optim['name'] == 'muon' else 'AdamW'} with a peak learning rate of {optim['peak_lr']:g}, schedule "
        f"{optim['schedule']}, {optim['warmup_steps']:,} steps of warm-up, weight decay {optim['weight_decay']:g}, clipped to norm "
        f"{optim['clip_norm']:g}, in {of.model.dtype}. Documents are packed into rows without attention between them."
    )
    if of.facts.prefers:
        method = method.replace("It learned to predict the next token", "It learned which of two answers is better (DPO)")
    if of.facts.rank:
        method += f" Adapters of rank {of.facts.rank} were trained and merged."
    return [
        Entry(
            "Design specifications of the training process",
            f"{method} Any process that has the data can repeat it step by step.",
            "training/config.json",
        ),
        _said(of, "Decision rationale", "design", "training"),
    ]


def _data(of: Published) -> list[Entry]:
    found = of.summary
    obtained = _said(of, "How data was obtained and selected", "data", "obtained")
    unsuitable = _said(of, "Measures to detect unsuitable sources", "data", "unsuitable")
    bias = _said(of, "Measures to detect identifiable biases", "data", "bias")
    if found is None:
        return [Entry("Type", "text", "config.json"), obtained, unsuitable, bias]
    text = found["general"]["modalities"]["text"]
    kinds = [PROVENANCE[kind] for kind, listed in found["sources"].items() if kind in PROVENANCE and listed]
    provenance = ", ".join(kinds) + (
        "" if not found["sources"]["not_assigned"] else f"; of {len(found['sources']['not_assigned'])} sources {BLANK}"
    )
    listed = found["general"]["languages"]
    shares = ", ".join(f"{one['name']} {one['share']:.1%}" for one in listed[:LARGEST])
    more = f", and {len(listed) - LARGEST} more" if len(listed) > LARGEST else ""
    source = "data/summary.md"
    return [
        Entry("Type", "text", source),
        Entry("Provenance", provenance.removeprefix("; "), source),
        obtained,
        Entry(
            "Number of data points",
            f"{text['documents']:.2g} documents, {text['tokens']:.2g} tokens, of which {text['tokens_read']:.2g} were read",
            source,
        ),
        Entry(
            "Scope and main characteristics", f"{len(listed)} languages by tokens read: {shares}{more}; all of them in the summary", source
        ),
        Entry("Curation", _curation(found["processing"]["corpora"]), source),
        unsuitable,
        bias,
    ]


def _curation(corpora: Mapping[str, Mapping[str, Any]]) -> str:
    """Says what was left out of the corpora and why, from their manifests."""
    parts = []
    for name, one in corpora.items():
        masked = sum(one["personal_data_masked"].values())
        why = ", ".join(f"{reason} {n:,}" for reason, n in one["rejected"].items()) or "none"
        parts.append(
            f"{name}: {one['documents_kept']:,} of {_known(one['records_read'])} records kept; left out: {why}; personal data masked in "
            f"{masked:,} places"
        )
    return ". ".join(parts)


def _known(n: int | None) -> str:
    return "an unknown number of" if n is None else f"{n:,}"


def _compute(of: Published) -> list[Entry]:
    if of.flops is None:
        origin = of.facts.origin
        said = f"the model was {origin.named}; its training is told of there" if origin else "not recorded"
        return [Entry("Training time", said, "README.md")]
    days = None if of.seconds is None else of.seconds / 86400
    time = (
        "not recorded"
        if days is None
        else f"{within(days, TIMES)}: {days:.2g} days by the clock, {days * of.devices:.2g} device days{of.went_on}"
    )
    scale = (
        f"below {GENERAL_PURPOSE:.0e}, from which the Commission takes a model of text to be general-purpose"
        if of.flops < GENERAL_PURPOSE
        else f"below {SYSTEMIC:.0e}, from which a model is presumed to have systemic risk"
        if of.flops < SYSTEMIC
        else f"above {SYSTEMIC:.0e}, so that the model is presumed to have systemic risk"
    )
    counted = f"; counted in the products of the step, with what is computed again, {of.flops_counted:.2g} FLOP" if of.flops_counted else ""
    method = (
        f"by formula: {of.environment['flops_per_token']:,.0f} FLOP a token (three times the forward pass; a multiply-add counts as two, "
        f"attention as causal over whole rows) times {of.tokens:,} tokens. Work that was lost in restarts is not counted"
        + (
            f", nor is the training of {origin.named.partition(' from ')[2]}, which this one began from"
            if (origin := of.facts.origin)
            else ""
        )
    )
    return [
        Entry("Training time", time, "training/time_and_energy.json"),
        Entry("Amount of computation used for training", f"{of.flops:.2g} FLOP{counted}. This is {scale}", "training/environment.json"),
        Entry("Measurement methodology", method, "training/environment.json"),
    ]


def _energy(of: Published) -> list[Entry]:
    account, inference = of.account, forward_flops_per_token(of.model, of.model.max_seq_len) * BENCHMARKED
    return [
        *([] if of.flops is None else _energy_of_training(account, of.went_on)),
        Entry("Benchmarked computation for inference", f"{inference:.2g} FLOP for {BENCHMARKED:,} tokens", "config.json"),
        Entry(
            "Measurement methodology for inference",
            f"by formula, for rows of {of.model.max_seq_len:,} tokens: a multiply-add counts as two; norms and activations are left out",
            "config.json",
        ),
    ]


def _energy_of_training(account: Account | None, went_on: str) -> list[Entry]:
    known = account is not None and account.kwh is not None
    used = f"{account.kwh / 1000:.2g} MWh{went_on}" if account is not None and account.kwh is not None else "N/A: it was not measured"
    how = f"{account.energy_source}; of the devices or nodes of the run, cooling and network not included" if account and known else "N/A"
    return [
        Entry("Energy used for training", used, "training/time_and_energy.json"),
        Entry("Measurement methodology for training", how, "training/time_and_energy.json"),
    ]


def within(value: float, bounds: Iterable[tuple[float, str]]) -> str:
    """Returns the name of the range that a value lies in."""
    return next(name for most, name in bounds if value <= most)
