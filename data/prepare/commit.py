"""The commitment of a corpus (data/corpus/commitment.py), made with the corpus or afterwards.

Each shard is a task, and so is each chunk of the sorted tree. What they write is kept in a working folder until all is done, together with
the secret, so that a call that continues an interrupted one has the same.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from varietas.data.corpus import commitment, sorted_tree
from varietas.data.corpus.corpus import COMMITMENT, SHARD_DOCUMENTS, Corpus
from varietas.data.files import locked, new_folder, read_json, write_json
from varietas.data.prepare.engine import Engine

COMMITMENTS, SORTED = "commitments", "sorted"  # folders of the working folder


def commit(path: Path, engine: Engine) -> dict[str, Any]:
    """Makes the commitment of a corpus that has none, as corpora of older versions. Continues where an earlier call was interrupted.

    Args:
        path: The folder of the corpus.
        engine: Does the tasks (see engine.py).

    Returns:
        The content of commitment.json.

    Raises:
        ValueError: If the corpus has a commitment, or is damaged.
        OSError: If the disk fails.
    """
    work = path / ".committing"
    with locked(path / ".committing.lock", f"audit commit --corpus {path}"):
        corpus = Corpus(path)
        if "commitment" in corpus.manifest:
            raise ValueError(f"{path} has a commitment already; it is never made anew, since proofs lead to its root")
        if not (path / COMMITMENT).exists():
            work.mkdir(exist_ok=True)
            commitment.make_secret(work / "secret")
            shards = {code: [f"{code}-{k:05d}" for k in range(corpus.n_shards(code))] for code in corpus.languages}
            tasks = [name for names in shards.values() for name in names if not (work / COMMITMENTS / name).exists()]
            engine("commitments", tasks, partial(do_shard_of, path))
            sort(work, shards, corpus.manifest["documents"], engine)
            with new_folder(path / COMMITMENT) as folder:
                join(work, shards, corpus.manifest["documents"], folder)
        content = read_json(path / COMMITMENT / "commitment.json", f"remove {path / COMMITMENT} to begin again")
        write_json(path / "manifest.json", {**corpus.manifest, "commitment": commitment.in_manifest(content)})
        shutil.rmtree(work, ignore_errors=True)
    return content


def do_shard_of(path: Path, name: str) -> None:
    """Does a task: commits to a shard of a corpus."""
    corpus, (code, number) = Corpus(path), name.rsplit("-", 1)
    first, work = int(number) * SHARD_DOCUMENTS, path / ".committing"
    lengths, index = corpus.lengths(code)[first : first + SHARD_DOCUMENTS], path / "index" / f"{name}.parquet"
    secret = commitment.read_secret(work / "secret")
    what = commitment.committed(secret, code, first, index, corpus.shard(code, int(number)), lengths)
    commitment.write_committed(first, what, code, path / "tokens" / f"{name}.array_record", work / COMMITMENTS / name)


def sort(work: Path, shards: Mapping[str, Sequence[str]], documents: int, engine: Engine) -> None:
    """Makes the chunks of the sorted tree that are missing.

    Args:
        work: The working folder, with what is committed to of each shard.
        shards: Names of the shards of each language.
        documents: Of the corpus.
        engine: Does the tasks.
    """
    chunks = [chunk for chunk in sorted_tree.chunks_of(documents) if not (work / SORTED / chunk).exists()]
    write_json(work / "sorting.json", {"shards": shards, "documents": documents})
    do = partial(do_chunk, work)
    if len(chunks) > 1:
        engine("sorted", chunks, do)
    for chunk in chunks[:1] if len(chunks) == 1 else ():  # not worth the start of a job
        do(chunk)


def do_chunk(work: Path, chunk: str) -> None:
    """Does a task: makes a chunk of the sorted tree."""
    content = json.loads((work / "sorting.json").read_text("utf-8"))
    languages = sorted(content["shards"])
    files = [(k, work / COMMITMENTS / name / "keys") for k, code in enumerate(languages) for name in content["shards"][code]]
    sorted_tree.write_chunk(files, content["documents"], chunk, work / SORTED / chunk)


def join(work: Path, shards: Mapping[str, Sequence[str]], documents: int, out: Path) -> dict[str, Any]:
    """Writes the commitment of a corpus from what is in its working folder, and returns the content of commitment.json.

    Args:
        work: The working folder, after all tasks are done.
        shards: Names of the shards of each language.
        documents: Of the corpus.
        out: The folder `commitment` of the corpus. It exists.
    """
    secret = commitment.read_secret(work / "secret")
    chunks = [work / SORTED / chunk for chunk in sorted_tree.chunks_of(documents)]
    tree = sorted_tree.join(chunks, sorted(shards), commitment.sorted_salt(secret), out)
    folders = {code: [work / COMMITMENTS / name for name in names] for code, names in shards.items()}
    return commitment.join(secret, folders, tree, out)
