"""Measures recall and precision of `identify.guess` in each language, on pieces of 50 and of 300 characters.

    python tests/bench/identification.py [--input 'texts/*.jsonl.zst'] [--pieces 40]

The pieces are from the embedded text: sentences of eld, and the Declaration of Human Rights for languages that eld does not have, where
there are few pieces. Sentences of eld in Norwegian are told apart by words that only Bokmål or only Nynorsk has. --input adds texts of
yours, with their labels. Recall is the share of the pieces of a language that get its label. Precision is the share of its own among the
pieces of the languages of GOAL that get its label, as if all these languages had the same number of pieces. Bosnian, Croatian, Montenegrin
and Serbian in Latin letters count as one. The second table has the other languages, and for what they are taken.
"""

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from statistics import mean

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
GOAL = frozenset(  # languages of which 95 % shall be found, and 95 % of what is found shall be right
    [f"{code}_Cyrl" for code in ("bel", "bul", "mkd", "srp", "ukr")] + ["ell_Grek", "hye_Armn", "kat_Geor"] + [f"{code}_Latn" for code in (
        "als", "cat", "ces", "cym", "dan", "deu", "ekk", "eng", "eus", "fin", "fra", "gle", "glg", "hbs", "hun", "isl", "ita", "lit", "ltz",
        "lvs", "mlt", "nld", "nno", "nob", "pol", "por", "ron", "slk", "slv", "spa", "swe", "tur",
    )]
)  # fmt: skip
NORWEGIAN = {  # common words that only one of the two has
    label: re.compile(rf"\b(?:{words})\b", re.IGNORECASE)
    for label, words in {
        "nno_Latn": "ikkje|eg|ein|eit|frå|kva|vart|berre|noko|nokre|korleis|sjølv|fleire|mykje|desse|dei|blei",
        "nob_Latn": "ikke|jeg|en|et|fra|hva|ble|bare|noe|noen|hvordan|selv|flere|mye|disse|hun",
    }.items()
}


def pieces(documents: Iterable[Document], length: int, most: int) -> dict[str, list[str]]:
    """Returns up to `most` pieces of each language, which begin and end where words do."""
    texts: dict[str, list[str]] = {}
    for document in documents:
        if document.lang in LANGUAGES and document.lang not in WORLD:
            texts.setdefault(ONE.get(document.lang, document.lang), []).append(document.text)
    found = {label: list(chain.from_iterable(cut(text, length) for text in of_label)) for label, of_label in sorted(texts.items())}
    return {label: random.Random(0).sample(of, min(most, len(of))) for label, of in found.items() if len(of) >= FEWEST}


def norwegian(documents: Iterable[Document]) -> Iterator[Document]:
    """Yields the documents, but of those in Norwegian the lines that are surely Bokmål or surely Nynorsk, with the label of these."""
    for document in documents:
        if document.lang not in NORWEGIAN:
            yield document
            continue
        lines: dict[str, list[str]] = {label: [] for label in NORWEGIAN}
        for line in document.text.split("\n"):
            if len(found := [label for label, words in NORWEGIAN.items() if words.search(line)]) == 1:
                lines[found[0]].append(line)
        yield from (replace(document, lang=label, text="\n".join(of)) for label, of in lines.items())


def cut(text: str, length: int) -> list[str]:
    """Cuts a text into pieces of words, of at least `length` characters each."""
    out, piece = list[str](), ""
    for word in text.split():
        piece = f"{piece} {word}".lstrip()
        if len(piece) >= length:
            out.append(piece)
            piece = ""
    return out


def guesses(texts: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
    """Returns which share of the pieces of each language gets which label, the commonest first; "" if it gets none."""
    found = {}
    for label, of_label in texts.items():
        given = Counter(ONE.get(guessed.label, guessed.label) if (guessed := guess(text)).sure else "" for text in of_label)
        found[label] = {other: n / len(of_label) for other, n in given.most_common()}
    return found


def measured(found: Mapping[str, Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """Returns recall and precision of each language of GOAL."""
    out = {}
    for label in found.keys() & GOAL:
        own, all_ = found[label].get(label, 0.0), sum(of.get(label, 0.0) for other, of in found.items() if other in GOAL)
        out[label] = own, own / all_ if all_ else 0.0
    return out


def row(label: str, n: int, pairs: Iterable[tuple[float, float] | None]) -> str:
    """Returns the line of a language in the table."""
    cells = [f"{share:.0%}" if share is not None else "" for pair in pairs for share in pair or (None, None)]
    return f"| {name(label)} | {n} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--input", nargs="+", default=[], help="files of text with labels, in the formats of prepare")
    parser.add_argument("--pieces", type=positive_int, default=40, help="pieces of each language (default: %(default)s)")
    args = parser.parse_args()
    own = [record for file in expand(args.input) for record in read(file) if isinstance(record, Document)]
    trained = list(training_documents())
    labels = {document.lang for document in [*own, *trained]}
    documents = [*own, *norwegian(trained), *(document for document in parallel_documents() if document.lang not in labels)]
    given, counts = {}, {}
    for length in LENGTHS:
        texts = pieces(documents, length, args.pieces)
        given[length], counts[length] = guesses(texts), {label: len(of) for label, of in texts.items()}
    found = {length: measured(of) for length, of in given.items()}
    head = "".join(f" recall at {length} | precision at {length} |" for length in LENGTHS)
    lines = [f"| language | pieces |{head}", "|---|---|" + "---|---|" * len(LENGTHS)]
    shortest, longest = LENGTHS
    by_name = sorted(given[shortest], key=name)
    lines += [
        row(label, counts[longest].get(label, 0), [found[length].get(label) for length in LENGTHS]) for label in by_name if label in GOAL
    ]
    lines += ["", f"| other language | pieces | recall at {shortest} | recall at {longest} | at {longest} taken for |"]
    lines += ["|---|---|---|---|---|"]
    for label in by_name:
        if label not in GOAL and (others := given[longest].get(label)):
            recalls = " | ".join(f"{given[length][label].get(label, 0):.0%}" for length in LENGTHS)
            taken = ", ".join(f"{name(other) if other else 'none'} {share:.0%}" for other, share in others.items() if other != label)
            lines.append(f"| {name(label)} | {counts[longest][label]} | {recalls} | {taken} |")
    ratios = {
        f"{what}_{length}": mean(pair[at] for pair in found[length].values())
        for length in LENGTHS
        for at, what in enumerate(("language_recall", "language_precision"))
    }
    ratios |= {f"language_lowest_{longest}": min(map(min, found[longest].values()))}
    write(args.json, ratios, lines)


if __name__ == "__main__":
    main()
