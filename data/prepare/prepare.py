"""Turns text into a corpus folder (see corpus.py), in three stages that any number of workers can share.

    1. parts     reads, cleans and encodes each part of each input file (part.py)
    2. verdicts  decides for each language which documents stay (select.py)
    3. shards    writes tokens and index in their final form, SHARD_DOCUMENTS documents of a language at a time (shard.py), and commits to
                 them (commit.py)

A stage is a list of tasks. A task writes one file or folder of its own, whole or not at all, and what it writes depends on the input alone.
Therefore the corpus is the same whichever worker did which task, and after an interruption only the missing tasks are done. Everything is
kept in a folder beside the corpus until the corpus is complete. Within a language, documents keep the order of the input.
"""

import hashlib
import json
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from varietas.data.chat.encoder import ChatModel, Encode, encoder_in, save, tokenizer_and_template
from varietas.data.clean import fences
from varietas.data.clean.blocked import domain_lists
from varietas.data.clean.cleaning import Cleaning
from varietas.data.clean.duplicates import NO_TEXT, Held, held_out
from varietas.data.clean.select import HELD_OUT, VERDICT, select
from varietas.data.corpus import commitment
from varietas.data.corpus.corpus import SHARD_DOCUMENTS
from varietas.data.corpus.shards import Shard
from varietas.data.files import discard, locked, new_file, split_paths, write_json
from varietas.data.formats.read import expand, read
from varietas.data.prepare import commit
from varietas.data.prepare.assemble import assemble, rejects_by_language, write_rejects
from varietas.data.prepare.engine import Engine
from varietas.data.prepare.part import too_many_rejects, write_part
from varietas.data.prepare.plan import (
    PART_BYTES,
    Part,
    Plan,
    difference,
    load_plan,
    parts_of,
    plan_of_earlier_call,
    read_working_file,
    save_plan,
    stamp_of,
    versions,
    working_folder,
)
from varietas.data.prepare.shard import write_shard
from varietas.data.text.documents import Document, Reject
from varietas.data.text.embedded import parallel_documents
from varietas.data.text.fields import USUAL, Reading
from varietas.data.text.languages import canonical
from varietas.data.tokenizer.model import load
from varietas.data.tokenizer.round_trip import RoundTrip, message


def prepare(
    files: Sequence[str],
    model: bytes | ChatModel,
    out: Path,
    cleaning: Cleaning,
    engine: Engine,
    max_rejects: int | None = None,
    reading: Reading = USUAL,
) -> dict[str, Any]:
    """Prepares a corpus from files. Continues where an earlier call with the same `out` was interrupted.

    Args:
        files: Files, as read.expand returns them.
        model: The content of a tokenizer; with a chat template, if the files hold conversations or preferences.
        out: Folder of the corpus. It must not exist.
        cleaning: Cleaning steps that are switched on.
        engine: Does the tasks of each stage (see engine.py).
        max_rejects: Maximum number of unreadable records in a file; None for no limit.
        reading: How records become documents.

    Returns:
        The manifest of the corpus.

    Raises:
        ValueError: If `out` exists, if the earlier call had other settings, if no record is usable, or if too many are unreadable.
        OSError: If a file cannot be read or changes while it is read, or if the disk is full.
    """
    if (reading.kind == "text") == isinstance(model, ChatModel):
        raise ValueError(f"records of the kind {reading.kind!r} do not go with this tokenizer: a chat template is for conversations alone")
    if cleaning.held_out and reading.kind == "preferences":
        raise ValueError(f"clean.held_out={cleaning.held_out}: models are not evaluated on preferences; leave it at 0")
    texts = [path for line in cleaning.overlap_text.splitlines() if cleaning.overlap for path in split_paths(line, " ")]
    overlap_text = {file: stamp_of(file)[1] for file in expand(texts, "clean.overlap_text")}
    parts = parts_of(files, PART_BYTES, reading)
    blocked = {file: stamp_of(file)[1] for file in domain_lists(cleaning.blocked)}
    digest = fences.digest(cleaning.fences) if cleaning.rules else ""
    plan = Plan(parts, cleaning, max_rejects, *_digests(model), versions(), overlap_text, blocked, digest)
    out.parent.mkdir(parents=True, exist_ok=True)
    with locked(working_folder(out).with_suffix(".lock"), f"prepare --out {out}"):
        work = begin(out, plan, model)
        missing = [part for part in plan.parts if not (work / "parts" / part.name).exists()]
        largest_first = sorted(missing, key=lambda part: -part.size)  # so that no worker is left with a large one at the end
        engine("parts", [part.name for part in largest_first], partial(do_part, work))
        return finish(work, out, plan, engine)


def prepare_documents(records: Iterable[Document | Reject], model: bytes, out: Path) -> dict[str, Any]:
    """Prepares a corpus from texts in memory, as one part, all or nothing. Returns the manifest, and raises as `prepare` does."""
    plan = Plan((Part("", "", 0, None, 0),), Cleaning(opt_outs=False), None, *_digests(model), versions(), {}, {}, "")
    work = begin(out, plan, model)
    try:
        write_part(records, work / "parts" / plan.parts[0].name, encoder_in(work), plan.cleaning, NO_TEXT)
        return finish(work, out, plan, one_by_one)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def one_by_one(stage: str, tasks: Sequence[str], do: Callable[[str], None]) -> None:
    """An `Engine` that does all tasks in this process."""
    for task in tasks:
        do(task)


def _digests(model: bytes | ChatModel) -> tuple[str, str]:
    """Returns the SHA-256 of a tokenizer and of its chat template, "" without one."""
    tokenizer, template = tokenizer_and_template(model)
    return hashlib.sha256(tokenizer).hexdigest(), "" if template is None else hashlib.sha256(template.encode()).hexdigest()


def begin(out: Path, plan: Plan, model: bytes | ChatModel) -> Path:
    """Returns a new working folder, or that of an earlier call. Raises ValueError if `out` exists or that call had other settings."""
    if out.exists():
        raise ValueError(f"--out {out} exists; name a new folder or remove it")
    load(tokenizer_and_template(model)[0])
    work = working_folder(out)
    if before := plan_of_earlier_call(work):
        now = json.loads(json.dumps(asdict(plan)))
        for name in ("cleaning", "tokenizer_digest", "template_digest", "versions", "overlap_text", "blocked", "fences"):
            if before.get(name) != now[name]:
                what = "chat template" if name == "template_digest" else name.removesuffix("_digest").replace("_", " ")
                differs = "" if name.endswith("_digest") else f" ({difference(before.get(name), now[name])})"
                raise ValueError(
                    f"{out} was begun with another {what}{differs}; use the same as before, name another --out, or remove {work} to begin "
                    "again"
                )
    (work / "parts").mkdir(parents=True, exist_ok=True)
    wanted = [part.name for part in plan.parts]
    if before.get("part_names") != wanted:  # verdicts and shards are of other parts, or of another order
        for stale in ("verdicts", "shards", commit.COMMITMENTS, commit.SORTED):
            shutil.rmtree(work / stale, ignore_errors=True)
    for name in {path.name for path in (work / "parts").iterdir() if path.suffix != ".partial"}.difference(wanted):
        shutil.rmtree(work / "parts" / name)
    for half in work.rglob("*.partial"):  # of workers that were killed, or of jobs that outlived the call which sent them
        discard(half)
    commitment.make_secret(work / "secret")
    save(model, work)
    save_plan(work, plan)
    for kept in (load_plan, _encoder, _held_out):
        kept.cache_clear()
    return work


@lru_cache(maxsize=1)
def _encoder(work: Path) -> Encode:
    return encoder_in(work)


@lru_cache(maxsize=1)
def _held_out(work: Path) -> Held:
    cleaning = load_plan(work).cleaning
    if not cleaning.overlap:
        return NO_TEXT
    texts = [document.text for document in parallel_documents()]
    for file in load_plan(work).overlap_text:
        for record in read(file, reading=Reading("eng_Latn")):  # any language, since it does not matter
            if isinstance(record, Reject):
                where = f"clean.overlap_text: {file}, line {record.line}"
                raise ValueError(f"{where}: {record.reason}; give JSON Lines with `text`, or plain text")
            texts.append(record.text)
    return held_out(texts)


def do_part(work: Path, name: str) -> None:
    """Does a task of stage 1: reads a part and writes it to its folder."""
    plan = load_plan(work)
    part = plan.by_name[name]
    records = read(part.file, part.begin, np.inf if part.end is None else part.end, part.reading)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # `finish` warns of unknown languages, once
        write_part(records, work / "parts" / name, _encoder(work), plan.cleaning, _held_out(work), plan.max_rejects)
    if stamp_of(part.file)[1] != part.stamp:
        shutil.rmtree(work / "parts" / name)
        raise OSError(f"{part.file} changed while it was read; run the same command again when nothing writes to it")


def do_verdicts(work: Path, code: str) -> None:
    """Does a task of stage 2: decides which documents of a language stay."""
    plan = load_plan(work)
    select(code, _parts_with(work, plan, code), plan.cleaning, work / "verdicts" / code)


def do_shard(work: Path, name: str) -> None:
    """Does a task of stage 3: writes a shard, and what is committed to of it."""
    code, number = name.rsplit("-", 1)
    first, folder = int(number) * SHARD_DOCUMENTS, work / "shards" / name
    if not folder.exists():
        _write_shard(work, code, first, folder)
    encode, lengths = _encoder(work), np.fromfile(folder / "lengths.u32", "<u4")
    pieces, marked, tokens = encode.processor.get_piece_size(), bool(load_plan(work).template_digest), folder / "tokens.array_record"
    shard = Shard(tokens, len(lengths), None, encode.dtype, pieces, marked)
    secret = commitment.read_secret(work / "secret")
    what = commitment.committed(secret, code, first, folder / "index.parquet", shard, lengths)
    shard.close()
    commitment.write_committed(first, what, code, tokens, work / commit.COMMITMENTS / name)


def _write_shard(work: Path, code: str, begin: int, out: Path) -> None:
    """Writes the shard that begins with a document of a language. Only the parts that hold its documents are opened."""
    content = read_working_file(work, f"kept/{code}.json")
    kept, read = (np.cumsum([0, *content[field]]) for field in ("kept", "read"))
    first = int(np.searchsorted(kept, begin, "right")) - 1
    last = min(int(np.searchsorted(kept, begin + SHARD_DOCUMENTS)), len(content["parts"]))
    parts = [work / "parts" / part for part in content["parts"][first:last]]
    verdict = _verdicts(work, code)[read[first] : read[last]]
    begin -= int(kept[first])
    write_shard(code, parts, verdict, begin, begin + SHARD_DOCUMENTS, _encoder(work), out)


def _verdicts(work: Path, code: str) -> np.ndarray:
    return np.memmap(work / "verdicts" / code, VERDICT, "r")


def _note_kept(work: Path, plan: Plan, facts: Sequence[dict[str, Any]], code: str, verdict: np.ndarray) -> None:
    """Notes for stage 3 which parts hold documents of a language, how many they hold, and how many of these stay."""
    parts, read, kept, at = list[str](), list[int](), list[int](), 0
    for part, fact in zip(plan.parts, facts, strict=True):
        if n := fact["documents"].get(code, 0):
            parts.append(part.name)
            read.append(n)
            kept.append(int((verdict["reason"][at : at + n] == 0).sum()))
            at += n
    write_json(work / "kept" / f"{code}.json", {"parts": parts, "read": read, "kept": kept})


def _parts_with(work: Path, plan: Plan, code: str) -> list[Path]:
    """Returns the folders of the parts that hold documents of a language."""
    return [path for part in plan.parts if (path := work / "parts" / part.name) and (path / f"{code}.ids").exists()]


def finish(work: Path, out: Path, plan: Plan, engine: Engine) -> dict[str, Any]:
    """Does stages 2 and 3, moves the corpus to its place, and returns its manifest."""
    facts = [read_working_file(work, f"parts/{part.name}/part.json") for part in plan.parts]
    _check_rejects(work, plan, facts)
    languages = sorted({canonical(code) for fact in facts for code in fact["documents"]})  # warns of unknown languages
    engine("verdicts", [code for code in languages if not (work / "verdicts" / code).exists()], partial(do_verdicts, work))
    verdicts = {code: _verdicts(work, code) for code in languages}
    for code, verdict in verdicts.items():
        _note_kept(work, plan, facts, code, verdict)
    kept = {code: int((verdict["reason"] == 0).sum()) for code, verdict in verdicts.items()}
    shards = {code: _shards(code, n) for code, n in kept.items() if n}
    if not shards:
        counts = sum(rejects_by_language(facts, verdicts).values(), Counter[str]())
        rejects = out.with_name(f"{out.name}.rejects.jsonl")
        if counts:
            with new_file(rejects) as new:
                write_rejects(work, plan, verdicts, new)
        shutil.rmtree(work)
        reasons = ", ".join(f"{reason}: {n}" for reason, n in counts.most_common(3))
        why = f"no usable document ({reasons}); {rejects} gives the reason for each record" if counts else "no record"
        if any((verdict["reason"] == HELD_OUT).any() for verdict in verdicts.values()):
            why = f"only documents that are held out; lower clean.held_out={plan.cleaning.held_out}"
        raise ValueError(f"no corpus was written, because the input has {why}")
    tasks = [name for names in shards.values() for name in names]
    engine("shards", [name for name in tasks if not (work / commit.COMMITMENTS / name).exists()], partial(do_shard, work))
    commit.sort(work, shards, sum(kept.values()), engine)
    manifest = assemble(work, plan, facts, verdicts, shards, out)
    shutil.rmtree(work)
    if lost := message(RoundTrip(**{**fact["round_trip"], "lost": Counter(fact["round_trip"]["lost"])}) for fact in facts):
        warnings.warn(lost, UserWarning, stacklevel=2)
    return manifest


def _check_rejects(work: Path, plan: Plan, facts: Sequence[dict[str, Any]]) -> None:
    """Raises ValueError if the parts of a file together have too many unreadable records, even if no part alone has."""
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
