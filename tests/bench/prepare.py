"""How fast `prepare` is beside SentencePiece's own bare encoding of the same text, in the same run.

    python tests/bench/prepare.py 'texts/*.jsonl.zst' --tokenizer euro.model [--rounds 3]

Prints MB of text a second, medians of the rounds, which alternate: the bare encoder (one thread), prepare without and with cleaning by one
worker and by two.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import sentencepiece as spm

from varietas.data.clean import Cleaning
from varietas.data.documents import Document
from varietas.data.engine import local
from varietas.data.prepare import prepare
from varietas.data.read import expand, read
from varietas.launch.settings import load_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", nargs="+")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    files = expand(args.input)
    texts = [record.text for file in files for record in read(file) if isinstance(record, Document)]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    processor = spm.SentencePieceProcessor(model_file=str(args.tokenizer))
    web = Cleaning(**load_config("web").clean)

    def bare() -> None:
        for begin in range(0, len(texts), 1024):
            processor.encode(texts[begin : begin + 1024], num_threads=1)

    def prepared(cleaning: Cleaning, workers: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            prepare(files, args.tokenizer.read_bytes(), Path(folder) / "corpus", cleaning, local(workers))

    what = {
        "SentencePiece alone": bare,
        "prepare": lambda: prepared(Cleaning(), 1),
        "prepare, 2 workers": lambda: prepared(Cleaning(), 2),
        "prepare, all cleaning": lambda: prepared(web, 1),
        "prepare, all cleaning, 2 workers": lambda: prepared(web, 2),
    }
    seconds: dict[str, list[float]] = {name: [] for name in what}
    for _ in range(args.rounds):
        for name, run in what.items():
            begun = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begun)
    alone = statistics.median(seconds["SentencePiece alone"])
    print(f"{megabytes:.1f} MB of text in {len(texts):,} documents, {len(files)} files")
    for name, found in seconds.items():
        median = statistics.median(found)
        print(f"{name:36} {megabytes / median:6.1f} MB/s  {alone / median:5.2f} × SentencePiece alone")


if __name__ == "__main__":
    main()
