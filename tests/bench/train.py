"""Measures training steps of the same model, in turn: the whole of `varietas train`, its compiled step alone, plain jax, and transformers
with eager torch and with torch.compile.

    python tests/bench/train.py [--rounds 5] [--steps 20] [--config.model.d_model=384 …]
"""

import statistics
import sys

from contenders import CONTENDERS, start
from figures import arguments, shared_config, write

from varietas.launch.flags import positive_int


def measure(rounds: int, steps: int, fields: list[str], names: list[str]) -> tuple[dict[str, float], list[str]]:
    """Returns the median seconds of a step of each contender, and lines that report them."""
    config, needed = shared_config(fields), 4 + rounds * (steps + 2)
    if config.train.steps < needed:
        sys.exit(f"train.steps={config.train.steps} ends before all is timed; leave it as it is, or set train.steps={needed} or more")
    contenders = {name: start(name, config) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, contender in contenders.items():
            seconds[name] += contender.run(steps)
    for contender in contenders.values():
        contender.end()
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    tokens = config.train.batch_size * config.data.seq_len
    lines = [
        f"{name:14} {1e3 * median:8.1f} ms per step (fastest {1e3 * min(seconds[name]):.1f}) {tokens / median:10,.0f} tokens/s, "
        f"ready after {contenders[name].ready_seconds:.0f} s"
        for name, median in medians.items()
    ]
    return medians, lines


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--steps", type=positive_int, default=20, help="steps of each turn")
    parser.add_argument("--only", nargs="+", default=list(CONTENDERS), choices=CONTENDERS)
    args, fields = parser.parse_known_args()
    medians, lines = measure(args.rounds, args.steps, fields, args.only)
    ratios = {}
    if ours := medians.get("varietas"):
        ratios = {f"train_vs_{name}": median / ours for name, median in medians.items() if name not in ("varietas", "bare_step")}
        if "bare_step" in medians:
            ratios["loop_overhead"] = ours / medians["bare_step"] - 1
    write(args.json, ratios, lines)


if __name__ == "__main__":
    main()
