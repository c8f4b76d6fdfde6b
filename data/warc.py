"""Common Crawl's files: WET (text that was taken out of pages) and WARC (the pages themselves, as they came over the wire)."""

import re
import zlib
from collections.abc import Iterator
from typing import IO, Any

from zstandard import ZstdError

from varietas.data.documents import LARGEST, NO_PAGE, TOO_LONG, Document, MakeReject, NotADocument, Place, Reject, from_record, utf8
from varietas.data.files import raise_if_of_the_system
from varietas.data.identify import guess

HEAD = 1 << 16  # bytes of a page in which its <meta> tags are looked for
PAGES = ("text/html", "application/xhtml+xml")
FEW = 0.01  # of a page's characters may be unknown; where more are, it was decoded wrongly


def read_warc(stream: IO[bytes], file: str, lang: str, reject: MakeReject, place: Place) -> Iterator[Document | Reject]:
    """Documents of WET's `conversion` records, and of WARC's `response` records, of which those that are no pages are rejects.

    The text of a page is what trafilatura takes for its main text. The language is the first that Common Crawl identified
    (WET only), else `lang`, else what the text looks like. Raises ModuleNotFoundError if warcio or trafilatura is missing.
    """
    try:
        from warcio.archiveiterator import ArchiveIterator
        from warcio.exceptions import ArchiveLoadFailed
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"WARC files need {error.name}; run: pip install 'varietas[data]'") from None
    number = 0
    records = iter(ArchiveIterator(stream))
    while True:
        number += 1
        try:
            record = next(records, None)
            if record is None:
                stream.read(1)  # warcio takes a stream that breaks off for one that ends
                return
            if (where := place()) > 0:
                return
            if where < 0:
                continue
            kind, headers, reserved = record.rec_type, record.rec_headers, False
            if kind == "conversion":
                text = utf8(_content(record))
            elif kind == "response":
                page, charset = _page(record)
                reserved = _reserves(record, page)
                text = _main_text(page, charset)
            else:
                continue
        except NotADocument as error:
            yield reject(number, str(error), str(headers.get_header("WARC-Target-URI")))
            continue
        except (ArchiveLoadFailed, OSError, EOFError, ValueError, zlib.error, ZstdError) as error:
            raise_if_of_the_system(error)
            if place() == 0:
                yield reject(number, "damaged WARC", " ".join(str(error).split()))
            return
        identified = headers.get_header("WARC-Identified-Content-Language") or ("" if lang else guess(text))
        fields = {
            **({"opt_out": True} if reserved else {}),
            "text": text.replace("\r\n", "\n"),
            "lang": identified.split(",")[0].strip() or None,
            "id": (headers.get_header("WARC-Record-ID") or "").strip("<>"),
            "url": headers.get_header("WARC-Target-URI"),
            "ts": headers.get_header("WARC-Date"),
        }
        try:
            yield from_record(fields, file, number, lang)
        except NotADocument as error:
            yield reject(number, str(error), f"{fields['url']} {text[:100]}")


def _content(record: Any) -> bytes:
    """The content of a record. Raises NotADocument if it is too long, EOFError if there is less of it than its header says."""
    stream, parts, size = record.content_stream(), [], 0
    while size <= LARGEST and (part := stream.read(1 << 16)):
        parts.append(part)
        size += len(part)
    if size > LARGEST:
        raise NotADocument(TOO_LONG)
    if record.raw_stream.limit:
        raise EOFError("the record is cut short")
    return b"".join(parts)


def _page(record: Any) -> tuple[bytes, str]:
    """A page as it came, and the character set that came with it ("" if none did). Raises NotADocument if it is no page."""
    status = record.http_headers.get_statuscode() if record.http_headers else ""
    mime, *parameters = ((record.http_headers.get_header("Content-Type") or "") if record.http_headers else "").lower().split(";")
    if status != "200" or mime.strip() not in PAGES:
        raise NotADocument(NO_PAGE)
    said = [value.strip("\"' ") for name, _, value in (parameter.partition("=") for parameter in parameters) if name.strip() == "charset"]
    return _content(record), said[0] if said else ""


def _reserves(record: Any, page: bytes) -> bool:
    """Whether a page opts out of text and data mining: TDM Reservation Protocol (W3C TDMRep), or noai for robots."""
    headers = [(name.lower(), value.lower()) for name, value in record.http_headers.headers]
    said = [value for name, value in headers if name == "x-robots-tag"] + [_meta(page, b"robots")]
    reserved = [value for name, value in headers if name == "tdm-reservation"] + [_meta(page, b"tdm-reservation")]
    return any("noai" in value for value in said) or any(value.strip() == "1" for value in reserved)


def _meta(page: bytes, name: bytes) -> str:
    """The content of a page's <meta> of this name; "" if there is none in its beginning."""
    for tag in re.findall(rb"<meta\s[^>]*>", page[:HEAD], re.IGNORECASE):
        if re.search(rb"name\s*=\s*[\"']?" + name + rb"[\"'\s>/]", tag, re.IGNORECASE):
            content = re.search(rb"content\s*=\s*[\"']?([^\"'>]*)", tag, re.IGNORECASE)
            return content[1].decode("latin-1").lower() if content else ""
    return ""


def _main_text(page: bytes, charset: str) -> str:
    """Decoded as its head says, else as it says itself. Raises NotADocument if that leaves characters unknown, or the parser fails."""
    try:
        import trafilatura
    except ModuleNotFoundError:
        raise ModuleNotFoundError("WARC files need trafilatura; run: pip install 'varietas[data]'") from None
    try:
        decoded = page.decode(charset, "replace") if charset else page
        text = trafilatura.extract(decoded, include_comments=False, favor_recall=True) or ""
    except Exception:  # a page may be made to bring any of its parsers down
        raise NotADocument("unreadable page") from None
    if text.count("\ufffd") > FEW * len(text):
        raise NotADocument("unreadable page")
    return text
