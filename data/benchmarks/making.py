"""All items from text: of each kind and language, as many as the text gives, or none if it gives too few."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from varietas.data.benchmarks import continuation, generation, inflection, orthography, recall, word_order
from varietas.data.benchmarks.counts import count
from varietas.data.benchmarks.items import Item
from varietas.data.benchmarks.sentences import Paragraph, passages, sentences
from varietas.data.benchmarks.tasks import FORMS, Task

FEWEST = 40  # items of a benchmark
KINDS = {  # what each kind asks, and the share of right answers by guessing
    "continuation": ("which of four second halves belongs to the first half of a passage", 1 / 4),
    "word_order": ("a sentence, or the same with a word moved to where it never stands", 1 / 2),
    "inflection": ("a sentence, or the same with a word in a form that its neighbours do not go with", 1 / 2),
    "orthography": ("a sentence, or the same with a letter written wrongly", 1 / 2),
    "recall": ("which word was given for another one at the beginning of a long text", 1 / 4),
    "generation": ("the language in which a model continues a text", 0.0),
}


@dataclass(frozen=True)
class Benchmark:
    """The items of one kind in one language."""

    kind: str
    lang: str
    items: tuple[Item, ...]  # none, if the text gives fewer than FEWEST
    found: int  # items that the text gives
    part: str = ""  # of recall: the distance


def make(
    lang: str, paragraphs: Sequence[Paragraph], reference: Sequence[Paragraph], kinds: Sequence[str], n: int, seed: int
) -> Iterator[Benchmark]:
    """Makes the benchmarks of a language.

    Args:
        lang: Its label, "ces_Latn".
        paragraphs: What items are made from.
        reference: Text whose words are counted, which may be the same.
        kinds: Some of KINDS.
        n: Items of each benchmark, at most.
        seed: Chooses other items of the same text.

    Raises:
        ModuleNotFoundError: If kinds has "generation", and no identifier of languages is installed.
    """
    counts = count(reference)
    whole, rows, name = sentences(paragraphs, lang), passages(paragraphs, lang), f"{lang} %s"

    def items_of(kind: str, part: str) -> list[Item]:
        match kind:
            case "continuation":
                return continuation.make(rows, n, seed, name % kind)
            case "word_order":
                return word_order.make(whole, counts, n, seed, name % kind)
            case "inflection":
                return inflection.make(whole, inflection.forms(reference, counts), counts, n, seed, name % kind)
            case "orthography":
                return orthography.make(whole, lang, counts, n, seed, name % kind)
            case "recall":
                return recall.make(whole, lang, counts, int(part), n, seed)
            case _:
                return generation.make(rows, lang, n, seed, name % kind)

    for kind in kinds:
        for part in map(str, recall.DISTANCES) if kind == "recall" else ("",):
            items = items_of(kind, part)
            yield Benchmark(kind, lang, tuple(items) if len(items) >= FEWEST else (), len(items), part)


def task_of(benchmark: Benchmark) -> Task:
    """Returns a benchmark as a task for lm_eval."""
    kind, generated = benchmark.kind, benchmark.kind == "generation"
    asked, chance = KINDS[kind]
    records = [
        {"context": item.context, "target": item.choices[0]}
        if generated
        else {"context": item.context, "choices": list(item.choices), "answer": item.answer, "about": item.about}
        for item in benchmark.items
    ]
    group, about = f"varietas_{kind}", f"{asked[0].upper()}{asked[1:]}."
    if benchmark.part:
        about += f" {int(benchmark.part):,} characters of text lie in between."
        return Task(f"{group}_{benchmark.part}", benchmark.lang, "continuation", records, chance, about, ("varietas", group))
    form = kind if kind in FORMS else "sentence"
    return Task(group, benchmark.lang, form, records, chance, about)
