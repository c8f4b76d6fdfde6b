"""Proofs that a document is in the corpus of a run and was read at some step, or that a text is not there.

Who checks one needs the public key of the run's signer, and neither corpus nor model. A proof leads from the document to what was signed:

    document   its commitments lead to the root of the corpus, which is signed (data/corpus/proofs.py)
    use        the piece leads to the digest of its row, the row to its step, the line of the step to the head of steps.jsonl, which is
               signed
    absence    the two neighbours of a text in the sorted tree lead to its root, which is signed
"""

import base64
import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from varietas.data.audit.find import digests_of
from varietas.data.audit.spans import Span
from varietas.data.corpus import proofs, sorted_tree
from varietas.data.corpus.corpus import Corpus
from varietas.data.ledger import merkle, signing
from varietas.data.ledger.log import lines
from varietas.data.ledger.statement import ENVELOPE, KIND, check_signed, signed_of
from varietas.data.ledger.steps import STEPS
from varietas.data.stream.pieces import Piece
from varietas.data.stream.row_digests import CONTENT, content_digest, piece_text, pieces_of_rows, row_digests
from varietas.data.stream.stream import Stream

FORMAT = "varietas proof 1"

Proof = dict[str, Any]


def envelope_of(ledger: Path) -> tuple[Proof, list[bytes]]:
    """Returns the signed statement of a ledger as a proof begins with it, and the lines of steps.jsonl that it covers.

    Raises:
        ValueError: If the ledger is not signed, or is not what was signed.
    """
    signed = signed_of(ledger)
    check_signed(ledger, signed)
    size = signed["logs"][STEPS]["size"]
    texts = [line.text for line in lines(ledger / STEPS) if line.number < size]
    return {"format": FORMAT, "statement": signing.read_envelope(ledger / ENVELOPE)}, texts


def of_document(corpus: Corpus, name: str, code: str, number: int) -> Proof:
    """Returns the proof that a document is in a corpus, and shows what it is.

    Args:
        corpus: A corpus with a commitment and its secret.
        name: What the run calls the corpus; "" if it has only one.
        code: The language of the document.
        number: Its number within the language.

    Raises:
        ValueError: If the corpus has no commitment, or only its public part is at hand.
    """
    shown = proofs.open_document(corpus, code, number)
    return {"corpus": name, "inclusion": proofs.inclusion(corpus, code, number), "opening": shown}


def of_absence(corpus: Corpus, name: str, text: str) -> list[Proof]:
    """Returns the proofs that no document of a corpus has a text, one for each form that it may have there (find.digests_of).

    Raises:
        ValueError: If a document has it, or if the corpus has no commitment.
    """
    tree = sorted_tree.open_sorted(corpus)
    digests = digests_of(text, corpus.manifest.get("cleaning", {}), corpus.languages)
    return [{"corpus": name, "absence": sorted_tree.absence(tree, digest)} for digest in digests]


def of_uses(texts: Sequence[bytes], uses: Sequence[tuple[Span, Stream, Piece]]) -> list[Proof]:
    """Returns for each piece of a document the proof that it was in a row of a step.

    Args:
        texts: The signed lines of steps.jsonl.
        uses: The pieces, with the steps and the rows that hold them.

    Raises:
        ValueError: If a step is not signed yet, or the corpus gives other rows than the ledger has.
    """
    at = [_line_of(texts, piece.row // span.batch_size) for span, _, piece in uses]
    in_log = merkle.paths(texts, at)
    return [_of_use(*use, texts[line], merkle.in_json(line, len(texts), path)) for use, line, path in zip(uses, at, in_log, strict=True)]


def _of_use(span: Span, stream: Stream, piece: Piece, line: bytes, in_log: dict[str, Any]) -> Proof:
    step, row = divmod(piece.row, span.batch_size)
    first = step * span.batch_size
    rows = stream.rows(first, first + span.batch_size)
    digests = [digest.tobytes() for digest in row_digests(stream, first, rows)]
    if merkle.root(digests).hex() != json.loads(line)["rows"]:
        raise ValueError(f"the rows of step {step} are not those of the ledger; `varietas audit verify` says why")
    pieces = pieces_of_rows(stream, stream.pieces(first, first + span.batch_size), first, rows["segments"])[row]
    text = piece_text(piece)
    return {
        "step": step,
        "row": row,
        "piece": text.decode(),
        "in_row": merkle.proof_of(pieces, pieces.index(text)),
        "content": content_digest(*(rows[name][row].astype("<i4") for name in CONTENT)).hex(),
        "in_step": merkle.proof_of(digests, row),
        "line": line.decode(),
        "in_log": in_log,
    }


def _line_of(texts: Sequence[bytes], step: int) -> int:
    """Returns the number of the line of a step. Raises ValueError if there is none."""
    begin = b'{"step":%d,"rows":' % step
    at = bisect_left(texts, step, key=lambda text: json.loads(text)["step"])
    line = next((n for n in range(at, min(at + 2, len(texts))) if texts[n].startswith(begin)), None)  # a context may stand before it
    if line is None:
        raise ValueError(f"step {step} is not signed yet; `varietas audit sign` signs what the ledger has")
    return line


def check(proof: Mapping[str, Any], key: Ed25519PublicKey) -> Iterator[str]:
    """Checks a proof, and yields what it shows, a sentence each.

    Args:
        proof: What `prove` has written.
        key: The public key of who should have signed.

    Raises:
        ValueError: If it does not hold. What was yielded before holds all the same.
    """
    if proof.get("format") != FORMAT:
        raise ValueError(f"this is no proof of `varietas audit prove`: its format is {proof.get('format')!r}, expected {FORMAT!r}")
    with _well_formed("statement"):
        statement = signing.verify(proof["statement"], key, "the statement in the proof")
        if statement["predicateType"] != KIND:
            raise ValueError(f"it is of kind {statement['predicateType']}, expected {KIND}")
        signed = statement["predicate"]
        contexts = [(int(context["step"]), context) for context in signed["contexts"]]
        yield f"signed on {signed['signed']} by {signing.key_id(key)}: a run of {signed['steps']:,} steps"
    if not proof.get("documents") and not proof.get("absent"):
        raise ValueError("it proves nothing: it has neither a document nor an absent text")
    for document in proof.get("documents", ()):
        yield _check_document(document, [context for _, context in contexts])
        uses = document.get("uses", ())
        for use in uses:
            yield _check_use(use, document, signed)
        yield f"{'these uses are' if uses else 'no use is'} proved; that there are no {'others' if uses else 'uses'} is not"
    if proof.get("absent"):
        yield from _check_absence(proof["absent"], [context for _, context in contexts])


def is_of_text(proof: Mapping[str, Any], text: str) -> bool:
    """Whether a proof that `check` has accepted is of a document with this text, or of its absence in every form that it may have."""
    shown = {document["opening"]["content_digest"] for document in proof.get("documents", ())}
    absent = {(each["corpus"], each["absence"]["content_digest"]) for each in proof.get("absent", ())}
    contexts = json.loads(base64.b64decode(proof["statement"]["payload"]))["predicate"]["contexts"]
    digests = {
        (name, digest.hex())
        for context in contexts
        for name, corpus in context["corpora"].items()
        for digest in digests_of(text, corpus["cleaning"], corpus["languages"])
    }
    return bool(shown & {digest for _, digest in digests}) or digests <= absent


def _check_document(document: Mapping[str, Any], contexts: Sequence[Mapping[str, Any]]) -> str:
    with _well_formed("proof of a document"):
        inclusion, opening, name = document["inclusion"], document["opening"], document["corpus"]
        roots = {context["corpora"][name]["commitment"]["root"] for context in _committed(contexts, name)}
        if inclusion["root"] not in roots:
            raise ValueError(f"the run has not read a corpus with the root {inclusion['root']}")
        proofs.check_inclusion(inclusion, inclusion["root"])
        proofs.check_opening(opening, inclusion)
        which = f"document {inclusion['number']} of {inclusion['language']}"
        entry = json.loads(opening["entry"])
        about = ", ".join(f"{field} {entry[field]}" for field in ("id", "source", "url", "license") if entry.get(field))
        return f"{which} is in {name or 'the corpus'}: {about}; SHA-256 of its text: {opening['content_digest']}"


def _check_absence(absent: Sequence[Mapping[str, Any]], contexts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Checks that texts are absent from every corpus that the run has read, and yields what that shows."""
    with _well_formed("proof of absence"):
        by_digest: dict[str, set[tuple[str, str]]] = {}
        for each in absent:
            digest, name, root = each["absence"]["content_digest"], each["corpus"], each["absence"]["sorted_root"]
            proofs.check_absence(each["absence"], bytes.fromhex(digest), root)
            by_digest.setdefault(digest, set()).add((name, root))
        for name in {name for context in contexts for name in context["corpora"]}:
            roots = {context["corpora"][name]["commitment"]["sorted_root"] for context in _committed(contexts, name)}
            for digest, proved in by_digest.items():
                if missing := {(name, root) for root in roots} - proved:
                    raise ValueError(f"it does not say that the text {digest} is absent from {name or 'the corpus'} ({sorted(missing)})")
                yield f"no document of {name or 'the corpus'} is the text with SHA-256 {digest}"


def _committed(contexts: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    """Returns the contexts in which a corpus had a commitment. Raises ValueError if the run has read one that never had."""
    of_name = [context for context in contexts if name in context["corpora"]]
    having = [context for context in of_name if context["corpora"][name]["commitment"]]
    known = {context["corpora"][name]["digest"] for context in having}
    if not having or {context["corpora"][name]["digest"] for context in of_name} - known:
        raise ValueError(f"the run was signed before {name or 'its corpus'} had a commitment: there is nothing to check the proof against")
    return having


def _check_use(use: Mapping[str, Any], document: Mapping[str, Any], signed: Mapping[str, Any]) -> str:
    with _well_formed("proof of a use"):
        log = signed["logs"][STEPS]
        source, language, number, begin, size = use["piece"].split("\t")
        read = {context["corpora"][source]["digest"] for context in signed["contexts"] if context["step"] <= use["step"]}
        committed = [each["corpora"][source] for each in _committed(signed["contexts"], source)]
        if not read & {corpus["digest"] for corpus in committed if corpus["commitment"]["root"] == document["inclusion"]["root"]}:
            raise ValueError(f"step {use['step']} has read another corpus than the one that the document is in")
        inclusion = document["inclusion"]
        if (source, language, int(number)) != (document["corpus"], inclusion["language"], inclusion["number"]):
            raise ValueError(f"it is of document {number} of {language}, not of the one that is proved")
        pieces = merkle.climbed(use["piece"].encode(), use["in_row"])
        rows = merkle.climbed(sha256(pieces + bytes.fromhex(use["content"])).digest(), use["in_step"])
        line = json.loads(use["line"])
        context = [context for context in signed["contexts"] if context["step"] <= use["step"]][-1]
        place = (use["in_step"]["index"], use["in_step"]["size"])  # the path alone does not tell the place if the size may be any
        if (line["rows"], line["step"], *place) != (rows.hex(), use["step"], use["row"], context["batch_size"]):
            raise ValueError(f"the row is not row {use['row']} of step {use['step']}")
        if use["in_log"]["size"] != log["size"] or merkle.climbed(use["line"].encode(), use["in_log"]).hex() != log["root"]:
            raise ValueError(f"the line of step {use['step']} is not in the log that was signed")
        left_out = f", which did not change the model ({line['left_out']})" if "left_out" in line else ""
        last = int(begin) + int(size) - 1
        return f"step {use['step']}, row {use['row']} had tokens {begin} to {last} of document {number} of {language}{left_out}"


@contextmanager
def _well_formed(what: str) -> Iterator[None]:
    """Raises ValueError if the block cannot read what it checks."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"the {what} cannot be read: a field is missing or of another kind ({error!r})") from None
