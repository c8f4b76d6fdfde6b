"""The config of a run as plain frozen values. Each field is explained once, in configs/base.py."""

from dataclasses import dataclass

from varietas.data.stream.mixture import Mixture
from varietas.model.config import ModelConfig


@dataclass(frozen=True)
class OptimConfig:
    """The fields under `optim` of a config. configs/base.py explains each field."""

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
    name: str = "adamw"
    muon_lr_ratio: float = 1.0
    balance_loss: float = 1e-3
    router_z_loss: float = 0.0
    router_bias_rate: float = 1e-3
    dpo_beta: float = 0.0


@dataclass(frozen=True)
class Experiment:
    """A resolved config: values that stand for a choice (-1, 0 or "") are replaced by what was chosen."""

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
    init_from: str
    init_optimizer: bool
    on_not_finite: str
    on_spike: str
    check_every: int
    checkpoint_every: int
    checkpoints_kept: int
    eval_every: int
    held_out_bytes: int

    @property
    def tokens(self) -> int:
        """The number of tokens of all steps, including padding."""
        return self.steps * self.batch_size * self.seq_len
