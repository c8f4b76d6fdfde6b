"""Measures what small forms cost in each language where a model has seen many tokens for its size, and what calibration text changes.

    python tests/bench/small_forms.py [--steps 2500] [--seeds 0 1] [--runs DIR]

Trains models of 0.3 M parameters on the embedded text. Their small forms are evaluated on documents of that text, and calibrated on others:
on samples of all languages alike (one a round), and on the languages alone that the web has most of. `--runs` keeps the models.
"""

import statistics
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from figures import arguments, write
from rich.console import Console

import varietas
from varietas.data.text.documents import Document
from varietas.data.text.embedded import training_documents
from varietas.launch.flags import positive_int

SHAPE = {"model.d_model": 64, "model.d_ff": 192, "model.n_heads": 4, "model.n_kv_heads": 4, "data.embedded_vocab_size": 1024}
LEARNING = {"optim.peak_lr": 5e-3, "optim.warmup_steps": 40, "checkpoint.every": 500, "checkpoint.keep": 20}
LARGE = ("eng_Latn", "deu_Latn", "fra_Latn", "spa_Latn", "ita_Latn")
EVALUATED = range(40, 50)  # documents of each language
SAMPLE = 4  # documents of each language to calibrate on


def documents(numbers: range, languages: Collection[str] = ()) -> Iterator[Document]:
    """Yields the documents of the embedded text that have these numbers in their language, of some languages or of all."""
    for document in training_documents():
        if int(document.id.rpartition(":")[2]) in numbers and (not languages or document.lang in languages):
            yield document


def trained(folder: Path, seed: int, steps: int) -> varietas.Run:
    """Returns a trained run. One that is in the folder goes on if it is not at its end."""
    run = varietas.Run("base", {**SHAPE, **LEARNING, "seed": seed, "train.steps": steps}, folder=folder, console=Console(quiet=True))
    if not run.train():
        sys.exit("interrupted: nothing is measured")
    return run


def more_bits(run: varietas.Run, samples: int) -> dict[str, dict[str, float]]:
    """Returns the part by which the bits per byte of each language grow, by form and calibration text."""
    from varietas.launch.models.quantizing import Small, made_small
    from varietas.train.inference.evaluate import encode, nats
    from varietas.train.inference.network import Network

    forms = {"int8": Small("int8"), "int4": Small("int4")}
    forms |= {f"int4, sample {k + 1}": Small("int4", documents(range(SAMPLE * k, SAMPLE * (k + 1)))) for k in range(samples)}
    forms["int4, large only"] = Small("int4", documents(range(SAMPLE), LARGE))
    texts, (network, _) = encode(documents(EVALUATED), run.folder), run._network()

    def bits(network: Network) -> dict[str, float]:
        return {code: float(of_documents.sum()) for code, of_documents in nats(network, texts, run.config.data.seq_len, 64).items()}

    whole, found = bits(network), {}
    for name, form in forms.items():
        small = bits(made_small(network, run.folder, form))
        found[name] = {code: small[code] / whole[code] - 1 for code in whole}
    return found


def main() -> None:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--steps", type=positive_int, default=2500, help="of training, 4,096 tokens each")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="a model is trained with each")
    parser.add_argument("--runs", type=Path, help="where models are kept, or were, each in a folder named after its seed")
    args = parser.parse_args()
    lines, ratios = [], {}
    for seed in args.seeds:
        with tempfile.TemporaryDirectory() as temporary:
            found = more_bits(trained((args.runs or Path(temporary)) / f"small{seed}", seed, args.steps), args.rounds)
        lines += [f"seed {seed}", f"{'':18} {'mean':>8} {'best':>8} {'worst':>17} {'gap':>8} {'large':>8} {'others':>8}"]
        for name, more in found.items():
            worst, best = max(more, key=more.__getitem__), min(more.values())
            of_large, of_others = ([x for code, x in more.items() if (code in LARGE) == large] for large in (True, False))
            mean, large, others = (statistics.mean(values) for values in (more.values(), of_large, of_others))
            lines.append(
                f"{name:18} {mean:+8.3%} {best:+8.3%} {worst} {more[worst]:+8.3%} {more[worst] - best:8.3%} {large:+8.3%} {others:+8.3%}"
            )
            ratios[f"seed {seed}, {name}: gap in %"] = 100 * (more[worst] - best)
        lines += ["", *(f"{code} " + " ".join(f"{more[code]:+8.3%}" for more in found.values()) for code in found["int4"]), ""]
    write(args.json, ratios, lines)


if __name__ == "__main__":
    main()
