"""The shape and the tensors of a model as llama.cpp reads them from a GGUF file.

llama.cpp rotates neighbouring dimensions of a head in the models that it calls llama, so rows of queries and keys change places there. What
its other architectures cannot compute is refused.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from varietas.model.attention.latent import LATENT_EPS
from varietas.model.attention.rope import frequencies
from varietas.model.config import ModelConfig
from varietas.model.formats.experts_json import architecture_of_experts
from varietas.model.formats.tensors import Tensor, tensors
from varietas.model.formats.weights import on_disk

EMBEDDING, OUTPUT, ROPE = "token_embd.weight", "output.weight", "rope_freqs.weight"
NAMES = {"model.embed_tokens.weight": EMBEDDING, "model.norm.weight": "output_norm.weight", "lm_head.weight": OUTPUT}
EXPERT = re.compile(r"(mlp|block_sparse_moe)\.experts\.\d+\.(\w+)")
NAMES_OF_EXPERTS = {"gate_proj": "gate", "up_proj": "up", "down_proj": "down", "w1": "gate", "w3": "up", "w2": "down"}
NAMES_IN_LAYER = {
    "input_layernorm": "attn_norm",
    "attention_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.q_a_proj": "attn_q_a",
    "self_attn.q_a_layernorm": "attn_q_a_norm",
    "self_attn.q_b_proj": "attn_q_b",
    "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
    "self_attn.kv_a_layernorm": "attn_kv_a_norm",
    "post_attention_layernorm": "ffn_norm",
    "feedforward_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
    "block_sparse_moe.gate": "ffn_gate_inp",
    "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
    "mlp.shared_experts.up_proj": "ffn_up_shexp",
    "mlp.shared_experts.down_proj": "ffn_down_shexp",
}
ROUTER = "ffn_gate_inp.weight"
KV_B = "self_attn.kv_b_proj.weight"
ONLY_HF = "Only --format hf exports it"
SOFTMAX, SIGMOID = 1, 2  # numbers of llama.cpp
Field = int | float | str | Sequence[int] | Sequence[float] | Sequence[str]  # of a GGUF file
YARN_BETAS = (32.0, 1.0)  # the only ones that llama.cpp computes with


Importances = Mapping[tuple[str, ...], np.ndarray]  # the mean square of each input of matrices (layers, inputs), by path


class GGUFTensor(NamedTuple):
    """A tensor of a GGUF file. Its rows are those of the matrix that transformers multiplies with."""

    name: str
    shape: tuple[int, ...]
    sources: tuple[Tensor, ...]  # several are stacked, those of experts; there are none for the factors of rotary frequencies
    heads: int = 0  # in how many heads rows change places; 0: they do not
    half: str = ""  # "keys" (transposed) or "values" of the matrix that makes both of latent attention; "": the whole

    def value(self, arrays: Mapping[tuple[str, ...], jax.Array], cfg: ModelConfig) -> np.ndarray:
        """Returns the tensor, float32. `arrays` are our parameters by path."""
        if not self.sources:
            return rope_factors(cfg)
        x = np.stack([self.of_source(on_disk(source, arrays), cfg) for source in self.sources])
        if self.heads:  # dimension i of each head beside dimension i + H/2
            x = x.reshape(self.heads, 2, -1, *self.shape[1:]).swapaxes(1, 2)
        return np.ascontiguousarray(x.reshape(self.shape), np.float32)

    def of_source(self, x: np.ndarray, cfg: ModelConfig) -> np.ndarray:
        """Returns what of a source, as transformers has it, is in the tensor."""
        if not self.half:
            return x
        keys, values = np.split(x.reshape(cfg.n_heads, -1, cfg.kv_rank), [cfg.head_dim], axis=1)
        return keys.swapaxes(1, 2) if self.half == "keys" else values

    def importance(self, importances: Importances) -> np.ndarray | None:
        """Returns the importance of each column, float32; None if it is not known, as of tables and of the matrices of experts."""
        if not self.sources or self.half == "keys":
            return None
        _, _, path, place, transposed, _ = self.sources[0]
        found = importances.get(path) if len(place) == 1 and transposed else None
        return None if found is None else np.asarray(found[place], np.float32).ravel()


def architecture_of(cfg: ModelConfig) -> str:
    """Returns the architecture of llama.cpp that computes the same.

    Raises:
        ValueError: If there is none. The message says all that stands in the way.
    """
    architecture = _nearest_architecture(cfg)
    lacks = _of_attention_not_known(cfg, architecture)
    lacks += _of_latent_attention_not_known(cfg) if cfg.kv_rank else _of_experts_not_known(cfg, architecture)
    if lacks:
        raise ValueError(f"{'; '.join(lacks)}. {ONLY_HF}")
    return architecture


def _nearest_architecture(cfg: ModelConfig) -> str:
    """Returns the architecture that has the parts of a model, if not all of their settings. Raises ValueError if there is none."""
    if cfg.feed_forward not in ("swiglu", "xielu", "experts"):
        raise ValueError(f"model.feed_forward='{cfg.feed_forward}' is not written into GGUF here")
    if cfg.kv_rank:
        architecture_of_experts(cfg)  # as in transformers, only DeepSeek's mixture of experts goes with it
        return "deepseek2"
    if cfg.feed_forward == "xielu" and not cfg.qk_norm:
        raise ValueError("model.feed_forward='xielu' is known to llama.cpp only with model.qk_norm=true")
    if cfg.feed_forward == "experts":
        return {"Qwen3MoeForCausalLM": "qwen3moe", "Dots1ForCausalLM": "dots1", "MixtralForCausalLM": "llama"}[architecture_of_experts(cfg)]
    return "apertus" if cfg.feed_forward == "xielu" else "qwen3" if cfg.qk_norm else "llama"


def _of_attention_not_known(cfg: ModelConfig, architecture: str) -> list[str]:
    """Returns settings of attention that llama.cpp does not know."""
    lacks = []
    if 0 < cfg.sliding_window < cfg.max_seq_len:
        lacks.append(
            f"model.sliding_window={cfg.sliding_window} is not known to llama.cpp for such a model; it would attend to all of the "
            f"{cfg.max_seq_len:,} tokens of model.max_seq_len"
        )
    if architecture in ("qwen3", "qwen3moe", "dots1") and _has_factors(cfg):
        betas = f" with beta_fast={cfg.rope_beta_fast:g} and beta_slow={cfg.rope_beta_slow:g}" if cfg.rope_scaling == "yarn" else ""
        lacks.append(f"model.rope_scaling='{cfg.rope_scaling}'{betas} is not known to llama.cpp together with model.qk_norm=true")
    return lacks


def _of_latent_attention_not_known(cfg: ModelConfig) -> list[str]:
    lacks = []
    if not cfg.q_rank:
        lacks.append("model.q_rank=0 is not known to llama.cpp with latent attention")
    if cfg.norm_eps != LATENT_EPS:
        lacks.append(f"model.norm_eps={cfg.norm_eps:g} is not known to llama.cpp with latent attention, only {LATENT_EPS:g}")
    scaled = cfg.rope_scaling == "yarn" and not _has_factors(cfg) and cfg.rope_factor > 1
    if cfg.rope_scaling != "none" and not scaled:
        lacks.append(
            f"model.rope_scaling='{cfg.rope_scaling}' is not known to llama.cpp with latent attention, only 'yarn' with "
            "rope_factor above 1, beta_fast=32 and beta_slow=1"
        )
    if cfg.rope_scaling == "none" and cfg.rope_score_factor != 1:
        lacks.append(f"model.rope_score_factor={cfg.rope_score_factor:g} is known to llama.cpp only with rope_scaling='yarn'")
    return lacks


def _of_experts_not_known(cfg: ModelConfig, architecture: str) -> list[str]:
    if cfg.feed_forward != "experts":
        return []
    wanted = {
        "qkv_bias": False,
        **({"router_normalise": True, "n_dense_layers": 0} if architecture == "qwen3moe" else {}),
        **({"router_groups": 1} if architecture == "dots1" else {}),
    }
    return [
        f"model.{field}={getattr(cfg, field)} is not known to llama.cpp for such a mixture of experts, only {value}"
        for field, value in wanted.items()
        if getattr(cfg, field) != value
    ]


def metadata(cfg: ModelConfig, arrays: Mapping[tuple[str, ...], jax.Array]) -> dict[str, Field]:
    """Returns the fields of a GGUF file that say the shape of a model. `arrays` are our parameters by path."""
    shape: dict[str, Field] = {
        "vocab_size": cfg.vocab_size,
        "block_count": cfg.n_layers,
        "context_length": cfg.max_seq_len,
        "embedding_length": cfg.d_model,
        "feed_forward_length": cfg.d_ff,
        "attention.head_count": cfg.n_heads,
        "attention.head_count_kv": cfg.n_kv_heads,
        "attention.key_length": cfg.head_dim,
        "attention.value_length": cfg.head_dim,
        "attention.layer_norm_rms_epsilon": cfg.norm_eps,
        "rope.dimension_count": cfg.head_dim,
        "rope.freq_base": cfg.rope_theta,
        "rope.scaling.type": "none",
    }
    factor = cfg.attention_factor
    if cfg.rope_scaling in ("linear", "yarn") and not _has_factors(cfg):
        shape |= {"rope.scaling.type": cfg.rope_scaling, "rope.scaling.factor": cfg.rope_factor}
    if cfg.rope_scaling == "yarn" and not _has_factors(cfg):
        shape["rope.scaling.original_context_length"] = cfg.rope_original_max_seq_len
        factor /= 1 + 0.1 * math.log(cfg.rope_factor)  # llama.cpp multiplies with that anyway
    if factor != 1:
        shape["rope.scaling.attn_factor"] = factor
    architecture = architecture_of(cfg)
    if cfg.feed_forward == "experts":
        shape |= _of_experts(cfg, architecture)
    if cfg.kv_rank:
        shape |= _of_latent_attention(cfg)
    fields = {f"{architecture}.{name}": value for name, value in shape.items()}
    if architecture == "apertus":
        for sign in "np":
            fields[f"xielu.alpha_{sign}"] = np.asarray(arrays["layers", "feed_forward", f"alpha_{sign}_1"]).ravel().tolist()
        fields |= {"xielu.beta": [0.5] * cfg.n_layers, "xielu.eps": [-1e-6] * cfg.n_layers}
    return fields


def _of_experts(cfg: ModelConfig, architecture: str) -> dict[str, Field]:
    fields: dict[str, Field] = {
        "expert_count": cfg.n_experts,
        "expert_used_count": cfg.n_experts_per_token,
        "expert_feed_forward_length": cfg.d_expert,
        "expert_gating_func": SIGMOID if cfg.router_scores == "sigmoid" else SOFTMAX,
    }
    if architecture == "llama":
        fields["feed_forward_length"] = cfg.d_expert
    if cfg.router_groups > 1:
        fields |= {"expert_group_count": cfg.router_groups, "expert_group_used_count": cfg.router_groups_per_token}
    if architecture in ("dots1", "deepseek2"):
        fields |= {
            "expert_shared_count": cfg.n_shared_experts,
            "expert_weights_scale": cfg.router_scale,
            "expert_weights_norm": cfg.router_normalise,
            "leading_dense_block_count": cfg.n_dense_layers,
        }
    return fields


def _of_latent_attention(cfg: ModelConfig) -> dict[str, Field]:
    """Its heads share one key and one value, as narrow vectors; `_mla` are the widths of the heads that are made of them."""
    fields: dict[str, Field] = {
        "attention.head_count_kv": 1,
        "attention.key_length": cfg.kv_rank + cfg.d_rope,
        "attention.value_length": cfg.kv_rank,
        "attention.key_length_mla": cfg.key_dim,
        "attention.value_length_mla": cfg.d_value,
        "attention.kv_lora_rank": cfg.kv_rank,
        "rope.dimension_count": cfg.d_rope,
        "attention.q_lora_rank": cfg.q_rank,
    }
    ratio = math.sqrt(cfg.rope_score_factor) / cfg.attention_factor
    if ratio != 1:  # scores are multiplied by the square of attn_factor * (1 + multiplier * ln(factor)), what is rotated by attn_factor
        fields["rope.scaling.attn_factor"] = cfg.attention_factor
        fields["rope.scaling.yarn_log_multiplier"] = (ratio - 1) / math.log(cfg.rope_factor)
    return fields


def gguf_tensors(cfg: ModelConfig) -> list[GGUFTensor]:
    """Returns the tensors of a GGUF file. Tied embeddings are one tensor, except where llama.cpp wants two."""
    architecture = architecture_of(cfg)
    heads = {"attn_q": cfg.n_heads, "attn_k": cfg.n_kv_heads} if architecture == "llama" else {}
    found = {ROPE: GGUFTensor(ROPE, (cfg.head_dim // 2,), ())} if _has_factors(cfg) else {}
    for tensor in tensors(cfg):
        if tensor.name.endswith(KV_B):
            block, N, C = f"blk.{tensor.name.split('.')[2]}", cfg.n_heads, cfg.kv_rank
            found |= {
                f"{block}.k": GGUFTensor(f"{block}.attn_k_b.weight", (N, C, cfg.head_dim), (tensor,), half="keys"),
                f"{block}.v": GGUFTensor(f"{block}.attn_v_b.weight", (N, cfg.d_value, C), (tensor,), half="values"),
            }
            continue
        name, heads_of = _name(tensor, heads)
        if not name:
            continue
        sources = (*found[name].sources, tensor) if name in found else (tensor,)
        of_experts = EXPERT.search(tensor.name)
        found[name] = GGUFTensor(name, (len(sources), *tensor.shape) if of_experts else tensor.shape, sources, heads_of)
    listed = list(found.values())
    if architecture == "apertus" and cfg.tied_embeddings:
        listed.append(found[EMBEDDING]._replace(name=OUTPUT))
    return listed


def _name(tensor: Tensor, heads: Mapping[str, int]) -> tuple[str, int]:
    """Returns what llama.cpp calls a tensor, and in how many heads its rows change places. "" if a field says it instead of a tensor."""
    if not tensor.place:
        return NAMES[tensor.name], 0
    _, _, layer, rest = tensor.name.split(".", 3)
    inner, _, kind = rest.rpartition(".")
    if ".act_fn." in rest:
        return "", 0
    if kind == "e_score_correction_bias":
        return f"blk.{layer}.exp_probs_b.bias", 0
    expert = EXPERT.fullmatch(inner)
    name = f"ffn_{NAMES_OF_EXPERTS[expert[2]]}_exps" if expert else NAMES_IN_LAYER[inner]
    return f"blk.{layer}.{name}.{kind}", heads.get(name, 0)


def rope_factors(cfg: ModelConfig) -> np.ndarray:
    """Returns by what llama.cpp divides the angle of each pair of dimensions: float32 (H / 2,)."""
    half = cfg.head_dim // 2
    return (cfg.rope_theta ** (-np.arange(half) / half) / np.asarray(frequencies(cfg), np.float64)).astype(np.float32)


def _has_factors(cfg: ModelConfig) -> bool:
    """Whether no field of a GGUF file can say how rotary positions are scaled, so that a tensor of factors has to."""
    return cfg.rope_scaling == "llama3" or (cfg.rope_scaling == "yarn" and (cfg.rope_beta_fast, cfg.rope_beta_slow) != YARN_BETAS)
