"""A GGUF file holds the parameters under the names, in the order of rows and with the fields that llama.cpp expects."""

from dataclasses import replace
from pathlib import Path

import gguf
import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from test_weights import APERTUS, LLAMA

from varietas.model.attention.rope import frequencies
from varietas.model.config import ModelConfig
from varietas.model.decoder import Params, graph_and_shapes
from varietas.model.formats.gguf import Field, architecture_of, gguf_tensors, rope_factors
from varietas.model.formats.gguf_file import write

QWEN3 = replace(LLAMA, qk_norm=True, d_head=32)
DEEPSEEK = replace(
    LLAMA, feed_forward="experts", n_experts=4, d_expert=32, n_shared_experts=1, router_bias=True, router_scores="sigmoid",
    kv_rank=32, q_rank=16, d_head=24, d_rope=8, d_value=20, n_kv_heads=LLAMA.n_heads, norm_eps=1e-6,
)  # fmt: skip


def params_of(cfg: ModelConfig) -> Params:
    """Random parameters, the same for the same shapes."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.standard_normal(x.shape, np.float32), graph_and_shapes(cfg)[1])


def written(file: Path, cfg: ModelConfig, form: str = "f32", **fields: Field) -> gguf.GGUFReader:
    names = list(write(file, cfg, params_of(cfg), form, fields))
    reader = gguf.GGUFReader(file)
    assert names == [tensor.name for tensor in reader.tensors] == [tensor.name for tensor in gguf_tensors(cfg)]
    return reader


def tensors(reader: gguf.GGUFReader) -> dict[str, np.ndarray]:
    return {tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}


def fields(reader: gguf.GGUFReader) -> dict[str, object]:
    return {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}


@pytest.mark.parametrize("cfg", [replace(LLAMA, qkv_bias=True), QWEN3, APERTUS], ids=["llama", "qwen3", "apertus"])
def test_every_parameter_is_in_the_file(tmp_path: Path, cfg: ModelConfig) -> None:
    found, D, H = tensors(written(tmp_path / "x.gguf", cfg)), cfg.d_model, cfg.head_dim
    arrays = {"/".join(path): array for path, array in flatten_dict(params_of(cfg)).items()}
    np.testing.assert_array_equal(found["token_embd.weight"], arrays["embedding_VD"])
    np.testing.assert_array_equal(found["output.weight"], arrays["unembedding_DV"].T)
    np.testing.assert_array_equal(found["output_norm.weight"], arrays["final_norm/scale_D"])
    for i in range(cfg.n_layers):
        layer = {name.removeprefix(f"blk.{i}."): x for name, x in found.items() if name.startswith(f"blk.{i}.")}
        ours = {name.removeprefix("layers/"): x[i] for name, x in arrays.items() if name.startswith("layers/")}
        np.testing.assert_array_equal(layer["attn_v.weight"], ours["attention/value_DKH"].reshape(D, -1).T)
        np.testing.assert_array_equal(layer["attn_output.weight"], ours["attention/out_NHD"].reshape(-1, D).T)
        np.testing.assert_array_equal(layer["ffn_down.weight"], ours["feed_forward/down_FD"].T)
        np.testing.assert_array_equal(layer["ffn_up.weight"], ours["feed_forward/up_DF"].T)
        np.testing.assert_array_equal(layer["ffn_norm.weight"], ours["feed_forward_norm/scale_D"])
        for name, heads in (("query_DNH", cfg.n_heads), ("key_DKH", cfg.n_kv_heads)):
            rows = layer[f"attn_{name[0]}.weight"].reshape(heads, H, D)
            for h in range(heads):
                for pair in range(H // 2):
                    # llama.cpp turns rows 2i and 2i + 1 of a llama together, and i and i + H/2 of other models, as we do
                    places = (2 * pair, 2 * pair + 1) if architecture_of(cfg) == "llama" else (pair, pair + H // 2)
                    for place, dimension in zip(places, (pair, pair + H // 2), strict=True):
                        np.testing.assert_array_equal(rows[h, place], ours[f"attention/{name}"][:, h, dimension])
    names = {name.split(".", 2)[2] for name in found if name.startswith("blk.0.")}
    assert ("attn_k.bias" in names) == cfg.qkv_bias and ("attn_q_norm.weight" in names) == cfg.qk_norm
    assert ("ffn_gate.weight" in names) == (cfg.feed_forward == "swiglu")


def test_the_matrix_of_keys_and_values_is_two_tensors(tmp_path: Path) -> None:
    reader = written(tmp_path / "x.gguf", DEEPSEEK)
    found, up = tensors(reader), flatten_dict(params_of(DEEPSEEK))["layers", "attention", "latent_up_ZNH"][1]
    keys, values = up[..., : DEEPSEEK.d_head], up[..., DEEPSEEK.d_head :]
    np.testing.assert_array_equal(found["blk.1.attn_k_b.weight"], keys.swapaxes(0, 1))
    np.testing.assert_array_equal(found["blk.1.attn_v_b.weight"], values.transpose(1, 2, 0))
    said = {name.removeprefix("deepseek2."): value for name, value in fields(reader).items()}
    assert (said["attention.head_count_kv"], said["attention.key_length"], said["attention.key_length_mla"]) == (1, 32 + 8, 24 + 8)


def test_fields_say_the_shape(tmp_path: Path) -> None:
    said = fields(written(tmp_path / "x.gguf", QWEN3, "q8_0", **{"general.name": "x", "some.list": ["a", "b"], "some.truth": True}))
    assert said == {
        "general.architecture": "qwen3",
        "general.name": "x",
        "some.list": ["a", "b"],
        "some.truth": True,
        "general.file_type": 7,
        "general.quantization_version": 2,
        "qwen3.vocab_size": 128,
        "qwen3.block_count": 2,
        "qwen3.context_length": QWEN3.max_seq_len,
        "qwen3.embedding_length": 64,
        "qwen3.feed_forward_length": 192,
        "qwen3.attention.head_count": QWEN3.n_heads,
        "qwen3.attention.head_count_kv": 2,
        "qwen3.attention.key_length": 32,
        "qwen3.attention.value_length": 32,
        "qwen3.attention.layer_norm_rms_epsilon": pytest.approx(QWEN3.norm_eps),
        "qwen3.rope.dimension_count": 32,
        "qwen3.rope.freq_base": QWEN3.rope_theta,
        "qwen3.rope.scaling.type": "none",
    }


def test_quantized_matrices_are_near_and_vectors_are_exact(tmp_path: Path) -> None:
    cfg = replace(LLAMA, d_model=256, d_ff=256, qkv_bias=True)
    plain = tensors(written(tmp_path / "plain.gguf", cfg))
    for form, error in (("f16", 4e-4), ("bf16", 3e-3), ("q8_0", 8e-3), ("q4_0", 0.11), ("q4_k", 0.09)):
        reader = written(tmp_path / f"{form}.gguf", cfg, form)
        kinds = {tensor.name: tensor.tensor_type.name.lower() for tensor in reader.tensors}
        assert kinds["blk.1.attn_q.weight"] == form and kinds["blk.1.attn_norm.weight"] == kinds["blk.1.attn_q.bias"] == "f32"
        for name, x in tensors(reader).items():
            assert np.linalg.norm(x - plain[name]) <= (error if plain[name].ndim == 2 else 0) * np.linalg.norm(plain[name])


def test_tied_embeddings_are_written_twice_only_for_apertus(tmp_path: Path) -> None:
    assert "output.weight" not in tensors(written(tmp_path / "llama.gguf", replace(LLAMA, tied_embeddings=True)))
    apertus = replace(APERTUS, tied_embeddings=True)
    reader = written(tmp_path / "apertus.gguf", apertus)
    found = tensors(reader)
    np.testing.assert_array_equal(found["output.weight"], found["token_embd.weight"])
    alpha = flatten_dict(params_of(apertus))["layers", "feed_forward", "alpha_p_1"]
    assert fields(reader)["xielu.alpha_p"] == pytest.approx(alpha.ravel().tolist()) and fields(reader)["xielu.eps"] == pytest.approx(
        [-1e-6] * 2
    )


LONG = {"rope_factor": 8.0, "rope_original_max_seq_len": 64}


@pytest.mark.parametrize(
    ("scaling", "wanted"),
    [
        ({"rope_scaling": "linear", "rope_factor": 4.0}, {"type": "linear", "factor": 4.0}),
        ({"rope_scaling": "yarn", **LONG}, {"type": "yarn", "factor": 8.0, "original_context_length": 64}),
        (
            {"rope_scaling": "yarn", "rope_attention_factor": 1.5, **LONG},
            {"type": "yarn", "factor": 8.0, "original_context_length": 64, "attn_factor": pytest.approx(1.5 / (1 + 0.1 * np.log(8)))},
        ),
        ({"rope_scaling": "yarn", "rope_beta_fast": 16.0, **LONG}, {"type": "none", "attn_factor": pytest.approx(1 + 0.1 * np.log(8))}),
        ({"rope_scaling": "llama3", **LONG}, {"type": "none"}),
    ],
)
def test_scaled_rotary_positions_are_fields_or_factors(tmp_path: Path, scaling: dict[str, object], wanted: dict[str, object]) -> None:
    cfg = replace(LLAMA, d_head=32, **scaling)
    reader = written(tmp_path / "x.gguf", cfg)
    prefix = "llama.rope.scaling."
    assert {name.removeprefix(prefix): value for name, value in fields(reader).items() if name.startswith(prefix)} == wanted
    if wanted["type"] == "none":
        factors = tensors(reader)["rope_freqs.weight"]
        plain = cfg.rope_theta ** (-np.arange(16) / 16)
        np.testing.assert_allclose(plain / factors, frequencies(cfg), rtol=1e-6)
        assert factors[0] == pytest.approx(1) and factors[-1] == pytest.approx(8) and (rope_factors(cfg) == factors).all()
    else:
        assert "rope_freqs.weight" not in tensors(reader)


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (replace(LLAMA, sliding_window=20), "model.sliding_window=20 is not known to llama.cpp"),
        (replace(LLAMA, feed_forward="another"), "model.feed_forward='another' is not written into GGUF"),
        (replace(APERTUS, qk_norm=False), r"model.feed_forward='xielu' is known to llama.cpp only with model.qk_norm=true"),
        (
            replace(QWEN3, rope_scaling="llama3", **LONG),
            r"model.rope_scaling='llama3' is not known to llama.cpp together with",
        ),
        (replace(QWEN3, rope_scaling="yarn", rope_beta_slow=2.0, **LONG), r"'yarn' with beta_fast=32 and beta_slow=2 is not known"),
        (replace(DEEPSEEK, q_rank=0), "model.q_rank=0 is not known to llama.cpp with latent attention. Only --format hf exports it"),
        (replace(DEEPSEEK, norm_eps=1e-5), "model.norm_eps=1e-05 is not known to llama.cpp with latent attention, only 1e-06"),
        (replace(DEEPSEEK, rope_scaling="linear", **LONG), "model.rope_scaling='linear' is not known to llama.cpp with latent attention"),
        (
            replace(DEEPSEEK, sliding_window=20, q_rank=0, norm_eps=1e-5),
            r"model.sliding_window=20 is not known .*; model.q_rank=0 is not known .*; model.norm_eps=1e-05 is not known",
        ),
        (replace(DEEPSEEK, rope_score_factor=2.0), "model.rope_score_factor=2 is known to llama.cpp only with rope_scaling='yarn'"),
    ],
)
def test_what_llama_cpp_cannot_compute_is_refused(tmp_path: Path, cfg: ModelConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(write(tmp_path / "x.gguf", cfg, {}, "f32", {}))
    assert not list(tmp_path.iterdir())


def test_a_window_as_long_as_the_context_is_none() -> None:
    assert architecture_of(replace(LLAMA, sliding_window=LLAMA.max_seq_len)) == "llama"
