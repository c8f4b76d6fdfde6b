"""How well a model of a run predicts each language: bits per byte beside its baselines.

The baselines do not change while a run trains, so they are computed once: the untrained model, and the token frequencies of the mixture.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from jax.sharding import Mesh

from varietas.data.stream.stream import Stream
from varietas.data.text.documents import Document
from varietas.data.text.embedded import GFLANGUAGES_VERSION, parallel_documents
from varietas.data.text.languages import WORLD
from varietas.model.decoder import Build, Decoder, Params
from varietas.train.experiment import Experiment
from varietas.train.inference.evaluate import Row, Text, encode, nats, table, unigram_frequency, unigram_nats
from varietas.train.inference.network import Network
from varietas.train.loop import Evaluate
from varietas.train.processes import is_first
from varietas.train.run_folder.evaluations import DECLARATION, Evaluation, check_text, text_digest, write
from varietas.train.run_folder.origin import languages_of
from varietas.train.step import fresh_params

Between = Callable[[], None]

USUAL_TEXT = f"Universal Declaration of Human Rights, passages from gflanguages {GFLANGUAGES_VERSION}"


@dataclass(frozen=True)
class Baselines:
    """A text to evaluate on, encoded, and what is known without the trained model. Likelihoods are in nats."""

    texts: dict[str, Text]
    untrained: dict[str, float]  # empty, as `unigram`, if it was not asked for
    unigram: dict[str, float]
    trained_on: frozenset[str] | None  # languages; None if they are not known


@dataclass(frozen=True)
class EvaluationText:
    """Documents to evaluate on, and what they are called in the report."""

    about: str
    documents: list[Document]


def evaluation_text(documents: list[Document] | None, languages: Collection[str]) -> EvaluationText:
    """Returns the text to evaluate on.

    Args:
        documents: A user's own text; None for the Declaration of Human Rights in all languages of Europe, and in those of other
            continents that the run was trained on.
        languages: The languages that the run was trained on.
    """
    if documents is not None:
        return EvaluationText("documents given", documents)
    return EvaluationText(USUAL_TEXT, [d for d in parallel_documents() if d.lang not in WORLD or d.lang in languages])


def baselines(
    exp: Experiment,
    stream: Stream | None,
    run: Path,
    mesh: Mesh,
    text: EvaluationText,
    build: Build,
    between: Between = lambda: None,
) -> Baselines:
    """Encodes the evaluation text and scores the untrained model on it.

    Args:
        exp: The experiment.
        stream: The rows of the run, for what the mixture draws; None to do without the untrained model and the token frequencies.
        run: The run's folder.
        mesh: Where the untrained model is computed.
        text: What to evaluate on.
        build: Makes the model.
        between: Called before each batch; what it raises ends the computation.

    Raises:
        ValueError: If there is no document.
    """
    texts = encode(text.documents, run)
    if not texts:
        raise ValueError("there is no document to evaluate on")
    if stream is None:
        return Baselines(texts, {}, {}, frozenset(languages_of(run)) or None)
    share = stream.shares(exp.tokens)
    untrained = Network(fresh_params(exp.model, mesh, exp.seed, build), exp.model, mesh, build)
    trained_on = frozenset(code for code, part in zip(stream.corpus.languages, share, strict=True) if part > 0)
    return Baselines(texts, _nats(untrained, texts, exp, between), unigram_nats(texts, *unigram_frequency(stream, exp.tokens)), trained_on)


def score(network: Network, base: Baselines, exp: Experiment, between: Between = lambda: None) -> dict[str, Row]:
    """Returns a row for each language, the worst (most bits per byte) first. Calls `between` before each batch."""
    return table(base.texts, _nats(network, base.texts, exp, between), base.untrained, base.unigram, base.trained_on)


def evaluator(exp: Experiment, stream: Stream, run: Path, mesh: Mesh, build: Build = Decoder, between: Between = lambda: None) -> Evaluate:
    """Returns what `loop.train` calls: it scores the usual text, keeps the result in the run's folder and returns bits per byte.

    It calls `between` before each batch; what that raises ends an evaluation.

    The baselines are computed here, before training: what compiles, lacks memory or finds a conflict must not end the run in its middle.
    """
    text = evaluation_text(None, stream.corpus.languages)
    check_text(run, DECLARATION, text_digest(text.documents))
    base = baselines(exp, stream, run, mesh, text, build, between)

    def evaluate(params: Params, step: int) -> dict[str, float]:
        rows = score(Network(params, exp.model, mesh, build), base, exp, between)
        keep(run, DECLARATION, step, text, rows)
        return {code: row["bits_per_byte"] for code, row in rows.items()}

    return evaluate


def keep(run: Path, name: str, step: int, text: EvaluationText, rows: dict[str, Row]) -> None:
    """Writes an evaluation into the run's folder, in process 0. Raises ValueError if the name stands for another text."""
    if is_first():
        write(run, Evaluation(name, step, text.about, text_digest(text.documents), rows))


def _nats(network: Network, texts: dict[str, Text], exp: Experiment, between: Between) -> dict[str, float]:
    return nats(network, texts, exp.seq_len, exp.batch_size // exp.grad_accum, between)
