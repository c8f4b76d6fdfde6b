"""Proofs about a document of a corpus, which need nothing but the root of the corpus to be checked.

A proof of inclusion says that a document with the commitments T and E (commitment.py) is in the corpus, and tells nothing else of it. An
opening shows what is behind T, E or both. A proof of absence says that a text is not there (sorted_tree.py). All are dicts that JSON can
hold; hashes and salts are hexadecimal.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import pairwise
from typing import Any

import numpy as np

from varietas.data.corpus import commitment as commit
from varietas.data.corpus.commitment import LEAF, Part
from varietas.data.corpus.corpus import COMMITMENT, SHARD_DOCUMENTS, Corpus, damaged
from varietas.data.corpus.index import INDEX, entries
from varietas.data.corpus.sorted_tree import find, key_of, open_sorted, upper_leaves
from varietas.data.ledger.merkle import HASH, climbed, proof_of

PARTS: tuple[Part, Part] = ("text", "entry")
ENTRY_DIFFERS = "its index entry (id, source, url, license, bytes, tokens or signals) is not what was committed to"


def inclusion(corpus: Corpus, code: str, number: int) -> dict[str, Any]:
    """Returns a proof that a document is in the corpus. It tells its language, source and number, and nothing else of it.

    Args:
        corpus: A corpus with a commitment, or the public part of one.
        code: The language of the document.
        number: Its number within the language.

    Raises:
        ValueError: If there is no such document, or if the corpus has no commitment, or a damaged one.
    """
    _check_number(corpus, code, number)
    languages = corpus.commitment["languages"]
    numbers, leaves, table = commit.source_numbers(corpus, code), commit.leaves(corpus, code), commit.tree_table(corpus, code)
    names, which = list(languages[code]["sources"]), int(numbers[number])
    if which >= len(names):
        raise damaged(corpus.path / COMMITMENT / f"{code}.sources", f"document {number:,} has no source of commitment.json")
    shard = number // SHARD_DOCUMENTS
    first = shard * SHARD_DOCUMENTS
    members = np.flatnonzero(numbers[first : first + SHARD_DOCUMENTS] == which)
    of_shard = commit.leaves_of(first, members, leaves[first : first + SHARD_DOCUMENTS])
    mine = table[table["source"] == which]
    roots, place = mine["root"].tolist(), int(np.searchsorted(mine["shard"], shard))
    if place == len(mine) or mine["shard"][place] != shard or mine["documents"][place] != len(members):
        raise damaged(corpus.path / COMMITMENT / f"{code}.trees", f"it does not hold the {len(members):,} documents of shard {shard:,}")
    sources = commit.source_leaves(languages)
    own = leaves[number].tobytes()
    return {
        "claim": "the corpus has a document with these commitments",
        "language": code,
        "source": names[which],
        "number": number,
        "text_commitment": own[:HASH].hex(),
        "entry_commitment": own[HASH:].hex(),
        "in_shard": proof_of(of_shard, int(np.searchsorted(members, number - first))),
        "in_source": proof_of(roots, place),
        "documents_of_source": languages[code]["sources"][names[which]]["documents"],
        "in_corpus": proof_of(list(sources.values()), list(sources).index((code, names[which]))),
        "root": corpus.commitment["root"],
    }


def check_inclusion(proof: Mapping[str, Any], root: str) -> None:
    """Checks what `inclusion` returned. Nothing else of the corpus is needed.

    Args:
        proof: The proof.
        root: The root of the corpus, hexadecimal, from a place that is trusted. The one in the proof is not.

    Raises:
        ValueError: If the proof does not hold.
    """
    with _well_formed("proof of inclusion"):
        both = bytes.fromhex(proof["text_commitment"]) + bytes.fromhex(proof["entry_commitment"])
        if len(both) != LEAF:
            raise ValueError("a commitment has 32 bytes")
        if type(proof["number"]) is not int or type(proof["documents_of_source"]) is not int:
            raise TypeError("expected whole numbers")
        of_shard = climbed(commit.leaf_of(proof["number"], both), proof["in_shard"])
        of_source = climbed(of_shard, proof["in_source"])
        leaf = commit.source_leaf(proof["language"], proof["source"], proof["documents_of_source"], of_source)
        found = climbed(leaf, proof["in_corpus"])
    _expect_root(found, root, "inclusion")


def open_document(corpus: Corpus, code: str, number: int, parts: Sequence[Part] = PARTS) -> dict[str, Any]:
    """Returns what was committed to of a document, with the salts, so that others can check it.

    Args:
        corpus: A corpus with a commitment and its secret.
        code: The language of the document.
        number: Its number within the language.
        parts: What to show: its text (the digests of content and tokens; whoever has the text can make these), its index entry, or both.

    Raises:
        ValueError: If there is no such document, or if the corpus has no commitment, no secret, or is damaged.
    """
    _check_number(corpus, code, number)
    secret = secret_of(corpus)
    row, opening = entries(corpus, code, np.array([number]), INDEX.names)[0], dict[str, Any](language=code, number=number)
    if "text" in parts:
        (ids,) = corpus.read(np.array([corpus.languages.index(code)]), np.array([number]))
        digests = {"content_digest": row["digest"].hex(), "tokens_digest": sha256(ids.tobytes()).hexdigest()}
        opening |= {"text_salt": commit.salt_of(secret, code, number, "text").hex(), **digests}
    if "entry" in parts:
        opening |= {"entry_salt": commit.salt_of(secret, code, number, "entry").hex(), "entry": commit.entry_of(code, row)}
    return opening


def check_opening(opening: Mapping[str, Any], proof: Mapping[str, Any]) -> None:
    """Checks that an opening shows what is behind the commitments of a proof of inclusion, which is checked by `check_inclusion`.

    Raises:
        ValueError: If it is of another document, or if a part of it is not what was committed to; the message says which.
    """
    with _well_formed("opening"):
        which = f"document {opening['number']} of {opening['language']}"
        if (opening["language"], opening["number"]) != (proof["language"], proof["number"]):
            raise ValueError(f"it shows {which}, and the proof is of document {proof['number']} of {proof['language']}")
        if not {"entry", "content_digest"} & opening.keys():
            raise ValueError("it shows nothing")
        wrong = []
        if "content_digest" in opening:
            digests = [bytes.fromhex(opening[name]) for name in ("text_salt", "content_digest", "tokens_digest")]
            if any(len(each) != HASH for each in digests):
                raise ValueError("a salt and a digest have 32 bytes")
            if commit.text_commitment(*digests).hex() != proof["text_commitment"]:
                wrong.append("text")
        shown = commit.entry_commitment(bytes.fromhex(opening["entry_salt"]), opening["entry"]) if "entry" in opening else None
        if shown and shown.hex() != proof["entry_commitment"]:
            wrong.append("index entry")
    if wrong:
        raise ValueError(f"{which}: its {' and its '.join(wrong)} is not what the corpus committed to")


def check_document(corpus: Corpus, code: str, number: int) -> list[str]:
    """Compares a document with its commitment, and that with the root of the corpus.

    Args:
        corpus: A corpus with a commitment and its secret.
        code: The language of the document.
        number: Its number within the language.

    Returns:
        What differs, a line each; nothing if the document is as it was.

    Raises:
        ValueError: If there is no such document, or if the corpus has no commitment, no secret, or is damaged.
    """
    proof = inclusion(corpus, code, number)
    row, secret, which = entries(corpus, code, np.array([number]), INDEX.names)[0], secret_of(corpus), f"document {number:,} of {code}"
    (found,) = corpus.read(np.array([corpus.languages.index(code)]), np.array([number]), skip=True)
    faults = [] if len(found) else [f"{which}: its tokens are damaged"]
    text = commit.text_commitment(commit.salt_of(secret, code, number, "text"), row["digest"] or b"", sha256(found.data).digest())
    if len(found) and text.hex() != proof["text_commitment"]:
        is_known = (code, number) in find(open_sorted(corpus), row["digest"] or b"")  # then the digest is as it was
        faults.append(f"{which}: {'its tokens are' if is_known else 'the digest of its text is'} not what was committed to")
    if (
        commit.entry_commitment(commit.salt_of(secret, code, number, "entry"), commit.entry_of(code, row)).hex()
        != proof["entry_commitment"]
    ):
        faults.append(f"{which}: {ENTRY_DIFFERS}")
    try:
        check_inclusion(proof, corpus.manifest["commitment"]["root"])
    except ValueError as error:
        faults.append(f"{which}: {error}")
    return faults


def check_absence(proof: Mapping[str, Any], content_digest: bytes, sorted_root: str) -> None:
    """Checks what `sorted_tree.absence` returned. Nothing else of the corpus is needed.

    Args:
        proof: The proof.
        content_digest: SHA-256 of the text that is said to be absent (`Document.content`).
        sorted_root: The root of the corpus's sorted tree, hexadecimal, from a place that is trusted. The one in the proof is not.

    Raises:
        ValueError: If the proof does not hold.
    """
    with _well_formed("proof of absence"):
        if bytes.fromhex(proof["content_digest"]) != content_digest:
            raise ValueError(f"it is about another text, whose digest is {proof['content_digest']}")
        bucket, salt = proof["bucket"], bytes.fromhex(proof["salt"])
        n, top, key = bucket["documents"], bytes.fromhex(bucket["root"]), key_of(salt, content_digest)
        if len(salt) != HASH or len(top) != HASH:
            raise ValueError("a salt and a root have 32 bytes")
        buckets = bucket["size"]
        if buckets & (buckets - 1) or int.from_bytes(key, "big") * buckets >> 8 * HASH != bucket["index"]:
            raise ValueError("the text belongs to another bucket")
        between = [side for side in (proof["before"], proof["after"]) if side is not None]
        places = [-1 if proof["before"] is None else proof["before"]["index"], n if proof["after"] is None else proof["after"]["index"]]
        if places[1] != places[0] + 1 or not (n == 0 or between):
            raise ValueError("the two keys are not neighbours in the bucket")
        keys = [bytes.fromhex(side["key"]) for side in between]
        in_order = [*keys[: proof["before"] is not None], key, *keys[proof["before"] is not None :]]
        if any(a >= b for a, b in pairwise(in_order)) or any(len(other) != HASH for other in keys):
            raise ValueError("the key of the text is not between the two keys")
        for other, side in zip(keys, between, strict=True):
            if climbed(other, {**side, "size": n}) != top:
                raise ValueError("a key beside the text is not in the bucket")
        if not between and top != sha256(b"").digest():
            raise ValueError("the bucket is not empty")
        found = climbed(upper_leaves([n], salt, [top])[0], bucket)
    _expect_root(found, sorted_root, "absence")


@contextmanager
def _well_formed(what: str) -> Iterator[None]:
    """Raises ValueError if the block cannot read what it checks, and says in errors what that was."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"this is no {what}: a field is missing or of another kind ({error!r})") from None
    except ValueError as error:
        raise ValueError(f"this {what} does not hold: {error}") from None


def _expect_root(found: bytes, root: str, what: str) -> None:
    if found.hex() != root.strip().lower():
        raise ValueError(f"this proof of {what} does not hold: it leads to the root {found.hex()}, not to {root}")


def _check_number(corpus: Corpus, code: str, number: int) -> None:
    if code not in corpus.languages:
        raise ValueError(f"{corpus.path} has no language {code}; it has {', '.join(corpus.languages)}")
    if not 0 <= number < corpus.documents(code):
        raise ValueError(f"{corpus.path} has no document {number:,} of {code}; it has {corpus.documents(code):,}, from 0 on")


def secret_of(corpus: Corpus) -> bytes:
    """Returns the secret of a corpus. Raises ValueError if the corpus has no commitment or no secret."""
    if corpus.sealed:
        raise corpus.needs_sealed_part("the salts of documents")
    assert corpus.commitment
    return commit.read_secret(corpus.path / COMMITMENT / "secret")
