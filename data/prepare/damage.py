"""Lists the input files of a corpus that could not be read completely because they are damaged."""

import json
from dataclasses import dataclass
from pathlib import Path

from varietas.data.text.documents import PASSED_OVER, Reject


@dataclass(frozen=True)
class DamagedFile:
    """An input file of which parts could not be read. The records in these parts are not counted."""

    file: str
    places: int  # number of damaged places that were skipped
    first: Reject  # its sample says what is wrong and how many bytes were skipped


def damage(corpus: Path) -> list[DamagedFile]:
    """Returns the input files of a corpus in which damaged places were skipped, in the order of the input."""
    places: dict[str, list[Reject]] = {}
    with (corpus / "rejects.jsonl").open(encoding="utf-8") as rejects:
        for line in rejects:
            if '"damaged ' in line and (reject := Reject(**json.loads(line))).reason in PASSED_OVER:
                places.setdefault(reject.file, []).append(reject)
    return [DamagedFile(file, len(found), found[0]) for file, found in places.items()]
