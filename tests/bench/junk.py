"""Measures which share of junk the quality rules reject and which share of good text, by language and kind, beside FineWeb-2's filters.

    python tests/bench/junk.py [--input 'good/*.jsonl'] [--languages ces_Latn fin_Latn] [--fineweb fineweb-2/configs]

Junk and good text of unusual forms are made from the embedded sentences (junk_kinds.py), which the fences of the package were not fitted
to. --input measures good text of yours as well. --fineweb names the folder `configs` of github.com/huggingface/fineweb-2, and needs
datatrove, spacy and pyyaml; its thresholds are then applied to the same documents by datatrove's filters, in the order of FineWeb-2.
"""

import random
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from figures import arguments, write
from junk_kinds import FIRST, GOOD, SECOND, Maker

from varietas.data.clean import charsets, cleaning, fences, rules, words
from varietas.data.formats.read import expand, read
from varietas.data.text.documents import Document
from varietas.data.text.embedded import training_documents

MADE = 100  # documents of each kind and language
LEAST = 200  # characters of a document, as in `--config web`
# Languages of which some embedded sentences were decoded wrongly; those with letters that give it away are left out.
DAMAGED = ("ces_Latn", "hrv_Latn", "hun_Latn", "lit_Latn", "pol_Latn", "ron_Latn", "slk_Latn", "slv_Latn")
Rejects = Callable[[Sequence[str], str], list[bool]]


def ours(texts: Sequence[str], label: str) -> list[bool]:
    """Returns whether the rules reject each text, after it is repaired as `clean.unicode` does."""
    known = fences.load("")
    reference = known.of(label)
    repaired = [cleaning.repair(charsets.repair(text, reference, known.others(label))) for text in texts]
    references = [reference] * len(repaired)
    return [why != "" for why in rules.broken(rules.statistics(repaired, references, words.split(repaired)), references)]


def fineweb(configs: Path) -> Rejects:
    """Returns a function that says whether FineWeb-2's filters reject each text; languages without a config are not measured."""
    import yaml
    from datatrove.data import Document as Page
    from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter

    def rejects(texts: Sequence[str], label: str) -> list[bool]:
        file = configs / f"{label}.yml"
        if not file.exists():
            return []
        c = yaml.safe_load(file.read_text("utf-8"))
        filters = [
            GopherRepetitionFilter(
                language=label, dup_para_frac=0, dup_line_char_frac=0, dup_para_char_frac=0, dup_line_frac=c["dup_line_frac"],
                top_n_grams=c["top_n_grams"], dup_n_grams=c["dup_n_grams"],
            ),
            FineWebQualityFilter(
                language=label, short_line_thr=999, char_duplicates_ratio=0.1, line_punct_thr=c["line_punct_thr"],
                new_line_ratio=c["new_line_ratio"],
            ),
            GopherQualityFilter(
                language=label, max_avg_word_length=c["max_avg_word_length"], min_avg_word_length=c["min_avg_word_length"],
                stop_words=c["stopwords"], max_non_alpha_words_ratio=c["max_non_alpha_words_ratio"], min_stop_words=2,
            ),
        ]  # fmt: skip
        return [any(f.filter(Page(text, "")) is not True for f in filters) for text in texts]

    return rejects


def made(sentences: Sequence[str]) -> dict[str, list[str]]:
    """Returns MADE documents of each kind."""
    make = Maker(sentences, random.Random(0))
    return {name: [kind(make) for _ in range(MADE)] for name, kind in (FIRST | SECOND | GOOD).items()}


def shares(texts: dict[str, dict[str, list[str]]], rejects: Rejects) -> dict[str, dict[str, float]]:
    """Returns the share that is rejected of each kind in each language, kind -> language -> share."""
    found: dict[str, dict[str, float]] = {}
    for label, kinds in texts.items():
        for kind, documents in kinds.items():
            if verdicts := rejects(documents, label):
                found.setdefault(kind, {})[label] = sum(verdicts) / len(verdicts)
    return found


def table(title: str, kinds: Sequence[str], columns: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """Returns the lines of a table: the mean over languages for each kind, and the language that differs most from what is wanted."""
    worst = min if title.startswith("junk") else max
    lines = [f"{title:34}" + "".join(f"{name:>12} {'worst':>18}" for name in columns)]
    for kind in kinds:
        line = f"{kind:34}"
        for found in columns.values():
            if of := found.get(kind):
                label = worst(of, key=lambda key: of[key])
                line += f"{statistics.mean(of.values()):12.1%} {label:>10} {of[label]:7.1%}"
        lines.append(line)
    return lines


def losses(found: dict[str, dict[str, float]]) -> tuple[list[str], float]:
    """Returns which share of good text each language loses, the largest first, and how many times the median the largest is."""
    labels = found[next(iter(GOOD))]
    of_language = {label: statistics.mean(found[kind][label] for kind in GOOD) for label in labels}
    median = statistics.median(of_language.values())
    lines = [f"good text of unusual forms that is lost; the median language loses {median:.2%}"]
    for label, share in sorted(of_language.items(), key=lambda item: -item[1]):
        kind = max(GOOD, key=lambda kind: found[kind][label])
        most = f"  {kind} {found[kind][label]:.1%}" if share else ""
        lines.append(f"{label:10} {share:7.2%} {share - median:+8.2%}{most}")
    return lines, max(of_language.values()) / max(median, 1 / (MADE * len(GOOD)))


def main() -> None:
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--input", nargs="+", default=[])
    parser.add_argument("--languages", nargs="+", default=[])
    parser.add_argument("--fineweb", type=Path)
    args = parser.parse_args()
    sentences: dict[str, list[str]] = {}
    for document in training_documents():
        sound = [line for line in document.text.split("\n") if len(line) > 40 and not re.search("[ìøþðùãºëõ]", line)]
        plain = [line for line in document.text.split("\n") if len(line) > 40]
        sentences.setdefault(document.lang, []).extend(sound if document.lang in DAMAGED else plain)
    labels = args.languages or sorted(sentences)
    texts = {label: made(sentences[label]) for label in labels if label in sentences}
    own: dict[str, dict[str, list[str]]] = {}
    for file in expand(args.input):
        for record in read(file):
            if isinstance(record, Document) and len(record.text) >= LEAST and (not args.languages or record.lang in labels):
                own.setdefault(record.lang, {}).setdefault("good text of --input", []).append(record.text)
    own = {label: kinds for label, kinds in own.items() if all(len(documents) >= 20 for documents in kinds.values())}
    ways: dict[str, Rejects] = {"varietas": ours, **({"FineWeb-2": fineweb(args.fineweb)} if args.fineweb else {})}
    of_made = {name: shares(texts, way) for name, way in ways.items()}
    lines = [f"{MADE} documents of each kind in each of {len(texts)} languages"]
    lines += table("junk that was known", list(FIRST), of_made) + table("junk that was not known", list(SECOND), of_made)
    lines += table("good text of unusual forms", list(GOOD), of_made)
    of_languages, times = losses(of_made["varietas"])
    lines += of_languages
    if own:
        lines += table("good text", ["good text of --input"], {name: shares(own, way) for name, way in ways.items()})
    ratios = {f"junk_caught_{name}": _mean(found, (FIRST | SECOND).keys()) for name, found in of_made.items()}
    ratios |= {f"odd_forms_lost_{name}": _mean(found, GOOD.keys()) for name, found in of_made.items()}
    ratios["odd_forms_lost_worst_vs_median"] = times
    write(args.json, ratios, lines)


def _mean(found: dict[str, dict[str, float]], kinds: Iterable[str]) -> float:
    return statistics.mean(share for kind in kinds for share in found.get(kind, {}).values())


if __name__ == "__main__":
    main()
