"""Measures how fast `prepare` is, beside SentencePiece's bare encoding of the same text in the same run.

    python tests/bench/prepare.py [--input 'texts/*.jsonl.zst' --tokenizer euro.model] [--rounds 3]

The figures are MB of text per second, as medians of rounds that take turns: the bare encoder with one thread, and `prepare` without and
with cleaning, with one worker and with two. Without --input, the texts are joined from sentences of the embedded text, and the tokenizer
has 8,192 pieces.
"""

import argparse
import json
import sys
import tempfile
from functools import partial
from pathlib import Path

from figures import arguments, by_turns, documents, timed, write

from varietas.data.clean.cleaning import Cleaning
from varietas.data.formats.read import expand, read
from varietas.data.prepare.default import default_corpus
from varietas.data.prepare.engine import local
from varietas.data.prepare.prepare import prepare
from varietas.data.text.documents import Document
from varietas.data.tokenizer.model import load
from varietas.launch.config import load_config

MADE = 8_000  # number of texts that are made if none are given


def main() -> None:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--input", nargs="+", default=[])
    parser.add_argument("--tokenizer", type=Path, default=default_corpus(8192) / "tokenizer.model")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if not args.input:
            records = [json.dumps({"text": text, "lang": language}, ensure_ascii=False) for language, text in documents(MADE)]
            for part in range(2):  # one for each worker
                (Path(folder) / f"{part}.jsonl").write_text("\n".join(records[part::2]) + "\n", "utf-8")
        try:
            compare(args.input or [f"{folder}/*.jsonl"], args)
        except (ValueError, OSError) as error:
            sys.exit(str(error))


def compare(patterns: list[str], args: argparse.Namespace) -> None:
    files = expand(patterns)
    texts = [record.text for file in files for record in read(file) if isinstance(record, Document)]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    processor = load(args.tokenizer)
    web = Cleaning(**load_config("web").clean)

    def bare() -> None:
        for begin in range(0, len(texts), 1024):
            processor.encode(texts[begin : begin + 1024], num_threads=1)

    def prepared(cleaning: Cleaning, workers: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            prepare(files, args.tokenizer.read_bytes(), Path(folder) / "corpus", cleaning, local(workers))

    ways = {
        "SentencePiece alone": bare,
        "prepare": lambda: prepared(Cleaning(), 1),
        "prepare, 2 workers": lambda: prepared(Cleaning(), 2),
        "prepare, all cleaning": lambda: prepared(web, 1),
        "prepare, all cleaning, 2 workers": lambda: prepared(web, 2),
    }
    medians = by_turns({name: partial(timed, way) for name, way in ways.items()}, args.rounds)
    alone = medians["SentencePiece alone"]
    lines = [f"{megabytes:.1f} MB of text in {len(texts):,} documents, {len(files)} files"]
    lines += [] if args.input else ["drawn repeatedly from 4.6 MB of sentences; on text with more different words, `prepare` is slower"]
    for name, median in medians.items():
        lines.append(f"{name:34} {megabytes / median:6.1f} MB/s {alone / median:6.2f} × SentencePiece alone")
    ratios = {
        "prepare_vs_sentencepiece": alone / medians["prepare"],
        "prepare_cleaning_vs_sentencepiece": alone / medians["prepare, all cleaning"],
        "prepare_cleaning_vs_prepare": medians["prepare"] / medians["prepare, all cleaning"],
        "prepare_2_workers_vs_1": medians["prepare"] / medians["prepare, 2 workers"],
    }
    write(args.json, ratios, lines)


if __name__ == "__main__":
    main()
