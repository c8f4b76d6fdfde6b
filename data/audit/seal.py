"""The public part of a corpus: what can be published of it while texts stay under seal, and proofs can still be checked.

Of a document of a sealed source it has the salted commitments, the number of tokens (from which the rows of a run follow), the source, the
language and the license. It has no digest of its text, since anyone could make that of a text which they guess; no bytes, which
with the tokens would nearly be such a digest; and no signals. Of documents of other sources it has all that the index has. The following is
left out altogether: tokens, texts, the samples of rejects.jsonl, the secret and the sorted tree; unigrams.npy, in which a small source
shows its words; the tokenizer, whose pieces may be words of a sealed text; and the digest of the corpus with the roots of its languages,
since they are over digests without salt. In place of that digest stands the root of the commitment.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from varietas.data.corpus import removals
from varietas.data.corpus.corpus import COMMITMENT, Corpus
from varietas.data.corpus.index import index_errors, index_path
from varietas.data.files import new_folder, write_json
from varietas.data.hints import nearest

# Fields of the manifest that tell nothing of a document.
PUBLIC = (
    "format", "documents", "tokens", "bytes", "learned", "records_read", "rejected", "rejected_by_language", "changed", "cleaning",
    "tokenizer_digest", "template_digest", "preferences", "vocab_size", "pad_id", "dtype", "versions", "commitment",
)  # fmt: skip
COUNTS = ("documents", "tokens", "bytes", "learned")  # of a language
KEPT = ("source", "license", "tokens")  # columns of the index that documents of sealed sources keep
ROWS = 8192  # of the index in memory at a time


def seal(corpus: Corpus, out: Path, sources: Sequence[str] = ()) -> dict[str, Any]:
    """Writes the public part of a corpus.

    Args:
        corpus: A corpus with a commitment.
        out: The folder to write. It must not exist.
        sources: The sources to seal; all if there are none.

    Returns:
        The manifest of the public part. `sealed` names the sources that are sealed.

    Raises:
        ValueError: If `out` exists, if there is no such source, or if the corpus has no commitment or is damaged.
    """
    if out.exists():
        raise ValueError(f"--out {out} exists; name a new folder or remove it")
    if corpus.sealed:
        raise ValueError(f"{corpus.path} is the public part of a corpus already")
    known = sorted({source for language in corpus.commitment["languages"].values() for source in language["sources"]})
    for source in sources:
        if source not in known:
            raise ValueError(f"{corpus.path} has no source {source!r}; did you mean {nearest(source, known)!r}?")
    sealed = sorted(set(sources)) or known
    languages = {code: {field: entry[field] for field in COUNTS if field in entry} for code, entry in corpus.manifest["languages"].items()}
    public = {field: corpus.manifest[field] for field in PUBLIC if field in corpus.manifest}
    manifest = {**public, "digest": corpus.commitment["root"], "sealed": sealed, "languages": languages}
    with new_folder(out) as folder:
        for name in (COMMITMENT, "lengths", "index"):
            (folder / name).mkdir()
        shutil.copyfile(corpus.path / COMMITMENT / "commitment.json", folder / COMMITMENT / "commitment.json")
        for code in corpus.languages:
            for part in ("leaves", "sources", "trees"):
                shutil.copyfile(corpus.path / COMMITMENT / f"{code}.{part}", folder / COMMITMENT / f"{code}.{part}")
            shutil.copyfile(corpus.path / "lengths" / f"{code}.u32", folder / "lengths" / f"{code}.u32")
            for shard in range(corpus.n_shards(code)):
                index = index_path(corpus, code, shard)
                _write_index(index, sealed, folder / "index" / index.name)
        for name in (removals.FILE, removals.ENVELOPE, removals.KEY):  # the list has numbers of documents, and neither ids nor URLs
            if (corpus.path / name).exists():
                shutil.copyfile(corpus.path / name, folder / name)
        write_json(folder / "manifest.json", manifest)
    return manifest


def _write_index(index: Path, sealed: Sequence[str], out: Path) -> None:
    """Writes what is public of the index of a shard."""
    batches = _batches(index)
    first = next(batches)
    with pq.ParquetWriter(out, first.schema, compression="zstd") as writer:
        writer.write_batch(_public(first, sealed))
        for rows in batches:
            writer.write_batch(_public(rows, sealed))


def _batches(index: Path) -> Iterator[pa.RecordBatch]:
    with index_errors(index):
        yield from pq.ParquetFile(index).iter_batches(ROWS)


def _public(rows: pa.RecordBatch, sealed: Sequence[str]) -> pa.RecordBatch:
    """Returns rows of the index in which those of sealed sources have only the columns KEPT."""
    hidden = pc.is_in(pc.fill_null(rows["source"], ""), pa.array(sealed, pa.string())).to_numpy(zero_copy_only=False)
    shown = pa.array(np.arange(len(rows)), mask=hidden)  # taking nothing gives null, for columns of any type
    columns = [rows[name] if name in KEPT else rows[name].take(shown) for name in rows.schema.names]
    return pa.record_batch(columns, schema=rows.schema)
