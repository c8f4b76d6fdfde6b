"""The size and the cost of a model by formula, known before anything is compiled."""

from typing import NamedTuple

from varietas.model.config import ModelConfig

FEED_FORWARD_MATRICES = {"swiglu": 3, "xielu": 2}  # of the parts without experts


class Matrix(NamedTuple):
    """Matrices of one shape that are stacked: one, or those of all experts."""

    rows: int
    columns: int
    n: int = 1
    split: bool = True  # whether devices of `tensor` have parts of it

    @property
    def elements(self) -> int:
        """Their elements."""
        return self.rows * self.columns * self.n


def layer_kinds(cfg: ModelConfig) -> list[tuple[int, list[Matrix]]]:
    """Returns how many layers of each kind there are, with the matrices of one. The heads of a layer are taken together."""
    D, X, attention = cfg.d_model, cfg.d_expert, _attention(cfg)
    dense = [*attention, *[Matrix(D, cfg.d_ff)] * FEED_FORWARD_MATRICES.get(cfg.feed_forward, 3)]
    if not cfg.n_expert_layers:
        return [(cfg.n_layers, dense)]
    shared = [Matrix(D, cfg.n_shared_experts * X)] * 3 if cfg.n_shared_experts else []
    experts = [*attention, Matrix(D, cfg.n_experts), *shared, *[Matrix(D, X, cfg.n_experts)] * 3]
    return [*([(cfg.n_dense_layers, dense)] if cfg.n_dense_layers else []), (cfg.n_expert_layers, experts)]


def _attention(cfg: ModelConfig) -> list[Matrix]:
    D, N, NH, KH = cfg.d_model, cfg.n_heads, cfg.n_heads * cfg.head_dim, cfg.n_kv_heads * cfg.head_dim
    if not cfg.kv_rank:
        return [Matrix(D, NH), Matrix(D, KH), Matrix(D, KH), Matrix(NH, D)]
    queries = N * cfg.key_dim
    return [
        *([Matrix(D, cfg.q_rank, split=False), Matrix(cfg.q_rank, queries)] if cfg.q_rank else [Matrix(D, queries)]),
        Matrix(D, cfg.kv_rank + cfg.d_rope, split=False),
        Matrix(cfg.kv_rank, N * (cfg.head_dim + cfg.d_value)),
        Matrix(N * cfg.d_value, D),
    ]


def elements_of_layers(cfg: ModelConfig, active: bool = False) -> int:
    """Returns the elements of the matrices of all layers; if only `active` ones count, without the experts that a token does not meet."""

    def met(matrix: Matrix) -> int:
        return matrix.elements * cfg.n_experts_per_token // cfg.n_experts if active and matrix.n > 1 else matrix.elements

    return sum(n * sum(map(met, matrices)) for n, matrices in layer_kinds(cfg))


def count_params(cfg: ModelConfig, active: bool = False) -> int:
    """Returns the number of parameters of the decoder; if only `active` ones count, without the experts that a token does not meet."""
    D, H, N, K = cfg.d_model, cfg.head_dim, cfg.n_heads, cfg.n_kv_heads
    norms = 2 * D + (cfg.q_rank + cfg.kv_rank if cfg.kv_rank else 2 * H if cfg.qk_norm else 0)
    biases = (N + 2 * K) * H if cfg.qkv_bias else 0
    vectors = cfg.n_layers * (norms + biases + (2 if cfg.feed_forward == "xielu" else 0))
    of_routers = cfg.n_expert_layers * cfg.n_experts if cfg.router_bias else 0
    return elements_of_layers(cfg, active) + vectors + of_routers + D + cfg.vocab_size * D * (1 if cfg.tied_embeddings else 2)


def forward_flops_per_token(cfg: ModelConfig, seq_len: int) -> float:
    """Returns the floating-point operations of a forward pass for each token of rows of `seq_len` tokens.

    A multiply-add counts as two. Of experts those count that a token goes through. Attention is counted as causal over whole rows, so a
    token attends to half of its row on average, or with a sliding window to at most that many tokens. Norms, rotations, activations and the
    softmax are left out.
    """
    matrices = elements_of_layers(cfg, active=True) + cfg.vocab_size * cfg.d_model
    window = min(cfg.sliding_window or seq_len, seq_len)
    attended = window - window * (window - 1) / (2 * seq_len)  # keys of a query on average
    attention = cfg.n_layers * cfg.n_heads * (cfg.key_dim + cfg.value_dim) * attended
    return 2 * (matrices + attention)


def train_flops_per_token(cfg: ModelConfig, seq_len: int, reference: bool = False) -> float:
    """Returns the floating-point operations of the forward and backward pass for each token.

    That is three times the forward pass (Kaplan et al., 2020, appendix B), or twice if only adapters are trained, which are not counted
    themselves. A reference adds its own forward pass. Recomputation is not counted.
    """
    return ((2 if cfg.lora_rank else 3) + reference) * forward_flops_per_token(cfg, seq_len)


def newton_schulz_flops(matrix: Matrix) -> int:
    """Returns the floating-point operations by which Muon makes matrices orthogonal, each by itself.

    Each of five iterations multiplies the matrix with its transpose, the square matrix that results with itself, and that with the matrix.
    """
    short, long = sorted((matrix.rows, matrix.columns))
    return matrix.n * 5 * 2 * (short * short * long + short**3 + short * short * long)
