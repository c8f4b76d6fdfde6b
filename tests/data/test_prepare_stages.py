"""prepare over files: the same corpus whoever does the work, nothing lost when it is interrupted, damage told."""

import gzip
import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard

from varietas.data import corpus as corpus_module
from varietas.data import prepare as prepare_module
from varietas.data import tokenizer
from varietas.data.clean import Cleaning
from varietas.data.documents import Document
from varietas.data.engine import local
from varietas.data.files import discard, new_folder
from varietas.data.plan import changed_inputs, working_folder
from varietas.data.prepare import one_by_one, prepare
from varietas.data.read import read

SMALL_PARTS = 100_000
BAD = b'{"lang":"cs"}\n{broken\n'


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Four files in three packings, two languages in each, with bad records; the largest makes several parts."""
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


@pytest.mark.parametrize("file", [0, 1, 2])
def test_parts_hold_each_record_once(file: int, files: list[str]) -> None:
    size = os.path.getsize(files[file])
    bounds = [size * k // 5 for k in range(5)] + [size + 1]
    records = [record for k in range(5) for record in read(files[file], bounds[k], bounds[k + 1])]
    assert records == list(read(files[file])) and len(records) in (6002, 3002, 2002)


@pytest.mark.parametrize(("workers", "part_bytes"), [(1, SMALL_PARTS), (2, SMALL_PARTS)])
def test_the_same_corpus_with_any_parts_and_workers(
    workers: int, part_bytes: int, files: list[str], model: bytes, whole: dict[str, bytes], tmp_path: Path
) -> None:
    prepare(files, model, tmp_path / "c", Cleaning(), local(workers), part_bytes=part_bytes)
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


def test_an_interrupted_call_goes_on_with_what_is_missing(files: list[str], model: bytes, whole: dict[str, bytes], tmp_path: Path) -> None:
    done = Counter[str]()

    def counting(stage: str, tasks: Sequence[str], do: Callable[[str], None]) -> None:
        done[stage] += len(tasks)
        one_by_one(stage, tasks, do)

    go_on = partial(prepare, files, model, tmp_path / "c", Cleaning(), part_bytes=SMALL_PARTS)
    for stage, after in (("parts", 0), ("parts", 2), ("verdicts", 1), ("shards", 1)):
        with pytest.raises(Stopped):
            go_on(run=stopping(stage, after))
        assert list(tmp_path.iterdir()) == [working_folder(tmp_path / "c")]
    go_on(run=counting)
    assert done == {"parts": 0, "verdicts": 0, "shards": 1}
    assert content(tmp_path / "c") == whole


def test_other_settings_do_not_mix(files: list[str], model: bytes, tmp_path: Path) -> None:
    other = tokenizer.train(lambda: (d for d in read(files[3]) if isinstance(d, Document)), 301)
    with pytest.raises(Stopped):
        prepare(files, model, tmp_path / "c", Cleaning(), stopping("parts", 1))
    with pytest.raises(ValueError, match="begun with another cleaning"):
        prepare(files, model, tmp_path / "c", Cleaning(min_chars=5), one_by_one)
    with pytest.raises(ValueError, match="begun with another tokenizer digest"):
        prepare(files, other, tmp_path / "c", Cleaning(), one_by_one)


def test_a_file_of_which_nothing_stays(model: bytes, tmp_path: Path) -> None:
    """A copy of another file, before others that stay."""
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
    before["parts"] = [{name: part[name] for name in ("file", "stamp")} for part in before["parts"]]  # by another version of us
    plan.write_text(json.dumps(before))
    assert changed_inputs(tmp_path / "c", inputs) == inputs[1:]
    assert prepare(inputs, model, tmp_path / "c", Cleaning(), one_by_one)["documents"] == 3


def killing(do: Callable[[str], None], folder: Path, task: str) -> None:
    """Dies in the first task that it is given, once."""
    if not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    do(task)


def test_a_killed_worker_costs_only_its_task(files: list[str], model: bytes, whole: dict[str, bytes], tmp_path: Path) -> None:
    def run(stage: str, tasks: Sequence[str], do: Callable[[str], None]) -> None:
        local(2)(stage, tasks, partial(killing, do, tmp_path))

    prepare(files, model, tmp_path / "c", Cleaning(), run, part_bytes=SMALL_PARTS)
    assert (tmp_path / "killed").exists() and content(tmp_path / "c") == whole


def dying(task: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_workers_that_always_die_are_told() -> None:
    with pytest.raises(ChildProcessError, match="fewer --workers than 2"):
        local(2)("parts", ["a", "b"], dying)


@pytest.mark.parametrize("part_bytes", [SMALL_PARTS, 1 << 30])
def test_too_many_bad_records_of_a_file_stop_it(part_bytes: int, files: list[str], model: bytes, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"cleaning": Cleaning(), "run": one_by_one, "part_bytes": part_bytes}
    with pytest.raises(ValueError, match=r"a\.jsonl: 2 records cannot be read, 1 may \(line 3001: no text; line 3002: invalid JSON\)"):
        prepare(files, model, tmp_path / "c", max_rejects=1, **arguments)
    manifest = prepare(files, model, tmp_path / "c", max_rejects=2, **arguments)
    assert manifest["rejected"] == {"invalid JSON": 4, "no text": 4}


def test_inputs_in_another_order_are_another_corpus(model: bytes, tmp_path: Path) -> None:
    """Verdicts of an interrupted call were on the documents in their order then."""
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


def test_two_calls_at_once_do_not_meet(files: list[str], model: bytes, tmp_path: Path) -> None:
    def meanwhile(stage: str, tasks: Sequence[str], do: Callable[[str], None]) -> None:
        with pytest.raises(ValueError, match=r"another prepare --out .* is at work"):
            prepare(files[3:], model, tmp_path / "c", Cleaning(), one_by_one)
        one_by_one(stage, tasks, do)

    prepare(files[3:], model, tmp_path / "c", Cleaning(), meanwhile)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_part_that_someone_took_away_is_not_finished(tmp_path: Path) -> None:
    """A job that still runs though who sent it was killed: the call after it clears its half away."""

    def work() -> None:
        with new_folder(tmp_path / "part") as half:
            (half / "ids").write_bytes(b"1")
            discard(half)
            (half / "part.json").write_text("{}")

    with pytest.raises(FileNotFoundError):
        work()
    assert list(tmp_path.iterdir()) == []


def test_records_without_a_language_take_the_one_that_is_named(model: bytes, tmp_path: Path) -> None:
    texts = ["Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan.", "All human beings are born free and equal."]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    named = prepare([str(tmp_path / "x.jsonl")], model, tmp_path / "named", Cleaning(), one_by_one, default_lang="mlt_Latn")
    guessed = prepare([str(tmp_path / "x.jsonl")], model, tmp_path / "guessed", Cleaning(), one_by_one, default_lang="guess")
    assert list(named["languages"]) == ["mlt_Latn"] and list(guessed["languages"]) == ["eng_Latn", "fin_Latn"]


def test_shards_take_their_documents_from_the_parts_that_have_them(model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of 50, parts of a few hundred, some of which hold copies only."""
    for module in (prepare_module, corpus_module):
        monkeypatch.setattr(module, "SHARD_DOCUMENTS", 50)
    numbers = [*range(230), *range(100), *range(100), *range(200, 333)]
    lines = [json.dumps({"lang": "cs", "text": f"Text {hash_(n)}", "id": str(n)}) + "\n" for n in numbers]
    (tmp_path / "x.jsonl").write_text("".join(lines), "utf-8")
    manifest = prepare([str(tmp_path / "x.jsonl")], model, tmp_path / "c", Cleaning(duplicates="exact"), one_by_one, part_bytes=1500)
    assert manifest["documents"] == 333 and manifest["rejected"] == {"duplicate": 230}
    files = sorted((tmp_path / "c" / "index").iterdir())
    assert len(files) == 7
    assert [int(n) for file in files for n in pq.read_table(file)["id"].to_pylist()] == list(range(333))
    rejects = [json.loads(line) for line in (tmp_path / "c" / "rejects.jsonl").read_text("utf-8").splitlines()]
    assert [reject["line"] for reject in rejects] == [*range(231, 461)]
