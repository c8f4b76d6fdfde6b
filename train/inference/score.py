"""How well a model of a run predicts each language: bits per byte beside its baselines, with intervals, and parity of the languages.

The baselines do not change while a run trains, so they are computed once: the untrained model, and the token frequencies of the mixture.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jax.sharding import Mesh

from varietas.data.corpus.held_out import held_out_documents
from varietas.data.stream.stream import Stream
from varietas.model.decoder import Build, Decoder, Params
from varietas.train.experiment import Experiment
from varietas.train.inference.evaluate import Text, encode, nats, table, unigram_frequency, unigram_nats
from varietas.train.inference.network import Network
from varietas.train.loop import Evaluate
from varietas.train.processes import is_first
from varietas.train.run_folder.checkpoint import read_meta
from varietas.train.run_folder.evaluations import (
    DECLARATION,
    HELD_OUT,
    Documents,
    Evaluation,
    EvaluationText,
    check_text,
    compared,
    evaluation_text,
    write,
)
from varietas.train.run_folder.origin import languages_of
from varietas.train.statistics.parity import parity
from varietas.train.step import fresh_params

Between = Callable[[], None]


@dataclass(frozen=True)
class Baselines:
    """A text to evaluate on, encoded, and what is known without the trained model. Likelihoods are in nats."""

    text: EvaluationText
    texts: dict[str, Text]
    untrained: dict[str, float]  # by language; empty, as `unigram`, if it was not asked for
    unigram: dict[str, float]
    trained_on: frozenset[str] | None  # languages; None if they are not known


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
        return Baselines(text, texts, {}, {}, frozenset(languages_of(run)) or None)
    share = stream.shares(exp.tokens)
    untrained = _nats(Network(fresh_params(exp.model, mesh, exp.seed, build), exp.model, mesh, build), texts, exp, between)
    trained_on = frozenset(code for code, part in zip(stream.corpus.languages, share, strict=True) if part > 0)
    of_languages = {code: float(of_documents.sum()) for code, of_documents in untrained.items()}
    return Baselines(text, texts, of_languages, unigram_nats(texts, *unigram_frequency(stream, exp.tokens)), trained_on)


def score(
    network: Network, base: Baselines, exp: Experiment, step: int, tokens_seen: Mapping[str, int], between: Between = lambda: None
) -> Evaluation:
    """Evaluates a model.

    Args:
        network: The model.
        base: The text and its baselines.
        exp: The experiment.
        step: How many steps the model was trained.
        tokens_seen: The tokens of each language that training has read up to there; empty if they are not known.
        between: Called before each batch; what it raises ends the computation.

    Returns:
        The evaluation, its worst language (most bits per byte) first.
    """
    found = _nats(network, base.texts, exp, between)
    rows = table(base.texts, found, base.untrained, base.unigram, base.trained_on, tokens_seen)
    apart = parity(compared(rows), {code: (found[code], np.array(text.sizes)) for code, text in base.texts.items()})
    documents = {
        code: Documents(list(text.digests), list(text.sources), list(text.sizes), found[code].round(4).tolist())
        for code, text in base.texts.items()
    }
    text = base.text
    return Evaluation(text.name, step, text.about, text.digest, rows, asdict(apart) if apart else {}, documents)


def evaluate(network: Network, step: int, exp: Experiment, stream: Stream | None, run: Path, text: EvaluationText) -> Evaluation:
    """Evaluates the model of a checkpoint of a run beside its baselines, and keeps the result in the run's folder.

    Args:
        network: The model.
        step: The step of its checkpoint.
        exp: The experiment.
        stream: The rows of the run; None if it has no corpus.
        run: The run's folder.
        text: What to evaluate on.

    Raises:
        ValueError: If there is no document, or the name of the text stands for another one.
    """
    base = baselines(exp, stream, run, network.mesh, text, network.build)
    tokens_seen = read_meta(run / "checkpoints", step).get("tokens_seen", {})
    evaluation = score(network, base, exp, step, tokens_seen)
    keep(run, evaluation)
    return evaluation


def evaluator(exp: Experiment, stream: Stream, run: Path, mesh: Mesh, build: Build = Decoder, between: Between = lambda: None) -> Evaluate:
    """Returns what `loop.train` calls: it scores the usual text and what the corpus holds out, and keeps the results in the run's folder.

    It calls `between` before each batch; what that raises ends an evaluation.

    The baselines are computed here, before training: what compiles, lacks memory or finds a conflict must not end the run in its middle.
    """
    texts = [evaluation_text(DECLARATION, None, stream.corpus.languages)]
    if held_out := held_out_documents(stream.corpus, exp.held_out_bytes):
        texts.append(evaluation_text(HELD_OUT, held_out, stream.corpus.languages))
    for text in texts:
        check_text(run, text.name, text.digest)
    bases = [baselines(exp, stream, run, mesh, text, build, between) for text in texts]

    def evaluate(params: Params, step: int, tokens_seen: Mapping[str, int]) -> dict[str, float]:
        shown = dict[str, float]()
        for base in bases:
            evaluation = score(Network(params, exp.model, mesh, build), base, exp, step, tokens_seen, between)
            keep(run, evaluation)
            group = "" if base.text.name == DECLARATION else f"{base.text.name}/"
            shown |= {f"{group}{code}": row["bits_per_byte"] for code, row in evaluation.languages.items()}
            shown |= {f"{group}{name}": evaluation.parity[name]["value"] for name in ("gap", "ratio", "gini") if evaluation.parity}
        return shown

    return evaluate


def keep(run: Path, evaluation: Evaluation) -> None:
    """Writes an evaluation into the run's folder, in process 0. Raises ValueError if the name stands for another text."""
    if is_first():
        write(run, evaluation)


def _nats(network: Network, texts: dict[str, Text], exp: Experiment, between: Between) -> dict[str, np.ndarray]:
    return nats(network, texts, exp.seq_len, exp.batch_size // exp.grad_accum, between)
