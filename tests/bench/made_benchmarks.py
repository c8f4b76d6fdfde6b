"""Whether the benchmarks that are made from text tell models apart: the demo after more and more steps, and a larger model.

    python tests/bench/made_benchmarks.py [--steps 40 120 480] [--longer 1440] [--items 100] [--runs DIR]

A quarter of the embedded text gives the items. Models are trained on the rest, which also says what is usual in each language. For each
kind of items the table has the share of right answers, in how many languages it is no chance (exact binomial test, 5 %), and in how many
it is higher than that of the model above. The first model has not been trained.
"""

import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from figures import arguments, write
from rich.console import Console

import varietas
from varietas.data.benchmarks.making import CHANCE, Benchmark, make
from varietas.data.benchmarks.sentences import gather
from varietas.data.benchmarks.significance import by_chance
from varietas.data.prepare.prepare import prepare_documents
from varietas.data.text.documents import Document
from varietas.data.text.embedded import training_documents
from varietas.data.tokenizer.training import train
from varietas.launch.flags import positive_int

KINDS = ("continuation", "word_order", "inflection", "orthography")  # recall needs larger models than these
PIECES = 8192
LARGER = {"model.d_model": 256, "model.d_ff": 768, "optim.peak_lr": 3e-3}
LENGTH, BATCH = 128, 64  # tokens of a window, windows at once

Right = Mapping[tuple[str, str], tuple[int, int]]  # right answers and items, by kind and language


def right(run: varietas.Run, step: int, benchmarks: Sequence[Benchmark]) -> Right:
    """Returns how many items a checkpoint answers as they should be.

    The choice with the highest likelihood counts; in continuations, the one whose likelihood the context raises most.
    """
    from varietas.train.inference.evaluate import encode, nats

    texts = {}
    for benchmark in benchmarks:
        for number, item in enumerate(benchmark.items):
            for place, choice in enumerate(item.choices):
                key = f"{benchmark.kind} {benchmark.lang} {number} {place}"
                texts[key] = item.context + choice
                if item.context:
                    texts[f"{key} alone"] = choice.strip()
    encoded = encode((Document(key, key, text) for key, text in texts.items()), run.folder)
    cost = {key: float(each.sum()) for key, each in nats(run._network(step)[0], encoded, LENGTH, BATCH).items()}
    found = {}
    for benchmark in benchmarks:
        n_right = 0
        for number, item in enumerate(benchmark.items):
            keys = [f"{benchmark.kind} {benchmark.lang} {number} {place}" for place in range(len(item.choices))]
            n_right += int(np.argmin([cost[key] - cost.get(f"{key} alone", 0.0) for key in keys])) == item.answer
        found[benchmark.kind, benchmark.lang] = n_right, len(benchmark.items)
    return found


def trained(folder: Path, corpus: Path, fields: Mapping[str, object]) -> varietas.Run:
    """Returns a run that is trained, if it is not yet."""
    run = varietas.Run("demo", {"data.corpus": str(corpus), "checkpoint.keep": 100, **fields}, folder=folder, console=Console(quiet=True))
    if not run.train():
        sys.exit("interrupted: nothing is compared")
    return run


def main() -> None:
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--steps", type=positive_int, nargs="+", default=[40, 120, 480], help="checkpoints of the demo that are compared")
    parser.add_argument("--longer", type=positive_int, default=1440, help="steps of a longer training (default: %(default)s)")
    parser.add_argument("--items", type=positive_int, default=100, help="of a kind and language at most (default: %(default)s)")
    parser.add_argument("--runs", type=Path, help="where models are kept, or were")
    args = parser.parse_args()
    documents = list(training_documents())
    held = [document for document in documents if int(document.id.rpartition(":")[2]) % 4 == 0]
    rest = [document for document in documents if document not in held]
    texts, more = gather(held), gather(rest)
    made = [b for lang, mine in texts.items() for b in make(lang, mine, [*mine, *more[lang]], KINDS, args.items, 0) if b.items]
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.runs or Path(temporary)
        if not (folder / "corpus").exists():
            prepare_documents(rest, train(lambda: rest, PIECES), folder / "corpus")
        every, last = int(np.gcd.reduce(args.steps)), max(args.steps)
        untrained = {"train.steps": 1, "optim.peak_lr": 1e-12, "optim.warmup_steps": 0}
        models = {  # name: the folder of the run, its fields, the step
            "untrained": ("untrained", untrained, 1),
            **{f"{n:,} steps": ("demo", {"train.steps": last, "checkpoint.every": every}, n) for n in sorted(args.steps)},
            f"{args.longer:,} steps": ("longer", {"train.steps": args.longer, "checkpoint.every": last}, args.longer),
            f"larger, {last:,} steps": ("larger", {**LARGER, "train.steps": last, "checkpoint.every": last}, last),
        }
        lines, ratios, before = [f"{'':20} {'kind':14} {'right':>6} {'no chance':>10} {'better':>7} {'languages':>10}"], {}, {}
        for name, (where, fields, step) in models.items():
            found = right(trained(folder / where, folder / "corpus", fields), step, made)
            by_kind = defaultdict(list)
            for (kind, lang), (n_right, n) in found.items():
                sure = by_chance(n_right, n, CHANCE[kind]) < 0.05
                by_kind[kind].append((n_right / n, sure, n_right > before.get((kind, lang), (n_right, n))[0]))
            for kind, rows in by_kind.items():
                share, sure, better = np.mean([row[0] for row in rows]), sum(row[1] for row in rows), sum(row[2] for row in rows)
                lines.append(f"{name:20} {kind:14} {share:6.1%} {sure:10} {better:7} {len(rows):10}")
                print(lines[-1], file=sys.stderr, flush=True)
                ratios[f"{kind} {name}"] = float(share)
            before = found
    write(args.json, ratios, lines)


if __name__ == "__main__":
    main()
