"""The flags that audit verbs share, and what they name: a ledger and the corpus of the run."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from varietas.data.files import split_paths
from varietas.launch.flags import not_empty, path

if TYPE_CHECKING:  # these import numpy, for which --help does not wait
    from varietas.data.audit.spans import Span
    from varietas.data.corpus.corpus import Corpus
    from varietas.data.corpus.sources import Sources


@dataclass(frozen=True)
class Audited:
    """A run that is audited."""

    run: Path  # its folder; that of the ledger, if another trainer wrote it
    ledger: Path  # the folder of the ledger
    spans: "list[Span]"
    corpus: "Corpus | Sources"


def add_run(parser: argparse.ArgumentParser) -> None:
    """Adds --run."""
    about = "folder of the run, or of a ledger that another trainer wrote"
    parser.add_argument("--run", type=path, required=True, metavar="DIR", help=about)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds --run, --corpus and --json."""
    add_run(parser)
    add_corpus(parser)
    add_json(parser)


def add_corpus(parser: argparse.ArgumentParser) -> None:
    """Adds --corpus for a run."""
    parser.add_argument(
        "--corpus", type=not_empty, metavar="DIR", help="where the corpus of the run lies, if it has moved; several with commas"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds --json."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def audited(run: Path, corpus: str | None) -> Audited:
    """Opens what --run and --corpus name.

    Raises:
        ValueError: If there is no ledger or no corpus.
    """
    from varietas.data.audit.spans import spans_of
    from varietas.data.corpus.sources import open_corpus

    ledger = ledger_of(run)
    spans = spans_of(ledger, damaged_in(run))
    return Audited(run, ledger, spans, open_corpus(corpus or corpus_of(run)))


def ledger_of(run: Path) -> Path:
    """Returns the folder of the ledger of a run. Raises ValueError if there is none."""
    from varietas.data.ledger.steps import FOLDER, STEPS

    if (run / STEPS).exists():
        return run
    if not run.is_dir():
        raise ValueError(f"--run {run} is no folder; name that of a run")
    return run / FOLDER


def damaged_in(run: Path) -> dict[tuple[str, str], list[int]]:
    """Returns the documents that a run left out since their bytes were damaged, by source and language."""
    from varietas.train.run_folder.corrupt import read_corrupt

    found: dict[tuple[str, str], list[int]] = {}
    for record in read_corrupt(run):
        found.setdefault((record["source"], record["language"]), []).append(record["document"])
    return found


def corpus_of(run: Path) -> str:
    """Returns the path of the corpus that a run was started with. Raises ValueError if nothing says it, or it has moved."""
    from varietas.train.run_folder.folder import read_record

    if not (run / "mixture.json").exists():
        raise ValueError(f"{run} does not say where its corpus is; name it with --corpus")
    found = str(read_record(run, "mixture.json")["corpus"])
    for folder in split_paths(found, ","):
        if not Path(folder).exists():
            raise ValueError(f"the corpus of {run} is not at {folder}; say where it is now with --corpus")
    return found


def print_json(value: dict[str, Any]) -> None:
    """Prints a result as JSON."""
    print(json.dumps(value, ensure_ascii=False, indent=1))


def name_of(entry: dict[str, Any]) -> str:
    """Returns how tables name a document: its language and number, with the corpus if there are several."""
    return " ".join(filter(None, (entry.get("corpus", ""), entry["language"], str(entry["document"]))))


def count(n: int, thing: str) -> str:
    """Returns a number with its thing, as in "3 documents"."""
    return f"{n:,} {thing}{'' if n == 1 else 's'}"
