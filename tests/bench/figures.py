"""What the benchmarks have in common: flags, the small model, timing in turn, text to work on, and a JSON file of the results."""

import argparse
import json
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from varietas.data.text.embedded import training_documents
from varietas.launch.check import check
from varietas.launch.config import load_config
from varietas.launch.flags import positive_int
from varietas.launch.resolve import rounded, with_values


def writable(text: str) -> Path:
    """Converts a flag to a path, for argparse. A missing folder is thus reported before anything is measured."""
    if not Path(text).absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {Path(text).parent}")
    return Path(text)


def arguments(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """Returns a parser with the flags of all benchmarks."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive_int, default=rounds, help=f"how often each is timed, in turn (default: {rounds})")
    parser.add_argument("--json", type=writable, help="also write the figures to this file")
    return parser


def shared_config(fields: list[str]) -> ConfigDict:
    """Returns config.py with `--config.FIELD=VALUE` of the command line. Ends the program on mistakes, and on what only ours could do."""
    try:
        config = load_config(str(Path(__file__).with_name("config.py")), fields)
        check(config)
        m = config.model
        if m.dtype != "float32" or m.remat != "none" or m.qk_norm or config.train.grad_accum != 1:
            raise ValueError(
                "the other programs have model.dtype=float32, remat=none, qk_norm=False and train.grad_accum=1; leave these as they are"
            )
    except ValueError as error:
        sys.exit(str(error))
    return with_values(config, {"model.vocab_size": config.model.vocab_size or rounded(config.data.embedded_vocab_size)})


def timed(work: Callable[[], object]) -> float:
    """Returns the seconds that `work` takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def resident() -> int:
    """Returns the bytes that this process has in memory now, without mapped files, which the system takes back when it needs memory."""
    _, all_pages, of_files, *_ = Path("/proc/self/statm").read_text().split()
    return (int(all_pages) - int(of_files)) * resource.getpagesize()


class Peak:
    """Measures the peak of the memory that a block needs in addition to what was held before, by looking every 5 ms."""

    def __enter__(self) -> "Peak":
        self.before = self.most = resident()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._end.wait(0.005):
            self.most = max(self.most, resident())

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self.bytes = self.most - self.before


def by_turns(ways: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Calls all ways in turn, `rounds` times, and returns the median of what each returned."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, measure in ways.items():
            found[name].append(measure())
    return {name: statistics.median(values) for name, values in found.items()}


def write(file: Path | None, ratios: dict[str, float], lines: list[str]) -> None:
    """Prints lines and ratios, and writes both to `file`, from which run.py reads them."""
    print("\n".join(lines + [f"{name} {value:.3f}" for name, value in ratios.items()]))
    if file:
        file.write_text(json.dumps({"ratios": ratios, "lines": lines}), "utf-8")


def documents(n: int, median_chars: int = 2500) -> list[tuple[str, str]]:
    """Returns (language, text) of n texts: sentences of the embedded text, joined to log-normal lengths like those of web pages."""
    rng, sentences = np.random.default_rng(0), list(training_documents())
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
