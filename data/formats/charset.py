"""Finds the character set of a web page from its bytes, its HTTP header and its <meta> tags, and decodes the page.

Labels have the meaning that browsers give them (WHATWG Encoding Standard): ISO-8859-1, for example, means windows-1252. A label is
believed only if the bytes make sense in that character set. If no label fits, resiliparse detects the character set.
"""

import codecs
import re
from collections.abc import Iterator

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

from varietas.data.text.documents import UNREADABLE, NotADocument

HEAD = 1 << 16  # bytes at the beginning of a page that are searched for tags
FEW = 0.01  # maximum share of characters that make no sense in a decoded page
FEW_IN_UTF8 = 0.05  # the same for UTF-8, among characters beyond ASCII: text in another character set is hardly ever valid UTF-8

BYTE_ORDER_MARKS = (  # UTF-32 comes first, because its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
WINDOWS = {  # the true character set of pages that claim to be in a part of ISO 8859 but use its control characters, 0x80 to 0x9f
    "iso8859-2": "cp1250",
    "iso8859-7": "cp1253",
    "iso8859-8": "cp1255",
    "iso8859-11": "cp874",
    "iso8859-13": "cp1257",
    "iso8859-15": "cp1252",
    "iso8859-16": "cp1250",
}

_ODD = re.compile("[\0\x80-\x9f\ufffd]")  # control characters, and the replacement character
_CONTROL = re.compile(b"[\x80-\x9f]")
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_IN_PAGE = re.compile(rb"<meta\s[^>]*?charset\s*=\s*[\"']?\s*([^\"'\s/>;]+)|<\?xml\s[^>]*?encoding\s*=\s*[\"']([^\"'>]+)", re.IGNORECASE)
_CODE_PAGE = re.compile(r"(?:x-)?(?:win|windows|cp|ms|ibm)?[-_ ]?([0-9]{3,4})")


def decode(page: bytes, header: str) -> str:
    """Decodes a page.

    If the page has a byte order mark, the mark decides. Otherwise the first character set in which the bytes make sense is used: UTF-8,
    the charset of the header, the charset that the page's own tags name, the one that resiliparse detects, windows-1252. If the bytes
    make sense in none of them, the character set with the fewest errors is used.

    Args:
        page: The page as the server sent it.
        header: The charset of the HTTP header; "" if there is none.

    Raises:
        NotADocument: If more than a share FEW of the characters makes no sense in any of the character sets.
    """
    for mark, name in BYTE_ORDER_MARKS:
        if page.startswith(mark):
            return page[len(mark) :].decode(name, "replace")
    tried = []
    has_controls = _CONTROL.search(page) is not None
    for candidate in _candidates(page, header):
        name = WINDOWS.get(candidate, candidate) if has_controls else candidate
        text = page.decode(name, "replace")
        odd = _odd(page, text, name)
        beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
        if odd <= (FEW_IN_UTF8 if name == "utf-8" else FEW) * beyond_ascii:
            return text
        tried.append((odd, text))
    odd, text = min(tried, key=lambda pair: pair[0])
    if odd > FEW * len(text):
        raise NotADocument(UNREADABLE)
    return text


def _candidates(page: bytes, header: str) -> Iterator[str]:
    """Yields Python's names of the character sets to try, the most likely first."""
    labels = [name for name in (_codec(header), _codec(_label_in(page))) if name]
    # A page that is valid UTF-8 is UTF-8, whatever its labels say. ISO-2022-JP is the exception, because it looks like ASCII.
    yield from [*labels, "utf-8"] if "iso2022_jp" in labels else ["utf-8", *labels]
    if detected := _codec(detect_encoding(page) or ""):
        yield detected
    yield "cp1252"
    if b"\0" in page:
        yield from ("utf-16-le", "utf-16-be")


def _label_in(page: bytes) -> str:
    """Returns the character set that a page names in its <meta> tags or its XML declaration, or "" if it names none."""
    found = _IN_PAGE.search(_COMMENT.sub(b"", page[:HEAD]))
    return (found[1] or found[2]).decode("latin-1") if found else ""


def _codec(label: str) -> str:
    """Returns Python's name of the character set that a label means to browsers or in common use, or "" if the label is unknown."""
    label = label.strip("\"' ").lower()
    if label.startswith(("utf8", "utf-8")):  # also MySQL's utf8mb4
        return "utf-8"
    name = map_encoding_to_html5(label, fallback_utf8=False)
    if name is None and (number := _CODE_PAGE.fullmatch(label)):
        name = f"cp{number[1]}"
    try:
        name = codecs.lookup(name or "").name
    except LookupError:
        return ""
    return "koi8-u" if name == "koi8-r" else name  # KOI8-U has Ukrainian letters where KOI8-R has box-drawing lines


def _odd(page: bytes, text: str, name: str) -> int:
    """Returns the number of characters of a decoded page that make no sense."""
    if name == "utf-8":
        if "\ufffd" not in text:
            return text.count("\0")
        truncated = len(text) - len(codecs.getincrementaldecoder("utf-8")("replace").decode(page))  # 1 if it ends within a character
        return text.count("\0") + text.count("\ufffd") - page.count("\ufffd".encode()) - truncated  # the page itself may have U+FFFD
    if name.startswith("utf-16") and text.count("<") < FEW * len(text):  # any bytes decode as UTF-16, but not to markup
        return len(text)
    return len(_ODD.findall(text))
