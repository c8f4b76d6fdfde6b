"""Training steps of the same model, by turns: the whole of `varietas train`, plain jax, transformers with torch eager and torch.compile.

python tests/bench/train.py [--rounds 5] [--steps 20] [--config.model.d_model=384 …]
"""

import argparse
import statistics
from pathlib import Path

from contenders import CONTENDERS, start

from varietas.launch.settings import load_config


def measure(rounds: int, steps: int, fields: list[str], names: list[str]) -> dict[str, float]:
    """Median seconds of a step of each contender."""
    config = load_config(str(Path(__file__).with_name("config.py")), fields)
    contenders = {name: start(name, config) for name in names}
    for name, contender in contenders.items():
        print(f"{name:16} ready after {contender.ready_seconds:6.1f} s", flush=True)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, contender in contenders.items():
            seconds[name] += contender.run(steps)
    for contender in contenders.values():
        contender.end()
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    tokens = config.train.batch_size * config.data.seq_len
    for name, median in medians.items():
        ratio = median / medians[names[0]]
        print(f"{name:16} {1e3 * median:8.1f} ms a step {tokens / median:10,.0f} tokens/s  {names[0]} is {ratio:5.2f} × as fast")
    return medians


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--only", nargs="+", default=list(CONTENDERS))
    args, fields = parser.parse_known_args()
    measure(args.rounds, args.steps, fields, args.only)


if __name__ == "__main__":
    main()
