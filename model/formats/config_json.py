"""The shape of a model as config.json of Hugging Face's transformers says it, in both directions."""

import math
from collections.abc import Mapping
from typing import Any

from varietas.model.config import ModelConfig
from varietas.model.formats import experts_json
from varietas.model.formats.experts_json import architecture_of_experts, fields_of_experts, shape_of_experts
from varietas.model.formats.tensors import BIASED

# Architectures, each with the fields whose default value in transformers is not that of LlamaForCausalLM.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "LlamaForCausalLM": {},
    "MistralForCausalLM": {"num_key_value_heads": 8, "max_position_embeddings": 131072, "sliding_window": 4096},
    "Qwen2ForCausalLM": {"max_position_embeddings": 32768, "sliding_window": 4096},
    "Qwen3ForCausalLM": {"max_position_embeddings": 32768, "head_dim": 128, "sliding_window": 4096},
    "ApertusForCausalLM": {"max_position_embeddings": 65536, "rms_norm_eps": 1e-5, "rope_theta": 12e6, "hidden_act": "xielu"},
    **experts_json.ARCHITECTURES,
}
MODEL_TYPES = {"Qwen3MoeForCausalLM": "qwen3_moe", "DeepseekV3ForCausalLM": "deepseek_v3"}  # where it is not the name in small letters
REQUIRED = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
# Fields that do not change what the model computes, or that are read below.
HARMLESS = {
    *REQUIRED, "architectures", "model_type", "num_key_value_heads", "head_dim", "hidden_act", "max_position_embeddings", "rms_norm_eps",
    "tie_word_embeddings", "rope_theta", "rope_scaling", "rope_parameters", "attention_bias", "sliding_window", "use_sliding_window",
    "max_window_layers", "layer_types", "initializer_range", "attention_dropout", "use_cache", "torch_dtype", "dtype",
    "transformers_version", "bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "sep_token_id", "decoder_start_token_id",
    "_name_or_path", "name_or_path", "_attn_implementation", "attn_implementation", "chunk_size_feed_forward", "output_attentions",
    "output_hidden_states", "return_dict", "is_encoder_decoder", "id2label", "label2id", "problem_type", "max_length", "tokenizer_class",
    "resid_pdrop", "embd_pdrop", "hidden_dropout",
}  # fmt: skip
ONLY = {
    "qk_norm": True,
    "pretraining_tp": 1,
    "mlp_bias": False,
    "partial_rotary_factor": 1.0,
    "rotary_pct": 1.0,
    "post_norm": False,
}  # the one value that we compute
ROPE_FIELDS = {
    "none": (),
    "linear": ("factor",),
    "llama3": ("factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"),
    "yarn": (
        "factor",
        "original_max_position_embeddings",
        "beta_fast",
        "beta_slow",
        "attention_factor",
        "mscale",
        "mscale_all_dim",
        "truncate",
    ),
}


def architecture_of(cfg: ModelConfig) -> str:
    """Returns the architecture of transformers that computes the same.

    Raises:
        ValueError: If there is none.
    """
    if cfg.feed_forward == "experts" or cfg.kv_rank:
        return architecture_of_experts(cfg)
    if cfg.feed_forward == "xielu":
        if cfg.qk_norm and not cfg.sliding_window:
            return "ApertusForCausalLM"
        raise ValueError("model.feed_forward='xielu' is known to transformers only with model.qk_norm=true and model.sliding_window=0")
    if cfg.qk_norm:
        return "Qwen3ForCausalLM"
    if cfg.qkv_bias:
        return "Qwen2ForCausalLM"
    return "MistralForCausalLM" if cfg.sliding_window else "LlamaForCausalLM"


def config_json(cfg: ModelConfig, dtype: str, special: Mapping[str, int | None]) -> dict[str, Any]:
    """Returns the content of config.json.

    Args:
        cfg: The shape of the model.
        dtype: The dtype of the tensors on disk.
        special: Ids of `bos`, `eos` and `pad`; None where the tokenizer has none.
    """
    architecture = architecture_of(cfg)
    config: dict[str, Any] = {
        "architectures": [architecture],
        "model_type": MODEL_TYPES.get(architecture, architecture.removesuffix("ForCausalLM").lower()),
        "vocab_size": cfg.vocab_size,
        "hidden_size": cfg.d_model,
        "intermediate_size": cfg.d_ff,
        "num_hidden_layers": cfg.n_layers,
        "num_attention_heads": cfg.n_heads,
        "num_key_value_heads": cfg.n_kv_heads,
        "head_dim": cfg.head_dim,
        "hidden_act": "xielu" if cfg.feed_forward == "xielu" else "silu",
        "max_position_embeddings": cfg.max_seq_len,
        "rms_norm_eps": cfg.norm_eps,
        "initializer_range": cfg.std,
        "tie_word_embeddings": cfg.tied_embeddings,
        "rope_theta": cfg.rope_theta,
        "rope_scaling": _rope_scaling(cfg),
        "rope_parameters": {"rope_theta": cfg.rope_theta, **(_rope_scaling(cfg) or {"rope_type": "default"})},
        "attention_dropout": 0.0,
        "use_cache": True,
        "torch_dtype": dtype,
        **{f"{name}_token_id": number for name, number in special.items()},
    }
    if architecture in BIASED:
        config["attention_bias"] = cfg.qkv_bias
    if architecture == "LlamaForCausalLM":
        config["mlp_bias"] = False
    if architecture == "MistralForCausalLM":
        config["sliding_window"] = cfg.sliding_window or None
    if architecture.startswith("Qwen"):
        config |= {"use_sliding_window": bool(cfg.sliding_window), "sliding_window": cfg.sliding_window or None, "max_window_layers": 0}
    return config | (fields_of_experts(cfg, architecture) if cfg.feed_forward == "experts" else {})


def _rope_scaling(cfg: ModelConfig) -> dict[str, Any] | None:
    if cfg.rope_scaling == "none":
        return None
    values = {
        "factor": cfg.rope_factor,
        "original_max_position_embeddings": cfg.rope_original_max_seq_len,
        "low_freq_factor": cfg.rope_low_freq_factor,
        "high_freq_factor": cfg.rope_high_freq_factor,
        "beta_fast": cfg.rope_beta_fast,
        "beta_slow": cfg.rope_beta_slow,
        "attention_factor": cfg.rope_attention_factor or None,
    }
    fields = {name: values[name] for name in ROPE_FIELDS[cfg.rope_scaling] if values.get(name) is not None}
    if cfg.rope_score_factor != 1:  # as DeepSeek's models say it, which others read instead of attention_factor
        each = 0.1 * math.log(cfg.rope_factor)
        all_dim = (math.sqrt(cfg.rope_score_factor) - 1) / each
        fields |= {"mscale": (cfg.attention_factor * math.sqrt(cfg.rope_score_factor) - 1) / each, "mscale_all_dim": all_dim}
    return {"rope_type": cfg.rope_scaling, **fields}


def shape_of(config: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Returns the fields of `model` in our config that a config.json sets.

    Args:
        config: The content of config.json.
        file: Its path, for messages.

    Raises:
        ValueError: If a field is missing, or says something that our model does not compute.
    """
    architecture = (config.get("architectures") or ["none"])[0]
    if architecture not in ARCHITECTURES:
        raise ValueError(f"{file}: the architecture {architecture} is not known here; use a model of {', '.join(ARCHITECTURES)}")
    for name in REQUIRED:
        if not isinstance(config.get(name), int) or config[name] < 1:
            raise ValueError(f"{file}: {name} is missing or not a whole number above 0; download the file again")
    if "auto_map" in config:
        raise ValueError(f"{file}: auto_map names code that comes with the model, which is never run; use a release without it")
    experts = architecture in experts_json.ARCHITECTURES
    for name, value in config.items():
        if name in ONLY and value not in (None, ONLY[name]):
            raise ValueError(f"{file}: {name}={value!r} changes what the model computes; only {ONLY[name]!r} is known here")
        known = HARMLESS | set(ONLY) | (experts_json.FIELDS if experts else set())
        if name not in known and value is not None and value is not False:
            raise ValueError(f"{file}: the field {name}={value!r} is not known here, and may change what the model computes")
    get = {**ARCHITECTURES[architecture], **{name: value for name, value in config.items() if value is not None}}
    if (act := get.get("hidden_act", "silu")) != ("xielu" if architecture == "ApertusForCausalLM" else "silu"):
        raise ValueError(f"{file}: hidden_act={act!r} is not known for {architecture}")
    n_heads = config["num_attention_heads"]
    return {
        "vocab_size": config["vocab_size"],
        "n_layers": config["num_hidden_layers"],
        "d_model": config["hidden_size"],
        "d_ff": config["intermediate_size"],
        "n_heads": n_heads,
        "n_kv_heads": get.get("num_key_value_heads", n_heads),
        "d_head": get.get("head_dim", config["hidden_size"] // n_heads),
        "max_seq_len": get.get("max_position_embeddings", 2048),
        "norm_eps": float(get.get("rms_norm_eps", 1e-6)),
        "init_std": float(get.get("initializer_range", 0.02)),
        "tied_embeddings": bool(get.get("tie_word_embeddings", False)),
        "qk_norm": architecture in ("Qwen3ForCausalLM", "ApertusForCausalLM", "Qwen3MoeForCausalLM", "Dots1ForCausalLM"),
        "qkv_bias": architecture == "Qwen2ForCausalLM" or bool(get.get("attention_bias", False)),
        "feed_forward": "xielu" if architecture == "ApertusForCausalLM" else "swiglu",
        "sliding_window": _sliding_window(architecture, config, get, file),
        **_rope(get, file, architecture == "DeepseekV3ForCausalLM"),
        **(shape_of_experts(architecture, get, file) if experts else {}),
    }


def _sliding_window(architecture: str, config: Mapping[str, Any], get: Mapping[str, Any], file: str) -> int:
    """Returns the window that all layers have; 0 if they attend to everything."""
    n_layers, kinds = config["num_hidden_layers"], set(config.get("layer_types") or ())
    if architecture.startswith(("Qwen", "Dots")):
        if not config.get("use_sliding_window", architecture.startswith("Dots") and config.get("sliding_window")):
            return 0
        full = min(config.get("max_window_layers", 62 if architecture.startswith("Dots") else 28), n_layers)
        kinds = kinds or ({"full_attention"} if full == n_layers else {"sliding_attention"} if full == 0 else {"both"})
        if kinds == {"full_attention"}:
            return 0
    elif "sliding_window" in config and config["sliding_window"] is None:
        return 0
    if kinds - {"sliding_attention"}:
        raise ValueError(
            f"{file}: some layers attend to a sliding window and others do not (layer_types, max_window_layers); that is not known here"
        )
    return int(get.get("sliding_window", 0)) if architecture != "LlamaForCausalLM" else 0


def _rope(get: Mapping[str, Any], file: str, latent: bool) -> dict[str, Any]:
    """Returns the fields `rope_…` of our config, from the older or the newer fields of config.json. `latent`: for latent attention."""
    scaling = dict(get.get("rope_parameters") or get.get("rope_scaling") or {})
    theta = float(scaling.pop("rope_theta", get.get("rope_theta", 10000.0)))
    kind = scaling.pop("rope_type", None) or scaling.pop("type", "default")
    scaling.pop("type", None)
    kind = "none" if kind == "default" else kind
    if kind not in ROPE_FIELDS:
        raise ValueError(f"{file}: rope_type={kind!r} is not one of default, {', '.join(name for name in ROPE_FIELDS if name != 'none')}")
    if scaling.get("partial_rotary_factor") in (1.0, None):
        scaling.pop("partial_rotary_factor", None)
    if unknown := sorted(set(scaling) - set(ROPE_FIELDS[kind])):
        raise ValueError(f"{file}: {unknown[0]} of the rotary positions ({kind}) is not known here, and may change what the model computes")
    fields = {"rope_theta": theta, "rope_scaling": kind}
    if kind == "none":
        return fields
    needed = ("factor", "low_freq_factor", "high_freq_factor") if kind == "llama3" else ("factor",)
    for name in needed:
        if not isinstance(scaling.get(name), (int, float)):
            raise ValueError(f"{file}: the rotary positions ({kind}) have no number {name}; download the file again")
    if scaling.get("truncate") is False:
        raise ValueError(f"{file}: truncate=false of the rotary positions is not known here")
    fields["rope_factor"] = float(scaling["factor"])
    if kind in ("llama3", "yarn"):
        fields["rope_original_max_seq_len"] = int(
            scaling.get("original_max_position_embeddings") or get.get("max_position_embeddings", 2048)
        )
    if kind == "llama3":
        fields |= {f"rope_{name}": float(scaling[name]) for name in ("low_freq_factor", "high_freq_factor")}
    if kind == "yarn":
        fields |= {"rope_beta_fast": float(scaling.get("beta_fast") or 32), "rope_beta_slow": float(scaling.get("beta_slow") or 1)}
        fields["rope_attention_factor"] = _yarn_factor(scaling)
        if latent and scaling.get("mscale_all_dim"):
            fields["rope_score_factor"] = round((0.1 * float(scaling["mscale_all_dim"]) * math.log(scaling["factor"]) + 1) ** 2, 12)
    return fields


def _yarn_factor(scaling: Mapping[str, Any]) -> float:
    """Returns YaRN's factor of queries and keys, as transformers does it; 0 for the usual one. DeepSeek's models say it by `mscale`."""
    if scaling.get("attention_factor") is not None:
        return float(scaling["attention_factor"])
    if not (scaling.get("mscale") and scaling.get("mscale_all_dim")):
        return 0.0
    one, other = (0.1 * float(scaling[name]) * math.log(scaling["factor"]) + 1 for name in ("mscale", "mscale_all_dim"))
    return one / other
