"""Measures the seconds of `import varietas`, of `varietas --help`, of the answer to a mistake, and of a run of `tiny` up to its first step.

    python tests/bench/start.py [--rounds 5]

Cold means that nothing was compiled before, although the corpus is there. Warm means the same run once more, with XLA's cache on disk. The
figures are those of the fastest round, because other programs can only make a start slower.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import arguments, timed, write

from varietas.data.files import cache_folder

VARIETAS = [sys.executable, "-m", "varietas.launch"]
TRAIN = [*VARIETAS, "train", "--config", "tiny", "--config.train.steps=2", "--run"]


def seconds(*command: str, status: int = 0) -> float:
    """Returns the seconds that a command takes, which has to end with this exit status."""
    done = list[subprocess.CompletedProcess[bytes]]()
    found = timed(lambda: done.append(subprocess.run(command, capture_output=True)))
    if done[0].returncode != status:
        sys.exit(f"{' '.join(command)} ended with {done[0].returncode}: {done[0].stderr.decode()[-500:]}")
    return found


def first_step(run: Path, environment: dict[str, str]) -> float:
    """Returns the seconds from the start of the program to the record of its first step."""
    command = [*TRAIN, str(run)]
    begun, metrics = time.perf_counter(), run / "metrics.jsonl"
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    ended = False
    while not (metrics.exists() and metrics.stat().st_size):
        if ended:
            sys.exit(f"{' '.join(command)} ended without a step: {process.stderr.read().decode()[-500:] if process.stderr else ''}")
        ended = process.poll() is not None
        time.sleep(0.01)
    found = time.perf_counter() - begun
    process.wait()
    return found


def main() -> None:
    args = arguments(__doc__, rounds=5).parse_args()
    busy, found = os.getloadavg()[0], dict[str, float]()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "VARIETAS_CACHE": folder}
        if (cache_folder() / "corpora").exists():
            shutil.copytree(cache_folder() / "corpora", Path(folder) / "corpora")
        first_step(Path(folder) / "made", environment)
        for n in range(args.rounds):
            shutil.rmtree(Path(folder) / "xla", ignore_errors=True)
            now = {
                "python alone": seconds(sys.executable, "-c", ""),
                "import varietas": seconds(sys.executable, "-c", "import varietas"),
                "varietas --help": seconds(*VARIETAS, "--help"),
                "answer to a mistake": seconds(*TRAIN, str(Path(folder) / "x"), "--config.train.step=3", status=2),
                "first step, cold": first_step(Path(folder) / f"cold{n}", environment),
                "first step, warm": first_step(Path(folder) / f"warm{n}", environment),
            }
            found = {name: min(value, found.get(name, value)) for name, value in now.items()}
    ratios = {
        "import_seconds": found["import varietas"],
        "help_seconds": found["varietas --help"],
        "mistake_seconds": found["answer to a mistake"],
        "first_step_cold_seconds": found["first step, cold"],
        "first_step_warm_seconds": found["first step, warm"],
    }
    about = f"the fastest of {args.rounds} rounds; when they began, the load of the machine was {busy:.1f}"
    write(args.json, ratios, [about, *(f"{name:19} {value:6.2f} s" for name, value in found.items())])


if __name__ == "__main__":
    main()
