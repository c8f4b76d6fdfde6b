"""Finds phone numbers: with a country code, in the French form, or beside a word for telephone or calling in the text's language.

A national number such as 777 123 456 looks like any other number. Two facts together identify it as a phone number: a word such as "Tel.:"
or "call" stands beside it, and phonenumbers accepts it as a valid number of a country where the language is official. Digits are searched
first, then words before them, and only then is a number validated, so text without numbers takes almost no time.
"""

import re
from collections.abc import Iterator
from enum import IntEnum
from functools import cache
from types import ModuleType

from varietas.data.clean.callwords import AFTER, COMMON, INSIDE, LABELS, NATIONS, WORDS

NEAR = 56  # characters before a number within which a word counts
LONGEST = 80  # maximum characters of a list of phone numbers; a longer list is a table
BESIDE, CLOSE = 3, 8  # maximum letters between a word and its number: "Tel. č." has one, "Call us on" has four
LOOSE = frozenset({"AR", "BR", "CO", "LU", "MX", "US"})  # nearly any number is valid there, so only the usual grouping identifies one

_SPACES, _DASHES = "\u00a0\u2007\u2009\u200b\u202f", "\u2010\u2011\u2012\u2013\u2212"
_FANCY = re.compile(f"[{_SPACES}{_DASHES}]")
_PLAIN = str.maketrans(dict.fromkeys(_SPACES, " ") | dict.fromkeys(_DASHES, "-"))

# Each pattern begins with a single set of characters, so that re can skip text quickly, and only then looks back.
_BETWEEN = r"(?:(?!\. )[ ./()-]{1,4})?"  # stands between digits of a number
_COUNTRY_CODES = "3[0-469]|4[013-9]|7|1|35[0-9]|37[0-9]|38[0-35-79]|42[013]|800|90|99[45]"
_ABROAD = re.compile(
    rf"[(+0](?<![\w+.].)(?<!\d[,:].)(?:(?<=\()(?:\+ ?|00 ?)|(?<=\+)(?: (?<!\d \+ ))?|(?<=0)0 ?)(?:{_COUNTRY_CODES}){_BETWEEN}"
    rf"\d(?:{_BETWEEN}\d){{6,12}}(?!\w)"
)
_FRENCH = re.compile(r"0(?<![\d.,/-]0)(?<!\d 0)[1-9](?:([ .])\d\d)(?:\1\d\d){3}(?![\d/-]|[ .,]\d)")  # hardly any other has five pairs
_RUN = re.compile(rf"[(+\d](?<![\w+/].)(?<!\d[.,:-].)(?:(?<=\d)|\+?\d)(?:{_BETWEEN}\d){{4,}}+(?![\w@]|[.,:/-]\d| ?%)")
_APART = re.compile(r" [/-] ?| ?/ | {2,}")  # separates two numbers, or the parts of one
_SUFFIX = re.compile(r"[/-]\d{1,3}$")  # the last digits of another number, or an extension
_LINK = re.compile(r"[\s,;/|&+()-]{1,6}(?:[^\W\d_]{1,9}[.:]?[\s(]){0,2}\s?")  # between a number and the next: ", ", " or on ", " / Fax: "
_LIST = re.compile(r"[^\d\n]{1,30}")  # the same with more words: " (Jan), ", "; the pharmacy's is "

# Numbers of other kinds.
_DAY, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:1[5-9]|20)\d\d"
_DATED = re.compile(
    rf"(?:{_DAY}([./-]) ?{_DAY}\1 ?(?:{_YEAR}|\d\d)|{_YEAR}([./-]){_DAY}\2{_DAY}|{_YEAR} ?[-/] ?(?:{_YEAR}|\d\d)|"
    r"(?:19|20[0-3])\d\d/\d{4,}|[1-9]\d{0,4}(?:/| \()(?:19|20)\d\d|[012]?\d\.[0-5]\d ?- ?[012]?\d\.[0-5]\d)(?![./-]?\d)"
)
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:([. ])\d{3})(?:\1\d{3})*")
_SECTION = re.compile(r"(?:(?<!\d)\d\.|(?<=\.)\d(?!\d)).*(?:(?<!\d)\d\.|(?<=\.)\d(?!\d))|^\d\.\d+$")  # 12.4.2.1, 0.123
_MONEY = re.compile(r"(?:[€$£§]|\b(?:eur|usd|gbp|czk|pln|huf|ron|sek|dkk|nok|chf))\s?$", re.IGNORECASE)
_UNIT = re.compile(
    r"\s?(?:[€$£%‰°²³₴₺₾]|(?:euro?\w?|eiro|evr\w+|usd|gbp|kč|czk|zł\w*|pln|ft|huf|forint\w*|lei|ron|kr|sek|dkk|nok|chf|kn|hrk|лв|лева|bgn|"
    r"грн|uah|ден|дин|rsd|lekë?|tl|mm|cm|km|kg|ml|[kmgt]b|[kmg]?hz|px|dpi|mi[lo]|mln|mrd|млн|x|×)\b)(?!@)",
    re.IGNORECASE,
)
_OTHER = re.compile(
    r"\b(?:is[bs]n|doi|imei|iban|bic|swift|i[čc]o?|di[čc]|vat|ust|nip|regon|krs|nif|cif|nipc|oib|pib|cui|siren|siret|rcs|tva|btw|kvk|cvr|konto|"
    r"account|company|účt\w*|účet|psč|plz|zip)\b"
)


class _Tie(IntEnum):
    """The evidence that a number is a phone number, from weak to strong. With stronger evidence, more forms of a number count."""

    LISTED = 0  # a phone number stands shortly before; the number must be grouped as is usual in its country
    NEAR = 1  # a word stands before; the number must have all digits that are dialled within the country
    CLOSE = 2  # a word stands before with few letters between, or a label stands after
    BESIDE = 3  # a label stands before, with up to three letters between; the leading zero of the number may be missing
    LABELLED = 4  # a label stands before, with no letter between; the number may be of any country


def plain(text: str) -> str:
    """Returns the text with plain spaces and hyphens in place of special spaces and dashes, character by character."""
    return text.translate(_PLAIN) if _FANCY.search(text) else text


def find(text: str, language: str = "") -> Iterator[tuple[int, int]]:
    """Finds phone numbers.

    Args:
        text: The text, as `plain` returns it.
        language: Its label, such as "ces_Latn". In languages that callwords.py does not have, only labels are recognised.

    Yields:
        Begin and end of each number, in no particular order. Some may overlap.

    Raises:
        ModuleNotFoundError: If phonenumbers is not installed.
    """
    abroad = [(match.start() + _opens(match[0]), match.end()) for match in _ABROAD.finditer(text)]
    yield from abroad
    for match in _FRENCH.finditer(text):
        if not _drawn(match[0]):
            yield match.span()
    tie, behind = _Tie.CLOSE, -1  # of the previous phone number, and where that ends
    passed = 0  # how many numbers of `abroad` end before the run
    for run in _RUN.finditer(text):
        begin, end = run.span()
        begin += _opens(run[0])
        while passed < len(abroad) and abroad[passed][1] <= begin:
            behind = max(behind, abroad[passed][1])
            passed += 1
        within = passed < len(abroad) and abroad[passed][0] <= begin
        number = text[begin:end]
        if within or len(number) > LONGEST or _is_other(number, text[max(0, begin - 5) : begin], text[end : end + NEAR]):
            continue
        gap = text[behind:begin].lower() if behind >= max(0, begin - NEAR) else ""
        if not _LINK.fullmatch(gap) or _OTHER.search(gap):
            found = _tie(text[max(0, begin - NEAR) : begin].lower(), text[end : end + NEAR].lower(), language)
            if found is None and (not _LIST.fullmatch(gap) or _OTHER.search(gap)):
                continue
            tie = _Tie.LISTED if found is None else found
        spans = _national(number, tie, NATIONS.get(language, ()))
        if not spans and tie == _Tie.LABELLED:
            spans = _foreign(number)
        for first, last in spans:
            yield begin + first, begin + last
            behind = begin + last


def _opens(number: str) -> bool:
    """Returns whether the bracket at the beginning of a number is closed after it, and so is no part of it."""
    return number[0] == "(" and ")" not in number


def _is_other(number: str, before: str, after: str) -> bool:
    """Returns whether a number is a date, a sum of money, a size or a sequence number, by its form and the characters beside it."""
    return bool(_DATED.match(number) or _UNIT.match(after) or _MONEY.search(before))


def _tie(before: str, after: str, language: str) -> _Tie | None:
    """Returns how a number between `before` and `after` is tied to a word for telephone or calling, or None if it is not."""
    if match := _before(language).match(before):
        letters = sum(map(str.isalpha, match["gap"]))
        if _OTHER.search(match["gap"]):
            return None
        if match["label"] is not None and letters <= BESIDE:
            return _Tie.BESIDE if letters else _Tie.LABELLED
        return _Tie.CLOSE if letters <= CLOSE else _Tie.NEAR
    return _Tie.CLOSE if _after(language).match(after) else None


@cache
def _before(language: str) -> re.Pattern[str]:
    """Returns a pattern that matches text which ends with a word, followed by at most small numbers, such as hours."""
    words = f"{COMMON}|{WORDS[language]}" if language in WORDS else COMMON
    return re.compile(
        rf"(?s:.*)(?:(?P<label>(?<![\w./@])(?:{LABELS})|{INSIDE})|(?<![\w./@])(?:{words}))[^\W\d_]*"
        r"(?P<gap>[\W_]*|(?:[^\d\n]|(?<!\d)\d\d?(?!\d))*\s*)\Z"
    )


@cache
def _after(language: str) -> re.Pattern[str]:
    """Returns a pattern that matches text which begins with a label in brackets, or with a word in languages that put it there."""
    return re.compile(rf"\s?\((?:{LABELS}|{INSIDE}|{COMMON})" + (rf"|{AFTER[language]}" if language in AFTER else ""))


def _pieces(run: str) -> list[tuple[int, int]]:
    """Returns begin and end of the pieces into which _APART divides a run of digits and separators."""
    edges = [0, *(edge for match in _APART.finditer(run) for edge in match.span()), len(run)]
    return list(zip(edges[::2], edges[1::2], strict=True))


def _national(run: str, tie: _Tie, nations: tuple[str, ...]) -> list[tuple[int, int]]:
    """Returns the valid numbers in a run: those that make up all of it, or else the first one in its longest form."""
    pieces = _pieces(run)

    def valid(begin: int, end: int) -> bool:
        return _is_phone(run[begin:end], tie, nations)

    @cache
    def from_piece(k: int) -> list[tuple[int, int]] | None:
        if k == len(pieces):
            return []
        begin = pieces[k][0]
        for last, (_, end) in enumerate(pieces[k:], k):
            if valid(begin, end) and (rest := from_piece(last + 1)) is not None:
                return [(begin, end), *rest]
        return None

    if (found := from_piece(0)) is not None:
        return found
    spans = ((begin, end) for k, (begin, _) in enumerate(pieces) for _, end in reversed(pieces[k:]))
    first = next((span for span in spans if valid(*span)), None)
    return [first] if first else []


def _is_phone(number: str, tie: _Tie, nations: tuple[str, ...]) -> bool:
    if _SECTION.search(number) or _drawn(number):
        return False
    return any(_is_phone_of(nation, form, tie) for form in {number, _SUFFIX.sub("", number)} for nation in nations)


def _is_phone_of(nation: str, number: str, tie: _Tie) -> bool:
    digits = "".join(filter(str.isdigit, number))
    if not 5 <= len(digits) <= 15:
        return False
    library = _library()
    try:
        parsed = library.parse(digits, nation)
    except library.NumberParseException:
        return False
    if not library.is_valid_number(parsed):
        return False
    written = library.format_number(parsed, library.PhoneNumberFormat.NATIONAL)
    groups, expected = re.findall(r"\d+", number), re.findall(r"\d+", written)
    if nation == "HU" and len(digits) == len("".join(expected[1:])):  # in Hungary, 06 is mostly left out
        expected = expected[1:]
    if groups == expected or (groups[1:] == expected and len(groups[0]) == 1):  # such as 1 (201) 555-0123
        return tie >= _Tie.BESIDE or len(digits) >= 6
    if len(digits) < 6 or nation in LOOSE:
        return tie >= _Tie.BESIDE and digits == number
    if "".join(expected) == digits:
        if _THOUSANDS.fullmatch(number):  # a quantity is seldom as large as nine digits
            return tie >= (_Tie.CLOSE if len(digits) >= 9 else _Tie.BESIDE)
        return tie >= _Tie.NEAR
    return tie >= _Tie.BESIDE and (digits == number or re.search("[/()-]", number) is not None)


def _foreign(run: str) -> list[tuple[int, int]]:
    """Returns the pieces of a run that could be numbers of any country."""
    spans = [(0, len(run))] if len(run) <= 20 else _pieces(run)
    return [span for span in spans if _plausible(run[slice(*span)])]


def _plausible(number: str) -> bool:
    return 7 <= sum(map(str.isdigit, number)) <= 13 and not _THOUSANDS.fullmatch(number) and not _SECTION.search(number)


def _drawn(number: str) -> bool:
    """Returns whether these are lottery numbers: five pairs or more, each greater than the one before it and at most 50."""
    pairs = re.split("[ .]", number)
    return len(pairs) >= 5 and all(len(pair) == 2 for pair in pairs) and pairs == sorted(set(pairs)) and pairs[-1] <= "50"


@cache
def _library() -> ModuleType:
    try:
        import phonenumbers
    except ModuleNotFoundError:
        raise ModuleNotFoundError("the search for phone numbers needs phonenumbers; run: pip install 'varietas[data]'") from None
    return phonenumbers
