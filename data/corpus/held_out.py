"""Documents of a corpus that are held out for evaluation: whole records in held_out/LANGUAGE.jsonl, and in no shard.

The digest of a document decides (`clean.held_out`), so the choice is the same in every corpus and whatever else is in the input. A run
reads shards alone: its stream and its ledger know nothing of held-out documents, and the corpus can prove that it does not have them.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.sources import Sources, sources_of
from varietas.data.formats.read import read
from varietas.data.text.documents import Document
from varietas.data.text.fields import Reading

FOLDER = "held_out"
CANDIDATES = "held_out.jsonl"  # of a part, before it is known which of them stay


def record(document: Document) -> dict[str, Any]:
    """Returns a document as a record of JSON Lines, from which `read` makes it again, but for its signals."""
    known = {name: getattr(document, name) for name in ("id", "lang", "text", "url", "source", "license")}
    turns = [{"role": role, "content": content} for role, content in document.turns]
    return {name: value for name, value in known.items() if value} | ({"messages": turns} if turns else {})


def held_out_documents(corpus: Corpus | Sources, most_bytes: int) -> list[Document]:
    """Returns the held-out documents of a corpus, or of all sources; those that name no source have the name of their corpus.

    Args:
        corpus: The corpus.
        most_bytes: The most text of each language and corpus. Longer documents are passed over.

    Raises:
        ValueError: If a file is damaged.
    """
    return [
        replace(document, source=document.source or name)
        for name, one in sources_of(corpus).items()
        for file in sorted((one.path / FOLDER).glob("*.jsonl"))
        for document in _first(file, Reading(kind="chat" if one.is_chat else "text"), most_bytes)
    ]


def _first(file: Path, reading: Reading, most_bytes: int) -> Iterator[Document]:
    """Yields the first documents of a file, whose order is that of their digests and so by chance."""
    left = most_bytes
    for document in read(str(file), reading=reading):
        if not isinstance(document, Document):
            raise ValueError(f"{file}, line {document.line}: {document.reason}; restore the file from a copy of the corpus")
        size = len(document.text.encode())
        if size > left and size <= most_bytes:
            return
        if size <= left:
            left -= size
            yield document
