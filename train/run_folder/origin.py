"""Where the first parameters of a run come from, if they are not random: origin.json."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from varietas.data.files import write_json
from varietas.train.run_folder.folder import read_record, saved_step

FILE = "origin.json"
IMPORTED, AVERAGED, EXTENDED, CONTINUED = "imported", "averaged", "extended", "continued"  # kinds; only a run of the last kind trains


@dataclass(frozen=True)
class Origin:
    """Where the first parameters of a run come from."""

    kind: str  # IMPORTED (a release), AVERAGED (checkpoints), EXTENDED (by pieces), CONTINUED (a run or a release, by train.init_from)
    sources: Sequence[str]  # folders of releases, or runs with @ and the step of their checkpoint
    languages: Sequence[str] = ()  # that averaged or extended parameters were trained on

    def __str__(self) -> str:
        return f"{self.kind} from {', '.join(self.sources)}"

    @property
    def named(self) -> str:
        """What others may read: the names of the sources, not the folders that they do not have."""
        return f"{self.kind} from {', '.join(Path(source).name for source in self.sources)}"


def write_origin(run: Path, origin: Origin) -> None:
    """Records where the parameters of a run come from."""
    write_json(run / FILE, asdict(origin))


def read_origin(run: Path) -> Origin | None:
    """Returns where the parameters of a run come from; None if they were random. Raises ValueError if the record is damaged."""
    if not (run / FILE).exists():
        return None
    record = read_record(run, FILE)
    sources, languages = (tuple(map(str, record.get(name) or ())) for name in ("sources", "languages"))
    return Origin(str(record.get("kind")), sources, languages)


def trains(run: Path) -> bool:
    """Whether a run trains: it has a corpus. A model that was imported, averaged or extended has none."""
    origin = read_origin(run)
    return origin is None or origin.kind == CONTINUED


def check_trains(run: Path) -> None:
    """Raises ValueError if a run does not train."""
    if not trains(run):
        raise ValueError(f"--run {run} holds a model that was {read_origin(run)}; to train it, name a new --run and --init_from {run}")


def languages_of(run: Path) -> list[str]:
    """Returns the languages that a run trains on, or that its averaged or extended parameters were trained on; none if it was imported.

    Raises:
        ValueError: If mixture.json is missing or damaged.
    """
    origin = read_origin(run)
    if origin is not None and origin.kind != CONTINUED:
        return list(origin.languages)
    return [code for code, language in read_record(run, "mixture.json")["languages"].items() if language["weight"] > 0]


def is_release(folder: Path) -> bool:
    """Whether a folder holds a model in the layout of transformers. A run folder has a config.json too, of our own fields."""
    try:
        return "architectures" in json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return False


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that `train.init_from`, `average` or `extend` names."""

    run: Path
    step: int

    def __str__(self) -> str:
        return f"{self.run}@{self.step}"


def checkpoint_of(name: str) -> Checkpoint:
    """Parses RUN or RUN@STEP, and makes the path absolute. Without a step, the newest checkpoint is meant.

    Raises:
        ValueError: If there is no such run, or no such checkpoint.
    """
    name = str(Path(name).expanduser().absolute())
    parts = re.fullmatch(r"(.+)@(\d+)", name)
    run, step = (Path(parts[1]), int(parts[2])) if parts and not Path(name).exists() else (Path(name), None)
    if not (run / "checkpoints").is_dir():
        raise ValueError(f"{name} is neither a run with checkpoints (RUN or RUN@STEP) nor a folder with a model of transformers")
    return Checkpoint(run, saved_step(run, step))
