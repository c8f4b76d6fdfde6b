"""Measures recall and precision of `identify.guess` in each language, on pieces of 50 and of 300 characters.

    python tests/bench/identification.py [--input 'texts/*.jsonl.zst'] [--pieces 40]

The pieces are from the embedded text: sentences of eld (whose Norwegian is Bokmål and Nynorsk), and the Declaration of Human Rights for
languages that eld does not have, where there are few pieces. --input adds texts of yours, with their labels. Recall is the share of the
pieces of a language that get its label. Precision is the share of its own among the pieces that get its label, as if all languages had the
same number of pieces. Bosnian, Croatian, Montenegrin and Serbian in Latin letters count as one.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from figures import arguments, write

from varietas.data.clean.fences import TOGETHER
from varietas.data.formats.read import expand, read
from varietas.data.text.documents import Document
from varietas.data.text.embedded import parallel_documents, training_documents
from varietas.data.text.identify import guess
from varietas.data.text.languages import LANGUAGES, WORLD, name
from varietas.launch.flags import positive_int

LENGTHS = (50, 300)  # characters
ONE = dict.fromkeys(TOGETHER[0], "hbs_Latn")  # label -> the one that stands for it
FEWEST = 2  # pieces of a language that is measured


def pieces(documents: Iterable[Document], length: int, most: int) -> dict[str, list[str]]:
    """Returns up to `most` pieces of each language, which begin and end where words do."""
    texts: dict[str, list[str]] = {}
    for document in documents:
        if document.lang in LANGUAGES and document.lang not in WORLD:
            texts.setdefault(ONE.get(document.lang, document.lang), []).append(document.text)
    found = {label: list(chain.from_iterable(cut(text, length) for text in of_label)) for label, of_label in sorted(texts.items())}
    return {label: random.Random(0).sample(of, min(most, len(of))) for label, of in found.items() if len(of) >= FEWEST}


def cut(text: str, length: int) -> list[str]:
    """Cuts a text into pieces of words, of at least `length` characters each."""
    out, piece = list[str](), ""
    for word in text.split():
        piece = f"{piece} {word}".lstrip()
        if len(piece) >= length:
            out.append(piece)
            piece = ""
    return out


def measured(texts: Mapping[str, Sequence[str]]) -> dict[str, tuple[float, float]]:
    """Returns recall and precision of each language."""
    found: dict[str, dict[str, float]] = {}  # label -> label that is given -> share
    for label, of_label in texts.items():
        guesses = Counter(ONE.get(guessed.label, guessed.label) for text in of_label if (guessed := guess(text)).sure)
        found[label] = {given: n / len(of_label) for given, n in guesses.items()}
    out = {}
    for label, shares in found.items():
        own, all_ = shares.get(label, 0.0), sum(of.get(label, 0.0) for of in found.values())
        out[label] = own, own / all_ if all_ else 0.0
    return out


def row(label: str, n: int, pairs: Iterable[tuple[float, float] | None]) -> str:
    """Returns the line of a language in the table."""
    cells = [f"{share:.1%}" if share is not None else "" for pair in pairs for share in pair or (None, None)]
    return f"| {name(label)} | {n} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--input", nargs="+", default=[], help="files of text with labels, in the formats of prepare")
    parser.add_argument("--pieces", type=positive_int, default=40, help="pieces of each language (default: %(default)s)")
    args = parser.parse_args()
    own = [record for file in expand(args.input) for record in read(file) if isinstance(record, Document)]
    trained = list(training_documents())
    labels = {document.lang for document in [*own, *trained]}
    documents = [*own, *trained, *(document for document in parallel_documents() if document.lang not in labels)]
    found, counts = {}, {}
    for length in LENGTHS:
        texts = pieces(documents, length, args.pieces)
        found[length], counts[length] = measured(texts), {label: len(of) for label, of in texts.items()}
    head = "".join(f" recall at {length} | precision at {length} |" for length in LENGTHS)
    lines = [f"| language | pieces |{head}", "|---|---|" + "---|---|" * len(LENGTHS)]
    longest = LENGTHS[-1]
    lines += [row(label, counts[longest].get(label, 0), [found[length].get(label) for length in LENGTHS]) for label in found[LENGTHS[0]]]
    ratios = {
        f"{what}_{length}": sum(pair[at] for pair in found[length].values()) / len(found[length])
        for length in LENGTHS
        for at, what in enumerate(("language_recall", "language_precision"))
    }
    write(args.json, ratios, lines)


if __name__ == "__main__":
    main()
