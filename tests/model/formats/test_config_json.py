"""config.json of known models gives their shape; what our model does not compute is refused by name; both directions agree."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from varietas.launch.config import load_config
from varietas.model.config import ModelConfig
from varietas.model.flops import count_params
from varietas.model.formats.config_json import architecture_of, config_json, shape_of

# As the releases have them (EuroLLM 1.7B, Mistral 7B v0.1, Apertus 8B, Llama 3.1 8B), written by several versions of transformers.
EUROLLM = {
    "architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2,
    "head_dim": 128, "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 5632,
    "max_position_embeddings": 4096, "mlp_bias": False, "model_type": "llama", "num_attention_heads": 16, "num_hidden_layers": 24,
    "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 10000.0,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "transformers_version": "4.44.0", "use_cache": True, "vocab_size": 128000,
}  # fmt: skip
MISTRAL = {
    "architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096,
    "initializer_range": 0.02, "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mistral",
    "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
    "sliding_window": 4096, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "vocab_size": 32000,
}  # fmt: skip
APERTUS = {
    "architectures": ["ApertusForCausalLM"], "attention_bias": False, "hidden_act": "xielu", "hidden_size": 4096, "model_type": "apertus",
    "intermediate_size": 21504, "max_position_embeddings": 65536, "mlp_bias": False, "num_attention_heads": 32, "num_hidden_layers": 32,
    "num_key_value_heads": 8, "post_norm": False, "qk_norm": True, "rms_norm_eps": 1e-05, "rope_theta": 12000000, "dtype": "bfloat16",
    "rope_scaling": {
        "factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192, "rope_type": "llama3",
        "type": "llama3",
    },
    "tie_word_embeddings": False, "vocab_size": 131072,
}  # fmt: skip
SMALL = ModelConfig(**load_config("tiny").model)


def test_known_releases() -> None:
    eurollm = shape_of(EUROLLM, "config.json")
    ours = {name: value for name, value in load_config("eurollm_1p7b").model.items() if name in eurollm}
    differ = {name for name in ours if ours[name] != eurollm[name]}
    assert differ <= {"vocab_size", "d_head", "max_seq_len", "init_std"}
    assert (eurollm["d_model"] // eurollm["n_heads"], eurollm["vocab_size"]) == (eurollm["d_head"], 128_000)
    assert shape_of(MISTRAL, "config.json")["sliding_window"] == 4096
    apertus = shape_of(APERTUS, "config.json")
    assert (apertus["feed_forward"], apertus["qk_norm"], apertus["rope_scaling"]) == ("xielu", True, "llama3")
    assert (apertus["rope_theta"], apertus["rope_factor"], apertus["rope_original_max_seq_len"]) == (12e6, 8.0, 8192)


EXPERTS: dict[str, Any] = {"feed_forward": "experts", "n_experts": 8, "n_experts_per_token": 3, "d_expert": 24}


LATENT: dict[str, Any] = {
    **EXPERTS, "kv_rank": 24, "d_head": 16, "d_rope": 8, "d_value": 12, "n_shared_experts": 1, "router_bias": True,
    "router_scores": "sigmoid",
}  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"qk_norm": True}, {"qkv_bias": True}, {"qkv_bias": True, "qk_norm": True, "sliding_window": 64}, {"sliding_window": 64},
        {"feed_forward": "xielu", "qk_norm": True, "qkv_bias": True}, {"d_head": 32, "tied_embeddings": False, "norm_eps": 1e-6},
        {"rope_scaling": "linear", "rope_factor": 2.0},
        {**EXPERTS, "d_ff": 24}, {**EXPERTS, "qk_norm": True, "router_normalise": False, "n_dense_layers": 1, "sliding_window": 64},
        {
            **EXPERTS, "qk_norm": True, "n_shared_experts": 2, "router_bias": True, "router_scores": "sigmoid", "router_scale": 2.5,
            "router_groups": 4, "router_groups_per_token": 2, "n_dense_layers": 1,
        },
        {**LATENT, "q_rank": 32}, {**LATENT, "rope_scaling": "yarn", "rope_factor": 4.0, "rope_original_max_seq_len": 64,
         "rope_attention_factor": 1.0, "rope_score_factor": round((0.1 * math.log(4) + 1) ** 2, 12)},
        {"rope_scaling": "llama3", "rope_factor": 8.0, "rope_original_max_seq_len": 128, "rope_low_freq_factor": 1.5},
        {"rope_scaling": "yarn", "rope_factor": 4.0, "rope_original_max_seq_len": 64, "rope_beta_fast": 30.0, "rope_attention_factor": 1.1},
    ],
)  # fmt: skip
def test_a_shape_survives_the_way_to_config_json_and_back(changes: dict[str, Any]) -> None:
    cfg = replace(SMALL, vocab_size=512, **changes)
    config = json.loads(json.dumps(config_json(cfg, "float32", {"bos": 1, "eos": 2, "pad": None})))
    found = replace(cfg, **shape_of(config, "config.json"))
    assert replace(found, d_head=cfg.d_head) == cfg
    assert found.head_dim == cfg.head_dim
    # Readers that know only the older or only the newer fields of rotary positions understand it too.
    for absent in ("rope_parameters", ("rope_theta", "rope_scaling")):
        part = {name: value for name, value in config.items() if name not in absent}
        assert replace(found, **shape_of(part, "config.json")) == found


def test_fields_that_are_missing_have_the_default_of_their_architecture() -> None:
    short = {name: MISTRAL[name] for name in ("architectures", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")}
    found = shape_of({**short, "num_attention_heads": 32}, "config.json")
    assert (found["n_kv_heads"], found["sliding_window"], found["norm_eps"], found["max_seq_len"]) == (8, 4096, 1e-6, 131072)
    llama = shape_of({**short, "architectures": ["LlamaForCausalLM"], "num_attention_heads": 32}, "config.json")
    assert (llama["n_kv_heads"], llama["sliding_window"], llama["max_seq_len"]) == (32, 0, 2048)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"architectures": ["GemmaForCausalLM"]},
            r"x/config.json: the architecture GemmaForCausalLM is not known here; use a model of Llama",
        ),
        ({"architectures": None}, r"the architecture none is not known here"),
        ({"hidden_size": None}, r"hidden_size is missing or not a whole number"),
        ({"hidden_act": "gelu"}, r"hidden_act='gelu' is not known for LlamaForCausalLM"),
        ({"mlp_bias": True}, r"mlp_bias=True changes what the model computes; only False is known here"),
        ({"logit_scale": 0.5}, r"the field logit_scale=0.5 is not known here, and may change what the model computes"),
        ({"quantization_config": {"bits": 4}}, r"the field quantization_config=.* is not known here"),
        ({"auto_map": {"AutoModel": "modeling.Model"}}, r"auto_map names code that comes with the model, which is never run"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, r"rope_type='dynamic' is not one of default, linear, llama3, yarn"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0, "short_factor": [1]}}, r"short_factor of the rotary positions \(linear\)"),
        ({"partial_rotary_factor": 0.5}, r"partial_rotary_factor=0.5 changes what the model computes"),
    ],
)
def test_what_our_model_does_not_compute_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shape_of({**EUROLLM, **changes}, "x/config.json")


def test_windows_of_some_layers_only_are_refused() -> None:
    qwen = {**EUROLLM, "architectures": ["Qwen3ForCausalLM"], "use_sliding_window": True, "sliding_window": 128}
    assert shape_of({**qwen, "max_window_layers": 0}, "config.json")["sliding_window"] == 128
    assert shape_of({**qwen, "max_window_layers": 24}, "config.json")["sliding_window"] == 0
    with pytest.raises(ValueError, match="some layers attend to a sliding window and others do not"):
        shape_of({**qwen, "max_window_layers": 12}, "config.json")


def test_a_shape_that_transformers_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model.feed_forward='xielu' is known to transformers only with model.qk_norm=true"):
        architecture_of(replace(SMALL, feed_forward="xielu"))


QWEN3_MOE = {
    "architectures": ["Qwen3MoeForCausalLM"], "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 48,
    "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128, "moe_intermediate_size": 768, "num_experts": 128,
    "num_experts_per_tok": 8, "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": [], "rms_norm_eps": 1e-6,
    "max_position_embeddings": 40960, "rope_theta": 1000000.0, "tie_word_embeddings": False, "router_aux_loss_coef": 0.001,
    "output_router_logits": False, "use_sliding_window": False, "max_window_layers": 48, "model_type": "qwen3_moe",
}  # fmt: skip


def test_a_release_with_experts_has_the_parameters_that_its_name_says() -> None:
    """Qwen3-30B-A3B: 30.5 B parameters, of which a token meets 3.3 B."""
    cfg = replace(SMALL, **shape_of(QWEN3_MOE, "config.json"))
    assert count_params(cfg) == pytest.approx(30.5e9, rel=0.005) and count_params(cfg, active=True) == pytest.approx(3.3e9, rel=0.02)
    newer = {("num_local_experts" if name == "num_experts" else name): value for name, value in QWEN3_MOE.items()}  # of transformers 5
    assert shape_of(newer, "config.json") == shape_of(QWEN3_MOE, "config.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder_sparse_step": 2}, r"x/config.json: the layers \[0, 2, .*\] have no experts \(mlp_only_layers, decoder_sparse_step\)"),
        ({"mlp_only_layers": [3]}, r"the layers \[3\] have no experts"),
        ({"n_routed_experts": None, "num_experts": "128"}, r"num_experts is missing; download the file again"),
        ({"num_experts_per_tok": [8]}, r"num_experts_per_tok is missing"),
        ({"shared_expert_intermediate_size": 512}, r"the field shared_expert_intermediate_size=512 is not known here"),
        ({"scoring_func": "sigmoid"}, r"scoring_func='sigmoid' changes what the model computes; only 'softmax' is known for Qwen3Moe"),
    ],
)
def test_experts_that_our_model_does_not_compute_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shape_of({**QWEN3_MOE, **changes}, "x/config.json")


def test_a_dense_model_that_speaks_of_experts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the field num_experts=8 is not known here"):
        shape_of({**EUROLLM, "num_experts": 8}, "config.json")


@pytest.mark.parametrize("changes", [{"router_scores": "sigmoid"}, {"n_shared_experts": 1}, {"qk_norm": False, "router_normalise": False}])
def test_experts_that_transformers_does_not_know_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"model.feed_forward='experts' is known to transformers with model.router_scores=softmax"):
        architecture_of(replace(SMALL, **{**EXPERTS, "qk_norm": True, **changes}))
