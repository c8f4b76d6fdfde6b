"""Text in, a corpus folder out (see corpus.py), in three stages that any number of workers can share.

    1. parts     each part of each input file is read, cleaned and encoded (part.py)
    2. verdicts  each language: which documents stay (select.py)
    3. shards    each language, SHARD_DOCUMENTS at a time: tokens and index as they are kept (shard.py)

A stage is a list of tasks; a task writes one thing of its own, whole or not at all, and its content depends on the input alone. So the
corpus is the same whoever did which task, and after an interruption what is there stays and what is missing is done. All of it lies in
a folder beside the corpus until the corpus is whole. Documents keep the order of the input within their language.
"""

import hashlib
import json
import os
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece as spm

from varietas.data import clean, tokenizer
from varietas.data.clean import Cleaning
from varietas.data.corpus import FORMAT, SHARD_DOCUMENTS, corpus_digest, shard_path
from varietas.data.documents import Document, Reject
from varietas.data.encode import Encoder, id_type
from varietas.data.engine import Run
from varietas.data.files import alone, discard, new_folder, write_atomically, write_json
from varietas.data.languages import canonical
from varietas.data.part import too_many_rejects, write_part
from varietas.data.plan import PART_BYTES, Part, Plan, difference, load_plan, parts_of, save_plan, stamp_of, versions, working_folder
from varietas.data.read import expand, read
from varietas.data.select import REASONS, select
from varietas.data.shard import rejected, tree_of, write_shard


def prepare(
    files: Sequence[str],
    model: bytes,
    out: Path,
    cleaning: Cleaning,
    run: Run,
    max_rejects: int | None = None,
    part_bytes: int = PART_BYTES,
    default_lang: str = "",
) -> dict[str, Any]:
    """Prepares files (see read.expand) and returns the corpus's manifest; `run` does the tasks of each stage (see engine.py).

    Goes on where an earlier call with the same `out` ended. Raises ValueError if `out` exists, if the call before had other settings,
    if not one record is usable or too many are not, and OSError if the disk is full.
    """
    overlap_text = {file: stamp_of(file)[1] for file in expand(cleaning.overlap_text.split() if cleaning.overlap else [])}
    plan = Plan(
        parts_of(files, part_bytes, default_lang), cleaning, max_rejects, hashlib.sha256(model).hexdigest(), versions(), overlap_text
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with alone(working_folder(out).with_suffix(".lock"), f"prepare --out {out}"):
        work = begin(out, plan, model)
        missing = [part for part in plan.parts if not (work / "parts" / part.name).exists()]
        largest_first = sorted(missing, key=lambda part: -part.size)  # so that no worker is left with a large one at the end
        run("parts", [part.name for part in largest_first], partial(do_part, work))
        return finish(work, out, plan, run)


def prepare_documents(records: Iterable[Document | Reject], model: bytes, out: Path) -> dict[str, Any]:
    """Prepares records that are in memory, as one part, all or nothing. Raises as `prepare` does."""
    plan = Plan((Part("", "", 0, None, 0),), Cleaning(opt_outs=False), None, hashlib.sha256(model).hexdigest(), versions(), {})
    work = begin(out, plan, model)
    try:
        write_part(records, work / "parts" / plan.parts[0].name, Encoder(tokenizer.load(model)), plan.cleaning, np.zeros(0, np.uint64))
        return finish(work, out, plan, one_by_one)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def one_by_one(stage: str, tasks: Sequence[str], do: Callable[[str], None]) -> None:
    """A `Run` in this process."""
    for task in tasks:
        do(task)


def begin(out: Path, plan: Plan, model: bytes) -> Path:
    """Makes the working folder, or takes over what an earlier call left in it."""
    if out.exists():
        raise ValueError(f"--out {out} exists; name a new folder or remove it")
    tokenizer.load(model)
    work = working_folder(out)
    before: dict[str, Any] = {}
    if (work / "plan.json").exists():
        before = json.loads((work / "plan.json").read_text("utf-8"))
        now = json.loads(json.dumps(asdict(plan)))
        for name in ("cleaning", "tokenizer_digest", "versions", "overlap_text"):
            if before.get(name) != now[name]:
                raise ValueError(
                    f"{out} was begun with another {name.replace('_', ' ')} ({difference(before.get(name), now[name])});"
                    f" go on with that, name another --out, or remove {work}"
                )
    (work / "parts").mkdir(parents=True, exist_ok=True)
    wanted = [part.name for part in plan.parts]
    if before.get("part_names") != wanted:  # verdicts and shards, if there are any, are of other parts, or of these in another order
        for stale in ("verdicts", "shards"):
            shutil.rmtree(work / stale, ignore_errors=True)
    for name in {path.name for path in (work / "parts").iterdir() if path.suffix != ".partial"}.difference(wanted):
        shutil.rmtree(work / "parts" / name)
    for half in work.rglob("*.partial"):  # left by workers that were killed, or of jobs that still run though who sent them does not
        discard(half)
    write_atomically(work / "tokenizer.model", model)
    save_plan(work, plan)
    for kept in (load_plan, _processor, _encoder, _held_out):
        kept.cache_clear()
    return work


@lru_cache(maxsize=1)
def _processor(work: Path) -> spm.SentencePieceProcessor:
    return tokenizer.load(work / "tokenizer.model")


@lru_cache(maxsize=1)
def _encoder(work: Path) -> Encoder:
    return Encoder(_processor(work))


@lru_cache(maxsize=1)
def _held_out(work: Path) -> np.ndarray:
    cleaning = load_plan(work).cleaning
    if not cleaning.overlap:
        return np.zeros(0, np.uint64)
    from varietas.data.default import parallel_documents

    texts = [document.text for document in parallel_documents()]
    for file in load_plan(work).overlap_text:
        for record in read(file, default_lang="eng_Latn"):  # any: its language does not matter
            if isinstance(record, Reject):
                where = f"clean.overlap_text: {file}, line {record.line}"
                raise ValueError(f"{where}: {record.reason}; give JSON Lines with `text`, or plain text")
            texts.append(record.text)
    return clean.held_out(texts)


def do_part(work: Path, name: str) -> None:
    """Stage 1, a task."""
    plan = load_plan(work)
    part = plan.by_name[name]
    records = read(part.file, part.begin, np.inf if part.end is None else part.end, part.default_lang)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # of unknown languages, which `finish` tells once
        write_part(records, work / "parts" / name, _encoder(work), plan.cleaning, _held_out(work), plan.max_rejects)
    if stamp_of(part.file)[1] != part.stamp:
        shutil.rmtree(work / "parts" / name)
        raise OSError(f"{part.file} changed while it was read; run the same command again when it is at rest")


def do_verdicts(work: Path, code: str) -> None:
    """Stage 2, a task."""
    plan = load_plan(work)
    select(code, _with(work, plan, code), plan.cleaning, work / "verdicts" / code)


def do_shard(work: Path, name: str) -> None:
    """Stage 3, a task: it opens only the parts that its documents are in."""
    code, number = name.rsplit("-", 1)
    begin = int(number) * SHARD_DOCUMENTS
    content = json.loads((work / "kept" / f"{code}.json").read_text("utf-8"))
    kept, read = (np.cumsum([0, *content[field]]) for field in ("kept", "read"))
    first = int(np.searchsorted(kept, begin, "right")) - 1
    last = min(int(np.searchsorted(kept, begin + SHARD_DOCUMENTS)), len(content["parts"]))
    parts = [work / "parts" / part for part in content["parts"][first:last]]
    verdict = _verdicts(work, code)[read[first] : read[last]]
    begin -= int(kept[first])
    write_shard(code, parts, verdict, begin, begin + SHARD_DOCUMENTS, _processor(work), work / "shards" / name)


def _verdicts(work: Path, code: str) -> np.ndarray:
    return np.memmap(work / "verdicts" / code, np.uint8, "r")


def _note_kept(work: Path, plan: Plan, facts: Sequence[dict[str, Any]], code: str, verdict: np.ndarray) -> None:
    """For stage 3: which parts hold documents of a language, how many, and how many of them stay."""
    parts, read, kept, at = list[str](), list[int](), list[int](), 0
    for part, fact in zip(plan.parts, facts, strict=True):
        if n := fact["documents"].get(code, 0):
            parts.append(part.name)
            read.append(n)
            kept.append(int((verdict[at : at + n] == 0).sum()))
            at += n
    write_json(work / "kept" / f"{code}.json", {"parts": parts, "read": read, "kept": kept})


def _with(work: Path, plan: Plan, code: str) -> list[Path]:
    """The parts that hold documents of a language."""
    return [path for part in plan.parts if (path := work / "parts" / part.name) and (path / f"{code}.ids").exists()]


def finish(work: Path, out: Path, plan: Plan, run: Run) -> dict[str, Any]:
    """Stages 2 and 3, and the corpus in its place."""
    facts = [json.loads((work / "parts" / part.name / "part.json").read_text("utf-8")) for part in plan.parts]
    _check_rejects(work, plan, facts)
    languages = sorted({canonical(code) for fact in facts for code in fact["documents"]})  # warns of unknown ones
    run("verdicts", [code for code in languages if not (work / "verdicts" / code).exists()], partial(do_verdicts, work))
    verdicts = {code: _verdicts(work, code) for code in languages}
    for code, verdict in verdicts.items():
        _note_kept(work, plan, facts, code, verdict)
    shards = {code: _shards(code, int((verdict == 0).sum())) for code, verdict in verdicts.items() if (verdict == 0).any()}
    counts = _counts(facts, verdicts)
    if not shards:
        total = sum(counts.values(), Counter[str]())
        reasons = ", ".join(f"{reason}: {n}" for reason, n in total.most_common(3)) or "the input is empty"
        rejects = out.with_name(f"{out.name}.rejects.jsonl")
        _write_rejects(work, plan, verdicts, rejects)
        shutil.rmtree(work)
        raise ValueError(f"no usable document in the input ({reasons}); no corpus was written, {rejects} says of each record why")
    tasks = [name for names in shards.values() for name in names]
    run("shards", [name for name in tasks if not (work / "shards" / name).exists()], partial(do_shard, work))
    with new_folder(out) as folder:
        manifest = _manifest(work, plan, shards, counts, facts)
        _write_rejects(work, plan, verdicts, folder / "rejects.jsonl")
        shutil.copy(work / "tokenizer.model", folder)
        _join(work, shards, folder)
        write_json(folder / "manifest.json", manifest)
    shutil.rmtree(work)
    return manifest


def _check_rejects(work: Path, plan: Plan, facts: Sequence[dict[str, Any]]) -> None:
    """The parts of a file together may hold too many records that cannot be read, though each alone does not."""
    unread: Counter[str] = Counter()
    for part, fact in zip(plan.parts, facts, strict=True):
        unread[part.file] += fact["unread"]
    for file, n in unread.items():
        if plan.max_rejects is not None and n > plan.max_rejects:
            names = [part.name for part in plan.parts if part.file == file]
            lines = (json.loads(line) for name in names for line in (work / "parts" / name / "rejects.jsonl").open(encoding="utf-8"))
            raise too_many_rejects([reject for line in lines if (reject := Reject(**line)).unread], plan.max_rejects)


def _shards(code: str, n_documents: int) -> list[str]:
    return [f"{code}-{number:05d}" for number in range(-(-n_documents // SHARD_DOCUMENTS))]


def _counts(facts: Sequence[dict[str, Any]], verdicts: dict[str, np.ndarray]) -> dict[str, Counter[str]]:
    """Language ("" where it was not read) to reason to how many records were rejected for it."""
    counts: dict[str, Counter[str]] = {}
    for fact in facts:
        for code, reasons in fact["rejected"].items():
            counts.setdefault(code, Counter()).update(reasons)
    for code, verdict in verdicts.items():
        found = np.bincount(verdict, minlength=len(REASONS))
        counts.setdefault(code, Counter()).update({REASONS[k]: int(found[k]) for k in range(1, len(REASONS)) if found[k]})
    return {code: reasons for code, reasons in sorted(counts.items()) if reasons}


def _manifest(
    work: Path, plan: Plan, shards: dict[str, list[str]], counts: dict[str, Counter[str]], facts: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    languages = {}
    for code, names in shards.items():
        folders = [work / "shards" / name for name in names]
        of_shards = [json.loads((folder / "shard.json").read_text("utf-8")) for folder in folders]
        languages[code] = {field: sum(shard[field] for shard in of_shards) for field in ("documents", "tokens", "bytes")}
        languages[code]["root"] = tree_of(folders).root().hex()
    total = {field: sum(language[field] for language in languages.values()) for field in ("documents", "tokens", "bytes")}
    rejected = sum(counts.values(), Counter[str]())
    changed = sum((Counter(fact["changed"]) for fact in facts), Counter[str]())
    processor = _processor(work)
    return {
        "format": FORMAT,
        "digest": corpus_digest(plan.tokenizer_digest, languages),
        **total,
        "records_read": sum(fact["records_read"] for fact in facts),
        "rejected": dict(sorted(rejected.items())),
        "rejected_by_language": {code: dict(sorted(reasons.items())) for code, reasons in counts.items()},
        "changed": dict(sorted(changed.items())),
        "cleaning": asdict(plan.cleaning),
        "tokenizer_digest": plan.tokenizer_digest,
        "vocab_size": processor.get_piece_size(),
        "pad_id": max(processor.pad_id(), 0),
        "dtype": id_type(processor).str,
        "versions": plan.versions,
        "languages": languages,
    }


def _write_rejects(work: Path, plan: Plan, verdicts: dict[str, np.ndarray], out: Path) -> None:
    """All rejects, part by part: those of the first stage, then those of the second."""
    at = dict.fromkeys(verdicts, 0)
    with out.open("wb") as rejects:
        for part in plan.parts:
            folder = work / "parts" / part.name
            with (folder / "rejects.jsonl").open("rb") as first:
                shutil.copyfileobj(first, rejects)
            for code, n in json.loads((folder / "part.json").read_text("utf-8"))["documents"].items():
                mine = verdicts[code][at[code] : at[code] + n]
                at[code] += n
                for reject in rejected(code, folder, mine, _processor(work)):
                    rejects.write((json.dumps(reject.__dict__, ensure_ascii=False) + "\n").encode())


def damage(corpus: Path) -> list[dict[str, Any]]:
    """The rejects of a corpus that say that a file could not be read any further."""
    with (corpus / "rejects.jsonl").open(encoding="utf-8") as rejects:
        found = [json.loads(line) for line in rejects if '"damaged ' in line]
    return list({reject["file"]: reject for reject in found if reject["reason"] in ("damaged compression", "damaged WARC")}.values())


def _join(work: Path, shards: dict[str, list[str]], corpus: Path) -> None:
    """The shards' files under the names that corpus.py knows; linked, so that nothing is lost if this is interrupted."""
    for name in ("tokens", "lengths", "index"):
        (corpus / name).mkdir()
    unigrams = []
    for code, names in shards.items():
        folders = [work / "shards" / name for name in names]
        for number, (name, folder) in enumerate(zip(names, folders, strict=True)):
            _link(folder / "tokens.array_record", shard_path(corpus, code, number))
            _link(folder / "index.parquet", corpus / "index" / f"{name}.parquet")
        with (corpus / "lengths" / f"{code}.u32").open("wb") as lengths:
            lengths.writelines((folder / "lengths.u32").read_bytes() for folder in folders)
        unigrams.append(sum(np.load(folder / "unigrams.npy") for folder in folders))
    np.save(corpus / "unigrams.npy", np.stack(unigrams))


def _link(file: Path, to: Path) -> None:
    try:
        os.link(file, to)
    except OSError:  # a file system without links
        shutil.copy(file, to)
