"""What a run records about its data, and what its checkpoints hold beside their arrays."""

from dataclasses import asdict
from typing import Any

import numpy as np

from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.sources import Sources
from varietas.data.stream.stream import Stream
from varietas.train.experiment import Experiment
from varietas.train.run_folder.folder import data_identity


def checkpoint_record(exp: Experiment, versions: dict[str, Any], corpus: Corpus | Sources, step: int, seen: np.ndarray) -> dict[str, Any]:
    """Returns what a checkpoint holds beside its arrays: the data, how far it was read, and what the model was trained with.

    Args:
        exp: The experiment.
        versions: Machine and library versions, from `folder.environment`.
        corpus: The corpus of the run.
        step: The number of steps done.
        seen: Tokens seen of each language of the corpus, int64.
    """
    return {
        **data_identity(corpus),
        "next_row": step * exp.batch_size,
        "tokens_seen": dict(zip(corpus.languages, seen.tolist(), strict=True)),
        "experiment": asdict(exp),
        "environment": versions,
    }


def mixture_record(stream: Stream, tokens: int) -> dict[str, Any]:
    """Returns the content of mixture.json: the corpus, its digests, and the size and share of each language in the first `tokens`."""
    corpus = stream.corpus
    languages = {
        code: {"weight": float(share), **{field: corpus.manifest["languages"][code][field] for field in ("documents", "tokens", "bytes")}}
        for code, share in zip(corpus.languages, stream.shares(tokens), strict=True)
    }
    return {"corpus": str(corpus.path), **data_identity(corpus), "languages": languages}
