"""Makes the documents of junk.py from sentences of a language: kinds of junk that web pages have, and good text of unusual forms.

A kind is a function of a Maker, which draws sentences, words and numbers. FIRST were known when the rules were made. SECOND were written
afterwards, and nothing was changed for them.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

LOREM = re.findall(
    r"\w+",
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore magna aliqua enim "
    "ad minim veniam quis nostrud exercitation ullamco laboris nisi aliquip ex ea commodo consequat duis aute irure in "
    "reprehenderit voluptate velit esse cillum fugiat nulla pariatur excepteur sint occaecat cupidatat non proident sunt culpa qui "
    "officia deserunt mollit anim id est ",
)
SYMBOLS = "~^|#*_<>}{\\¬§¤°¦†"
TRADE = ("Acme", "Nordika", "Solaris", "Bonanza", "Praktika", "Alfa", "Omega", "Delta")


@dataclass
class Maker:
    """Draws pieces of text of one language. The same seed draws the same pieces."""

    sentences: Sequence[str]
    random: random.Random
    words: list[str] = field(init=False)  # longer ones, each once, as keywords are
    left: list[str] = field(default_factory=list)  # sentences that have not come yet

    def __post_init__(self) -> None:
        found = dict.fromkeys(word.lower() for sentence in self.sentences for word in re.findall(r"[^\W\d_]{5,}", sentence))
        self.words = list(found) or ["word"]

    def sentence(self) -> str:
        """Returns a sentence, each once before one comes again."""
        if not self.left:
            self.left = self.random.sample(self.sentences, len(self.sentences))
        return self.left.pop().strip()

    def beginning(self, low: int, high: int) -> str:
        """Returns `low` to `high` first words of a sentence, without a mark at the end."""
        pieces = self.sentence().split()[: self.random.randint(low, high)]
        return " ".join(pieces).rstrip(".,;:!?…–-։՝ ")

    def keyword(self) -> str:
        """Returns a longer word."""
        return self.random.choice(self.words)

    def keywords(self, low: int, high: int) -> str:
        """Returns `low` to `high` longer words."""
        return " ".join(self.keyword() for _ in range(self.random.randint(low, high)))

    def number(self, low: int = 2, high: int = 999) -> int:
        """Returns a number."""
        return self.random.randint(low, high)

    def lines(self, n: int, line: Callable[[], str]) -> str:
        """Returns about `n` lines."""
        return "\n".join(line() for _ in range(self.random.randint(n, 2 * n)))


def menu(make: Maker) -> str:
    return make.lines(20, lambda: make.beginning(3, 6).capitalize())


def inline_menu(make: Maker) -> str:
    return make.lines(2, lambda: make.random.choice((" | ", " · ", " / ")).join(make.beginning(1, 3).capitalize() for _ in range(14)))


def keyword_list(make: Maker) -> str:
    return ", ".join(make.keywords(1, 3) for _ in range(make.number(40, 80)))


def tag_list(make: Maker) -> str:
    return make.lines(30, lambda: make.keywords(1, 2))


def hashtags(make: Maker) -> str:
    return make.lines(4, lambda: make.beginning(3, 6) + " " + " ".join("#" + make.keyword() for _ in range(make.number(6, 12))))


def teasers(make: Maker) -> str:
    return make.lines(8, lambda: make.beginning(7, 14) + make.random.choice(("…", "...", " […]")))


def adverts(make: Maker) -> str:
    return make.lines(
        5,
        lambda: (
            f"{make.keywords(1, 3).capitalize()} {make.random.choice(TRADE)} {make.number()} €! {make.keywords(1, 3).capitalize()}! "
            f"-{make.number(10, 70)} %! {make.keywords(2, 3)} – www.{make.keyword()}.eu"
        ),
    )


def capitals(make: Maker) -> str:
    return " ".join(make.sentence() for _ in range(8)).upper()


def lost_letters(make: Maker) -> str:
    def lost(letter: str) -> str:
        return "?" if letter.isalpha() and (not letter.isascii() or make.random.random() < 0.04) else letter

    return "".join(map(lost, " ".join(make.sentence() for _ in range(8))))


def scanned(make: Maker) -> str:
    text = " ".join(make.sentence() for _ in range(8))
    return "".join(make.random.choice(SYMBOLS) if letter.isalpha() and make.random.random() < 0.08 else letter for letter in text)


def lorem(make: Maker) -> str:
    def one() -> str:
        return " ".join(make.random.choice(LOREM) for _ in range(make.number(6, 14))).capitalize() + "."

    return "\n".join(" ".join(one() for _ in range(5)) for _ in range(3))


def code(make: Maker) -> str:
    def line() -> str:
        a, b, c = (make.random.choice(("count", "items", "result", "index", "value", "node", "path", "buffer")) for _ in range(3))
        return make.random.choice(
            (
                f"def get_{a}(self, {b}, {c}=None):", f"    return self.{a}[{b}] + {c}", f"    if ({a} != null && {b}.length > 0) {{",
                f"        {a}.push({b}[{c}]);", f"    for (int i = 0; i < {a}; i++) {{", "    }", f"    const {a} = await fetch({b}.{c});",
                f"    raise ValueError(f'{a} {{{b}}}')", f"    {a} = [x for x in {b} if x.{c} is not None]", f"#include <{a}.h>",
            )
        )  # fmt: skip

    return make.lines(25, line)


FIRST: dict[str, Callable[[Maker], str]] = {
    "menus": menu,
    "inline menus": inline_menu,
    "keywords": keyword_list,
    "tags": tag_list,
    "hashtags": hashtags,
    "teasers": teasers,
    "adverts": adverts,
    "capitals": capitals,
    "letters as ?": lost_letters,
    "symbols of OCR": scanned,
    "lorem ipsum": lorem,
    "source code": code,
}


def breadcrumbs(make: Maker) -> str:
    return make.lines(10, lambda: " » ".join(make.beginning(1, 3).capitalize() for _ in range(make.number(3, 5))))


def products(make: Maker) -> str:
    return make.lines(
        10,
        lambda: (
            f"{make.keywords(1, 2).capitalize()} {make.random.choice(TRADE)} X{make.number()}\n{make.number()},90 €\n{make.beginning(2, 3)}"
        ),
    )


def form(make: Maker) -> str:
    return make.lines(18, lambda: f"{make.beginning(1, 3).capitalize()}{make.random.choice((':', ' *', ':*'))}")


def tag_cloud(make: Maker) -> str:
    return " ".join(f"{make.keyword()} ({make.number(1, 90)})" for _ in range(make.number(40, 70)))


def links(make: Maker) -> str:
    return make.lines(10, lambda: f"{make.beginning(2, 4)} http://www.{make.keyword()}.eu/{make.keyword()}/{make.number()}.html")


def members(make: Maker) -> str:
    return make.lines(
        14,
        lambda: f"{make.keyword().capitalize()}{make.number(1, 99)} {make.number(1, 28)}.{make.number(1, 12)}.2019 {make.number()}",
    )


def search_results(make: Maker) -> str:
    return make.lines(6, lambda: f"{make.beginning(3, 5)}\n... {make.beginning(6, 10)} ... {make.beginning(4, 8)} ...")


def headlines(make: Maker) -> str:
    return make.lines(14, lambda: f"{make.number(1, 28)}.{make.number(1, 12)}.2024 {make.beginning(4, 8)}")


def titles(make: Maker) -> str:
    return make.lines(20, lambda: make.beginning(2, 5).title())


def markup(make: Maker) -> str:
    return make.lines(14, lambda: f'<div class="{make.keyword()}"><a href="/{make.number()}">{make.beginning(1, 4)}</a></div>')


def stuffing(make: Maker) -> str:
    about = make.keyword()
    return " ".join(f"{about} {make.keyword()} {about} {make.keywords(1, 2)}" for _ in range(30)) + "."


def shouting(make: Maker) -> str:
    return make.lines(8, lambda: f"{make.beginning(2, 4).upper()}!!! {make.keywords(1, 2).capitalize()} {make.number()} €!!!")


def salad(make: Maker) -> str:
    def one() -> str:
        return make.keywords(6, 12).capitalize() + "."

    return " ".join(one() for _ in range(10))


def stars(make: Maker) -> str:
    return make.lines(14, lambda: f"★ {make.beginning(1, 4)} ★ {make.keywords(1, 2)} ►►")


SECOND: dict[str, Callable[[Maker], str]] = {
    "breadcrumbs": breadcrumbs,
    "products": products,
    "forms": form,
    "tag clouds": tag_cloud,
    "links": links,
    "members": members,
    "search results": search_results,
    "headlines": headlines,
    "titles": titles,
    "markup": markup,
    "stuffing": stuffing,
    "shouting": shouting,
    "word salad": salad,
    "stars": stars,
}


def bullets(make: Maker) -> str:
    mark = make.random.choice(("- ", "• ", "* "))
    return make.sentence() + "\n" + make.lines(6, lambda: mark + make.beginning(5, 14))


def numbered(make: Maker) -> str:
    return make.sentence() + "\n" + "\n".join(f"{n}. {make.sentence()}" for n in range(1, make.number(6, 14)))


def legal(make: Maker) -> str:
    return "\n".join(
        f"§ {n}\n({1}) {make.sentence()}\n({2}) {make.sentence()}\na) {make.beginning(4, 9)},\nb) {make.beginning(4, 9)}."
        for n in range(1, 6)
    )


def dialogue(make: Maker) -> str:
    return make.lines(8, lambda: "– " + make.sentence()[:90].rstrip(" ,") + make.random.choice("?.!."))


def recipe(make: Maker) -> str:
    ingredients = make.lines(4, lambda: f"{make.number(1, 500)} g {make.keywords(1, 2)}")
    return f"{make.beginning(2, 4)}\n{ingredients}\n" + " ".join(make.sentence() for _ in range(4))


def verse(make: Maker) -> str:
    """Lines of a poem: sentences broken after five to seven words, with the marks that they have."""
    words = " ".join(make.sentence() for _ in range(6)).split()
    lines = list[str]()
    while words:
        n = make.random.randint(5, 7)
        lines.append(" ".join(words[:n]).capitalize())
        words = words[n:]
    return "\n".join("\n".join(lines[at : at + 4]) + "\n" for at in range(0, len(lines), 4))


def bare_verse(make: Maker) -> str:
    return re.sub(r"[.,;:!?…]", "", verse(make))


def song(make: Maker) -> str:
    refrain = "\n".join(make.beginning(5, 7) + "," for _ in range(4))
    return f"\n{refrain}\n".join("\n".join(make.beginning(5, 8) + "," for _ in range(4)) for _ in range(4)) + f"\n{refrain}."


def table(make: Maker) -> str:
    rows = "\n".join(f"| {make.keyword()} | {make.number()} | {make.number()} |" for _ in range(8))
    return f"{make.sentence()} {make.sentence()}\n{rows}\n{make.sentence()} {make.sentence()}"


def maths(make: Maker) -> str:
    return "\n".join(f"{make.sentence()} x{n} = {make.number()} + 3y, (a + b)² = a² + 2ab + b². {make.sentence()}" for n in range(5))


GOOD: dict[str, Callable[[Maker], str]] = {
    "lists": bullets,
    "numbered lists": numbered,
    "legal text": legal,
    "dialogue": dialogue,
    "recipes": recipe,
    "verse": verse,
    "verse without marks": bare_verse,
    "songs with a refrain": song,
    "tables": table,
    "maths": maths,
}
