"""`varietas audit` on a run that was interrupted: what a step has read, who has read a document, every tampering, proofs, removals."""

import argparse
import base64
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter
from rich.console import Console

import varietas
from varietas.data.corpus.corpus import Corpus, shard_path
from varietas.data.corpus.shards import Shard
from varietas.data.ledger.log import Log
from varietas.data.ledger.signing import own_key, public_pem
from varietas.data.ledger.statement import sign_ledger
from varietas.data.stream.pieces import Piece
from varietas.launch.audit import check, documents, exposure, find, prove, remove, seal, sign, verify
from varietas.launch.cli import main

STEPS, B = 12, 8
SETTINGS = {"train.steps": STEPS, "checkpoint.every": 4, "eval.every": 0}


def call(verb: ModuleType, *arguments: object) -> int:
    parser = argparse.ArgumentParser()
    verb.add_flags(parser)
    return verb.run(parser.parse_args(list(map(str, arguments))), Console(width=200))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, corpus_folder: Path) -> Path:
    return Path(shutil.copytree(corpus_folder, tmp_path_factory.mktemp("audit") / "corpus"))


@pytest.fixture(scope="module")
def run(corpus: Path) -> varietas.Run:
    """A run that was stopped twice, once between two checkpoints."""
    run = varietas.Run("tiny", {**SETTINGS, "data.corpus": str(corpus)}, folder=corpus.parent / "run")
    assert not run.train(steps=5)
    again = varietas.Run("tiny", {**SETTINGS, "data.corpus": str(corpus)}, folder=run.folder)
    assert not again.train(steps=3) and again.train()
    return again


@pytest.fixture
def copies(run: varietas.Run, corpus: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The folder of the run and its corpus, to be tampered with."""
    return Path(shutil.copytree(run.folder, tmp_path / "run")), Path(shutil.copytree(corpus, tmp_path / "corpus"))


def pieces(run: varietas.Run) -> list[Piece]:
    return list(run.stream.documents(0, STEPS * B))


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_neither_interruptions_nor_meshes_change_the_ledger(run: varietas.Run, corpus: Path, tmp_path: Path) -> None:
    other = varietas.Run(
        "tiny", {**SETTINGS, "data.corpus": str(corpus), "mesh.data": 2, "mesh.fsdp": 2, "mesh.tensor": 2}, tmp_path / "other"
    )
    assert other.train() and other.digest() != run.digest()
    ledgers = [(each.folder / "ledger" / "steps.jsonl").read_bytes() for each in (run, other)]
    assert ledgers[0] == ledgers[1] and ledgers[0].count(b"\n") == STEPS + 1


def test_documents_of_a_step(run: varietas.Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(documents, "--run", run.folder, "--step", 7, "--json", "--text") == 0
    found = printed(capsys)["documents"]
    scanned = list(run.stream.documents(7 * B, 8 * B))
    assert [(e["row"] + 7 * B, e["language"], e["document"], e["begin"], e["tokens"], e["epoch"]) for e in found] == [
        (p.row, p.language, p.document, p.begin, p.size, p.epoch) for p in scanned
    ]
    assert all(e["id"].startswith("eld:") and e["license"] == "Apache-2.0" and e["text"] for e in found)
    rows = run.stream.rows(7 * B, 8 * B)
    starts = [(e["row"], e["place"]) for e in found]
    assert starts == list(zip(*np.nonzero((rows["positions"] == 0) & (rows["segments"] > 0)), strict=True))
    assert call(documents, "--run", run.folder, "--step", 7, "--row", 3, "--json") == 0
    assert [{**e, "text": ""} for e in printed(capsys)["documents"]] == [{**e, "text": ""} for e in found if e["row"] == 3]


def test_a_hundred_documents_are_found_where_a_scan_finds_them(run: varietas.Run, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng, source = np.random.default_rng(0), Corpus(corpus)
    every, ids = pieces(run), {"eng": "en", "deu": "de", "mlt": "mt", "fin": "fi"}
    seen = {(p.language, p.document) for p in every}
    for language, short in ids.items():
        code = next((code for code in source.languages if code.startswith(language)), None)
        if code is None:
            continue
        for number in rng.choice(source.documents(code), 25, replace=False).tolist():
            assert call(find, "--run", run.folder, "--id", f"eld:{short}:{number:04d}", "--json") == 0
            found = printed(capsys)["uses"]
            scanned = [p for p in every if (p.language, p.document) == (code, number)]
            assert [(e["step"], e["row"], e["begin"], e["tokens"]) for e in found] == [
                (*divmod(p.row, B), p.begin, p.size) for p in scanned
            ]
    assert call(find, "--run", run.folder, "--url", "https://github.com/nitotm/", "--json") == 0
    all_of_them = printed(capsys)
    assert len(all_of_them["uses"]) == len(every) and len(all_of_them["documents"]) == source.manifest["documents"]
    assert {(e["language"], e["document"]) for e in all_of_them["uses"]} == seen


def test_a_text_is_found_by_itself(run: varietas.Run, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    piece = pieces(run)[0]
    code, source = piece.language, Corpus(corpus)
    (ids,) = source.read(np.array([source.languages.index(code)]), np.array([piece.document]))
    (tmp_path / "text.txt").write_text(decoded(source, ids))
    assert call(find, "--run", run.folder, "--text", tmp_path / "text.txt", "--json") == 0
    found = printed(capsys)
    assert [(e["language"], e["document"]) for e in found["documents"]] == [(code, piece.document)] and found["uses"][0]["step"] == 0
    (tmp_path / "other.txt").write_text("Nobody wrote this.")
    assert call(find, "--run", run.folder, "--text", tmp_path / "other.txt") == 0
    assert "No document of" in capsys.readouterr().out


def decoded(corpus: Corpus, ids: np.ndarray) -> str:
    from varietas.data.tokenizer.model import load

    return load(corpus.tokenizer).decode(ids.tolist())


def test_a_whole_ledger_verifies(run: varietas.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(verify, "--run", run.folder, "--key", run.folder / "ledger" / "key.pub") == 0
    said = capsys.readouterr().out
    assert "steps 0 to 11 of 0 to 11 computed again" in said and "everything that was checked agrees" in said
    assert "checkpoint 12: its arrays are those that the ledger has" in said and "signed on" in said
    (tmp_path / "other.pub").write_bytes(public_pem(own_key(tmp_path / "other.key")))
    assert call(verify, "--run", run.folder, "--key", tmp_path / "other.pub", "--json") == 1
    assert "is signed with another key" in printed(capsys)["faults"][0]


def relogged(file: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Writes a log anew, as a forger does who makes every line fit the one before it."""
    records = [json.loads(line) for line in file.read_text().splitlines()]
    change(records)
    file.unlink()
    Log(file).append([{name: value for name, value in record.items() if name != "before"} for record in records])


def edited(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def with_other_token(corpus: Path, code: str, number: int, token: int) -> None:
    """Changes a token of a document, in a shard that is whole by its own checksums."""
    opened = Corpus(corpus)
    shard: Shard = opened.shard(code, 0)
    lengths = opened.lengths(code)
    texts = [np.array(text) for text in shard.read(np.arange(len(lengths)), lengths)]
    texts[number][token] ^= 1
    file = shard_path(corpus, code, 0)
    writer = ArrayRecordWriter(str(file), "group_size:1")
    for text in texts:
        writer.write(text.tobytes())
    writer.close()
    manifest = json.loads((corpus / "manifest.json").read_text())
    manifest["languages"][code]["shard_bytes"] = [file.stat().st_size]
    (corpus / "manifest.json").write_text(json.dumps(manifest))


def swapped(folder: Path) -> None:
    """Puts an older checkpoint in the place of the last one, as a whole."""
    steps = sorted(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())
    shutil.rmtree(folder / "checkpoints" / str(steps[-1]))
    shutil.copytree(folder / "checkpoints" / str(steps[0]), folder / "checkpoints" / str(steps[-1]))


def removed_line(records: list[dict[str, Any]]) -> None:
    del records[6]


def other_rows(records: list[dict[str, Any]]) -> None:
    records[6]["rows"], records[7]["rows"] = records[7]["rows"], records[6]["rows"]


TAMPERINGS: dict[str, tuple[Callable[[Path, Path, Piece], None], str]] = {
    "one token": (
        lambda run, corpus, p: with_other_token(corpus, p.language, p.document, p.begin + 3),
        r"step {step}: its rows are not those that the ledger has; document {number} of {code}: its tokens",
    ),
    "an edited licence": (
        lambda run, corpus, p: with_other_licence(corpus, p.language, p.document),
        "document {number} of {code}: its index entry",
    ),
    "an edited line": (
        lambda run, corpus, p: edited(run / "ledger/steps.jsonl", '{"step":6,"rows":"', '{"step":6,"rows":"0'),
        r"steps.jsonl: line 9 \(step 7\)",
    ),
    "a removed step": (lambda run, corpus, p: relogged(run / "ledger/steps.jsonl", removed_line), "has step 6, after step 4"),
    "reordered rows": (lambda run, corpus, p: relogged(run / "ledger/steps.jsonl", other_rows), "steps.jsonl: .* written anew"),
    "a cut ledger": (lambda run, corpus, p: cut(run / "ledger/steps.jsonl"), "steps.jsonl: line 13 has no end"),
    "a swapped checkpoint": (lambda run, corpus, p: swapped(run), "checkpoint 12 of .*: it is another one than the ledger has"),
    "another config": (
        lambda run, corpus, p: edited(run / "config.json", '"warmup_steps": ', '"warmup_steps": 1'),
        r"config.json: optim.warmup_steps is 1\d+, but \d+ at the checkpoint of step 12",
    ),
    "a checkpoint's line": (
        lambda run, corpus, p: edited(run / "ledger/checkpoints.jsonl", '"checkpoint":"', '"checkpoint":"0'),
        r"checkpoints.jsonl: line 2 \(step 5\)",
    ),
    "another statement": (
        lambda run, corpus, p: edited(run / "ledger/statement.dsse.json", '"payload": "', '"payload": "AAAA'),
        "the signature does not fit the content",
    ),
}


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def with_other_licence(corpus: Path, code: str, number: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = corpus / "index" / f"{code}-00000.parquet"
    table = pq.read_table(file)
    licences = table["license"].to_pylist()
    licences[number] = "CC0-1.0"
    place = table.column_names.index("license")
    pq.write_table(table.set_column(place, table.schema.field("license"), pa.array(licences, pa.string())), file)


@pytest.mark.parametrize("what", TAMPERINGS)
def test_tampering_is_found(what: str, run: varietas.Run, copies: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    tamper, fault = TAMPERINGS[what]
    piece = pieces(run)[5]
    tamper(*copies, piece)
    status = call(verify, "--run", copies[0], "--corpus", copies[1], "--json")
    said = "\n".join(printed(capsys)["faults"])
    wanted = fault.format(step=piece.row // B, number=piece.document, code=piece.language)
    assert status == 1 and re.search(wanted, said), said


def test_a_forger_with_the_key_is_found_by_the_corpus(
    run: varietas.Run, copies: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Who rewrites both logs and signs them again cannot make the corpus give other rows."""
    folder, corpus = copies
    relogged(folder / "ledger/steps.jsonl", other_rows)
    (folder / "ledger/checkpoints.jsonl").unlink()
    shutil.rmtree(folder / "checkpoints")
    sign_ledger(folder / "ledger", own_key())
    assert call(verify, "--run", folder, "--corpus", corpus, "--steps", "3:8", "--json") == 1
    faults = printed(capsys)["faults"]
    assert [fault.split(":")[0] for fault in faults] == ["step 5", "step 6"] and "in another order" in faults[0]


@pytest.fixture(scope="module")
def proof(run: varietas.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("proof") / "proof.json"
    piece = pieces(run)[5]
    (entry,) = [e for e in index_of(run, piece)]
    assert call(prove, "--run", run.folder, "--id", entry, "--out", out) == 0
    return out


def index_of(run: varietas.Run, piece: Piece) -> Iterator[str]:
    from varietas.data.audit.documents import described

    for entry in described(run.stream.corpus, [("", piece.language, piece.document)]):
        yield entry["id"]


def test_a_proof_holds_without_corpus_and_run(run: varietas.Run, proof: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(run.folder / "ledger" / "key.pub", tmp_path)
    assert call(check, proof, "--key", tmp_path / "key.pub", "--json") == 0
    shown = printed(capsys)["shows"]
    piece = pieces(run)[5]
    uses = [p for p in pieces(run) if (p.language, p.document) == (piece.language, piece.document)]
    assert f"document {piece.document} of {piece.language} is in the corpus: id eld:" in shown[1]
    assert shown[-1] == "these uses are proved; that there are no others is not"
    assert shown[2:-1] == [
        f"step {p.row // B}, row {p.row % B} had tokens {p.begin} to {p.begin + p.size - 1} of document {p.document} of {p.language}"
        for p in uses
    ]


def changed_values(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the path of each number and string in a proof."""
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from changed_values(inner, (*path, key))
    else:
        yield path


def test_a_changed_proof_does_not_hold(run: varietas.Run, proof: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each number, hash and text of it, but for what says the same twice, and sizes of trees that tell how to read a path."""
    whole = json.loads(proof.read_text())
    unread = {"claim", "root", "keyid"}
    for place in changed_values(whole):
        if unread & set(place) or (place[-1] == "size" and not {"in_log", "in_step"} & set(place)):
            continue
        forged = json.loads(proof.read_text())
        inner = forged
        for key in place[:-1]:
            inner = inner[key]
        value = inner[place[-1]]
        if isinstance(value, int):
            inner[place[-1]] = value + 1
        else:
            inner[place[-1]] = value[:-1] + ("1" if value[-1:] != "1" else "2")
        (tmp_path / "forged.json").write_text(json.dumps(forged))
        assert call(check, tmp_path / "forged.json", "--key", run.folder / "ledger" / "key.pub", "--json") == 1, place
        printed(capsys)


def test_absence_is_proved(run: varietas.Run, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, out, key = tmp_path / "mine.txt", tmp_path / "absent.json", run.folder / "ledger" / "key.pub"
    text.write_text("Tento text nikdo jiný nenapsal.")
    assert call(prove, "--run", run.folder, "--text", text, "--out", out) == 0
    assert call(check, out, "--key", key, "--text", text, "--json") == 0
    (tmp_path / "other.txt").write_text("Another text.")
    assert call(check, out, "--key", key, "--text", tmp_path / "other.txt", "--json") == 1
    capsys.readouterr()
    with pytest.raises(ValueError, match=r"no document has this id\. That a text is absent can be proved with --text"):
        call(prove, "--run", run.folder, "--id", "nobody", "--out", out)


def test_no_absence_is_proved_of_a_text_that_is_there(
    run: varietas.Run, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line end more, or another kind of it, is the same text. A proof of one form alone, or of nothing, does not hold."""
    out, key, source, text = tmp_path / "proof.json", run.folder / "ledger" / "key.pub", Corpus(corpus), tmp_path / "text.txt"
    (ids,) = source.read(np.array([0]), np.array([0]))
    for end in ("\n", "\r\n", " \n\n"):
        text.write_bytes((decoded(source, ids) + end).encode())
        assert call(prove, "--run", run.folder, "--text", text, "--out", out) == 0
        assert len(json.loads(out.read_text())["documents"]) == 1 and "absent" not in json.loads(out.read_text())
        assert call(check, out, "--key", key, "--text", text) == 0
    text.write_bytes(b"Nobody\r\nwrote this.\r\n")
    assert call(prove, "--run", run.folder, "--text", text, "--out", out) == 0
    assert call(check, out, "--key", key, "--text", text) == 0
    whole = json.loads(out.read_text())
    assert len(whole["absent"]) == 4
    out.write_text(json.dumps({**whole, "absent": whole["absent"][:1]}))
    assert call(check, out, "--key", key, "--text", text) == 1
    out.write_text(json.dumps({**whole, "absent": []}))
    assert call(check, out, "--key", key) == 1
    assert "it proves nothing" in capsys.readouterr().out


def test_a_removed_document_is_never_read_again(run: varietas.Run, copies: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """From the step on at which the run continues; the rows before and all rows without it stay."""
    folder, corpus = copies
    longer = {**SETTINGS, "data.corpus": str(corpus), "train.steps": 4 * STEPS}
    later = list(run.stream.documents(STEPS * B, 4 * STEPS * B))
    before = {(p.language, p.document) for p in pieces(run)}
    code, number = next((p.language, p.document) for p in later if (p.language, p.document) in before)
    (text_id,) = index_of(run, next(p for p in later if (p.language, p.document) == (code, number)))
    assert call(remove, "--corpus", corpus, "--id", text_id, "--reason", "asked for", "--json") == 0
    assert printed(capsys)["added"] == 1
    assert call(remove, "--corpus", corpus, "--id", text_id, "--reason", "twice", "--json") == 0
    assert printed(capsys)["added"] == 0
    again = varietas.Run("tiny", longer, folder=folder)
    assert again.train()
    capsys.readouterr()
    assert call(find, "--run", folder, "--id", text_id, "--json") == 0
    assert {e["step"] for e in printed(capsys)["uses"]} == {p.row // B for p in pieces(run) if (p.language, p.document) == (code, number)}
    assert call(verify, "--run", folder, "--json") == 0
    capsys.readouterr()
    assert call(exposure, "--run", folder, "--json") == 0
    (found,) = printed(capsys)["runs"]
    assert (
        found["list_since_step"] == STEPS and found["documents"][0]["last_step"] < STEPS and found["documents"][0]["reason"] == "asked for"
    )
    lost = sum(p.size for p in later if (p.language, p.document) == (code, number))
    assert sum(r["tokens"] for r in again.metrics[STEPS:]) == 3 * STEPS * B * run.config.data.seq_len - lost
    assert call(seal, "--corpus", corpus, "--out", corpus.parent / "public") == 0
    assert call(documents, "--run", folder, "--step", STEPS, "--corpus", corpus.parent / "public", "--json") == 0
    assert text_id not in "".join(path.read_text("utf-8", "replace") for path in (corpus.parent / "public").rglob("*") if path.is_file())
    whole = (corpus / "removals.jsonl").read_bytes()
    (corpus / "removals.jsonl").unlink()
    with pytest.raises(ValueError, match=r"removals\.jsonl is missing"):
        varietas.Run("tiny", {**longer, "train.steps": 5 * STEPS}, folder=folder).train()
    for name in ("removals.dsse.json", "removals.pub"):
        (corpus / name).rename(corpus / f"{name}.away")
    with pytest.raises(ValueError, match=r"had 1 when the run of .* read it: removed documents would be read again"):
        varietas.Run("tiny", {**longer, "train.steps": 5 * STEPS}, folder=folder).train()
    for name in ("removals.dsse.json", "removals.pub"):
        (corpus / f"{name}.away").rename(corpus / name)
    (corpus / "removals.jsonl").write_bytes(whole.replace(b'"document":', b'"document":1'))
    with pytest.raises(ValueError, match=r"removals\.jsonl"):
        call(verify, "--run", folder)


def test_documents_that_were_damaged_count_as_not_read(
    run: varietas.Run, copies: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With data.on_corrupt=skip the model has had padding in their place, also when the corpus is whole again."""
    _, corpus = copies
    code = pieces(run)[5].language
    file = shard_path(corpus, code, 0)
    content = file.read_bytes()
    damaged = bytearray(content)
    for at in range(1_000, len(content) - 1_000, 1_000):
        damaged[at] ^= 1
    file.write_bytes(damaged)
    texts = Corpus(corpus).read(np.full(84, Corpus(corpus).languages.index(code)), np.arange(84), skip=True)
    gone = {(code, number) for number, ids in enumerate(texts) if not len(ids)}
    piece = next(p for p in pieces(run) if (p.language, p.document) in gone)
    skipping = varietas.Run("tiny", {**SETTINGS, "data.corpus": str(corpus), "data.on_corrupt": "skip"}, folder=tmp_path / "skips")
    assert skipping.train()
    (text_id,) = index_of(run, piece)
    for now in (file.read_bytes(), content):
        file.write_bytes(now)
        capsys.readouterr()
        assert call(verify, "--run", skipping.folder, "--steps", f"0:{STEPS}", "--json") == 0, printed(capsys)
        capsys.readouterr()
        assert call(find, "--run", skipping.folder, "--id", text_id, "--json") == 0
        assert printed(capsys)["uses"] == []
        assert call(documents, "--run", skipping.folder, "--step", piece.row // B, "--json") == 0
        found = printed(capsys)["documents"]
        assert found and (piece.language, piece.document) not in {(e["language"], e["document"]) for e in found}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("documents", "--run", "RUN", "--step", "99"), "step 99 is not in the ledger; it has steps 0 to 11"),
        (("documents", "--run", "RUN", "--step", "3", "--row", "8"), "--row 8: a step has 8 rows, from 0 to 7"),
        (("documents", "--run", "RUN", "--step", "3", "--corpus", "nowhere"), "nowhere is not a prepared corpus"),
        (("documents", "--run", "nowhere", "--step", "3"), "--run nowhere is no folder"),
        (("documnts",), "there is no verb 'audit documnts'; did you mean documents?"),
        (("find", "--run", "RUN"), "one of the arguments --id --url --source --text is required"),
        (("verify", "--run", "RUN", "--steps", "9:3"), "expected A:B with A < B"),
        (("verify", "--run", "RUN", "--steps", "40:50"), "--steps: the ledger has steps 0 to 11"),
        (("verify", "--run", "RUN", "--key", "nowhere.pub"), "nowhere.pub: No such file"),
        (("sign", "--run", "RUN", "--key", "RUN/config.json"), "run `chmod 600"),
        (("remove", "--corpus", "CORPUS", "--id", "nobody", "--reason", "x"), "no document of .* has nobody"),
        (("check", "RUN/config.json", "--key", "RUN/config.json"), "^varietas: .*config.json is not a public key in PEM"),
        (("check", "RUN/config.json", "--key", "RUN/ledger/key.pub"), "this is no proof of `varietas audit prove`"),
    ],
)
def test_mistakes_are_told(
    arguments: tuple[str, ...],
    said: str,
    run: varietas.Run,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    named = [argument.replace("RUN", str(run.folder)).replace("CORPUS", str(corpus)) for argument in arguments]
    assert main(["audit", *named]) in (1, 2)
    out = capfd.readouterr()
    assert re.search(said, " ".join((out.out + out.err).split())), out


def test_a_run_is_signed_again_on_request(run: varietas.Run, copies: tuple[Path, Path], tmp_path: Path) -> None:
    folder, _ = copies
    assert call(sign, "--run", folder, "--key", own_key_file(tmp_path)) == 0
    assert (folder / "ledger" / "key.pub").read_bytes() == public_pem(own_key(tmp_path / "new.key"))
    assert call(verify, "--run", folder, "--steps", "0:2") == 0
    said = json.loads(base64.b64decode(json.loads((folder / "ledger/statement.dsse.json").read_text())["payload"]))
    for subject in said["subject"][:2]:  # as other tools of in-toto compare them
        assert subject["digest"]["sha256"] == hashlib.sha256((folder / "ledger" / subject["name"]).read_bytes()).hexdigest()


def own_key_file(folder: Path) -> Path:
    own_key(folder / "new.key")
    return folder / "new.key"
