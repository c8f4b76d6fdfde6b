"""Seconds until there is something to see: `import varietas`, `varietas --help`, and the first step of a run, cold and warm.

    python tests/bench/start.py [--rounds 3]

Cold: nothing compiled before (the corpus is there). Warm: the same run a second time, from XLA's cache on disk.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from figures import arguments, timed, write

from varietas.data.files import cache_folder

CONFIG = Path(__file__).with_name("config.py")


def seconds(command: list[str]) -> float:
    return timed(partial(subprocess.run, command, check=True, capture_output=True))


def first_step(run: Path, environment: dict[str, str]) -> float:
    """Seconds from the start of the program to the record of its first step."""
    command = [sys.executable, "-m", "varietas.launch", "train", "--config", str(CONFIG), "--run", str(run), "--config.train.steps=2"]
    begun, metrics = time.perf_counter(), run / "metrics.jsonl"
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    ended = False
    while not (metrics.exists() and metrics.stat().st_size):
        if ended:
            sys.exit(f"{' '.join(command)}: no step; {process.stderr.read().decode()[-500:] if process.stderr else ''}")
        ended = process.poll() is not None
        time.sleep(0.01)
    found = time.perf_counter() - begun
    process.wait()
    return found


def main() -> None:
    args = arguments(__doc__, rounds=3).parse_args()
    python = sys.executable
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "VARIETAS_CACHE": folder}
        if (cache_folder() / "corpora").exists():
            shutil.copytree(cache_folder() / "corpora", Path(folder) / "corpora")
        first_step(Path(folder) / "made", environment)
        for n in range(args.rounds):
            found.setdefault("python alone", []).append(seconds([python, "-c", ""]))
            found.setdefault("import varietas", []).append(seconds([python, "-c", "import varietas"]))
            found.setdefault("varietas --help", []).append(seconds([python, "-m", "varietas.launch", "--help"]))
            shutil.rmtree(Path(folder) / "xla", ignore_errors=True)
            found.setdefault("first step, cold", []).append(first_step(Path(folder) / f"cold{n}", environment))
            found.setdefault("first step, warm", []).append(first_step(Path(folder) / f"warm{n}", environment))
    medians = {name: statistics.median(values) for name, values in found.items()}
    ratios = {
        "import_seconds": medians["import varietas"],
        "help_seconds": medians["varietas --help"],
        "first_step_cold_seconds": medians["first step, cold"],
        "first_step_warm_seconds": medians["first step, warm"],
    }
    write(args.json, ratios, [f"{name:18} {value:6.2f} s" for name, value in medians.items()])


if __name__ == "__main__":
    main()
