"""What a run needs to know, as plain frozen values. Each field is explained once, in configs/base.py."""

from dataclasses import dataclass

from varietas.data.mixture import Mixture
from varietas.model.config import ModelConfig


@dataclass(frozen=True)
class OptimConfig:
    """See configs/base.py for what each field means."""

    peak_lr: float
    schedule: str
    warmup_steps: int
    decay_fraction: float
    final_lr_fraction: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    clip_norm: float
    z_loss: float


@dataclass(frozen=True)
class Experiment:
    """A resolved config."""

    seed: int
    corpus: str
    seq_len: int
    workers: int
    mixture: Mixture
    model: ModelConfig
    optim: OptimConfig
    mesh: tuple[int, int, int]  # data, fsdp, tensor
    steps: int
    batch_size: int
    grad_accum: int
    checkpoint_every: int
    checkpoints_kept: int
    eval_every: int
