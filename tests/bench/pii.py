"""Measures how well and how fast `pii.mask` finds personal data.

    python tests/bench/pii.py [--corpus 'texts/*.jsonl.zst'] [--rounds 3] [--show]

The first table is of all kinds of numbers by country (pii_kinds.py), each written in several ways: as usual, with no-break and narrow
spaces, with hyphens, with U+2011, in lower case, and joined. A number is found if it is masked completely, and nothing beside it. The
second table is of phone numbers without a country code, in each official language of the EU.

The phone numbers are the examples of phonenumbers for the countries of the language, and random valid numbers of the same lengths. They are
written in their national format or a usual variant of it, and put into sentences of pii_phones.py. The sentences of pii_others.py speak of
telephones but contain as many other numbers.

Recall is the share of phone numbers that are masked completely. Precision is the share of phone numbers among everything that is masked in
both kinds of sentences. Speed is that of `pii.mask` over the embedded text, and over the text of --corpus. --show prints the sentences that
are not masked correctly, and the numbers that are masked in real text.
"""

import random
import re
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import phonenumbers
import pii_kinds
import pii_others
import pii_phones
from figures import arguments, by_turns, timed, write

from varietas.data.clean import cleaning, pii
from varietas.data.formats.read import expand, read
from varietas.data.text.documents import Document
from varietas.data.text.embedded import training_documents
from varietas.data.text.languages import name

NUMBERS = 2000  # phone numbers, and other numbers, for each language
EACH, OTHERS = 10, 1000  # numbers of a country in each sentence; other numbers of the same form
RANDOM = 40  # random valid numbers for each country, besides the examples


@dataclass(frozen=True)
class Sentence:
    """A text, with the begin and end of each phone number in it."""

    text: str
    phones: tuple[tuple[int, int], ...] = ()


@dataclass
class Found:
    """Counts of the numbers of a language."""

    phones: int = 0  # phone numbers
    right: int = 0  # phone numbers that are masked completely
    wrong: int = 0  # other places that are masked

    @property
    def recall(self) -> float:
        """Share of the phone numbers that are masked."""
        return self.right / self.phones

    @property
    def precision(self) -> float:
        """Share of phone numbers among what is masked."""
        return self.right / (self.right + self.wrong)


def national(country: str, rng: random.Random) -> list[str]:
    """Returns numbers of a country in national format: an example of each type, and random valid numbers of the same lengths."""
    types = phonenumbers.PhoneNumberType.values()
    found = [example for kind in types if (example := phonenumbers.example_number_for_type(country, kind))]
    lengths = [len(phonenumbers.national_significant_number(example)) for example in found]
    while len(found) < len(lengths) + RANDOM:
        digits = "".join(rng.choice("0123456789") for _ in range(rng.choice(lengths)))
        zero = digits[0] == "0" or None
        number = phonenumbers.PhoneNumber(phonenumbers.country_code_for_region(country), int(digits), italian_leading_zero=zero)
        if phonenumbers.is_valid_number_for_region(number, country):
            found.append(number)
    return sorted({phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL) for number in found})


def written(number: str, rng: random.Random) -> str:
    """Returns the number as it is, or in a usual variant of its format."""
    plain = number.replace("(", "").replace(")", "").replace("-", " ")
    first, _, rest = plain.partition(" ")
    area = bool(rest) and first.startswith("0")
    variants = [
        number,
        number.replace(" ", "\u00a0"),
        plain.replace(" ", rng.choice("-\u2011\u2013")),
        plain.replace(" ", "."),
        plain.replace(" ", ""),
        f"{first}/{rest}" if area else plain,
        f"({first}) {rest}" if area else plain,
    ]
    return rng.choice([number] * 3 + variants)


def other(kind: str, rng: random.Random) -> str:
    """Returns a number of another kind than a phone number."""
    r = rng.randint
    date = rng.choice(["{0:02}.{1:02}.{2}", "{0}. {1}. {2}", "{2}-{1:02}-{0:02}", "{0:02}/{1:02}/{2}"])
    amount = f"{r(10**4, 10 ** r(5, 9)):,}".replace(",", rng.choice(" .\u00a0"))
    make: dict[str, Callable[[], str]] = {
        "date": lambda: date.format(r(1, 28), r(1, 12), r(1950, 2026)),
        "years": lambda: f"{r(1900, 1999)}{rng.choice('-–')}{r(2000, 2026)}",
        "price": lambda: amount,
        "count": lambda: amount,
        "size": lambda: f"{r(90, 190)} x {r(60, 90)} x {r(6, 12)}",
        "isbn": lambda: f"978-{r(0, 9)}-{r(10, 999)}-{r(10000, 99999)}-{r(0, 9)}",
        "issn": lambda: f"{r(1000, 2999)}-{r(1000, 9999)}",
        "version": lambda: f"{r(1, 30)}.{r(0, 20)}.{r(0, 200)}",
        "score": lambda: f"{r(0, 9)}:{r(0, 9)} ({r(0, 5)}:{r(0, 5)})",
        "law": lambda: rng.choice([f"{r(10, 999)}.{r(0, 9)}.{r(0, 9)}.{r(10, 99)}", f"{r(1, 999)}/{r(1960, 2026)}"]),
        "draw": lambda: " ".join(f"{n:02}" for n in sorted(rng.sample(range(1, 50), rng.choice([5, 6])))),
        "case": lambda: f"{r(1, 40)} {rng.choice('CTK')} {r(1, 999)}/{r(1990, 2026)}",
        "percent": lambda: f"{r(1, 99)},{r(0, 9)} %",
        "row": lambda: " ".join(str(r(1, 999)) for _ in range(r(4, 7))),
        "hours": lambda: f"{r(6, 10)}.{rng.choice(['00', '30'])}{rng.choice(['-', '–', ' – '])}{r(14, 20)}.{rng.choice(['00', '30'])}",
        "imei": lambda: f"35{r(10**12, 10**13 - 1)}",
        "order": lambda: f"{r(2015, 2026)}/{r(1, 99999):06}",
    }
    return make[kind]()


def with_phones(language: str, rng: random.Random) -> Iterator[Sentence]:
    """Yields sentences with NUMBERS phone numbers, or one more."""
    countries, *templates = pii_phones.SENTENCES[language].splitlines()
    numbers = [national(country, rng) for country in countries.split()]
    made = 0
    while made < NUMBERS:
        text, phones = rng.choice(templates).replace("|", "\n"), list[tuple[int, int]]()
        country = rng.choice(numbers)
        for place in ("{n}", "{m}"):
            if place in text:
                begin, number = text.index(place), written(rng.choice(country), rng)
                text = text.replace(place, number)
                phones.append((begin, begin + len(number)))
        made += len(phones)
        yield Sentence(text, tuple(phones))


def without_phones(language: str, rng: random.Random) -> Iterator[Sentence]:
    """Yields sentences with NUMBERS other numbers, or a few more."""
    templates = pii_others.SENTENCES[language].splitlines()
    made = 0
    while made < NUMBERS:
        text, found = re.subn(r"\{(\w+)\}", lambda match: other(match[1], rng), rng.choice(templates))
        made += found
        yield Sentence(text)


def search(language: str, show: bool) -> Found:
    """Searches the sentences of a language, and counts what is masked in them."""
    rng, found = random.Random(language), Found()
    for sentence in [*with_phones(language, rng), *without_phones(language, rng)]:
        spans = pii.find(sentence.text, language)
        covered = {at for span in spans for at in range(span.begin, span.end)}
        right = [covered.issuperset(range(*phone)) for phone in sentence.phones]
        wrong = [span for span in spans if not any(span.begin < end and begin < span.end for begin, end in sentence.phones)]
        found.phones += len(right)
        found.right += sum(right)
        found.wrong += len(wrong)
        if show and (wrong or not all(right)):
            print(language, repr(sentence.text), [sentence.text[span.begin : span.end] for span in spans])
    return found


def masked(documents: list[Document], show: bool) -> list[str]:
    """Returns a table of how many places are masked in a million characters, by language and kind."""
    characters, counts = Counter[str](), dict[str, Counter[str]]()
    for document in documents:
        spans = pii.find(document.text, document.lang)
        characters[document.lang] += len(document.text)
        counts.setdefault(document.lang, Counter()).update(span.kind for span in spans)
        for span in spans:
            if show and span.kind == "phone":
                before, after = document.text[max(0, span.begin - 60) : span.begin], document.text[span.end : span.end + 20]
                print(document.lang, repr(before), f"[{document.text[span.begin : span.end]}]", repr(after))
    kinds = sorted({kind for found in counts.values() for kind in found})
    lines = ["masked per million characters".ljust(30) + "".join(f"{kind:>8}" for kind in kinds)]
    for language, found in sorted(counts.items()):
        lines.append(f"{name(language):30}" + "".join(f"{found[kind] / characters[language] * 1e6:8.1f}" for kind in kinds))
    return lines


def is_found(number: str, sentence: str) -> bool:
    """Returns whether a number is masked, as one of any kind, and nothing else of the sentence."""
    before, after = map(cleaning.repair, sentence.split("{n}"))
    text, _ = pii.mask(cleaning.repair(sentence.replace("{n}", number)))
    return bool(re.fullmatch(f"{re.escape(before)}<[a-z]+>{re.escape(after)}", text))


def share_found(number: Callable[[], str], sentences: Iterable[str], show: bool) -> tuple[float, dict[str, float]]:
    """Returns which share of EACH random numbers in each sentence is found in all spellings, and in each of them."""
    found = dict[str, list[bool]]()
    for sentence in sentences:
        for _ in range(EACH):
            for way, spelt in pii_kinds.spellings(number()).items():
                found.setdefault(way, []).append(is_found(spelt, sentence))
                if show and not found[way][-1]:
                    print("not found:", way, sentence.replace("{n}", spelt))
    by_way = {way: sum(of) / len(of) for way, of in found.items()}
    return sum(by_way.values()) / len(by_way), by_way


def countries(show: bool = False) -> list[str]:
    """Returns the table of what is found of each country's numbers, and of what is masked of other numbers."""
    rng = random.Random(0)
    lines = [
        "| country | phone | IBAN | national number | in the worst spelling | other numbers of its form |",
        "|---|---|---|---|---|---|",
    ]
    for country, (_, _, sentences) in pii_kinds.NATIONAL.items():
        code, cells = country.partition(",")[0], list[str]()
        cells.append(f"{share_found(partial(pii_kinds.phone, code, rng), pii_kinds.SENTENCES, show)[0]:.0%}" if country == code else "")
        has_iban = country == code
        cells.append(f"{share_found(partial(pii_kinds.iban, code, rng), pii_kinds.SENTENCES, show)[0]:.0%}" if has_iban else "")
        all_, by_way = share_found(partial(pii_kinds.national_number, country, rng), sentences.split("|"), show)
        worst = min(by_way, key=lambda way: by_way[way])
        others = [pii_kinds.national_number(country, rng, valid=False) for _ in range(OTHERS)]
        masked = sum(bool(pii.find(f"Stojí tu {other}, a dál.")) for other in others)
        cells += [f"{all_:.0%}", f"{by_way[worst]:.0%} {worst}" if by_way[worst] < 1 else "", f"{masked / OTHERS:.1%}"]
        lines.append(f"| {country} | " + " | ".join(cells) + " |")
    cards, addresses = (share_found(partial(make, rng), pii_kinds.SENTENCES, show) for make in (pii_kinds.card, pii_kinds.address))
    emails = [is_found(email, sentence) for email in pii_kinds.EMAILS for sentence in pii_kinds.SENTENCES]
    others = [*pii_kinds.NO_EMAILS, *pii_kinds.NO_NUMBERS]
    wrong = [other for other in others if pii.find(f"Stojí tu {other}, a dál.")]
    if show and wrong:
        print("masked wrongly:", wrong)
    shares = f"{sum(emails) / len(emails):.0%}, payment cards: {cards[0]:.0%}, IP addresses: {addresses[1]['usual']:.0%}"
    return [
        *lines,
        "",
        f"E-mail addresses found: {shares}. Of {len(others)} dates, prices, versions, file names and the like, {len(wrong)} are masked.",
    ]


def mask_all(documents: list[Document]) -> None:
    """Masks the text of each document, for the speed."""
    for document in documents:
        pii.mask(document.text, document.lang)


def main() -> None:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--corpus", nargs="+", default=[], help="files of real text, in the formats of --input")
    parser.add_argument("--show", action="store_true", help="print what is not masked correctly, and what is masked in real text")
    measure(parser.parse_args())


def measure(args: Namespace) -> None:
    """Measures everything and writes the figures."""
    found = {language: search(language, args.show) for language in pii_phones.SENTENCES}
    lines = [*countries(args.show), ""]
    lines += ["| language | recall | precision |", "|---|---|---|"]
    lines += [f"| {name(language)} | {of.recall:.1%} | {of.precision:.1%} |" for language, of in found.items()]
    texts = {"embedded text": list(training_documents())}
    if args.corpus:
        texts["corpus"] = [record for file in expand(args.corpus) for record in read(file) if isinstance(record, Document)]
    for what, documents in texts.items():
        lines += ["", what, *masked(documents, args.show)]
    medians = by_turns({what: partial(timed, partial(mask_all, documents)) for what, documents in texts.items()}, args.rounds)
    for what, seconds in medians.items():
        megabytes = sum(len(document.text.encode()) for document in texts[what]) / 1e6
        lines.append(f"{what}: {megabytes:.1f} MB, {megabytes / seconds:.1f} MB/s")
    ratios = {
        "pii_lowest_recall": min(of.recall for of in found.values()),
        "pii_lowest_precision": min(of.precision for of in found.values()),
    }
    write(args.json, ratios, lines)


if __name__ == "__main__":
    main()
