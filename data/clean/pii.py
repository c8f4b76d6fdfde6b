"""Finds personal data in text by patterns, verifies it by check digits, and masks it.

Personal data are e-mail addresses, phone numbers (phones.py), IBANs, payment cards, public IP addresses, and the national identification
numbers of persons in Europe. python-stdnum verifies the check digits. If a number consists of digits alone and one in some hundreds of such
numbers would pass the check by chance, it counts only beside a word that says what it is.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from varietas.data.clean import phones


@dataclass(frozen=True)
class Span:
    """Characters `begin` to `end` of a text, which are personal data."""

    begin: int
    end: int
    kind: str  # email, phone, iban, card, ip, id


SHORTEST = 5  # characters of a number that is looked for, without separators after it
BEFORE, BEHIND = phones.NEAR, 40  # characters before and after a number that are examined with it

_EMAIL = re.compile(r"[\w.%+'-]{1,64}@(?!\d(?:\.\d)?x\.)(?:[\w-]{1,63}\.){1,5}[^\W\d_]{2,24}\b")
_NUMBER = re.compile(  # every number that is looked for contains a match
    r"[\d:](?:(?<=\d)(?:[\d .()/\u00a0\u2007\u2009\u200b\u202f\u2010-\u2013\u2212-]|(?<=\d)[A-Za-z]){4,}|"
    r"(?<=[A-Za-z]{2}\d)\d[ \u00a0\u2009\u202f\u2010-\u2012-]?[A-Za-z]{4}|(?<=:)[0-9a-fA-F]{0,4}:)"
)
_SEPARATORS = " .()/-\u00a0\u2007\u2009\u200b\u202f\u2010\u2011\u2012\u2013\u2212"
_IBAN = re.compile(r"\b(?=([A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?)\b)", re.IGNORECASE)  # one may begin in another
_CARD = re.compile(r"(?<![\d.,-])(?:3[47]\d\d(?:[ -]?\d){11}|(?:4\d|5[1-5]|2[2-7]|6[05])\d\d(?:[ -]?\d){12})(?![\d-])")
_IP = re.compile(r"(?<![\w.:-])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F]{1,4}(?::{1,2}[0-9a-fA-F]{1,4}){3,7})(?![\w:-]|\.\d)")
_VERSION = re.compile(r"(?:\bv|vers\w*|ver\.|release|build)\W{0,3}$", re.IGNORECASE)


# What the number before which it stands is.
_SHORT = r"(?:bsn|nif|amka|α\.?μ\.?κ\.?α|α\.?φ\.?[μτ]|oib|егн|egn|лнч|jmbg|cpr|niss|insz|tckn|ppsn?|psp|іпн|рнокпп|vsnr|pnr|kt)(?!\w)"
_LONG = (
    r"burgerservicenummer|sofinummer|personal(?:ausweis)?|ident\w*|steuer-?id\w*|tax id|contribuinte|emšo|матичен|единен граждански|"
    r"φορολογικού μητρώου|rodné|r\.\s?č|personnummer|fødselsnummer|kennit[aö]l\w+|national (?:number|insurance)|rijksregister\w*|"
    r"(?:registre|num[ée]ro|n°) national|kimlik|social security"
)


@dataclass(frozen=True)
class _Id:
    """A national identification number. Unless it is `certain`, a word must stand before it that says what it is."""

    pattern: str
    checks: tuple[str, ...]  # modules of stdnum, or keys of _OWN, one of which must accept the number
    certain: bool
    words: str = f"{_SHORT}|{_LONG}"


_IDS = (
    _Id(r"[A-Z]{6}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z]", ("it.codicefiscale",), True),
    _Id(r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]", ("fi.hetu",), True),
    _Id(r"[XYZ]\d{7}[ -]?[A-Z]|\d{8}[ -]?[A-HJ-NP-TV-Z]", ("es.nie", "es.dni"), True),
    _Id(r"[12][ -]?\d\d[ -]?(?:0[1-9]|1[0-2])[ -]?(?:\d\d|2[AB])[ -]?\d{3}[ -]?\d{3}[ -]?\d\d", ("fr.nir",), True),
    _Id(r"(?:19|20)?\d{6}[-+]\d{4}", ("se.personnummer", "dk.cpr", "is_.kennitala"), True),
    _Id(r"\d{6}/\d{3,4}", ("cz.rc",), True),
    _Id(r"\d\d\.\d\d\.\d\d-\d{3}\.\d\d", ("be.nn", "be.bis"), True),
    _Id(r"756\.\d{4}\.\d{4}\.\d\d", ("ch.ssn",), True),
    _Id(r"[0-3]\d{5}-\d{5}", ("lv.pvn",), True),  # those of companies begin with 4 to 9
    _Id(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{5}", ("lu matricule",), True),
    _Id(r"\d{13}", ("ro.cnp", "si.emso"), True),
    _Id(r"\d{11}", ("pl.pesel", "ee.ik", "lt.asmens"), True),
    _Id(r"\d{2}[ -]?\d{3}[ -]?\d{3}[ -]?\d{3}", ("de.idnr",), False),
    _Id(r"\d{11}", ("be.nn", "be.bis", "gr.amka", "hr.oib", "tr.tckimlik", "no.fodselsnummer"), False),
    _Id(r"[0-3]\d{10}", ("lv.pvn",), False, r"personas kod\w*|p\.\s?k(?!\w)"),
    _Id(r"756\d{10}", ("ch.ssn",), False, r"ahv(?:-?n\w*)?(?!\w)|avs(?!\w)|social security"),
    _Id(r"\d{10}", ("bg.egn", "bg.pnf", "cz.rc", "dk.cpr", "ua.rntrc", "is_.kennitala", "se.personnummer"), False),
    _Id(r"(?:19|20)\d{10}", ("se.personnummer",), False),
    _Id(r"8\d{9}", ("hu adóazonosító jel",), False, "adóazonosító"),
    _Id(r"\d{4}[ -]?\d{6}", ("at.vnr",), False, r"sv-?(?:nr|nummer)(?!\w)|vsnr(?!\w)|\w*versicherungs-?n\w*"),
    _Id(r"\d{9}|\d{3}[ .-]\d{3}[ .-]\d{3}", ("nl.bsn", "pt.nif"), False),
    _Id(r"\d{9}", ("gr.vat",), False, r"α\.?φ\.?μ(?!\w)|φορολογικού μητρώου"),
    _Id(r"\d{3}[ -]?\d{3}[ -]?\d{3}", ("hu taj",), False, r"taj(?!\w)|társadalombiztosítási"),
    _Id(r"\d{7}[A-W][A-IW]?", ("ie.pps",), False),
    _Id(r"\d{8}[A-Z]", ("cy.vat",), False, r"α\.?φ\.?[μτ](?!\w)|tic(?!\w)"),
    _Id(r"\d{4,7}[MGAPLHBZ]", (), False, r"karta tal-identit\w*|k\.i(?!\w)|id card(?!\w)"),  # Malta; it has no check digit
    _Id(r"[A-T]\d{8}[A-W]", (), False, r"nid(?!\w)|num[rë]\w+ personal\w*"),  # Albania; how its last letter follows is not public
    _Id(r"[A-CEGHJ-PR-TW-Z]{2}[ -]?\d\d[ -]?\d\d[ -]?\d\d[ -]?[A-D]", (), False),  # United Kingdom; it has no check digit
)


def _alone(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.,/+-])(?:{pattern})(?![\w/-]|[.,]\d)", re.IGNORECASE)


_ANY_ID = _alone("|".join(kind.pattern for kind in _IDS))  # most windows have none, and one search is faster than one for each
_PATTERNS = [
    (
        _alone(kind.pattern),
        kind,
        re.compile(rf"(?<!\w)(?:{kind.words})\W{{0,3}}(?:\w+\W{{1,3}}){{0,2}}$", re.IGNORECASE),
    )
    for kind in _IDS
]


def mask(text: str, language: str = "") -> tuple[str, Counter[str]]:
    """Replaces personal data with <email>, <phone>, <iban>, <card>, <ip> and <id>.

    Args:
        text: The text.
        language: Its label, such as "ces_Latn", which is needed to recognise phone numbers without a country code.

    Returns:
        The masked text, and the number of masked places of each kind.

    Raises:
        ModuleNotFoundError: If python-stdnum or phonenumbers is not installed.
    """
    spans = find(text, language)
    pieces, at = [], 0
    for span in spans:
        pieces += [text[at : span.begin], f"<{span.kind}>"]
        at = span.end
    return "".join([*pieces, text[at:]]) if spans else text, Counter(span.kind for span in spans)


def find(text: str, language: str = "") -> list[Span]:
    """Finds personal data.

    Args:
        text: The text.
        language: Its label, such as "ces_Latn", which is needed to recognise phone numbers without a country code.

    Returns:
        The places in order. None overlaps another.

    Raises:
        ModuleNotFoundError: If python-stdnum or phonenumbers is not installed.
    """
    found = []
    if "@" in text:
        found += [Span(*match.span(), "email") for match in _EMAIL.finditer(text)]
    for begin, end in _windows(text):
        window = phones.plain(text[begin:end])
        found += [Span(begin + span.begin, begin + span.end, span.kind) for span in _numbers(window, language)]
    kept: list[Span] = []
    for span in sorted(found, key=lambda span: (span.begin, -span.end)):
        if not kept or span.begin >= kept[-1].end:
            kept.append(span)
    return kept


def _windows(text: str) -> list[tuple[int, int]]:
    """Returns the places with numbers and some characters around them. The rest of the text need not be searched."""
    windows: list[tuple[int, int]] = []
    for match in _NUMBER.finditer(text):
        if match[0][0] != ":" and len(match[0].rstrip(_SEPARATORS)) < SHORTEST:  # mostly a year
            continue
        begin, end = max(0, match.start() - BEFORE), match.end() + BEHIND
        if windows and begin <= windows[-1][1]:
            windows[-1] = windows[-1][0], end
        else:
            windows.append((begin, end))
    return windows


def _numbers(text: str, language: str) -> Iterator[Span]:
    for match in _IBAN.finditer(text):
        if (end := _iban_end(match[1])) is not None:
            yield Span(match.start(), match.start() + end, "iban")
    for match in _CARD.finditer(text):
        if _valid("luhn", re.sub(r"\D", "", match[0])):
            yield Span(*match.span(), "card")
    for match in _IP.finditer(text):
        if _is_public(match[0]) and not _VERSION.search(text[max(0, match.start() - 12) : match.start()]):
            yield Span(*match.span(), "ip")
    for begin, end in phones.find(text, language):
        yield Span(begin, end, "phone")
    for pattern, kind, before in _PATTERNS if _ANY_ID.search(text) else ():
        for match in pattern.finditer(text):
            spelt = {match[0], match[0].replace("-", " ")}  # python-stdnum leaves out spaces of all numbers
            if kind.checks and not any(_valid(check, number) for check in kind.checks for number in spelt):
                continue
            if kind.certain or before.search(text[max(0, match.start() - 40) : match.start()]):
                yield Span(*match.span(), "id")


def _iban_end(candidate: str) -> int | None:
    """Returns the end of the IBAN at the beginning of the candidate, or None. Capitals after an IBAN may look like a part of it."""
    for end in range(len(candidate), 14, -1):
        if candidate[end - 1] not in " -" and _valid("iban", candidate[:end]):
            return end
    return None


def _is_public(address: str) -> bool:
    if ":" not in address:
        parts = address.split(".")
        if max(map(int, parts)) < 64 or len(parts[1] + parts[2]) == 2:  # 12.4.2.1 and 115.2.0.88 are mostly sections or versions
            return False
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def _valid(module: str, number: str) -> bool:
    return bool(_validator(module)(number))


def _luxembourg(number: str) -> bool:
    """Checks a matricule: a date, three digits, and a digit each by Luhn and by Verhoeff of these eleven."""
    return _valid("luhn", number[:12]) and _valid("verhoeff", number[:11] + number[12])


def _hungarian_tax(number: str) -> bool:
    """Checks a tax number of a person: an 8, the days since 1867, three digits, and their weighted sum modulo 11."""
    return number[0] == "8" and sum(int(digit) * place for place, digit in enumerate(number[:9], 1)) % 11 == int(number[9])


def _hungarian_insurance(number: str) -> bool:
    """Checks a TAJ number: eight digits and the last digit of their sum, weighted by 3 and 7 in turn."""
    digits = [int(digit) for digit in number if digit.isdigit()]
    return sum(digit * (3, 7)[place % 2] for place, digit in enumerate(digits[:8])) % 10 == digits[8]


_OWN = {"lu matricule": _luxembourg, "hu adóazonosító jel": _hungarian_tax, "hu taj": _hungarian_insurance}


@cache
def _validator(module: str) -> Callable[[str], bool]:
    if module in _OWN:
        return _OWN[module]
    try:
        return import_module(f"stdnum.{module}").is_valid
    except ModuleNotFoundError as error:
        if error.name == "stdnum":
            raise ModuleNotFoundError("the search for personal data needs python-stdnum; run: pip install 'varietas[data]'") from None
        raise
