"""How large and how costly a model is, by formula: known before anything is compiled."""

from varietas.model.config import ModelConfig


def count_params(cfg: ModelConfig) -> int:
    """Parameters of the decoder with SwiGLU."""
    D, H = cfg.d_model, cfg.head_dim
    attention = D * H * (2 * cfg.n_heads + 2 * cfg.n_kv_heads) + (2 * H if cfg.qk_norm else 0)
    layer = attention + 3 * D * cfg.d_ff + 2 * D
    return cfg.n_layers * layer + D + cfg.vocab_size * D * (1 if cfg.tied_embeddings else 2)


def forward_flops_per_token(cfg: ModelConfig, seq_len: int) -> float:
    """Multiply-adds count two; attention as if each token saw half the row (causal), norms and softmax left out."""
    D, H = cfg.d_model, cfg.head_dim
    matrices = cfg.n_layers * (D * H * (2 * cfg.n_heads + 2 * cfg.n_kv_heads) + 3 * D * cfg.d_ff) + cfg.vocab_size * D
    attention = cfg.n_layers * 2 * cfg.n_heads * H * (seq_len + 1) / 2
    return 2 * (matrices + attention)


def train_flops_per_token(cfg: ModelConfig, seq_len: int) -> float:
    """Forward and backward: three times the forward pass (Kaplan et al., 2020, appendix B). Recomputation is not counted."""
    return 3 * forward_flops_per_token(cfg, seq_len)
