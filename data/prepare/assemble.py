"""The end of `prepare`: joins the shards of all languages into a corpus folder, with its manifest, rejects and held-out documents."""

import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from varietas.data.chat.encoder import encoder_in
from varietas.data.chat.template import FILE
from varietas.data.clean import fences
from varietas.data.clean.select import HELD_OUT, REASONS
from varietas.data.corpus import held_out
from varietas.data.corpus.commitment import in_manifest
from varietas.data.corpus.corpus import COMMITMENT, FORMAT, corpus_digest, shard_path
from varietas.data.files import new_folder, write_array, write_json
from varietas.data.prepare import commit
from varietas.data.prepare.part import line_of
from varietas.data.prepare.plan import Plan, read_working_file
from varietas.data.prepare.shard import rejected, tree_of
from varietas.data.tokenizer.model import file_in


def assemble(
    work: Path,
    plan: Plan,
    facts: Sequence[dict[str, Any]],
    verdicts: dict[str, np.ndarray],
    shards: dict[str, list[str]],
    out: Path,
) -> dict[str, Any]:
    """Makes the corpus from what the three stages wrote, whole or not at all.

    Args:
        work: The working folder.
        plan: The plan of the call.
        facts: part.json of each part of the plan.
        verdicts: Verdict on each document of each language (see select.py).
        shards: Names of the shards of each language that has documents.
        out: The folder of the corpus.

    Returns:
        The manifest.
    """
    with new_folder(out) as folder:
        manifest = _manifest(work, plan, facts, verdicts, shards)
        write_rejects(work, plan, verdicts, folder / "rejects.jsonl")
        if plan.cleaning.held_out:
            manifest["held_out"] = write_held_out(work, plan, verdicts, folder / held_out.FOLDER)
        shutil.copy(file_in(work), folder)
        if plan.template_digest:
            shutil.copy(work / FILE, folder)
        _join(work, shards, folder)
        (folder / COMMITMENT).mkdir()
        manifest["commitment"] = in_manifest(commit.join(work, shards, manifest["documents"], folder / COMMITMENT))
        write_json(folder / "manifest.json", manifest)
    return manifest


def rejects_by_language(facts: Sequence[dict[str, Any]], verdicts: dict[str, np.ndarray]) -> dict[str, Counter[str]]:
    """Returns the number of rejected records by language ("" if it is not known) and reason."""
    counts: dict[str, Counter[str]] = {}
    for fact in facts:
        for code, reasons in fact["rejected"].items():
            counts.setdefault(code, Counter()).update(reasons)
    for code, verdict in verdicts.items():
        found = np.bincount(verdict["reason"], minlength=len(REASONS))
        counts.setdefault(code, Counter()).update({REASONS[k]: int(found[k]) for k in range(1, len(REASONS)) if found[k]})
    return {code: reasons for code, reasons in sorted(counts.items()) if reasons}


def _manifest(
    work: Path,
    plan: Plan,
    facts: Sequence[dict[str, Any]],
    verdicts: dict[str, np.ndarray],
    shards: dict[str, list[str]],
) -> dict[str, Any]:
    encode, languages = encoder_in(work), dict[str, dict[str, Any]]()
    counts = ("documents", "tokens", "bytes", *(["learned"] if plan.template_digest else []))
    for code, names in shards.items():
        of_shards = [read_working_file(work, f"shards/{name}/shard.json") for name in names]
        languages[code] = {field: sum(shard[field] for shard in of_shards) for field in counts}
        languages[code]["root"] = tree_of(of_shards).root().hex()
        languages[code]["shard_bytes"] = [(work / "shards" / name / "tokens.array_record").stat().st_size for name in names]
    total = {field: sum(language[field] for language in languages.values()) for field in counts}
    by_language = rejects_by_language(facts, verdicts)
    changed = sum((Counter(fact["changed"]) for fact in facts), Counter[str]())
    return {
        "format": FORMAT,
        "digest": corpus_digest(plan.tokenizer_digest, languages, plan.template_digest),
        **total,
        "records_read": sum(fact["records_read"] for fact in facts),
        "rejected": dict(sorted(sum(by_language.values(), Counter[str]()).items())),
        "rejected_by_language": {code: dict(sorted(reasons.items())) for code, reasons in by_language.items()},
        "changed": dict(sorted(changed.items())),
        "cleaning": asdict(plan.cleaning),
        **({"fences": fences.used(plan.cleaning.fences, plan.fences, sorted(by_language.keys() | languages))} if plan.fences else {}),
        "tokenizer_digest": plan.tokenizer_digest,
        "template_digest": plan.template_digest,
        "preferences": any(part.reading.kind == "preferences" for part in plan.parts),
        "vocab_size": encode.processor.get_piece_size(),
        "pad_id": max(encode.processor.pad_id(), 0),
        "dtype": encode.dtype.str,
        "versions": plan.versions,
        "languages": languages,
    }


def write_rejects(work: Path, plan: Plan, verdicts: dict[str, np.ndarray], out: Path) -> None:
    """Writes all rejects, part by part: first those of stage 1, then those of stage 2."""
    encode, at = encoder_in(work), dict.fromkeys(verdicts, 0)
    with out.open("wb") as rejects:
        for part in plan.parts:
            folder = work / "parts" / part.name
            with (folder / "rejects.jsonl").open("rb") as first:
                shutil.copyfileobj(first, rejects)
            for code, n in read_working_file(work, f"parts/{part.name}/part.json")["documents"].items():
                mine = verdicts[code][at[code] : at[code] + n]
                at[code] += n
                for reject in rejected(code, folder, mine, encode):
                    rejects.write(line_of(reject).encode())


def write_held_out(work: Path, plan: Plan, verdicts: dict[str, np.ndarray], out: Path) -> dict[str, dict[str, int]]:
    """Writes the documents that are held out to a new folder, a file for each language, in the order of their digests.

    A part of a file is then a sample of all of it. Only digests and places in files are kept in memory.

    Returns:
        The number of documents and of bytes of each language.
    """
    found: dict[str, list[tuple[str, Path, int]]] = {}
    at = dict.fromkeys(verdicts, 0)
    for part in plan.parts:
        candidates = work / "parts" / part.name / held_out.CANDIDATES
        with candidates.open("rb") if candidates.exists() else io.BytesIO() as lines:
            while line := lines.readline():
                record = json.loads(line)
                code = record["lang"]
                if verdicts[code]["reason"][at[code] + record["place"]] == HELD_OUT:
                    found.setdefault(code, []).append((record["digest"], candidates, lines.tell() - len(line)))
        for code, n in read_working_file(work, f"parts/{part.name}/part.json")["documents"].items():
            at[code] += n
    out.mkdir()
    counts = {}
    for code, places in sorted(found.items()):
        n_bytes = 0
        with (out / f"{code}.jsonl").open("w", encoding="utf-8") as file:
            for _, candidates, begin in sorted(places):
                with candidates.open("rb") as lines:
                    lines.seek(begin)
                    record = json.loads(lines.readline())
                n_bytes += len(record["text"].encode())
                kept = {name: value for name, value in record.items() if name not in ("place", "digest")}
                file.write(json.dumps(kept, ensure_ascii=False) + "\n")
        counts[code] = {"documents": len(places), "bytes": n_bytes}
    return counts


def _join(work: Path, shards: dict[str, list[str]], corpus: Path) -> None:
    """Links the files of the shards under the names that corpus.py expects. Links lose nothing if this is interrupted."""
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
    write_array(corpus / "unigrams.npy", np.stack(unigrams))


def _link(file: Path, to: Path) -> None:
    try:
        os.link(file, to)
    except OSError:  # a file system without links
        shutil.copy(file, to)
