"""The shape of a model: the fields under `model` of a config, as a plain frozen value."""

import math
from dataclasses import dataclass

# What `lora_on` may name: parts of a layer, and matrices, of which a model has some.
LINEAR_LAYERS = (
    "attention", "feed_forward", "shared", "query", "key", "value", "out", "query_down", "query_up", "latent_down", "latent_up", "gate",
    "up", "down",
)  # fmt: skip


def lora_words(lora_on: str) -> list[str]:
    """Returns the words of `lora_on`."""
    return [word.strip() for word in lora_on.split(",") if word.strip()]


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a model. configs/base.py explains each field."""

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
    zero_out: bool = False
    qkv_bias: bool = False
    feed_forward: str = "swiglu"
    kv_rank: int = 0
    q_rank: int = 0
    d_rope: int = 16
    d_value: int = 16
    n_experts: int = 8
    n_experts_per_token: int = 2
    d_expert: int = 128
    n_shared_experts: int = 0
    n_dense_layers: int = 0
    router_scores: str = "softmax"
    router_normalise: bool = True
    router_bias: bool = False
    router_groups: int = 1
    router_groups_per_token: int = 1
    router_scale: float = 1.0
    sliding_window: int = 0
    rope_scaling: str = "none"
    rope_factor: float = 1.0
    rope_original_max_seq_len: int = 0
    rope_low_freq_factor: float = 1.0
    rope_high_freq_factor: float = 4.0
    rope_beta_fast: float = 32.0
    rope_beta_slow: float = 1.0
    rope_attention_factor: float = 0.0
    rope_score_factor: float = 1.0
    lora_rank: int = 0
    lora_alpha: float = 16.0
    lora_on: str = "attention, feed_forward"

    @property
    def std(self) -> float:
        """The standard deviation of initial weights: `init_std`, or 1/√d_model if `init_std` is 0."""
        return self.init_std or 1 / math.sqrt(self.d_model)

    @property
    def head_dim(self) -> int:
        """The width of a head (H): `d_head`, or `d_model / n_heads` if `d_head` is 0."""
        return self.d_head or self.d_model // self.n_heads

    @property
    def key_dim(self) -> int:
        """The width of a query and of a key."""
        return self.head_dim + (self.d_rope if self.kv_rank else 0)

    @property
    def value_dim(self) -> int:
        """The width of a value."""
        return self.d_value if self.kv_rank else self.head_dim

    @property
    def rope_dim(self) -> int:
        """The width of the part of a head that is rotated."""
        return self.d_rope if self.kv_rank else self.head_dim

    @property
    def attention_factor(self) -> float:
        """What queries and keys are multiplied by. YaRN sharpens the attention over a longer context by 0.1 ln(factor) + 1."""
        if self.rope_attention_factor:
            return self.rope_attention_factor
        return 0.1 * math.log(self.rope_factor) + 1 if self.rope_scaling == "yarn" else 1.0

    @property
    def n_expert_layers(self) -> int:
        """The number of layers with experts, which come after the dense ones."""
        return self.n_layers - self.n_dense_layers if self.feed_forward == "experts" else 0
