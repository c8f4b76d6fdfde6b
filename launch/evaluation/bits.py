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
from varietas.train.run_folder.evaluations import GIVEN, Evaluation, check_text, evaluation_text, known, name_for
from varietas.train.run_folder.origin import languages_of, trains

if TYPE_CHECKING:  # these import jax, which takes seconds: a mistake is answered without it
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
    """

    folder: Path
    small: Small | None
    stream: Callable[[], Stream]
    experiment: Callable[[], Experiment]
    network: "Callable[[int | None], tuple[Network, int]]"


def evaluation(run: Opened, documents: Documents, name: str | None, step: int | None, again: bool) -> Evaluation:
    """Evaluates a run on a text, and keeps the result in its folder. `varietas.Run.evaluation` explains the arguments."""
    saved = run_folder.saved_step(run.folder, step)
    name = name_for([] if documents is None else [GIVEN], name) + (f"-{run.small.name}" if run.small else "")
    stream = run.stream() if trains(run.folder) else None
    if stream:
        run_folder.check_data(run.folder, stream.corpus)
    text = evaluation_text(name, documents, stream.corpus.languages if stream else languages_of(run.folder))
    check_text(run.folder, name, text.digest)
    if not again and (found := known(run.folder, name, saved, text.digest)):
        return found
    from varietas.train.inference.score import evaluate

    network, at = run.network(step)
    return evaluate(network, at, run.experiment(), stream, run.folder, text)
