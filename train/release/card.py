"""The model card of a release: what the model is, what it was trained on, and how well it does in each language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import varietas
from varietas.data.chat.template import FILE as TEMPLATE
from varietas.data.text.languages import name
from varietas.model.config import ModelConfig
from varietas.model.flops import count_params
from varietas.train.inference.network import Network
from varietas.train.run_folder.checkpoint import read_meta
from varietas.train.run_folder.config import read_config
from varietas.train.run_folder.digest import digest
from varietas.train.run_folder.evaluations import DECLARATION, HELD_OUT, Evaluation, Row, read_all
from varietas.train.run_folder.origin import CONTINUED, Origin, read_origin

CHAT = (  # how to ask a model that has learned conversations
    'messages = [{"role": "user", "content": "…"}]',
    'prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")',
)


@dataclass(frozen=True)
class Facts:
    """What a model card says about a checkpoint."""

    step: int
    tokens: Mapping[str, int]  # tokens seen in training, by language
    digest: str  # SHA-256 of the parameters
    corpus_digest: str
    chats: bool  # whether it has learned conversations
    rank: int  # of the adapters that were trained and merged; 0: all parameters were trained
    prefers: bool  # whether it has learned preferences
    evaluations: Sequence[Evaluation]  # of this step: on the Declaration of Human Rights, and on held-out text
    origin: Origin | None = None  # of the first parameters, if they were not random

    @property
    def seen(self) -> dict[str, int]:
        """The languages that the model has seen, with their tokens, those with most first."""
        return {code: n for code, n in sorted(self.tokens.items(), key=lambda item: -item[1]) if n}

    @property
    def codes(self) -> list[str]:
        """The ISO codes of these languages."""
        known = self.seen or (self.origin.languages if self.origin else ())
        return sorted({code.split("_")[0] for code in known})


def facts_of(run: Path, network: Network, step: int) -> Facts:
    """Collects the facts about a checkpoint from a run's folder."""
    meta = read_meta(run / "checkpoints", step)
    config = read_config(run)
    found = read_all(run)
    evaluations = [evaluation for name in (DECLARATION, HELD_OUT) for evaluation in found.get(name, ()) if evaluation.step == step]
    return Facts(
        step,
        meta.get("tokens_seen", {}),
        digest(network.params),
        meta.get("corpus_digest", ""),
        (run / TEMPLATE).exists(),
        config["model"].get("lora_rank", 0),
        config["optim"].get("dpo_beta", 0) > 0,
        evaluations,
        read_origin(run),
    )


def _active(cfg: ModelConfig) -> str:
    return f", of which a token meets {count_params(cfg, active=True):,}" if cfg.n_expert_layers else ""


def model_card(title: str, architecture: str, cfg: ModelConfig, facts: Facts, license: str = "", more: Sequence[str] = ()) -> str:
    """Returns README.md of a release, with the metadata that the hub of Hugging Face reads.

    Args:
        title: The heading.
        architecture: The name of the model in transformers; "" if it cannot be loaded there.
        cfg: The shape of the model.
        facts: What is known of the checkpoint.
        license: The licence of the weights, an SPDX identifier; "" if it is not known.
        more: Lines to add at the end.
    """
    metadata = ["---", *(["library_name: transformers"] if architecture else []), "pipeline_tag: text-generation"]
    metadata += [f"license: {license.lower()}"] if license else []
    metadata += ["tags:", "- varietas", "- multilingual"]
    metadata += ["language:", *(f"- {code}" for code in facts.codes), "---"] if facts.codes else ["---"]
    continues = "" if facts.origin else "It continues text. It has not been taught to follow instructions."
    use = "It has learned to answer in conversations." if facts.chats else continues
    if facts.prefers:
        use += " It has learned, by direct preference optimisation, which of two answers is better."
    if facts.rank:
        use += f" Adapters of rank {facts.rank} were trained, and merged into its matrices."
    kind = f" ({architecture.removesuffix('ForCausalLM')})" if architecture else ""
    lines = [
        *metadata,
        f"# {title}",
        "",
        f"A decoder of {count_params(cfg):,} parameters{_active(cfg)}{kind}, {made(facts)}. {use}",
        "",
        *(_usage(facts) if architecture else ()),
        "## Languages",
        "",
        *_languages(facts.seen, facts.evaluations),
        "",
        "## Provenance",
        "",
        f"- SHA-256 of the parameters{'' if facts.rank else ' (`varietas digest`)'}: `{facts.digest}`",
        f"- digest of the training corpus: `{facts.corpus_digest or 'unknown'}`",
        "",
        *more,
    ]
    return "\n".join(lines)


def _usage(facts: Facts) -> list[str]:
    """Returns how transformers loads the model."""
    return [
        "```python",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'tokenizer = AutoTokenizer.from_pretrained("DIR")',
        'model = AutoModelForCausalLM.from_pretrained("DIR")',
        *(CHAT if facts.chats else ['prompt = tokenizer("…", return_tensors="pt")']),
        "print(tokenizer.decode(model.generate(**prompt, max_new_tokens=40)[0]))",
        "```",
        "",
    ]


def made(facts: Facts) -> str:
    """Says how a model came to be."""
    tokens = sum(facts.seen.values())
    steps = f"with Varietas {varietas.__version__} for {facts.step:,} steps on {tokens:,} tokens in {len(facts.seen)} languages"
    if facts.origin is None:
        return f"trained from scratch {steps}"
    begun = facts.origin.named
    return f"{begun}, trained further {steps}" if facts.origin.kind == CONTINUED else begun


def _languages(seen: Mapping[str, int], evaluations: Sequence[Evaluation]) -> list[str]:
    """Returns a table with a line for each language, the worst first where the model was evaluated."""
    total = sum(seen.values())
    bits = {code: row.get("bits_per_byte") for evaluation in reversed(evaluations) for code, row in evaluation.languages.items()}
    codes = sorted({*seen, *bits}, key=lambda code: (-(bits.get(code) or 0), -seen.get(code, 0)))
    headings = ["language", "", "tokens seen", "share", *(f"bits per byte, {evaluation.name}" for evaluation in evaluations)]
    lines = [f"| {' | '.join(headings)} |", f"|---|---|{'---:|' * (len(headings) - 2)}"]
    for code in codes:
        share = f"{seen.get(code, 0) / total:.1%}" if total else ""
        results = (_result(evaluation.languages.get(code, {})) for evaluation in evaluations)
        lines.append(f"| {' | '.join([code, name(code), f'{seen.get(code, 0):,}', share, *results])} |")
    if not evaluations:
        return [*lines, "", "The model was not evaluated."]
    texts = "; ".join(f"{evaluation.name}: {evaluation.text}" for evaluation in evaluations)
    about = f"Fewer bits per byte are better. The texts are these. {texts}."
    if any(row.get("interval") for evaluation in evaluations for row in evaluation.languages.values()):
        about += " In parentheses stands the 95 % interval, by a bootstrap over documents."
    return [*lines, "", about]


def _result(row: Row) -> str:
    """Formats bits per byte, with their interval if they have one; "" if there are none."""
    bits, interval = row.get("bits_per_byte"), row.get("interval")
    within = f" ({interval[0]:.3f}–{interval[1]:.3f})" if interval else ""
    return "" if bits is None else f"{bits:.3f}{within}"
