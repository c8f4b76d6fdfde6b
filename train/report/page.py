"""The report of a run: one HTML file made from the files in the run's folder.

Every file but config.json may be missing, short or broken; the section that needs it then says so.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from varietas.data.files import write_atomically
from varietas.train.accounting.goodput import read_account
from varietas.train.report.benchmarks import benchmarks_section
from varietas.train.report.by_language import losses_section
from varietas.train.report.comparison import comparisons_section, evaluation_section
from varietas.train.report.experts import experts_section, read_loads
from varietas.train.report.header import header
from varietas.train.report.history import read_json, read_metrics
from varietas.train.report.markup import SCRIPT, document, esc, sections
from varietas.train.report.sections import (
    config_section,
    contamination_section,
    curves_section,
    environment_section,
    loss_section,
    memorisation_section,
    mixture_section,
    samples_section,
)
from varietas.train.report.spent import time_section
from varietas.train.run_folder.benchmarks import read_all as read_benchmarks
from varietas.train.run_folder.evaluations import read_all
from varietas.train.run_folder.records import mapping, objects
from varietas.train.statistics.comparisons import FILE as COMPARISONS

FILE = "report.html"


def render(run: Path, config: Mapping[str, Any] | None = None) -> str:
    """Makes the report.

    Args:
        run: The folder of the run.
        config: What to show in place of its config.json, as where folders of this machine are not to be seen.

    Returns:
        The page as HTML.

    Raises:
        ValueError: If the folder has no config.json that can be read.
    """
    given, config = config, mapping(config or read_json(run / "config.json"))
    if not config:
        raise ValueError(f"{run}: found no config.json that can be read; give the folder of a run, as in runs/demo")
    history = read_metrics(run / "metrics.jsonl")
    env, mixture = mapping(read_json(run / "environment.json")), mapping(read_json(run / "mixture.json"))
    if given:
        mixture = {**mixture, "corpus": mapping(given.get("data")).get("corpus")}
    evaluations = read_all(run)
    compared = objects(mapping(read_json(run / COMPARISONS)).get("comparisons"))
    contamination, memorisation = (mapping(read_json(run / f"{name}.json")) for name in ("contamination", "memorisation"))
    main = next((found[-1] for found in evaluations.values()), None)
    speed = [("tokens_per_second", "Tokens per second", False), ("mfu", "Share of peak FLOP/s", False)]
    preferred = [
        ("accuracy", "Pairs whose chosen answer is preferred", False),
        ("reward_chosen", "Reward of chosen answers", False),
        ("reward_rejected", "Reward of rejected answers", False),
    ]
    steps = {
        **({"Preferences": curves_section(history, *preferred)} if "accuracy" in history.curves else {}),
        "Optimiser": curves_section(history, ("learning_rate", "Learning rate", False), ("grad_norm", "Gradient norm", True)),
        "Throughput": curves_section(history, *speed[: 2 if "mfu" in history.curves else 1]),
        "Languages": losses_section(history),
        **({"Experts": experts_section(history, read_loads(run))} if "max_violation" in history.curves else {}),
    }
    parts = {
        "Loss": loss_section(history),
        **(steps if history.steps else {}),
        "Mixture": mixture_section(history, mixture),
        "Evaluation": evaluation_section(evaluations),
        **({"Comparisons": comparisons_section(compared)} if compared else {}),
        **({"Benchmarks": benchmarks_section(benchmarks)} if (benchmarks := read_benchmarks(run)) else {}),
        **({"Contamination": contamination_section(contamination)} if contamination else {}),
        **({"Memorisation": memorisation_section(memorisation)} if memorisation else {}),
        "Samples": samples_section(read_json(run / "samples.json")),
        "Time": time_section(read_account(run)),
        "Configuration": config_section(config),
        "Environment": environment_section(env, mixture, history.tokens),
    }
    links = "".join(f'<a href="#{title.lower()}">{title}</a>' for title in parts)
    footer = "<footer>Made by Varietas from the files in the folder of this run.</footer>"
    content = f"{header(run, config, env, history, main)}<nav>{links}</nav>{sections(parts)}{footer}"
    return document(f"{esc(run.resolve().name)} · Varietas", content, SCRIPT)


def write_report(run: Path) -> Path:
    """Writes report.html into the folder of a run, whole or not at all.

    Args:
        run: The folder of the run.

    Returns:
        The path of the file.

    Raises:
        ValueError: If the folder has no config.json that can be read.
    """
    path = run / FILE
    write_atomically(path, render(run).encode("utf-8", "replace"))
    return path
