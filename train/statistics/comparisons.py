"""comparisons.json in the folder of a run: how it differs from other runs, language by language, for the report."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from varietas.data.files import read_json, write_json
from varietas.train.run_folder.evaluations import Evaluation
from varietas.train.statistics.paired import Comparison

FILE = "comparisons.json"
KEYS = ("text_digest", "name", "step", "against", "against_name", "against_step")  # say which comparison it is


@dataclass(frozen=True)
class Compared:
    """A run that was compared: what it is called, and its evaluation."""

    label: str
    evaluation: Evaluation


def keep(run: Path, first: Compared, second: Compared, comparison: Comparison) -> None:
    """Adds a comparison to the folder of the second run. It takes the place of an earlier one of the same evaluations.

    Raises:
        ValueError: If the file of the run is damaged.
    """
    record = {
        "text": second.evaluation.text,
        "text_digest": second.evaluation.text_digest,
        "label": second.label,
        "name": second.evaluation.name,
        "step": second.evaluation.step,
        "against": first.label,
        "against_name": first.evaluation.name,
        "against_step": first.evaluation.step,
        "parity": [None if of is None else asdict(of) for of in comparison.parity],
        "languages": [asdict(each) | {"change": each.change, "significant": each.significant} for each in comparison.languages],
    }
    others = [old for old in read(run) if any(old.get(key) != record[key] for key in KEYS)]
    write_json(run / FILE, {"comparisons": [*others, record]})


def read(run: Path) -> list[Mapping[str, Any]]:
    """Returns the comparisons of a run with others, oldest first; none if there is no file.

    Raises:
        ValueError: If the file is damaged.
    """
    if not (run / FILE).exists():
        return []
    found = read_json(run / FILE, "delete it, and compare the runs again").get("comparisons")
    if not (isinstance(found, list) and all(isinstance(record, dict) for record in found)):
        raise ValueError(f"{run / FILE} has no list of comparisons; delete it, and compare the runs again")
    return found
