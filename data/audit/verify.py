"""Checks a ledger: its logs, what was signed, and its commitments, which are computed again from the corpus. Faults say where it breaks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from varietas.data.audit.spans import Span
from varietas.data.corpus import removals
from varietas.data.corpus.corpus import COMMITMENT, SHARD_DOCUMENTS, Corpus
from varietas.data.corpus.differences import of_roots, of_shard
from varietas.data.corpus.proofs import check_document
from varietas.data.corpus.shards import DamagedDocument
from varietas.data.corpus.sources import Sources, sources_of
from varietas.data.ledger.log import lines
from varietas.data.ledger.merkle import MerkleTree, root
from varietas.data.ledger.statement import ENVELOPE, KEY, check_signed, signed_of
from varietas.data.ledger.steps import CHECKPOINTS, STEPS, steps_of
from varietas.data.stream.loader import DIGESTS, batches
from varietas.data.stream.stream import Stream

Faults = Iterator[str]


def check_logs(folder: Path, key: Ed25519PublicKey | None = None) -> Faults:
    """Yields the faults of the two logs and of what was signed, without the corpus.

    Args:
        folder: The folder of the ledger.
        key: Whose signature is expected; None for the key that lies in the folder, if the ledger is signed.
    """
    tree = MerkleTree()
    heads = dict[int, str]()  # root of steps.jsonl after so many lines, for those that checkpoints name
    try:
        named = [line.record for line in lines(folder / CHECKPOINTS)] if (folder / CHECKPOINTS).exists() else []
    except ValueError as error:
        yield str(error)
        named = []
    wanted, last = {int(record["steps"]["size"]) for record in named}, -1
    try:
        for line in lines(folder / STEPS, tree):
            if line.number in wanted:
                heads[line.number] = line.record["before"]
            step = line.record.get("step")
            if not isinstance(step, int) or (line.number and step != last + 1):
                yield f"{folder / STEPS}: line {line.number + 1} has step {step}, after step {last}: steps are missing or there twice"
                return
            last = step if "rows" in line.record else step - 1
    except ValueError as error:
        yield str(error)
        return
    heads[tree.size] = tree.root().hex()
    yield from _check_heads(folder / STEPS, tree.size, named, heads)
    try:
        if key or (folder / ENVELOPE).exists() or (folder / KEY).exists():
            check_signed(folder, signed_of(folder, key))
    except ValueError as error:
        yield str(error)


def _check_heads(file: Path, n_lines: int, named: Sequence[dict[str, Any]], heads: Mapping[int, str]) -> Faults:
    for record in named:
        size, wrote = int(record["steps"]["size"]), record["steps"]["root"]
        if (found := heads.get(size)) is None:
            yield f"{file}: {n_lines:,} lines are left of {size:,} that the checkpoint of step {record['step']} followed"
        elif found != wrote:
            yield (
                f"{file}: its first {size:,} lines are not those that the checkpoint of step {record['step']} followed: they "
                "were written anew"
            )


def check_steps(
    folder: Path,
    spans: Sequence[Span],
    corpus: Corpus | Sources,
    steps: range,
    tell: Callable[[int], None] = lambda _: None,
) -> Faults:
    """Computes the commitments of steps again from the corpus, and yields the faults.

    Args:
        folder: The folder of the ledger, whose logs have no fault.
        spans: Its spans.
        corpus: The corpus of the run.
        steps: Which steps.
        tell: Is told the number of each step that is done.

    Raises:
        ValueError: If the corpus is not the one that the run has read.
    """
    wrote = {step.step: step.rows for step in steps_of(folder) if step.step in steps}
    for span in spans:
        begin, end = max(span.first, steps.start), min(span.stop, steps.stop)
        if begin >= end:
            continue
        stream = span.stream(corpus)
        for step, batch in enumerate(batches(stream, span.batch_size, begin, end), begin):
            if root_of(batch[DIGESTS]) != wrote[step]:
                whole = replace(span, damaged={}).stream(corpus)  # what was damaged later had been whole when this step read it
                (again,) = batches(whole, span.batch_size, step, step + 1)
                if root_of(again[DIGESTS]) != wrote[step]:
                    yield _blamed(whole, span, step)
            tell(step)


def check_corpus(corpus: Corpus, tell: Callable[[int], None] = lambda _: None) -> Faults:
    """Yields how a corpus differs from what it committed to. All of it is read.

    Args:
        corpus: A corpus with a commitment and its secret.
        tell: Is told the number of documents whenever some are done.
    """
    try:
        yield from of_roots(corpus)
        for code in corpus.languages:
            for shard in range(corpus.n_shards(code)):
                yield from (f"{corpus.path}: {fault}" for fault in of_shard(corpus, code, shard))
                tell(min(SHARD_DOCUMENTS, corpus.documents(code) - shard * SHARD_DOCUMENTS))
    except ValueError as error:
        yield str(error)


def check_removals(corpus: Corpus) -> Faults:
    """Yields what is wrong with the list of removed documents of a corpus and its signature."""
    try:
        removals.removed_from(corpus)
    except ValueError as error:
        yield str(error)


def not_compared(corpus: Corpus) -> str:
    """Says why the documents of a corpus cannot be compared with what it committed to; "" if they can."""
    if not corpus.manifest.get("commitment"):
        return f"{corpus.path} has no commitment, so its documents were not compared with one"
    if corpus.sealed or not (corpus.path / COMMITMENT / "secret").exists():
        return f"the documents of {corpus.path} were not compared with its commitment: that needs commitment/secret"
    return ""


def root_of(digests: np.ndarray) -> str:
    """Returns the root of the tree over the digests of the rows of a step, uint8 (rows, 32), in hexadecimal digits."""
    return root(digest.tobytes() for digest in digests).hex()


def _blamed(stream: Stream, span: Span, step: int) -> str:
    """Says which document of a step is not what the corpus committed to."""
    pieces = list(stream.documents(step * span.batch_size, (step + 1) * span.batch_size))
    faults = []
    for source, language, number in sorted({(piece.source, piece.language, piece.document) for piece in pieces}):
        corpus = sources_of(stream.corpus)[source]
        faults += [f"{source} {why}".lstrip() for why in _faults(corpus, language, number)]
    said = "; ".join(faults[:5]) or "none of its documents is another than the corpus says, so its rows were others or in another order"
    return f"step {step}: its rows are not those that the ledger has; {said}"


def _faults(corpus: Corpus, language: str, number: int) -> list[str]:
    if not not_compared(corpus):
        return check_document(corpus, language, number)
    try:
        corpus.read(np.array([corpus.languages.index(language)]), np.array([number]))
    except DamagedDocument as error:
        return [f"document {number} of {language}: {error.why}"]
    return []
