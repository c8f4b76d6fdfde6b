"""What every benchmark has in common: its flags, the small model, timing by turns, text to work on, and a JSON file of what it found."""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from varietas.data.default import training_documents
from varietas.launch.cli import count
from varietas.launch.settings import check, load_config


def writable(text: str) -> Path:
    """For argparse: told before anything is measured."""
    if not Path(text).absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {Path(text).parent}")
    return Path(text)


def arguments(description: str | None, rounds: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=count, default=rounds, help=f"how often each is timed, by turns (default: {rounds})")
    parser.add_argument("--json", type=writable, help="write the figures there as well")
    return parser


def shared_config(fields: list[str]) -> ConfigDict:
    """config.py with `--config.FIELD=VALUE` of the command line; a mistake in them, or what only ours could do, ends the program."""
    try:
        config = load_config(str(Path(__file__).with_name("config.py")), fields)
        check(config)
        m = config.model
        if m.dtype != "float32" or m.remat != "none" or m.qk_norm or config.train.grad_accum != 1:
            raise ValueError(
                "what ours is compared with has model.dtype=float32, remat=none, qk_norm=False and train.grad_accum=1; leave them so"
            )
    except ValueError as error:
        sys.exit(str(error))
    return config


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def by_turns(ways: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median of what each way returns, asked for in turn."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, measure in ways.items():
            found[name].append(measure())
    return {name: statistics.median(values) for name, values in found.items()}


def write(file: Path | None, ratios: dict[str, float], lines: list[str]) -> None:
    """Prints both, and keeps them for run.py."""
    print("\n".join(lines + [f"{name} {value:.3f}" for name, value in ratios.items()]))
    if file:
        file.write_text(json.dumps({"ratios": ratios, "lines": lines}), "utf-8")


def documents(n: int, median_chars: int = 2500) -> list[tuple[str, str]]:
    """(language, text): the embedded corpus's sentences, joined to texts of log-normal lengths as the web has them."""
    rng, sentences = np.random.default_rng(0), training_documents()
    by_language: dict[str, list[str]] = {}
    for document in sentences:
        by_language.setdefault(document.lang, []).append(document.text)
    out, languages = [], list(by_language)
    for k in range(n):
        language = languages[k % len(languages)]
        length, text = rng.lognormal(np.log(median_chars), 1.0), ""
        while len(text) < length:
            text += by_language[language][rng.integers(len(by_language[language]))] + " "
        out.append((language, text))
    return out
