"""The tensors of a model in the files of Hugging Face's transformers, beside our parameters.

A matrix lies on disk as (outputs, inputs), ours as (inputs, outputs), each with its own dimension for heads. Each layer and each expert has
tensors of its own there, where ours are stacked.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from varietas.model.config import ModelConfig

SQUARE = 256
# Architectures with `attention_bias`: the output of attention then has a bias too.
BIASED = ("LlamaForCausalLM", "Qwen3ForCausalLM", "ApertusForCausalLM", "Qwen3MoeForCausalLM", "Dots1ForCausalLM")


class Tensor(NamedTuple):
    """A tensor on disk, and the parameter that holds it."""

    name: str
    shape: tuple[int, ...]
    path: tuple[str, ...]  # of our parameter
    place: tuple[int, ...]  # in the stacked parameter: its layer, or its layer and expert; () if it is the whole
    transposed: bool
    rotated: int = 0  # the last rows of each head, which lie on disk as pairs that are rotated together; ours are two halves

    def to_disk(self, x: np.ndarray) -> np.ndarray:
        """Returns our parameter, or the part of it at `place`, as it lies on disk."""
        if self.rotated:
            pairs = x[..., -self.rotated :].reshape(*x.shape[:-1], 2, -1).swapaxes(-1, -2).reshape(*x.shape[:-1], -1)
            x = np.concatenate([x[..., : -self.rotated], pairs], -1)
        return transposed(x.reshape(self.shape[::-1])) if self.transposed else x.reshape(self.shape)

    def from_disk(self, x: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """Returns a tensor on disk with the shape of our parameter, or of the part of it at `place`."""
        x = (x.T if self.transposed else x).reshape(shape)
        if self.rotated:
            halves = x[..., -self.rotated :].reshape(*x.shape[:-1], -1, 2).swapaxes(-1, -2).reshape(*x.shape[:-1], -1)
            x = np.concatenate([x[..., : -self.rotated], halves], -1)
        return x


def transposed(x: np.ndarray) -> np.ndarray:
    """Returns the transposed matrix as a copy in C order, made in squares that fit a cache: several times as fast as in one piece."""
    rows, columns = x.shape
    copy = np.empty((columns, rows), x.dtype)
    for i in range(0, rows, SQUARE):
        for j in range(0, columns, SQUARE):
            copy[j : j + SQUARE, i : i + SQUARE] = x[i : i + SQUARE, j : j + SQUARE].T
    return copy


class Part(NamedTuple):
    """A tensor of a layer on disk, and where our parameters of a layer hold it."""

    shape: tuple[int, ...]
    path: tuple[str, ...]
    transposed: bool
    expert: tuple[int, ...] = ()  # its number among those of the layer
    rotated: int = 0


def tensors(cfg: ModelConfig) -> list[Tensor]:
    """Returns all tensors of a model in the order of transformers' files."""
    D, V = cfg.d_model, cfg.vocab_size
    n_dense = cfg.n_dense_layers if cfg.n_expert_layers else 0
    layers = []
    for i in range(cfg.n_layers):
        stack, place, mlp = ("dense_layers", i, _dense(cfg)) if i < n_dense else ("layers", i - n_dense, _feed_forward(cfg))
        for name, part in (_attention(cfg) | mlp).items():
            where = (stack, *part.path), (place, *part.expert)
            layers.append(Tensor(f"model.layers.{i}.{name}", part.shape, *where, part.transposed, part.rotated))
    head = [] if cfg.tied_embeddings else [Tensor("lm_head.weight", (V, D), ("unembedding_DV",), (), True)]
    return [
        Tensor("model.embed_tokens.weight", (V, D), ("embedding_VD",), (), False),
        *layers,
        Tensor("model.norm.weight", (D,), ("final_norm", "scale_D"), (), False),
        *head,
    ]


def _attention(cfg: ModelConfig) -> dict[str, Part]:
    """Returns the parts of a layer apart from its feed-forward part."""
    D, N, K, H = cfg.d_model, cfg.n_heads, cfg.n_kv_heads, cfg.head_dim
    if cfg.kv_rank:
        return _latent_attention(cfg)
    apertus = cfg.feed_forward == "xielu"
    before, after = ("attention_layernorm", "feedforward_layernorm") if apertus else ("input_layernorm", "post_attention_layernorm")
    parts = {
        f"{before}.weight": Part((D,), ("attention_norm", "scale_D"), False),
        "self_attn.q_proj.weight": Part((N * H, D), ("attention", "query_DNH"), True),
        "self_attn.k_proj.weight": Part((K * H, D), ("attention", "key_DKH"), True),
        "self_attn.v_proj.weight": Part((K * H, D), ("attention", "value_DKH"), True),
        "self_attn.o_proj.weight": Part((D, N * H), ("attention", "out_NHD"), True),
        f"{after}.weight": Part((D,), ("feed_forward_norm", "scale_D"), False),
    }
    if cfg.qkv_bias:
        parts |= {
            "self_attn.q_proj.bias": Part((N * H,), ("attention", "query_bias_NH"), False),
            "self_attn.k_proj.bias": Part((K * H,), ("attention", "key_bias_KH"), False),
            "self_attn.v_proj.bias": Part((K * H,), ("attention", "value_bias_KH"), False),
        }
    if cfg.qk_norm:
        parts |= {
            f"self_attn.{name[0]}_norm.weight": Part((H,), ("attention", f"{name}_norm", "scale_H"), False) for name in ("query", "key")
        }
    return parts


def _latent_attention(cfg: ModelConfig) -> dict[str, Part]:
    D, N, H, R, C, Q = cfg.d_model, cfg.n_heads, cfg.head_dim, cfg.d_rope, cfg.kv_rank, cfg.q_rank
    parts = {"input_layernorm.weight": Part((D,), ("attention_norm", "scale_D"), False)}
    if Q:
        parts |= {
            "self_attn.q_a_proj.weight": Part((Q, D), ("attention", "query_down_DQ"), True),
            "self_attn.q_a_layernorm.weight": Part((Q,), ("attention", "query_norm", "scale_Q"), False),
            "self_attn.q_b_proj.weight": Part((N * (H + R), Q), ("attention", "query_up_ZNH"), True, rotated=R),
        }
    else:
        parts["self_attn.q_proj.weight"] = Part((N * (H + R), D), ("attention", "query_DNH"), True, rotated=R)
    return parts | {
        "self_attn.kv_a_proj_with_mqa.weight": Part((C + R, D), ("attention", "latent_down_DQ"), True, rotated=R),
        "self_attn.kv_a_layernorm.weight": Part((C,), ("attention", "latent_norm", "scale_Q"), False),
        "self_attn.kv_b_proj.weight": Part((N * (H + cfg.d_value), C), ("attention", "latent_up_ZNH"), True),
        "self_attn.o_proj.weight": Part((D, N * cfg.d_value), ("attention", "out_NHD"), True),
        "post_attention_layernorm.weight": Part((D,), ("feed_forward_norm", "scale_D"), False),
    }


def _dense(cfg: ModelConfig, width: int = 0, name: str = "mlp", path: tuple[str, ...] = ("feed_forward",)) -> dict[str, Part]:
    """Returns the parts of a gated feed-forward part; its width is `d_ff` if it is not given."""
    D, F = cfg.d_model, width or cfg.d_ff
    return {
        f"{name}.up_proj.weight": Part((F, D), (*path, "up_DF"), True),
        f"{name}.down_proj.weight": Part((D, F), (*path, "down_FD"), True),
        f"{name}.gate_proj.weight": Part((F, D), (*path, "gate_DF"), True),
    }


def _feed_forward(cfg: ModelConfig) -> dict[str, Part]:
    """Returns the parts of the feed-forward part that `cfg` names."""
    if cfg.feed_forward == "experts":
        return _experts(cfg)
    parts = _dense(cfg)
    if cfg.feed_forward == "xielu":
        del parts["mlp.gate_proj.weight"]
        parts |= {f"mlp.act_fn.alpha_{sign}": Part((1,), ("feed_forward", f"alpha_{sign}_1"), False) for sign in "pn"}
    return parts


def _experts(cfg: ModelConfig) -> dict[str, Part]:
    D, E, X = cfg.d_model, cfg.n_experts, cfg.d_expert
    mixtral = not cfg.qk_norm and not cfg.kv_rank
    mlp, gate, up, down = ("block_sparse_moe", "w1", "w3", "w2") if mixtral else ("mlp", "gate_proj", "up_proj", "down_proj")
    parts = {f"{mlp}.gate.weight": Part((E, D), ("feed_forward", "router_DE"), True)}
    if cfg.router_bias:
        parts[f"{mlp}.gate.e_score_correction_bias"] = Part((E,), ("feed_forward", "router_bias_E"), False)
    for e in range(E):
        parts |= {
            f"{mlp}.experts.{e}.{gate}.weight": Part((X, D), ("feed_forward", "gate_EDX"), True, (e,)),
            f"{mlp}.experts.{e}.{up}.weight": Part((X, D), ("feed_forward", "up_EDX"), True, (e,)),
            f"{mlp}.experts.{e}.{down}.weight": Part((D, X), ("feed_forward", "down_EXD"), True, (e,)),
        }
    if cfg.n_shared_experts:
        parts |= _dense(cfg, cfg.n_shared_experts * X, f"{mlp}.shared_experts", ("feed_forward", "shared"))
    return parts


def constants(cfg: ModelConfig, architecture: str) -> dict[str, np.ndarray]:
    """Returns the tensors that a file has besides, with the only values that our model computes with: float32."""
    of_layer: dict[str, np.ndarray] = {}
    if cfg.qkv_bias and architecture in BIASED:
        of_layer["self_attn.o_proj.bias"] = np.zeros(cfg.d_model, np.float32)
    if cfg.feed_forward == "xielu":
        of_layer |= {"mlp.act_fn.beta": np.array(0.5, np.float32), "mlp.act_fn.eps": np.array(-1e-6, np.float32)}
    return {f"model.layers.{i}.{name}": value for i in range(cfg.n_layers) for name, value in of_layer.items()}
