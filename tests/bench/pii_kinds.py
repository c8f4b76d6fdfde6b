"""Personal data of all kinds for pii.py, by country: phone numbers with their country code, IBANs, and national numbers of persons.

Numbers are random and valid: python-stdnum knows their check digits, and phonenumbers the numbers of a country. National numbers stand in
sentences of a language of the country, which say what they are and are separated by |. {n} is the number.
"""

import random
import re
import string
from collections.abc import Callable
from datetime import date, timedelta
from importlib import import_module

import phonenumbers
from stdnum import iban as standard
from stdnum import luhn, numdb, verhoeff

# country: form, what checks it, sentences. In a form, # is a digit, @ a letter, and Y, M and D are those of a date of birth.
NATIONAL = {
    "AT": ("#### DDMMYY", "at.vnr", "SVNR: {n}|Ihre Sozialversicherungsnummer lautet {n}.|Versicherungsnummer {n}, Graz"),
    "BE": ("YY.MM.DD-###.##", "be.nn", "Rijksregisternummer: {n}|Numéro national {n}|mijn rijksregisternummer is {n}"),
    "BG": ("YYMMDD####", "bg.egn", "ЕГН: {n}|с ЕГН {n}, живущ в София|Лице с единен граждански номер {n}"),
    "CH": ("756.####.####.##", "ch.ssn", "AHV-Nummer: {n}|numéro AVS {n}|Ihre AHV-Nr. {n} bitte angeben"),
    "CY": ("########@", "cy.vat", "ΑΦΤ: {n}|Α.Φ.Τ. {n}, Λευκωσία|TIC {n}"),
    "CZ": ("YYMMDD/####", "cz.rc", "Rodné číslo: {n}|s rodným číslem {n}, bytem v Brně|r. č. {n}"),
    "DE": ("## ### ### ###", "de.idnr", "Steuer-ID: {n}|Ihre Identifikationsnummer ist {n}.|Steuerliche Identifikationsnummer: {n}"),
    "DK": ("DDMMYY-####", "dk.cpr", "CPR-nr.: {n}|Mit CPR-nummer er {n}.|personnummer {n}"),
    "EE": ("#YYMMDD####", "ee.ik", "Isikukood: {n}|isikukoodiga {n}, elukoht Tartu|Minu isikukood on {n}."),
    "ES": ("########@", "es.dni", "DNI: {n}|con DNI {n}, domiciliada en Madrid|con documento nacional de identidad {n}"),
    "FI": ("DDMMYY-###@", "fi.hetu", "Henkilötunnus: {n}|henkilötunnukseni on {n}|Hetu {n}"),
    "FR": ("1 YY MM ## ### ### ##", "fr.nir", "N° de sécurité sociale : {n}|numéro de sécurité sociale {n}, né à Lyon|NIR {n}"),
    "GR": ("DDMMYY#####", "gr.amka", "ΑΜΚΑ: {n}|με ΑΜΚΑ {n}, κάτοικος Αθηνών|Α.Μ.Κ.Α. {n}"),
    "GR, ΑΦΜ": ("#########", "gr.vat", "ΑΦΜ: {n}|με Α.Φ.Μ. {n}, κάτοικος Αθηνών|αριθμός φορολογικού μητρώου {n}"),
    "HR": ("###########", "hr.oib", "OIB: {n}|s OIB-om {n}, iz Splita|osobni identifikacijski broj {n}"),
    "HU, TAJ": ("### ### ###", "taj", "TAJ szám: {n}|TAJ-száma {n}|társadalombiztosítási azonosító jele: {n}"),
    "HU, tax": ("8#########", "tax", "Adóazonosító jel: {n}|adóazonosító jele {n}, lakcíme Pécs|adóazonosítóm {n}"),
    "IE": ("#######@", "ie.pps", "PPS number: {n}|my PPSN is {n}|Uimhir PSP: {n}"),
    "IS": ("DDMMYY-####", "is_.kennitala", "Kennitala: {n}|kt. {n}, Reykjavík|með kennitöluna {n}"),
    "IT": ("@@@@@@##@##@###@", "it.codicefiscale", "Codice fiscale: {n}|C.F. {n}, residente a Roma|il mio codice fiscale è {n}"),
    "LT": ("#YYMMDD####", "lt.asmens", "Asmens kodas: {n}|asmens kodu {n}, gyvenantis Kaune|a. k. {n}"),
    "LU": ("YYYYMMDD#####", "matricule", "Matricule: {n}|numéro d'identification national {n}|Matricule nationale {n}"),
    "LV": ("DDMMYY-#####", "lv.pvn", "Personas kods: {n}|ar personas kodu {n}, dzīvo Rīgā|p. k. {n}"),
    "MT": ("######@", "mt", "Karta tal-identità: {n}|bil-karta tal-identità numru {n}|ID card {n}, Valletta"),
    "NL": ("#########", "nl.bsn", "BSN: {n}|met burgerservicenummer {n}|Mijn BSN is {n}."),
    "NO": ("DDMMYY#####", "no.fodselsnummer", "Fødselsnummer: {n}|med fødselsnummer {n}, Bergen|Personnummer {n}"),
    "PL": ("YYMMDD#####", "pl.pesel", "PESEL: {n}|numer PESEL {n}, zamieszkała w Łodzi|PESEL-em {n}"),
    "PT": ("### ### ###", "pt.nif", "NIF: {n}|contribuinte n.º {n}|com o NIF {n}, residente no Porto"),
    "RO": ("#YYMMDD######", "ro.cnp", "CNP: {n}|având CNP {n}, din Cluj|cod numeric personal {n}"),
    "SE": ("YYMMDD-####", "se.personnummer", "Personnummer: {n}|med personnummer {n}, Malmö|pnr {n}"),
    "SI": ("DDMM9##50####", "si.emso", "EMŠO: {n}|z EMŠO {n}, iz Maribora|enotna matična številka občana {n}"),
    "SK": ("YYMMDD/####", "sk.rc", "Rodné číslo: {n}|s rodným číslom {n}, bytom v Žiline|r. č. {n}"),
    "AL": ("J########@", "al", "NID: {n}|numri personal {n}|me numër personal {n}, Tiranë"),
    "GB": ("AB ## ## ## C", "", "National Insurance number: {n}|my National Insurance number is {n}|social security number {n}"),
    "UA": ("##########", "ua.rntrc", "РНОКПП: {n}|ІПН {n}, Львів|РНОКПП {n}, Київ"),
    "TR": ("###########", "tr.tckimlik", "T.C. Kimlik No: {n}|TC kimlik numarası {n}|kimlik no {n}, İzmir"),
}  # fmt: skip
EMAILS = [
    "jan.novak@posta.example", "J.NOVAK+news@posta.example.org", "josé.peña@correo.example", "jose\u0301@correo.example",
    "info@müller.example", "γιώργος@παράδειγμα.ελ", "мария@пример.бг", "o'brien_99@mail.example.co.uk", "jan-novak%posta@relay.example",
    "a@b.example",
]  # fmt: skip
NO_EMAILS = [
    "logo@2x.png", "icon@3x.webp", "@jan_novak", "a@b", "react@18.2.0", "user@localhost", "hlavička@1,5x", "5 kg @ 3.20", "foto@2x.jpeg",
    "git@v1.2", "sprite@2x.svg", "main@{1.day.ago}", "bg@1.5x.css",
]  # fmt: skip
NO_NUMBERS = [
    "05 08 09 12 20 35", "115.2.0.88", "12. 3. 2024", "2024-03-12 10:15:30", "1.234.567,89 Kč", "6.845.318 Ft", "v2.10.3.4",
    "1.3.6.1.4.1", "ISBN 978-80-7335-123-4", "2024/004512", "10.1016/j.cell.2015.05.002", "12:30:45", "192.168.1.10", "127.0.0.1",
    "10.0.0.1", "aa:bb:cc:dd:ee:ff", "1914-1918", "1 250 000 000", "160 x 75 x 8 mm", "50.0755, 14.4378", "IČO 27082440", "4294967295",
    "UTC+02:00", "§ 1234/5678", "8.00-16.30", "3:2 (1:1)", "100 000 000 Kč", "č. j. MV-12345-6/2024", "ČSN EN 12345-6-7890",
    "0,00490825806749606", "EAN 8594001234564", "KOM (2009) 442",
]  # fmt: skip
SENTENCES = ("{n}", "Stojí tu {n}, a dál.", "({n})")


def _weighted(digits: str, weights: tuple[int, ...]) -> int:
    return sum(int(digit) * weights[at % len(weights)] for at, digit in enumerate(digits))


# National numbers that python-stdnum does not have, after Act XX of 1996 of Hungary and the CCSS of Luxembourg.
_OWN: dict[str, Callable[[str], bool]] = {
    "taj": lambda n: _weighted(n[:8], (3, 7)) % 10 == int(n[8]),
    "tax": lambda n: _weighted(n[:9], tuple(range(1, 10))) % 11 == int(n[9]),
    "mt": lambda n: n[-1] in "MGAPLHBZ",
    "al": lambda n: n[-1] <= "W",
    "matricule": lambda n: luhn.is_valid(n[:12]) and verhoeff.is_valid(n[:11] + n[12]),
}


def national_number(country: str, rng: random.Random, valid: bool = True) -> str:
    """Returns a random number of a country's form that passes its check or, unless `valid`, any one of this form."""
    form, check, _ = NATIONAL[country]
    accepts = _OWN.get(check) or (import_module(f"stdnum.{check}").is_valid if check else lambda _: True)
    while True:
        born = date(1940, 1, 1) + timedelta(rng.randrange(21_000))
        number = form
        for letters, part in (("YYYY", "%Y"), ("YY", "%y"), ("MM", "%m"), ("DD", "%d")) if valid else ():
            number = number.replace(letters, born.strftime(part))
        number = re.sub("[#YMD]" if not valid else "#", lambda _: rng.choice(string.digits), number)
        number = re.sub("@", lambda _: rng.choice(string.ascii_uppercase), number)
        if not valid or accepts(re.sub("[ ]", "", number)):
            return number


def iban(country: str, rng: random.Random) -> str:
    """Returns a random valid IBAN of a country."""
    facts = numdb.get("iban").info(country)[0][1]
    groups = re.findall(r"(\d+)!([nac])", facts["bban"])
    letters = {"n": string.digits, "a": string.ascii_uppercase, "c": string.digits + string.ascii_uppercase}
    while True:
        bban = "".join(rng.choice(letters[kind]) for size, kind in groups for _ in range(int(size)))
        number = country + standard.calc_check_digits(f"{country}00{bban}") + bban
        if standard.is_valid(number):
            return standard.format(number)


def phone(country: str, rng: random.Random) -> str:
    """Returns a random valid number of a country in international format."""
    kind = rng.choice([phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE])
    example = phonenumbers.example_number_for_type(country, kind)
    digits = phonenumbers.national_significant_number(example)
    while True:
        tail = "".join(rng.choice(string.digits) for _ in range(4))
        number = phonenumbers.parse(f"+{example.country_code}{digits[:-4]}{tail}")
        if phonenumbers.is_valid_number(number):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)


def card(rng: random.Random) -> str:
    """Returns a random valid number of a payment card in groups."""
    start, size = rng.choice([("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("6011", 16), ("37", 15)])
    number = start + "".join(rng.choice(string.digits) for _ in range(size - 1 - len(start)))
    number += luhn.calc_check_digit(number)
    return " ".join([number[:4], number[4:10], number[10:]] if size == 15 else re.findall("....", number))


def address(rng: random.Random) -> str:
    """Returns a random public IP address."""
    if rng.random() < 0.5:
        return ":".join(["2a02", *(f"{rng.randrange(1, 1 << 16):x}" for _ in range(7))])
    return f"{rng.choice([80, 91, 147, 185, 194, 212])}.{rng.randrange(64, 256)}.{rng.randrange(10, 256)}.{rng.randrange(1, 255)}"


def spellings(number: str) -> dict[str, str]:
    """Returns a number in the ways in which people write it, by the name of the way."""
    signed = re.fullmatch(r"\d{6}-\d{3}\w", number)  # of Finland, where the sign says the century
    return {
        "usual": number,
        "no-break spaces, U+2011": number.replace(" ", "\u00a0").replace("-", "\u2011"),
        "narrow spaces": number.replace(" ", "\u202f"),
        "lower case": number.lower(),
        "joined": number if signed else re.sub("[ .()-]", "", number),
        "hyphens": number.replace(" ", "-"),
    }
