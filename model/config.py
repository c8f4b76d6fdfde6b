"""The shape of a model: `model` of a config as a plain frozen value."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelConfig:
    """See configs/base.py for what each field means."""

    vocab_size: int
    n_layers: int
    d_model: int
    d_ff: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    max_seq_len: int
    rope_theta: float
    norm_eps: float
    init_std: float
    tied_embeddings: bool
    qk_norm: bool
    dtype: str
    remat: str
    attention: str
    loss_chunk: int

    @property
    def head_dim(self) -> int:
        """H: `d_head`, or `d_model / n_heads` where that is 0."""
        return self.d_head or self.d_model // self.n_heads
