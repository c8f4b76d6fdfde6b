"""Personal data in text: found by pattern, believed by check digits, and masked.

E-mail addresses, phone numbers, IBANs, payment cards, public IP addresses, and the national numbers of persons in Europe. python-stdnum
knows the check digits. Numbers made of digits alone that one in some hundreds of numbers would be by chance count only beside a word that
says so.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module


@dataclass(frozen=True)
class Span:
    """Characters `begin` to `end` of a text."""

    begin: int
    end: int
    kind: str  # email, phone, iban, card, ip, id


AROUND = 48

_EMAIL = re.compile(r"[\w.%+'-]{1,64}@(?:[\w-]{1,63}\.){1,5}[^\W\d_]{2,24}\b")
_NUMBER = re.compile(r"[\d:](?:(?<=\d)(?:[\d .()/-]|(?<=\d)[A-Z]){4,}|(?<=:)[0-9a-fA-F]{0,4}:)")  # every number that we look for has one
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"(?<![\d.,-])(?:3[47]|4\d|5[1-5]|2[2-7]|6[05])\d\d(?:[ -]?\d){9,12}(?![\d-])")
_IP = re.compile(r"(?<![\w.:-])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F]{1,4}(?::{1,2}[0-9a-fA-F]{1,4}){3,7})(?![\w:-]|\.\d)")
_VERSION = re.compile(r"(?:\bv|vers\w*|ver\.|release|build)\W{0,3}$", re.IGNORECASE)
_COUNTRY_CODES = "3[0-469]|4[013-9]|7|1|35[0-9]|37[0-9]|38[0-35-79]|42[013]|90|99[45]"
_ABROAD = re.compile(rf"(?<![\w+.])(?:\+|00)(?:{_COUNTRY_CODES})[ ./-]?(?:\(0\)[ ]?)?\(?\d(?:[ ./()-]{{0,2}}\d){{6,11}}(?!\w)")
_CALL = re.compile(
    r"\b(?:tel|telefon|teléfono|telefone|telefono|téléphone|telefoon|tlf|phone|mobile?|mobil|mob|móvil|cell?|cellulare|kom|gsm|fax|faks|puh|"
    r"puhelin|tálv|tālr|τηλ|κιν|тел|моб|fón|sími)\w{0,4}[ .:)]{1,4}(\(?0?\d(?:[ ./()-]{0,3}\d){6,11})(?!\w)",
    re.IGNORECASE,
)


_FRENCH = re.compile(r"(?<![\d.,/-])0[1-9](?:([ .])\d\d)(?:\1\d\d){3}(?![\d/-]|[.,]\d)")  # five pairs, as nothing else is written


@dataclass(frozen=True)
class _Id:
    """A national number. Without `certain` it needs one of _WORDS before it."""

    pattern: str
    checks: tuple[str, ...]  # modules of stdnum, one of which has to accept it
    certain: bool


_IDS = (
    _Id(r"[A-Z]{6}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z]", ("it.codicefiscale",), True),
    _Id(r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]", ("fi.hetu",), True),
    _Id(r"[XYZ]\d{7}[ -]?[A-Z]|\d{8}[ -]?[A-HJ-NP-TV-Z]", ("es.nie", "es.dni"), True),
    _Id(r"[12] ?\d\d ?(?:0[1-9]|1[0-2]) ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d", ("fr.nir",), True),
    _Id(r"(?:19|20)?\d{6}[-+]\d{4}", ("se.personnummer", "dk.cpr", "is_.kennitala"), True),
    _Id(r"\d{6}/\d{3,4}", ("cz.rc",), True),
    _Id(r"\d\d\.\d\d\.\d\d-\d{3}\.\d\d", ("be.nn",), True),
    _Id(r"\d{13}", ("ro.cnp", "si.emso"), True),
    _Id(r"\d{11}", ("pl.pesel", "ee.ik", "lt.asmens"), True),
    _Id(r"\d{11}", ("be.nn", "gr.amka", "hr.oib", "tr.tckimlik", "de.idnr", "no.fodselsnummer"), False),
    _Id(r"\d{10}", ("bg.egn", "cz.rc", "dk.cpr", "ua.rntrc"), False),
    _Id(r"\d{9}|\d{3}[ .]\d{3}[ .]\d{3}", ("nl.bsn", "pt.nif", "hu.anum"), False),
    _Id(r"\d{7}[A-W][A-IW]?", ("ie.pps",), False),
    _Id(r"[A-CEGHJ-PR-TW-Z]{2} ?\d\d ?\d\d ?\d\d ?[A-D]", (), False),  # the United Kingdom's, which has no check digit
)
_WORDS = re.compile(
    r"(?:bsn|burgerservicenummer|sofinummer|personal(?:ausweis)?|ident\w*|steuer-?id\w*|tax id|nif|contribuinte|amka|αμκα|oib|егн|egn|"
    r"emšo|jmbg|матичен|rodné|r\.\s?č|cpr|personnummer|fødselsnummer|kennitala|national (?:number|insurance)|rijksregister\w*|"
    r"registre national|tckn|kimlik|pps|іпн|рнокпп|social security)\W{0,3}(?:\w+\W{1,3}){0,2}$",
    re.IGNORECASE,
)
_PATTERNS = [(re.compile(rf"(?<![\w.,/+-])(?:{kind.pattern})(?![\w/-]|[.,]\d)"), kind) for kind in _IDS]


def mask(text: str) -> tuple[str, Counter[str]]:
    """The text with <email>, <phone>, <iban>, <card>, <ip> and <id> in the place of personal data, and how many of each.

    Raises ModuleNotFoundError if python-stdnum is missing.
    """
    spans = find(text)
    pieces, at = [], 0
    for span in spans:
        pieces += [text[at : span.begin], f"<{span.kind}>"]
        at = span.end
    return "".join([*pieces, text[at:]]) if spans else text, Counter(span.kind for span in spans)


def find(text: str) -> list[Span]:
    """Personal data in a text, in order, none within another. Raises ModuleNotFoundError if python-stdnum is missing."""
    found = []
    if "@" in text:
        found += [Span(*match.span(), "email") for match in _EMAIL.finditer(text)]
    for begin, end in _windows(text):
        found += [Span(begin + span.begin, begin + span.end, span.kind) for span in _numbers(text[begin:end])]
    kept: list[Span] = []
    for span in sorted(found, key=lambda span: (span.begin, -span.end)):
        if not kept or span.begin >= kept[-1].end:
            kept.append(span)
    return kept


def _windows(text: str) -> list[tuple[int, int]]:
    """Where numbers are, with AROUND characters on each side; the rest of the text need not be searched."""
    windows: list[tuple[int, int]] = []
    for match in _NUMBER.finditer(text):
        begin, end = max(0, match.start() - AROUND), match.end() + AROUND
        if windows and begin <= windows[-1][1]:
            windows[-1] = windows[-1][0], end
        else:
            windows.append((begin, end))
    return windows


def _numbers(text: str) -> Iterator[Span]:
    for match in _IBAN.finditer(text):
        if (end := _iban_end(match[0])) is not None:
            yield Span(match.start(), match.start() + end, "iban")
    for match in _CARD.finditer(text):
        if _valid("luhn", re.sub(r"\D", "", match[0])):
            yield Span(*match.span(), "card")
    for match in _IP.finditer(text):
        if _is_public(match[0]) and not _VERSION.search(text[max(0, match.start() - 12) : match.start()]):
            yield Span(*match.span(), "ip")
    for match in _ABROAD.finditer(text):
        yield Span(*match.span(), "phone")
    for match in _FRENCH.finditer(text):
        yield Span(*match.span(), "phone")
    for match in _CALL.finditer(text):
        yield Span(*match.span(1), "phone")
    for pattern, kind in _PATTERNS:
        for match in pattern.finditer(text):
            if kind.checks and not any(_valid(check, match[0]) for check in kind.checks):
                continue
            if kind.certain or _WORDS.search(text[max(0, match.start() - 40) : match.start()]):
                yield Span(*match.span(), "id")


def _iban_end(candidate: str) -> int | None:
    """Where the IBAN ends that the candidate begins with: capitals that follow one may look like a part of it."""
    for end in range(len(candidate), 14, -1):
        if candidate[end - 1] != " " and _valid("iban", candidate[:end]):
            return end
    return None


def _is_public(address: str) -> bool:
    if ":" not in address and max(map(int, address.split("."))) < 64:  # 12.4.2.1 is a section or a version, most often
        return False
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def _valid(module: str, number: str) -> bool:
    return bool(_validator(module)(number))


@cache
def _validator(module: str) -> Callable[[str], bool]:
    try:
        return import_module(f"stdnum.{module}").is_valid
    except ModuleNotFoundError as error:
        if error.name == "stdnum":
            raise ModuleNotFoundError("the search for personal data needs python-stdnum; run: pip install 'varietas[data]'") from None
        raise
