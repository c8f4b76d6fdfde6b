"""Bits per byte of each language: what `Run.evaluate` does, and what evaluations need of a run."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from varietas.data.stream.stream import Stream
from varietas.data.text.documents import Document
from varietas.launch.models.quantizing import Small
from varietas.train.experiment import Experiment
from varietas.train.run_folder import folder as run_folder
from varietas.train.run_folder.evaluations import GIVEN, check_name, check_text, name_for, text_digest
from varietas.train.run_folder.origin import languages_of, trains

if TYPE_CHECKING:  # these import jax, which takes seconds: a mistake is answered without it
    from varietas.model.decoder import Build
    from varietas.train.inference.evaluate import Row
    from varietas.train.inference.network import Network


Documents = Iterable[Document] | None


@dataclass(frozen=True)
class Opened:
    """What evaluations need of a run that has been opened.

    Attributes:
        folder: The run's folder.
        small: The small form in which it is evaluated, if any.
        stream: Returns the rows of a run that trains.
        experiment: Returns the resolved config, once `network` was called.
        network: Returns the model in the form in which it is evaluated, and the step of its checkpoint, which may be given.
        build: Returns what makes the model.
    """

    folder: Path
    small: Small | None
    stream: Callable[[], Stream]
    experiment: Callable[[], Experiment]
    network: "Callable[[int | None], tuple[Network, int]]"
    build: "Callable[[], Build]"


def evaluate(run: Opened, documents: Documents, name: str | None, step: int | None) -> "dict[str, Row]":
    """Computes bits per byte of each language, and keeps them in the run's folder. `varietas.Run.evaluate` explains the arguments."""
    run_folder.saved_step(run.folder, step)
    name = name_for([] if documents is None else [GIVEN], name) + (f"-{run.small.name}" if run.small else "")
    check_name(name)
    if documents is not None:
        if not (documents := list(documents)):
            raise ValueError("there is no document to evaluate on")
        check_text(run.folder, name, text_digest(documents))
    stream = run.stream() if trains(run.folder) else None
    if stream:
        run_folder.check_data(run.folder, stream.corpus)
    from varietas.train.inference.score import baselines, evaluation_text, keep, score

    text = evaluation_text(documents, stream.corpus.languages if stream else languages_of(run.folder))
    network, found = run.network(step)
    exp = run.experiment()
    base = baselines(exp, stream, run.folder, network.mesh, text, run.build())
    rows = score(network, base, exp)
    keep(run.folder, name, found, text, rows)
    return rows
