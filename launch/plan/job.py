"""What is planned: a model, its batch and its mesh, as plain numbers."""

import math
from dataclasses import dataclass
from pathlib import Path

from ml_collections import ConfigDict

from varietas.data.files import split_paths
from varietas.launch.mesh import resolve_mesh
from varietas.launch.resolve import corpus_of, rounded, with_values
from varietas.model.config import ModelConfig
from varietas.train.experiment import OptimConfig

USUAL_PIECES = 128_000  # of a European tokenizer (EuroLLM): the vocabulary of a config that leaves it to a corpus that is not here
CUDNN_LONGEST = 8192  # tokens of a row up to which cuDNN's attention is used (model/attention/grouped_query.py)


@dataclass(frozen=True)
class Job:
    """A training step on a mesh.

    Attributes:
        model: The shape of the model.
        optim: The config of the optimiser.
        seq_len: Tokens of a row.
        batch_size: Rows of a step over all devices together.
        grad_accum: Parts of a batch that are computed one after the other.
        steps: Steps of the whole run.
        mesh: Sizes of data, fsdp and tensor.
    """

    model: ModelConfig
    optim: OptimConfig
    seq_len: int
    batch_size: int
    grad_accum: int
    steps: int
    mesh: tuple[int, int, int]

    @property
    def devices(self) -> int:
        """The number of devices."""
        return math.prod(self.mesh)

    @property
    def rows(self) -> int:
        """Rows that a device works on at once, together with the other devices of its `tensor` group."""
        return self.batch_size // (self.mesh[0] * self.mesh[1] * self.grad_accum)

    @property
    def tokens(self) -> int:
        """Tokens of a step, padding included."""
        return self.batch_size * self.seq_len

    def attention(self, platform: str) -> str:
        """Returns how attention is computed on a platform: cudnn or blocks. `model.attention=auto` depends on it."""
        m = self.model
        suits = m.dtype == "bfloat16" and m.head_dim % 8 == 0 and m.head_dim <= 128 and self.seq_len % 2 == 0
        auto = "cudnn" if platform == "cuda" and suits and self.seq_len <= CUDNN_LONGEST else "blocks"
        return auto if m.attention == "auto" else m.attention


def job_of(config: ConfigDict, n_devices: int) -> Job:
    """Returns the job of a checked config on so many devices.

    Raises:
        ValueError: If batch or model do not divide over the mesh.
    """
    config = with_values(config, {"model.vocab_size": config.model.vocab_size or rounded(pieces_of(config))})
    return Job(
        model=ModelConfig(**config.model),
        optim=OptimConfig(**config.optim),
        seq_len=config.data.seq_len,
        batch_size=config.train.batch_size,
        grad_accum=config.train.grad_accum,
        steps=config.train.steps,
        mesh=resolve_mesh(config, n_devices),
    )


def pieces_of(config: ConfigDict) -> int:
    """Returns the pieces of the tokenizer: of the corpus that a config names, if it is on this computer, or else what is usual.

    Without a corpus, a small model reads the installed text, and a model of a published size has a European vocabulary.
    """
    folders = [Path(path) for path in split_paths(config.data.corpus, ",")]
    if folders and all(folder.is_dir() for folder in folders):
        return int(corpus_of(config).manifest["vocab_size"])
    return config.data.embedded_vocab_size if config.model.d_model < 1024 else USUAL_PIECES
