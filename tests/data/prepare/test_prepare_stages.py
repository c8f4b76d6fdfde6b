"""`prepare` of files: the corpus does not depend on the workers, an interruption loses nothing, and damage is reported.

Corpora are compared as whole folders, so all have the same secret here (data/corpus/commitment.py).
"""

import gzip
import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard

from varietas.data.clean.cleaning import Cleaning
from varietas.data.corpus import commitment
from varietas.data.corpus import corpus as corpus_module
from varietas.data.files import discard, new_folder
from varietas.data.formats.read import read
from varietas.data.prepare import prepare as prepare_module
from varietas.data.prepare.damage import damage
from varietas.data.prepare.engine import local
from varietas.data.prepare.plan import changed_inputs, working_folder
from varietas.data.prepare.prepare import one_by_one, prepare
from varietas.data.text.documents import Document
from varietas.data.text.fields import Reading, parse_fields
from varietas.data.tokenizer import training as tokenizer

SMALL_PARTS = 100_000
BAD = b'{"lang":"cs"}\n{broken\n'


@pytest.fixture(scope="module", autouse=True)
def _one_secret() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commitment.secrets, "token_bytes", lambda n: bytes(range(n)))
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Four files, plain, gzip and Zstandard, with two languages and bad records each. The largest makes several parts."""
    folder = tmp_path_factory.mktemp("texts")
    paths = []
    for part, (name, pack, n) in enumerate(
        [("a.jsonl", bytes, 6000), ("b.jsonl.zst", zstandard.compress, 3000), ("c.jsonl.gz", gzip.compress, 2000), ("d.jsonl", bytes, 10)]
    ):
        lines = [
            json.dumps({"lang": "cs" if i % 3 else "fi", "text": f"Teksti {part} {i} {hash_(i)} " * 5}).encode() + b"\n" for i in range(n)
        ]
        lines.insert(n // 2, BAD)
        paths.append(folder / name)
        paths[-1].write_bytes(pack(b"".join(lines)))
    return list(map(str, paths))


def hash_(i: int) -> int:
    return i * 2654435761 % 2**32


@pytest.fixture(scope="module")
def model(files: list[str]) -> bytes:
    return tokenizer.train(lambda: (d for d in read(files[3]) if isinstance(d, Document)), 300)


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def whole(files: list[str], model: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("whole") / "corpus"
    manifest = prepare(files, model, out, Cleaning(), one_by_one)
    assert manifest["records_read"] == 11010 + 8 == manifest["documents"] + 8
    assert manifest["rejected"] == {"invalid JSON": 4, "no text": 4}
    return content(out)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare_module, "PART_BYTES", SMALL_PARTS)


@pytest.mark.parametrize("file", [0, 1, 2])
def test_parts_hold_each_record_once(file: int, files: list[str]) -> None:
    size = os.path.getsize(files[file])
    bounds = [size * k // 5 for k in range(5)] + [size + 1]
    records = [record for k in range(5) for record in read(files[file], bounds[k], bounds[k + 1])]
    assert records == list(read(files[file])) and len(records) in (6002, 3002, 2002)


@pytest.mark.parametrize(("workers", "part_bytes"), [(1, SMALL_PARTS), (2, SMALL_PARTS)])
def test_parts_and_workers_do_not_change_the_corpus(
    workers: int,
    part_bytes: int,
    files: list[str],
    model: bytes,
    whole: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prepare_module, "PART_BYTES", part_bytes)
    prepare(files, model, tmp_path / "c", Cleaning(), local(workers))
    assert content(tmp_path / "c") == whole
    assert list(tmp_path.iterdir()) == [tmp_path / "c"]


class Stopped(BaseException):
    pass


def stopping(stage: str, after: int) -> Callable[[str, Sequence[str], Callable[[str], None]], None]:
    def run(now: str, tasks: Sequence[str], do: Callable[[str], None]) -> None:
        for number, task in enumerate(tasks):
            if (now, number) == (stage, after):
                raise Stopped
            do(task)

    return run


def test_an_interrupted_call_continues_with_the_missing_tasks(
    files: list[str], model: bytes, whole: dict[str, bytes], small_parts: None, tmp_path: Path
) -> None:
    done = Counter[str]()

    def counting(stage: str, tasks: Sequence[str], do: Callable[[str], None]) -> None:
        done[stage] += len(tasks)
        one_by_one(stage, tasks, do)

    go_on = partial(prepare, files, model, tmp_path / "c", Cleaning())
    for stage, after in (("parts", 0), ("parts", 2), ("verdicts", 1), ("shards", 1)):
        with pytest.raises(Stopped):
            go_on(engine=stopping(stage, after))
        assert list(tmp_path.iterdir()) == [working_folder(tmp_path / "c")]
    go_on(engine=counting)
    assert done == {"parts": 0, "verdicts": 0, "shards": 1}
    assert content(tmp_path / "c") == whole


def test_an_interrupted_call_keeps_its_secret(files: list[str], model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if it is of a version that had none: what that version made is kept."""
    secrets = [bytes([k] * 32) for k in range(4)]
    monkeypatch.setattr(commitment.secrets, "token_bytes", lambda n: secrets.pop(0))
    go_on = partial(prepare, files, model, tmp_path / "c", Cleaning())
    with pytest.raises(Stopped):
        go_on(engine=stopping("shards", 1))
    (tmp_path / ".c.preparing" / "secret").unlink()
    shutil.rmtree(tmp_path / ".c.preparing" / "commitments")
    made = (tmp_path / ".c.preparing" / "shards" / "ces_Latn-00000" / "tokens.array_record").stat()
    for stage, after in (("shards", 0), ("shards", 1)):
        with pytest.raises(Stopped):
            go_on(engine=stopping(stage, after))
    go_on(engine=one_by_one)
    assert (tmp_path / "c" / "commitment" / "secret").read_bytes() == bytes([1] * 32)
    assert (tmp_path / "c" / "tokens" / "ces_Latn-00000.array_record").stat().st_mtime_ns == made.st_mtime_ns


def test_a_call_with_other_settings_cannot_continue(files: list[str], model: bytes, tmp_path: Path) -> None:
    other = tokenizer.train(lambda: (d for d in read(files[3]) if isinstance(d, Document)), 301)
    with pytest.raises(Stopped):
        prepare(files, model, tmp_path / "c", Cleaning(), stopping("parts", 1))
    with pytest.raises(ValueError, match="begun with another cleaning"):
        prepare(files, model, tmp_path / "c", Cleaning(min_chars=5), one_by_one)
    with pytest.raises(ValueError, match="begun with another tokenizer;"):
        prepare(files, other, tmp_path / "c", Cleaning(), one_by_one)


def test_all_documents_of_a_file_may_be_rejected(model: bytes, tmp_path: Path) -> None:
    """The file is a copy of the one before it; the file after it stays."""
    texts = ("první", "druhý"), ("první", "druhý"), ("třetí",)
    for number, lines in enumerate(texts):
        (tmp_path / f"{number}.jsonl").write_text("".join(f'{{"lang":"cs","text":"{text}"}}\n' for text in lines))
    inputs = [str(tmp_path / f"{number}.jsonl") for number in range(3)]
    manifest = prepare(inputs, model, tmp_path / "c", Cleaning(duplicates="exact"), one_by_one)
    assert (manifest["documents"], manifest["rejected"]) == (3, {"duplicate": 2})


def test_inputs_that_changed_are_read_again(files: list[str], model: bytes, tmp_path: Path) -> None:
    mine = [tmp_path / name for name in ("a.jsonl", "b.jsonl")]
    for path in mine:
        path.write_text('{"lang":"cs","text":"první"}\n')
    inputs = list(map(str, mine))
    with pytest.raises(Stopped):
        prepare(inputs, model, tmp_path / "c", Cleaning(), stopping("shards", 0))
    assert changed_inputs(tmp_path / "c", inputs) == []
    mine[1].write_text('{"lang":"cs","text":"první"}\n{"lang":"cs","text":"druhý"}\n')
    assert changed_inputs(tmp_path / "c", inputs) == inputs[1:]
    plan = working_folder(tmp_path / "c") / "plan.json"
    before = json.loads(plan.read_text())
    before["parts"] = [{name: part[name] for name in ("file", "stamp")} for part in before["parts"]]  # as another version may write it
    plan.write_text(json.dumps(before))
    assert changed_inputs(tmp_path / "c", inputs) == inputs[1:]
    assert prepare(inputs, model, tmp_path / "c", Cleaning(), one_by_one)["documents"] == 3


def killing(do: Callable[[str], None], folder: Path, task: str) -> None:
    """Kills its process in the first task that it is given, once."""
    if not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    do(task)


def test_a_killed_worker_costs_only_its_task(
    files: list[str], model: bytes, whole: dict[str, bytes], small_parts: None, tmp_path: Path
) -> None:
    def run(stage: str, tasks: Sequence[str], do: Callable[[str], None]) -> None:
        local(2)(stage, tasks, partial(killing, do, tmp_path))

    prepare(files, model, tmp_path / "c", Cleaning(), run)
    assert (tmp_path / "killed").exists() and content(tmp_path / "c") == whole


def dying(task: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_workers_that_are_always_killed_are_reported() -> None:
    with pytest.raises(ChildProcessError, match="fewer --workers than 2"):
        local(2)("parts", ["a", "b"], dying)


@pytest.mark.parametrize("part_bytes", [SMALL_PARTS, 1 << 30])
def test_too_many_unreadable_records_of_a_file_are_an_error(
    part_bytes: int, files: list[str], model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_module, "PART_BYTES", part_bytes)
    arguments: dict[str, Any] = {"cleaning": Cleaning(), "engine": one_by_one}
    with pytest.raises(ValueError, match=r"a\.jsonl: 2 records cannot be read, 1 allowed \(line 3001: no text; line 3002: invalid JSON\)"):
        prepare(files, model, tmp_path / "c", max_rejects=1, **arguments)
    manifest = prepare(files, model, tmp_path / "c", max_rejects=2, **arguments)
    assert manifest["rejected"] == {"invalid JSON": 4, "no text": 4}


def test_damaged_files_are_reported_with_the_skipped_bytes(model: bytes, tmp_path: Path) -> None:
    lines = [json.dumps({"lang": "cs", "text": f"Text {i} {hash_(i)}"}).encode() + b"\n" for i in range(40)]
    members = [gzip.compress(line) for line in lines]
    for broken in (3, 7):
        members[broken] = members[broken][:-6] + bytes(6)
    for name, content in (("a", gzip.compress(b"".join(lines))), ("b", b"".join(members)), ("c", gzip.compress(lines[0])[:-4])):
        (tmp_path / f"{name}.jsonl.gz").write_bytes(content)
    files = [str(tmp_path / f"{name}.jsonl.gz") for name in "abc"]
    manifest = prepare(files, model, tmp_path / "corpus", Cleaning(), one_by_one)
    assert manifest["documents"] == 40 + 38 + 1 and manifest["rejected"] == {"damaged compression": 3}
    b, c = damage(tmp_path / "corpus")
    assert (b.file, b.places, b.first.line, c.file, c.places, c.first.line) == (files[1], 2, 4, files[2], 1, 2)
    assert f"{len(members[3])} compressed bytes were skipped" in b.first.sample and "file ends" in c.first.sample


def test_inputs_in_another_order_get_new_verdicts(model: bytes, tmp_path: Path) -> None:
    """The verdicts of an interrupted call are in the order of the documents of that call."""
    for name, letters in (("a", "xyz"), ("b", "zqxw")):
        lines = [json.dumps({"lang": "cs", "text": f"Text {letter} {hash_(ord(letter))}"}) + "\n" for letter in letters]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines), "utf-8")
    a, b = (str(tmp_path / f"{name}.jsonl") for name in "ab")
    cleaning = Cleaning(duplicates="exact")

    def stop_before_shards(stage: str, tasks: Sequence[str], do: Callable[[str], None]) -> None:
        if stage == "shards":
            raise KeyboardInterrupt
        one_by_one(stage, tasks, do)

    with pytest.raises(KeyboardInterrupt):
        prepare([a, b], model, tmp_path / "c", cleaning, stop_before_shards)
    prepare([b, a], model, tmp_path / "c", cleaning, one_by_one)
    prepare([b, a], model, tmp_path / "straight", cleaning, one_by_one)
    assert content(tmp_path / "c") == content(tmp_path / "straight")


def test_a_second_call_at_the_same_time_is_refused(files: list[str], model: bytes, tmp_path: Path) -> None:
    def meanwhile(stage: str, tasks: Sequence[str], do: Callable[[str], None]) -> None:
        with pytest.raises(ValueError, match=r"another prepare --out .* is running"):
            prepare(files[3:], model, tmp_path / "c", Cleaning(), one_by_one)
        one_by_one(stage, tasks, do)

    prepare(files[3:], model, tmp_path / "c", Cleaning(), meanwhile)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_part_that_was_removed_while_it_was_written_is_not_completed(tmp_path: Path) -> None:
    """A job may outlive the call that sent it. The next call then removes what the job has half written."""

    def work() -> None:
        with new_folder(tmp_path / "part") as half:
            (half / "ids").write_bytes(b"1")
            discard(half)
            (half / "part.json").write_text("{}")

    with pytest.raises(FileNotFoundError):
        work()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["plan.json", "kept/ces_Latn.json", "parts/*/part.json"])
def test_a_damaged_file_of_an_interrupted_call_is_named(name: str, model: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"lang": "cs", "text": "Text"}\n' * 9)
    file, work = str(tmp_path / "x.jsonl"), tmp_path / ".c.preparing"

    def damaging(stage: str, tasks: Sequence[str], do: Callable[[str], None]) -> None:
        if stage == "shards":
            for path in work.glob(name):
                path.write_text("")
        one_by_one(stage, tasks, do)

    with pytest.raises(Stopped):
        prepare([file], model, tmp_path / "c", Cleaning(), stopping("shards", 0))
    if name != "kept/ces_Latn.json":
        for path in work.glob(name):
            path.write_text("")
    with pytest.raises(ValueError, match=rf"{name.replace('*', '.*')} is not valid JSON .*; remove {work} to begin again"):
        prepare([file], model, tmp_path / "c", Cleaning(), damaging)


def test_ids_that_were_cut_are_noticed(model: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"lang": "cs", "text": "Text"}\n' * 9)
    with pytest.raises(Stopped):
        prepare([str(tmp_path / "x.jsonl")], model, tmp_path / "c", Cleaning(), stopping("shards", 0))
    (ids,) = (tmp_path / ".c.preparing").glob("parts/*/ces_Latn.ids")
    os.truncate(ids, 20)
    with pytest.raises(ValueError, match=rf"{ids} is shorter than its index says; remove {ids.parent} and run the same command again"):
        prepare([str(tmp_path / "x.jsonl")], model, tmp_path / "c", Cleaning(), one_by_one)
    shutil.rmtree(ids.parent)
    assert prepare([str(tmp_path / "x.jsonl")], model, tmp_path / "c", Cleaning(), one_by_one)["documents"] == 9


@pytest.mark.parametrize(("text", "says"), [("", "no record"), ("\n\n", "no record"), ("{", r"no usable document \(invalid JSON: 1\)")])
def test_an_input_without_documents_makes_no_corpus(text: str, says: str, model: bytes, tmp_path: Path) -> None:
    """The rejects are written, if there are any."""
    (tmp_path / "x.jsonl").write_text(text)
    with pytest.raises(ValueError, match=f"^no corpus was written, because the input has {says}"):
        prepare([str(tmp_path / "x.jsonl")], model, tmp_path / "c", Cleaning(), one_by_one)
    assert {path.name for path in tmp_path.iterdir()} == {"x.jsonl"} | ({"c.rejects.jsonl"} if "{" in text else set())


def test_records_without_a_language_take_the_default_or_are_identified(model: bytes, tmp_path: Path) -> None:
    texts = ["Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan.", "All human beings are born free and equal."]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    named = prepare([str(tmp_path / "x.jsonl")], model, tmp_path / "named", Cleaning(), one_by_one, reading=Reading("mlt_Latn"))
    guessed = prepare([str(tmp_path / "x.jsonl")], model, tmp_path / "guessed", Cleaning(), one_by_one, reading=Reading("guess"))
    assert list(named["languages"]) == ["mlt_Latn"] and list(guessed["languages"]) == ["eng_Latn", "fin_Latn"]


def test_other_fields_make_other_parts(model: bytes, tmp_path: Path) -> None:
    """What an unfinished call read with other fields is read again. Workers take the fields from the plan."""
    file = tmp_path / "x.jsonl"
    file.write_text("".join(json.dumps({"a": f"První {i}.", "b": {"c": f"Druhý {i}."}, "lang": "cs"}) + "\n" for i in range(5)), "utf-8")
    first, second = (Reading(fields=parse_fields([said])) for said in ("text=a", "text=b.c"))
    with pytest.raises(Stopped):
        prepare([str(file)], model, tmp_path / "c", Cleaning(), stopping("shards", 0), reading=first)
    prepare([str(file)], model, tmp_path / "c", Cleaning(), one_by_one, reading=second)
    prepare([str(file)], model, tmp_path / "straight", Cleaning(), one_by_one, reading=second)
    prepare([str(file)], model, tmp_path / "first", Cleaning(), one_by_one, reading=first)
    assert content(tmp_path / "c") == content(tmp_path / "straight") != content(tmp_path / "first")


def test_shards_take_their_documents_from_the_right_parts(model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard has 50 documents, and a part some thirty. Some parts hold only copies."""
    for module in (prepare_module, corpus_module):
        monkeypatch.setattr(module, "SHARD_DOCUMENTS", 50)
    monkeypatch.setattr(prepare_module, "PART_BYTES", 1500)
    numbers = [*range(230), *range(100), *range(100), *range(200, 333)]
    lines = [json.dumps({"lang": "cs", "text": f"Text {hash_(n)}", "id": str(n)}) + "\n" for n in numbers]
    (tmp_path / "x.jsonl").write_text("".join(lines), "utf-8")
    manifest = prepare([str(tmp_path / "x.jsonl")], model, tmp_path / "c", Cleaning(duplicates="exact"), one_by_one)
    assert manifest["documents"] == 333 and manifest["rejected"] == {"duplicate": 230}
    files = sorted((tmp_path / "c" / "index").iterdir())
    assert len(files) == 7
    assert [int(n) for file in files for n in pq.read_table(file)["id"].to_pylist()] == list(range(333))
    rejects = [json.loads(line) for line in (tmp_path / "c" / "rejects.jsonl").read_text("utf-8").splitlines()]
    assert [reject["line"] for reject in rejects] == [*range(231, 461)]
