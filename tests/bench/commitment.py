"""Measures the commitment of a large corpus: building its trees, looking up a text, proofs and their check, in time and memory.

    python tests/bench/commitment.py [--documents 50_000_000] [--folder DIR]

T, E and keys of documents are random, except for the key of every 1,000th document, which is that of a known digest. The trees over them
are built, asked and checked by the code of `prepare`. How long the T, E and key of a document take, beside all else that `prepare` does, is
measured on a small corpus of text. The folder takes 260 bytes a document for the time of the build, and 106 afterwards; both are removed.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from figures import documents

from varietas.data.corpus import commitment, proofs, sorted_tree
from varietas.data.corpus.corpus import COMMITMENT, SHARD_DOCUMENTS, Corpus
from varietas.data.prepare.commit import COMMITMENTS, join, sort
from varietas.data.prepare.default import default_corpus
from varietas.data.prepare.engine import local
from varietas.data.prepare.prepare import prepare_documents
from varietas.data.text.documents import Document

SECRET = bytes(32)
KNOWN = 1000  # one document in so many has a digest that is known
LANGUAGES, SOURCES = ("ces_Latn", "fin_Latn", "mlt_Latn"), ("books", "web", "wiki")
SHARES = (0.6, 0.3, 0.1)
ASKED = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=50_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the corpus is made (default: among temporary files)")
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.ask:
        ask(args.ask)
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        of_real_text(Path(folder))
        build(Path(folder), args.documents, args.workers)
        subprocess.run([sys.executable, __file__, "--ask", folder], check=True)  # in a process of its own, for the memory


def of_real_text(folder: Path) -> None:
    """Prepares a small corpus, commits to its documents once more, and prints how long that takes for one of them."""
    texts = [Document(str(k), "eng_Latn", text, f"https://example.org/{k}") for k, (_, text) in enumerate(documents(4000))]
    begun = time.process_time()
    prepare_documents(texts, (default_corpus(8192) / "tokenizer.model").read_bytes(), folder / "real")
    prepared = time.process_time() - begun
    corpus = Corpus(folder / "real")
    (code,) = corpus.languages
    begun = time.process_time()
    index = corpus.path / "index" / f"{code}-00000.parquet"
    commitment.committed(SECRET, code, 0, index, corpus.shard(code, 0), corpus.lengths(code))
    spent = time.process_time() - begun
    print(f"a document: {spent / len(texts) * 1e6:.1f} µs of processor for T, E and key, {spent / prepared:.2%} of prepare", flush=True)


def shards_of(n_documents: int) -> dict[str, list[str]]:
    """Returns the names of the shards of each language. Only the last language has a shard that is not full."""
    left, shards = -(-n_documents // SHARD_DOCUMENTS), {}
    for code, share in zip(LANGUAGES, (*SHARES[:-1], 1.0), strict=True):
        n = min(left, round(share * n_documents / SHARD_DOCUMENTS)) if share < 1 else left
        shards[code], left = [f"{code}-{k:05d}" for k in range(n)], left - n
    return {code: names for code, names in shards.items() if names}


def most_memory() -> float:
    """Returns the most MiB that this process has had in memory, memory-mapped files included."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def known_digest(code: str, number: int) -> bytes:
    return sha256(f"{code} {number}".encode()).digest()


def make_shard(work: Path, n_documents: int, name: str) -> None:
    """Does a task: makes what a shard of documents would have, and writes it as `prepare` does."""
    code, number = name.rsplit("-", 1)
    shards = shards_of(n_documents)
    n = n_documents - SHARD_DOCUMENTS * (sum(map(len, shards.values())) - 1) if name == shards[max(shards)][-1] else SHARD_DOCUMENTS
    rng, first, salt = np.random.default_rng(list(name.encode())), int(number) * SHARD_DOCUMENTS, commitment.sorted_salt(SECRET)
    keys = np.empty(n, sorted_tree.KEYS)
    keys["key"], keys["number"] = np.frombuffer(rng.bytes(32 * n), "V32"), first + np.arange(n)
    for at in range(-first % KNOWN, n, KNOWN):
        keys["key"][at] = np.void(sorted_tree.key_of(salt, known_digest(code, first + at)))
    leaves = np.frombuffer(rng.bytes(64 * n), np.uint8).reshape(n, 64)
    source = rng.integers(0, len(SOURCES), n, "u4").astype("<u4")
    what = commitment.Committed(leaves, SOURCES, source, sorted_tree.by_key(keys), {})
    commitment.write_committed(first, what, code, Path(name), work / COMMITMENTS / name)


def noted(do: Callable[[str], None], notes: Path, task: str) -> None:
    """Does a task, and notes the seconds of processor that it took, and the most MiB that its process has had in memory."""
    begun = time.process_time()
    do(task)
    notes.mkdir(parents=True, exist_ok=True)
    (notes / task).write_text(f"{time.process_time() - begun} {most_memory()}")


def build(folder: Path, n_documents: int, workers: int) -> None:
    """Builds the trees, and prints how long that took and how much memory. Tasks that an earlier call has done are not done again."""
    work, shards = folder / "work", shards_of(n_documents)
    work.mkdir(exist_ok=True)
    commitment.write_secret(work / "secret", SECRET)

    def engine(stage: str, tasks: Sequence[str], do: Callable[[str], None]) -> None:
        begun = time.perf_counter()
        local(workers)(stage, tasks, partial(noted, do, folder / "notes" / stage))
        notes = [file.read_text().split() for file in (folder / "notes" / stage).iterdir()]
        spent, peak = sum(float(seconds) for seconds, _ in notes), max(float(most) for _, most in notes)
        print(f"{stage}: {len(tasks):,} tasks in {time.perf_counter() - begun:,.0f} s", end="; ")
        print(f"each takes {spent / len(notes):.2f} s of processor, and at most {peak:,.0f} MiB", flush=True)

    missing = [name for names in shards.values() for name in names if not (work / COMMITMENTS / name).exists()]
    engine("shards", missing, partial(make_shard, work, n_documents))
    sort(work, shards, n_documents, engine)
    begun = time.perf_counter()
    (folder / COMMITMENT).mkdir()
    content = join(work, shards, n_documents, folder / COMMITMENT)
    print(f"joining: {time.perf_counter() - begun:,.0f} s, at most {most_memory():,.0f} MiB")
    shutil.rmtree(work)
    size = sum(file.stat().st_size for file in (folder / COMMITMENT).iterdir())
    print(f"{size / 1e9:.2f} GB, {size / n_documents:.0f} bytes a document; {content['sorted']['bits']} bits", flush=True)


def ask(folder: Path) -> None:
    """Looks up and proves documents, and prints how long that took and how much memory."""
    content: dict[str, Any] = json.loads((folder / COMMITMENT / "commitment.json").read_text("utf-8"))
    counts = {code: language["documents"] for code, language in content["languages"].items()}
    corpus: Any = SimpleNamespace(path=folder, commitment=content, languages=tuple(counts), documents=counts.get, sealed=())
    rng = np.random.default_rng(1)
    tree = sorted_tree.open_sorted(corpus)
    wanted = []
    for _ in range(ASKED):
        code = str(rng.choice(list(counts)))
        wanted.append((code, int(rng.integers(counts[code]))))

    def timed(what: str, work: Any, over: list[Any]) -> list[Any]:
        begun, before = time.perf_counter(), time.process_time()
        found = [work(*each) for each in over]
        wall, spent = ((now - then) / len(over) * 1e3 for now, then in ((time.perf_counter(), begun), (time.process_time(), before)))
        peak = most_memory()
        print(f"{what}: {wall:,.1f} ms, {spent:,.1f} ms of processor, peak {peak:,.0f} MiB so far", flush=True)
        return found

    known = [(code, number - number % KNOWN) for code, number in wanted]
    found = timed("look-up of a text", lambda code, number: sorted_tree.find(tree, known_digest(code, number)), known)
    assert found == [[place] for place in known]
    strangers = [(sha256(b"%d" % k).digest(),) for k in range(ASKED)]
    absent = timed("proof of absence", lambda digest: sorted_tree.absence(tree, digest), strangers)
    checks = [(proof, *digest) for proof, digest in zip(absent, strangers, strict=True)]
    timed("its check", lambda proof, digest: proofs.check_absence(proof, digest, content["sorted"]["root"]), checks)
    included = timed("proof of inclusion", lambda code, number: proofs.inclusion(corpus, code, number), wanted)
    timed("its check", lambda proof: proofs.check_inclusion(proof, content["root"]), [(proof,) for proof in included])
    for what, made in (("absence", absent), ("inclusion", included)):
        print(f"a proof of {what} has {max(len(json.dumps(proof)) for proof in made):,} bytes at most")


if __name__ == "__main__":
    main()
