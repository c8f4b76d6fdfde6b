"""What the demo's model learns in the same steps with AdamW and with Muon, and how many steps Muon needs for what AdamW reaches.

    python tests/bench/learning.py [--steps 60 120 240] [--ratios 1 …] [--config.FIELD=VALUE …]

Each run has its whole schedule. Bits per byte are means over the languages of the Declaration of Human Rights. AdamW has the largest number
of steps, and Muon all of them. Each ratio is an optim.muon_lr_ratio; the first is compared with AdamW. Rounds are seeds.
"""

import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from figures import arguments, write
from rich.console import Console

import varietas
from varietas.launch.flags import positive_int

QUIET = Console(quiet=True)
ADAMW_RATE = 5e-3  # better than 1e-2


def learned(folder: Path, fields: dict[str, object]) -> tuple[float, float]:
    """Trains a demo. Returns the mean bits per byte over the languages, and the mean training loss of the last tenth of the steps."""
    run = varietas.Run("demo", fields, folder=folder, console=QUIET)
    if not run.train():
        sys.exit("interrupted: nothing is compared")
    losses = [step["loss"] for step in run.metrics]
    rows = [row["bits_per_byte"] for row in run.evaluate().values() if row["trained_on"]]
    return statistics.mean(rows), statistics.mean(losses[-len(losses) // 10 :])


def steps_for(value: float, curve: dict[int, float]) -> float:
    """Returns the steps after which a curve falls to `value`: between those that were run it is a straight line over their logarithm."""
    steps, found = zip(*sorted(curve.items(), reverse=True), strict=True)  # np.interp wants ascending values
    return float(np.exp2(np.interp(value, found, np.log2(steps))))


def main() -> None:
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--steps", type=positive_int, nargs="+", default=[60, 120, 240], help="steps of the runs")
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.2], help="values of optim.muon_lr_ratio")
    args, fields = parser.parse_known_args()
    given = dict(field.removeprefix("--config.").split("=", 1) for field in fields)
    ways = {"adamw": {"optim.name": "adamw", "optim.peak_lr": ADAMW_RATE}} | {
        f"muon, ratio {ratio:g}": {"optim.name": "muon", "optim.muon_lr_ratio": ratio} for ratio in args.ratios
    }
    curves: dict[str, dict[int, float]] = {way: {} for way in ways}
    lines = [f"{'':16} {'steps':>6} {'bits per byte':>14} {'loss':>7}"]
    for way, chosen in ways.items():
        for steps in args.steps if way != "adamw" else [max(args.steps)]:
            results = []
            for seed in range(args.rounds):
                about = {"seed": seed, "train.steps": steps, "checkpoint.every": 0}
                with tempfile.TemporaryDirectory() as folder:
                    results.append(learned(Path(folder) / "run", {**about, **given, **chosen}))
            bits, loss = (statistics.mean(values) for values in zip(*results, strict=True))
            curves[way][steps] = bits
            lines.append(f"{way:16} {steps:6,} {bits:14.3f} {loss:7.3f}")
            print(lines[-1], file=sys.stderr, flush=True)
    adamw, muon, *_ = curves.values()
    last = max(args.steps)
    write(args.json, {"muon_steps_vs_adamw": last / steps_for(adamw[last], muon)}, lines)


if __name__ == "__main__":
    main()
