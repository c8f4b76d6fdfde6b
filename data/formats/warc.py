"""Reads the files of Common Crawl: WET (text that was extracted from pages) and WARC (the pages themselves, as servers sent them)."""

import contextlib
import io
import re
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from varietas.data.formats.compressed import Content
from varietas.data.formats.warc_records import Damaged, Record, records
from varietas.data.text.documents import (
    DAMAGED_WARC,
    GUESS,
    LARGEST,
    NO_PAGE,
    TOO_LONG,
    UNREADABLE,
    Document,
    MakeReject,
    NotADocument,
    Place,
    Reject,
    from_record,
    utf8,
)
from varietas.data.text.reservations import Verdict, forbids_ai, is_set, one_of

if TYPE_CHECKING:
    from fastwarc.warc import HeaderMap, WarcRecord

HEAD = 1 << 16  # characters at the beginning of a page that are searched for <meta> tags
PAGES = ("text/html", "application/xhtml+xml")
FEW = 0.01  # maximum share of replacement characters in a text; with more, the page was decoded wrongly
# Which encodings of HTTP are undone. The next is tried if a page is not encoded as its headers say, since crawlers undo some encodings.
UNDONE: tuple[Literal["all", "transfer", "none"], ...] = ("all", "transfer", "none")


def read_warc(content: Content, file: str, lang: str, reject: MakeReject, place: Place) -> Iterator[Document | Reject]:
    """Reads the `conversion` records of WET files and the `response` records of WARC files.

    The text of a page is its main text, as trafilatura finds it. The language is the first one that Common Crawl identified (WET only),
    otherwise `lang`, otherwise the language that our identifier finds in the text.

    Args:
        content: The content of the file.
        file: Path of the file.
        lang: Language of records that do not name one; "" to identify it.
        reject: Makes the rejects of the file.
        place: Says whether the part that is wanted has begun or ended.

    Yields:
        A Document for each of these records, or a Reject if the record is not a page or not usable; and a Reject for each damaged place.

    Raises:
        ModuleNotFoundError: If a package that reads WARC files or pages is not installed.
        OSError: If the file cannot be read.
    """
    for number, found in enumerate(records(content, place), 1):
        if found.where > 0:
            return
        if found.where < 0:
            continue
        if isinstance(found, Damaged):
            yield reject(number, DAMAGED_WARC, found.why)
            continue
        url = text = ""
        try:
            headers = _parsed(found).headers
            url, kind = headers.get("WARC-Target-URI") or "", headers.get("WARC-Type")
            reserved: Verdict = None
            if kind == "conversion":
                if found.is_too_long:
                    raise NotADocument(TOO_LONG)
                text = utf8(found.content)
            elif kind == "response":
                http, page = _page(found)
                reserved = _reserves(http, page)
                text = _main_text(page)
            else:
                continue
            identified = headers.get("WARC-Identified-Content-Language") or ""
            fields = {
                "opt_out": reserved,
                "text": text.replace("\r\n", "\n"),
                "lang": identified.split(",")[0].strip() or None,
                "id": (headers.get("WARC-Record-ID") or "").strip("<>"),
                "url": url,
                "ts": headers.get("WARC-Date"),
            }
            yield from_record(fields, file, number, lang or GUESS)
        except NotADocument as error:
            yield reject(number, error, f"{url} {text[:100]}".rstrip())


def _parsed(found: Record) -> "WarcRecord":
    """Returns a record with parsed headers. Raises NotADocument if FastWARC cannot parse them."""
    try:
        from fastwarc.warc import WarcRecord
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    try:
        return WarcRecord.from_reader(io.BytesIO(found.head + found.content), quirks_mode=True)
    except OSError:
        raise NotADocument(DAMAGED_WARC) from None


def _missing(error: ModuleNotFoundError) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"WARC files need {error.name}; run: pip install 'varietas[data]'")


def _page(found: Record) -> tuple["HeaderMap", str]:
    """Returns the HTTP headers of a record and its decoded page. Raises NotADocument if it is not a page, too long or unreadable."""
    try:
        from varietas.data.formats.charset import decode
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    for undone in UNDONE:
        record = _parsed(found)
        record.is_http = True
        try:
            record.parse_http(undone, quirks_mode=True)
            http = record.http_headers
            if http.status_code != 200 or (record.http_content_type or "").lower() not in PAGES:
                raise NotADocument(NO_PAGE)
            page = record.reader.read(LARGEST + 1)
        except OSError:  # the page is not encoded as its headers say
            continue
        if undone == "transfer" and (http.get("Content-Encoding") or "").lower() == "deflate":
            with contextlib.suppress(zlib.error):
                page = zlib.decompressobj(-zlib.MAX_WBITS).decompress(page, LARGEST + 1)  # some servers omit the zlib header
        if found.is_too_long or len(page) > LARGEST:
            raise NotADocument(TOO_LONG)
        return http, decode(page, record.http_charset or "")
    raise NotADocument(UNREADABLE)


def _reserves(http: "HeaderMap", page: str) -> Verdict:
    """Returns whether the headers or the <meta> tags of a page reserve rights against text and data mining."""
    headers = [(name.lower(), value) for name, value in http.to_tuples()]

    def said(header: str, tag: str) -> list[str]:
        return [value for name, value in headers if name == header] + _meta(page, tag)

    return one_of([*map(forbids_ai, said("x-robots-tag", "robots")), *map(is_set, said("tdm-reservation", "tdm-reservation"))])


def _meta(page: str, name: str) -> list[str]:
    """Returns the contents of the <meta> tags with this name at the beginning of a page."""
    tags = [
        tag
        for tag in re.findall(r"<meta\s[^>]*>", page[:HEAD], re.IGNORECASE)
        if re.search(rf"name\s*=\s*[\"']?{name}[\"'\s>/]", tag, re.I)
    ]
    return [content[1] for tag in tags if (content := re.search(r"content\s*=\s*[\"']?([^\"'>]*)", tag, re.IGNORECASE))]


def _main_text(page: str) -> str:
    """Returns the main text of a page. Raises NotADocument if the parser fails or the text has too many replacement characters."""
    try:
        import trafilatura
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    try:
        text = trafilatura.extract(page, include_comments=False, favor_recall=True) or ""
    except Exception:  # a page may be crafted to make any of the parsers fail
        raise NotADocument(UNREADABLE) from None
    if text.count("\ufffd") > FEW * len(text):
        raise NotADocument(UNREADABLE)
    return text
