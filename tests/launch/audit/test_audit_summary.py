"""The public summary of training content of a run, by the verb, against counts over all pieces of its rows."""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from varietas.data.audit.removal import remove
from varietas.data.clean.cleaning import Cleaning
from varietas.data.corpus.corpus import Corpus
from varietas.data.files import write_json
from varietas.data.ledger.signing import own_key
from varietas.data.ledger.steps import StepLedger
from varietas.data.prepare.prepare import one_by_one, prepare
from varietas.data.stream.context import context_of
from varietas.data.stream.stream import Stream
from varietas.data.text.documents import Document
from varietas.data.tokenizer.training import train
from varietas.launch.audit import summary as verb
from varietas.launch.resolve import config_of, corpus_of, stream_of

STEPS = 40
FACTS = """
[provider]
name = "Example Lab | Praha"
[sources.hplt]
kind = "public"
link = "https://hplt.example"
description = "Web pages"
[sources.own]
kind = "crawled"
crawler = "ExampleBot"
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which forty steps are done, over a corpus of two sources in two languages."""
    folder = tmp_path_factory.mktemp("summary")
    records: list[dict[str, Any]] = []
    for i in range(600):
        record: dict[str, Any] = {"lang": ("ces_Latn", "mlt_Latn")[i % 3 == 0], "text": f"číslo {i} " + "slovo " * (3 + i % 40)}
        record |= {"source": ("hplt", "own")[i % 4 == 0], "u": f"https://www.d{i % 53}.cz/{i}", "robotstxt": "allowed"}
        if i % 4:
            record |= {"license": "CC0-1.0", "crawl_id": f"CC-{i % 3}", "ts": f"2024-0{1 + i % 8}-01T00:00:00Z"}
        records.append(record)
    records += [records[0] | {"robotstxt": "disallowed"}] * 7 + [records[0] | {"tdm-reservation": "1"}] * 4
    records.append(records[1] | {"text": records[1]["text"] + " a@firma.cz"})
    (folder / "x.jsonl").write_text("\n".join(map(json.dumps, records)))
    model = train(lambda: [Document(str(i), r["lang"], r["text"]) for i, r in enumerate(records)], 300)
    prepare([str(folder / "x.jsonl")], model, folder / "web", Cleaning(pii="mask"), one_by_one)
    config, _ = config_of("tiny", {"data.corpus": str(folder / "web"), "data.seq_len": 64, "model.max_seq_len": 64})
    stream, batch_size = stream_of(config, corpus_of(config)), config.train.batch_size
    write_ledger(folder / "run", stream, batch_size, 0, STEPS)
    write_json(folder / "run" / "mixture.json", {"corpus": str(folder / "web")})
    return folder / "run"


def write_ledger(run: Path, stream: Stream, batch_size: int, start: int, stop: int) -> None:
    ledger = StepLedger(run / "ledger", context_of(stream, batch_size), start)
    for step in range(start, stop):
        ledger.note(step, step * batch_size + np.arange(batch_size), np.zeros((batch_size, 32), np.uint8))
    ledger.commit(stop, {start + 1: "loss spike"})


def said(run: Path, *flags: str) -> str:
    parser = argparse.ArgumentParser()
    verb.add_flags(parser)
    out = run.parent / "out"
    assert verb.run(parser.parse_args(["--run", str(run), "--out", str(out), *flags]), Console(quiet=True)) == 0
    return out.read_text("utf-8")


def test_counts_are_those_of_the_rows_that_training_read(run: Path) -> None:
    found = json.loads(said(run, "--json"))
    config, _ = config_of("tiny", {"data.corpus": str(run.parent / "web"), "data.seq_len": 64, "model.max_seq_len": 64})
    stream = stream_of(config, corpus_of(config))
    read: dict[tuple[str, int], int] = {}
    for piece in stream.documents(0, STEPS * config.train.batch_size):
        read[piece.language, piece.document] = read.get((piece.language, piece.document), 0) + piece.size
    index = {code: pq.read_table(run.parent / "web" / "index" / f"{code}-00000.parquet").to_pylist() for code in stream.corpus.languages}
    rows = {key: index[key[0]][key[1]] for key in read}
    assert 100 < len(read) < 600
    text = found["general"]["modalities"]["text"]
    assert text["size"] == "less than 1 billion tokens" and text["documents"] == len(read) and text["tokens_read"] == sum(read.values())
    assert (
        found["training"]["steps"] == STEPS
        and found["training"]["left_out"] == 1
        and found["training"]["corpora"] == {"web": Corpus(run.parent / "web").digest}
    )
    for one in found["general"]["languages"]:
        assert one["tokens_read"] == sum(n for (code, _), n in read.items() if code == one["language"])
    assert not found["sources"]["public"]
    sources = {one["source"]: one for one in found["sources"]["not_assigned"]}
    for name, one in sources.items():
        mine = {key: row for key, row in rows.items() if row["source"] == name}
        assert one["documents"] == len(mine) and one["tokens_read"] == sum(read[key] for key in mine)
        months = [row["timestamp"][:7] for row in mine.values() if row["timestamp"]]
        assert one["months"] == ([min(months), max(months)] if months else None) and one["documents_with_a_date"] == len(months)
    assert set(sources["hplt"]["crawls"]) == {"CC-0", "CC-1", "CC-2"} and set(sources["own"]["licenses"]) == {"not stated"}
    assert found["processing"]["documents_read_by_opt_out"]["robots_allows"]["yes"]["documents"] == len(read)


def test_domains_are_listed_as_the_template_asks(run: Path) -> None:
    found, of_small = (json.loads(said(run, "--json", *flags))["domains"] for flags in ((), ("--small_company",)))
    assert found["domains_read"] == 53 and len(found["domains"]) == 6 and len(of_small["domains"]) == 3
    assert found["domains"][:3] == of_small["domains"]
    sizes = [one["bytes"] for one in found["domains"]]
    assert sizes == sorted(sizes, reverse=True) and all(one["domain"].startswith("d") for one in found["domains"])


def test_what_was_left_out_and_masked_is_counted(run: Path) -> None:
    web = json.loads(said(run, "--json"))["processing"]["corpora"]["web"]
    assert web["opted_out"] == {"opted out: rights reserved": 4, "opted out: robots.txt": 7} and web["opt_outs_honoured"]
    assert web["personal_data_masked"] == {"email": 1} and web["records_read"] == 612 and web["documents_kept"] == 601


def test_facts_fill_the_blanks_and_others_stay(run: Path) -> None:
    (run.parent / "facts.toml").write_text(FACTS)
    blank, filled = said(run), said(run, "--facts", str(run.parent / "facts.toml"))
    found = json.loads(said(run, "--facts", str(run.parent / "facts.toml"), "--json"))
    assert [one["source"] for one in found["sources"]["public"]] == ["hplt"] and not found["sources"]["not_assigned"]
    assert found["to_fill_in"]['sources."own".behaviour'] and 'sources."hplt".link' not in found["to_fill_in"]
    assert 'sources."own".period' in found["to_fill_in"] and "content.latest_acquisition" not in found["to_fill_in"]
    assert "2024-08" in filled
    for heading in ("## 1. General", "### 2.1 Publicly", "### 2.3 Data crawled", "### 2.6 Other", "### 3.1 Respect", "### 3.2 Removal"):
        assert heading in blank and heading in filled
    assert "Example Lab" in filled and "Example Lab" not in blank and "- crawler: ExampleBot" in filled
    assert "Used: no." in filled and "Used: no." not in blank
    assert blank.count("[to be filled in]") > filled.count("[to be filled in]") > 8
    assert "opted out: robots.txt | 7" in filled


def test_a_run_without_a_ledger_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the run has no ledger"):
        said(tmp_path)


def test_a_corpus_that_moved(run: Path, tmp_path: Path) -> None:
    """The corpus is found with --corpus."""
    (tmp_path / "web").symlink_to(run.parent / "web")
    shutil.copytree(run / "ledger", tmp_path / "run" / "ledger")
    write_json(tmp_path / "run" / "mixture.json", {"corpus": str(tmp_path / "gone" / "web")})
    with pytest.raises(ValueError, match=r"the corpus of .+ is not at"):
        said(tmp_path / "run")
    moved = json.loads(said(tmp_path / "run", "--json", "--corpus", str(tmp_path / "web")))
    assert moved["general"] == json.loads(said(run, "--json"))["general"]


def test_removed_documents_count_as_far_as_they_were_read(run: Path, tmp_path: Path) -> None:
    """Some documents are removed after the forty steps, and ten more steps follow."""
    shutil.copytree(run.parent / "web", tmp_path / "web")
    shutil.copytree(run / "ledger", tmp_path / "run" / "ledger")
    remove(Corpus(tmp_path / "web"), {("", "ces_Latn"): np.arange(200)}, "asked for", own_key())
    config, _ = config_of("tiny", {"data.corpus": str(tmp_path / "web"), "data.seq_len": 64, "model.max_seq_len": 64})
    stream, batch_size = stream_of(config, corpus_of(config)), config.train.batch_size
    write_ledger(tmp_path / "run", stream, batch_size, STEPS, STEPS + 10)
    rows = STEPS * batch_size
    wanted = sum(piece.size for piece in stream.documents(0, rows))
    wanted += sum(p.size for p in stream.documents(rows, rows + 10 * batch_size) if p.language != "ces_Latn" or p.document >= 200)
    found = json.loads(said(tmp_path / "run", "--json", "--corpus", str(tmp_path / "web")))
    assert found["general"]["modalities"]["text"]["tokens_read"] == wanted
    assert found["training"]["steps"] == STEPS + 10 and found["training"]["removed"] == 200 and found["training"]["left_out"] == 2
