"""What config.json of Hugging Face's transformers says of experts, in both directions.

The layouts are those of Mixtral (no QK-norm), of Qwen3-MoE (QK-norm, softmax scores), of DeepSeek-V3 (sigmoid scores with a bias, shared
experts, latent attention), and of dots.llm1, which has DeepSeek's mixture with grouped-query attention and QK-norm.
"""

from collections.abc import Mapping
from typing import Any

from varietas.model.config import ModelConfig

# Architectures with experts, each with the fields whose default value in transformers is not that of LlamaForCausalLM.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "MixtralForCausalLM": {
        "num_key_value_heads": 8, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 1e6, "num_experts_per_tok": 2,
        "num_local_experts": 8,
    },
    "Qwen3MoeForCausalLM": {
        "num_key_value_heads": 4, "max_position_embeddings": 32768, "num_experts_per_tok": 8, "num_experts": 128,
        "moe_intermediate_size": 768, "norm_topk_prob": False, "decoder_sparse_step": 1, "sliding_window": 4096,
    },
    "Dots1ForCausalLM": {
        "num_key_value_heads": 32, "moe_intermediate_size": 1408, "norm_topk_prob": False, "routed_scaling_factor": 1.0, "n_group": 1,
        "topk_group": 1, "first_k_dense_replace": 0, "sliding_window": 4096,
    },
    "DeepseekV3ForCausalLM": {
        "num_key_value_heads": 128, "max_position_embeddings": 4096, "moe_intermediate_size": 2048, "n_routed_experts": 256,
        "n_shared_experts": 1, "num_experts_per_tok": 8, "norm_topk_prob": True, "routed_scaling_factor": 2.5, "n_group": 8,
        "topk_group": 4, "first_k_dense_replace": 3, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "v_head_dim": 128,
        "qk_nope_head_dim": 128,
    },
}  # fmt: skip
LIKE_DEEPSEEK = ("Dots1ForCausalLM", "DeepseekV3ForCausalLM")
# Fields of these architectures that are read here, or that do not change what a model computes.
FIELDS = {
    "num_experts", "num_local_experts", "n_routed_experts", "num_experts_per_tok", "moe_intermediate_size", "norm_topk_prob",
    "decoder_sparse_step", "mlp_only_layers", "n_shared_experts", "first_k_dense_replace", "routed_scaling_factor", "n_group", "topk_group",
    "scoring_func", "topk_method", "router_aux_loss_coef", "output_router_logits", "router_jitter_noise", "moe_layer_freq",
    "kv_lora_rank", "q_lora_rank", "qk_rope_head_dim", "v_head_dim", "qk_nope_head_dim", "qk_head_dim", "rope_interleave",
    "num_nextn_predict_layers", "aux_loss_alpha", "seq_aux", "ep_size",
}  # fmt: skip


def architecture_of_experts(cfg: ModelConfig) -> str:
    """Returns the architecture of transformers with experts that computes the same.

    Raises:
        ValueError: If there is none.
    """
    plain = not cfg.n_shared_experts and not cfg.router_bias and cfg.router_groups == 1 and cfg.router_scale == 1
    if cfg.router_scores == "softmax" and plain and cfg.qk_norm and not cfg.kv_rank:
        return "Qwen3MoeForCausalLM"
    if cfg.router_scores == "softmax" and plain and cfg.router_normalise and not (cfg.qkv_bias or cfg.n_dense_layers or cfg.kv_rank):
        return "MixtralForCausalLM"
    deepseek = cfg.router_scores == "sigmoid" and cfg.n_shared_experts and cfg.router_bias
    if cfg.kv_rank:
        if deepseek and cfg.feed_forward == "experts":
            return "DeepseekV3ForCausalLM"
        raise ValueError(
            "model.kv_rank (latent attention) is known to transformers only with DeepSeek's experts: model.feed_forward=experts, "
            "router_scores=sigmoid, router_bias=true and n_shared_experts"
        )
    if deepseek and cfg.qk_norm and not cfg.sliding_window:
        return "Dots1ForCausalLM"
    raise ValueError(
        "model.feed_forward='experts' is known to transformers with model.router_scores=softmax and no shared experts, router_bias, groups "
        "or router_scale (with model.qk_norm=true as Qwen3Moe; without, as Mixtral, if also router_normalise=true, qkv_bias=false and "
        "n_dense_layers=0), or with router_scores=sigmoid, router_bias=true, qk_norm=true, shared experts and no sliding_window (Dots1)"
    )


def fields_of_experts(cfg: ModelConfig, architecture: str) -> dict[str, Any]:
    """Returns what config.json says of the experts of a model."""
    if architecture == "MixtralForCausalLM":
        return {
            "intermediate_size": cfg.d_expert, "num_local_experts": cfg.n_experts, "num_experts_per_tok": cfg.n_experts_per_token,
            "sliding_window": cfg.sliding_window or None,
        }  # fmt: skip
    fields: dict[str, Any] = {
        "moe_intermediate_size": cfg.d_expert, "num_experts_per_tok": cfg.n_experts_per_token, "norm_topk_prob": cfg.router_normalise,
    }  # fmt: skip
    if architecture == "Qwen3MoeForCausalLM":
        return {**fields, "num_experts": cfg.n_experts, "decoder_sparse_step": 1, "mlp_only_layers": list(range(cfg.n_dense_layers))}
    fields |= {
        "n_routed_experts": cfg.n_experts,
        "n_shared_experts": cfg.n_shared_experts,
        "first_k_dense_replace": cfg.n_dense_layers,
        "routed_scaling_factor": cfg.router_scale,
        "n_group": cfg.router_groups,
        "topk_group": cfg.router_groups_per_token,
    }
    if architecture == "Dots1ForCausalLM":
        return {**fields, "sliding_window": None, "layer_types": ["full_attention"] * cfg.n_layers}
    return {
        **fields,
        "scoring_func": "sigmoid",
        "topk_method": "noaux_tc",
        "moe_layer_freq": 1,
        "kv_lora_rank": cfg.kv_rank,
        "q_lora_rank": cfg.q_rank or None,
        "qk_nope_head_dim": cfg.head_dim,
        "qk_rope_head_dim": cfg.d_rope,
        "v_head_dim": cfg.d_value,
        "head_dim": cfg.d_rope,
        "rope_interleave": True,
        "num_nextn_predict_layers": 0,
        "attention_bias": False,
    }


def shape_of_experts(architecture: str, get: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Returns the fields of `model` in our config that say which experts a model has.

    Args:
        architecture: One of ARCHITECTURES.
        get: The content of config.json, with the defaults of the architecture.
        file: Its path, for messages.

    Raises:
        ValueError: If a field is missing, or says something that our model does not compute.
    """
    scores = "sigmoid" if architecture in LIKE_DEEPSEEK else "softmax"
    for name, only in {"scoring_func": scores, "topk_method": "noaux_tc", "moe_layer_freq": 1, "rope_interleave": True}.items():
        if get.get(name, only) != only:
            raise ValueError(f"{file}: {name}={get[name]!r} changes what the model computes; only {only!r} is known for {architecture}")
    known = ("num_experts", "num_local_experts", "n_routed_experts")
    n_experts = next((get[name] for name in reversed(known) if name in get), None)
    if not isinstance(n_experts, int):
        raise ValueError(f"{file}: {known[-1] if architecture in LIKE_DEEPSEEK else known[0]} is missing; download the file again")
    shape = {
        "feed_forward": "experts",
        "n_experts": n_experts,
        "n_experts_per_token": get.get("num_experts_per_tok"),
        "d_expert": get["intermediate_size"],
        "router_normalise": True,
    }
    if not isinstance(shape["n_experts_per_token"], int):
        raise ValueError(f"{file}: num_experts_per_tok is missing; download the file again")
    if architecture == "MixtralForCausalLM":
        return shape
    shape |= {"d_expert": get["moe_intermediate_size"], "router_normalise": bool(get["norm_topk_prob"])}
    if architecture == "Qwen3MoeForCausalLM":
        every = get["decoder_sparse_step"]
        if not isinstance(every, int) or every < 1:
            raise ValueError(f"{file}: decoder_sparse_step={every!r} is not a whole number above 0; download the file again")
        dense = [i for i in range(get["num_hidden_layers"]) if i in (get.get("mlp_only_layers") or ()) or (i + 1) % every]
        if dense != list(range(len(dense))):
            raise ValueError(
                f"{file}: the layers {dense} have no experts (mlp_only_layers, decoder_sparse_step); only the first layers may be so here"
            )
        return {**shape, "n_dense_layers": len(dense)}
    if architecture == "DeepseekV3ForCausalLM":
        if get.get("attention_bias"):
            raise ValueError(f"{file}: attention_bias=True is not known here for {architecture}")
        shape |= {
            "n_kv_heads": get["num_attention_heads"],
            "kv_rank": get["kv_lora_rank"],
            "q_rank": int(get.get("q_lora_rank") or 0),
            "d_head": get["qk_nope_head_dim"],
            "d_rope": get["qk_rope_head_dim"],
            "d_value": get["v_head_dim"],
        }
    return {
        **shape,
        "n_shared_experts": int(get.get("n_shared_experts") or 0),
        "n_dense_layers": get["first_k_dense_replace"],
        "router_scores": "sigmoid",
        "router_bias": True,
        "router_scale": float(get["routed_scaling_factor"]),
        "router_groups": get["n_group"],
        "router_groups_per_token": get["topk_group"],
    }
