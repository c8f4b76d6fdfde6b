"""The first stage of `prepare`: cleans and encodes a part of an input file, and writes its documents by language.

    parts/1f0c…/part.json         records read, rejects by reason and language, changes
    parts/1f0c…/rejects.jsonl     where each rejected record stood, why it was rejected, and how it begins
    parts/1f0c…/ces_Latn.ids      token ids of the documents, one after the other
    parts/1f0c…/ces_Latn.parquet  index entries of the documents, and their signatures
    parts/1f0c…/held_out.jsonl    whole documents that are held out for evaluation, if stage 2 lets them stay

A part is written whole or not at all, so it is the unit of work that is repeated after an interruption.
"""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from varietas.data.chat.encoder import ChatEncoder, Encode
from varietas.data.clean import fences, labels, rules, words
from varietas.data.clean.cleaning import Cleaning, clean
from varietas.data.clean.duplicates import BANDS, Held, overlaps, signatures
from varietas.data.clean.select import beginnings, is_held_out
from varietas.data.corpus import held_out
from varietas.data.corpus.index import INDEX
from varietas.data.files import new_folder
from varietas.data.text.documents import SAMPLE, SIGNALS, Document, NotADocument, Reject
from varietas.data.text.identify import Verdict
from varietas.data.tokenizer.round_trip import RoundTrip, round_trip

BATCH_DOCUMENTS = 1024
BATCH_CHARACTERS = 1 << 20  # a batch ends with the document that exceeds this
DECODED_CHARACTERS = 1 << 20  # of a part, from its beginning on, that are decoded again if the tokenizer may lose text
GROUP_BYTES = 1 << 20  # of ids: documents of a language are written when they have more, or are BATCH_DOCUMENTS
PLACE = pa.schema([("file", pa.string()), ("line", pa.uint32())])
SIGNATURES = pa.schema([(f"band {k}", pa.uint64()) for k in range(BANDS)])


def schema(cleaning: Cleaning) -> pa.Schema:
    """Returns the columns that a part keeps of its documents."""
    return pa.schema([*INDEX, *PLACE, *(SIGNATURES if cleaning.duplicates == "near" else [])])


def write_part(
    records: Iterable[Document | Reject],
    folder: Path,
    encode: Encode,
    cleaning: Cleaning,
    held: Held,
    max_rejects: int | None = None,
) -> None:
    """Writes one part to `folder`, whole or not at all.

    Args:
        records: Documents and rejects, as they are read from the input.
        folder: The folder of the part.
        encode: Encodes the texts, or the conversations.
        cleaning: Cleaning steps that are switched on.
        held: What of evaluation text is looked for, from `duplicates.held_out`.
        max_rejects: Maximum number of unreadable records; None for no limit.

    Raises:
        ValueError: If more than `max_rejects` records cannot be read.
    """
    with new_folder(folder) as new, (new / "rejects.jsonl").open("w", encoding="utf-8") as rejects:
        part = _Part(new, rejects, encode, cleaning, held, max_rejects)
        documents = part.cleaned(records)
        try:
            while batch := list(_batch(documents)):
                part.add(batch)
        except BaseException:
            with contextlib.suppress(OSError):  # on a full disk, closing fails with the same error
                part.close()
            raise
        part.close()


def _batch(documents: Iterator[Document]) -> Iterator[Document]:
    """Yields documents until they are enough for a batch."""
    characters: int = 0
    for document in islice(documents, BATCH_DOCUMENTS):
        yield document
        characters += len(document.text)
        if characters > BATCH_CHARACTERS:
            return


class _Language:
    """The open files of a language in a part. Its documents are collected until they make a group that is worth writing."""

    def __init__(self, path: Path, schema: pa.Schema):
        self.documents = 0
        self._ids = path.with_suffix(".ids").open("wb")
        self._index = pq.ParquetWriter(path.with_suffix(".parquet"), schema, compression="zstd")
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0  # bytes of their ids

    def add(self, ids: list[bytes], rows: pa.Table) -> None:
        self._ids.writelines(ids)
        self._waiting.append(rows)
        self.documents += len(rows)
        self._waiting_bytes += sum(map(len, ids))
        if sum(map(len, self._waiting)) >= BATCH_DOCUMENTS or self._waiting_bytes > GROUP_BYTES:
            self._write()

    def _write(self) -> None:
        self._index.write_table(pa.concat_tables(self._waiting))
        self._waiting, self._waiting_bytes = [], 0

    def close(self) -> None:
        if self._waiting:
            self._write()
        self._ids.close()
        self._index.close()


class _Part:
    """The open files of a part, and its counts."""

    def __init__(
        self,
        folder: Path,
        rejects: TextIO,
        encode: Encode,
        cleaning: Cleaning,
        held: Held,
        max_rejects: int | None,
    ):
        self._folder, self._rejects, self._encode, self._cleaning, self._held = folder, rejects, encode, cleaning, held
        self._max_rejects = max_rejects
        self._schema = schema(cleaning)
        self._languages: dict[str, _Language] = {}
        self._rejected: dict[str, Counter[str]] = {}
        self._changed: Counter[str] = Counter()
        self._unread: list[Reject] = []  # the first ones, for the error message
        self._n_unread = 0
        self._records = 0
        self._round_trip = RoundTrip()

    def cleaned(self, records: Iterable[Document | Reject]) -> Iterator[Document]:
        """Yields the documents that pass the cleaning steps for single documents."""
        for record in records:
            self._records += 1
            if isinstance(record, Reject):
                self._reject(record)
                self._too_many(record)
                continue
            try:
                yield clean(record, self._cleaning, self._changed)
            except NotADocument as error:
                self._reject(reject_of(record, str(error)))

    def _too_many(self, reject: Reject) -> None:
        if not reject.unread:
            return
        self._unread.append(reject)
        self._n_unread += 1
        if self._max_rejects is not None and len(self._unread) > self._max_rejects:
            raise too_many_rejects(self._unread, self._max_rejects)
        del self._unread[1 + (self._max_rejects or 0) :]

    def _reject(self, reject: Reject) -> None:
        self._rejected.setdefault(reject.lang, Counter())[reject.reason] += 1
        self._rejects.write(line_of(reject))

    def add(self, batch: list[Document]) -> None:
        """Applies the cleaning steps for many documents at a time, then encodes and writes the documents."""
        columns: list[np.ndarray] = []
        if self._cleaning.language or self._cleaning.rules or self._cleaning.duplicates == "near" or self._cleaning.overlap:
            texts, known = [document.text for document in batch], fences.load(self._cleaning.fences)
            split, whys = words.split(texts), [""] * len(batch)
            shares: list[dict[str, float]] = [{} for _ in batch]
            if self._cleaning.language:
                named = [document.lang for document in batch]
                ahead, shares = labels.by_function_words(named, split, known)
                verdicts = labels.compare(texts, named, ahead, shares)
                whys = ["another language" * (verdict.outcome == "other") for verdict in verdicts]
                batch = [_checked(*of_document) for of_document in zip(batch, verdicts, shares, strict=True)]
            if self._cleaning.rules:
                references = [known.of(document.lang) for document in batch]
                broken = rules.broken(rules.statistics(texts, references, split), references)
                whys = [why or rule for why, rule in zip(whys, broken, strict=True)]
            if self._cleaning.overlap:
                found = overlaps(split, self._held).tolist()
                whys = [why or "overlaps evaluation text" * out for why, out in zip(whys, found, strict=True)]
            if self._cleaning.duplicates == "near":
                columns += list(signatures(split).T)
            batch, columns = self._without(batch, columns, whys, shares)
        if isinstance(self._encode, ChatEncoder):
            ids_or_why = self._encode(batch)
            batch, columns = self._without(batch, columns, [ids if isinstance(ids, str) else "" for ids in ids_or_why], [{}] * len(batch))
            encoded = [ids for ids in ids_or_why if isinstance(ids, bytes)]
        else:
            encoded = self._encode([document.text for document in batch])
        if not batch:
            return
        if not self._encode.keeps_everything and self._round_trip.characters < DECODED_CHARACTERS:
            ids = [np.frombuffer(content, self._encode.dtype) for content in encoded]
            self._round_trip += round_trip(self._encode.processor, [document.text for document in batch], ids)
        entries = [_row(document, len(ids) // self._encode.dtype.itemsize) for document, ids in zip(batch, encoded, strict=True)]
        fixed = [pa.array(column, field.type) for column, field in zip(zip(*entries, strict=True), self._schema, strict=False)]
        table = pa.Table.from_arrays([*fixed, *map(pa.array, columns)], schema=self._schema)
        of_language: dict[str, list[int]] = {}
        for number, document in enumerate(batch):
            of_language.setdefault(document.lang, []).append(number)
        for code, members in of_language.items():
            if code not in self._languages:
                self._languages[code] = _Language(self._folder / code, self._schema)
            rows = table.take(members)
            self._hold_out([batch[at] for at in members], rows["digest"], self._languages[code].documents)
            self._languages[code].add([encoded[at] for at in members], rows)

    def _hold_out(self, documents: list[Document], digests: pa.ChunkedArray, first: int) -> None:
        """Writes which of some documents of a language are held out. `first` is the place of the first of them in the part."""
        if not self._cleaning.held_out:
            return
        with (self._folder / held_out.CANDIDATES).open("a", encoding="utf-8") as file:
            for at in np.flatnonzero(is_held_out(beginnings(digests), self._cleaning.held_out)).tolist():
                candidate = {"place": first + at, "digest": digests[at].as_py().hex(), **held_out.record(documents[at])}
                file.write(json.dumps(candidate, ensure_ascii=False) + "\n")

    def _without(
        self, batch: list[Document], columns: list[np.ndarray], whys: list[str], shares: list[dict[str, float]]
    ) -> tuple[list[Document], list[np.ndarray]]:
        """Rejects the documents for which there is a reason, and returns the others with their columns."""
        for document, why, languages in zip(batch, whys, shares, strict=True):
            if why:
                self._reject(replace(reject_of(document, why), languages=languages if len(languages) > 1 else {}))
        stays = np.array([not why for why in whys], bool)
        return [batch[at] for at in np.flatnonzero(stays).tolist()], [column[stays] for column in columns]

    def close(self) -> None:
        for language in self._languages.values():
            language.close()
        facts = {
            "records_read": self._records,
            "unread": self._n_unread,
            "rejected": {lang: dict(reasons) for lang, reasons in self._rejected.items()},
            "changed": dict(+self._changed),
            "documents": {code: language.documents for code, language in self._languages.items()},
            "round_trip": vars(self._round_trip),
        }
        # Not write_json, which would make the folder again, with this file alone, if another call has removed it.
        (self._folder / "part.json").write_text(json.dumps(facts), "utf-8")


def _checked(document: Document, verdict: Verdict, shares: Mapping[str, float]) -> Document:
    found = {"lang_checked": verdict.outcome == "same", "lang_share": shares.get(document.lang, 0.0) if shares else None}
    return replace(document, signals={**document.signals, **found})


def _row(document: Document, n_tokens: int) -> tuple[Any, ...]:
    known = (document.id, document.source, document.url, document.license, len(document.text.encode()), n_tokens)
    signals = [document.signals.get(name) for name in SIGNALS]
    return (hashlib.sha256(document.content).digest(), *known, *signals, document.file, document.line)


def reject_of(document: Document, reason: str) -> Reject:
    """Returns the reject that stands for a document."""
    return Reject(document.file, document.line, reason, document.text[:SAMPLE], document.lang)


def line_of(reject: Reject) -> str:
    """Returns the line of rejects.jsonl."""
    known = {name: value for name, value in vars(reject).items() if name != "languages" or value}
    return json.dumps(known, ensure_ascii=False) + "\n"


def too_many_rejects(rejects: list[Reject], allowed: int) -> ValueError:
    """Returns the error for a file with more unreadable records than are allowed."""
    listed = "; ".join(f"line {reject.line}: {reject.reason}" for reject in rejects[:5])
    return ValueError(
        f"{rejects[0].file}: {len(rejects):,} records cannot be read, {allowed:,} allowed ({listed}{'; …' if len(rejects) > 5 else ''});"
        " repair the file, leave it out, or allow more with --max_rejects"
    )
