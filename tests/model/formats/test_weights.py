"""Parameters survive the way to safetensors and back to the last bit, on any mesh; damaged or foreign files are refused by name."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from varietas.launch.config import load_config
from varietas.model.config import ModelConfig
from varietas.model.decoder import Params, init_params
from varietas.model.formats.config_json import architecture_of
from varietas.model.formats.tensors import transposed
from varietas.model.formats.weights import INDEX, SINGLE, read, write
from varietas.model.sharding import make_mesh, param_shardings

ONE = make_mesh(1, 1, 1, jax.devices()[:1])
LLAMA = replace(ModelConfig(**load_config("tiny").model), vocab_size=128, n_kv_heads=2, tied_embeddings=False)
APERTUS = replace(LLAMA, qk_norm=True, qkv_bias=True, feed_forward="xielu")
DEEPSEEK = replace(
    LLAMA, n_kv_heads=8, feed_forward="experts", n_experts=4, n_experts_per_token=2, d_expert=24, n_shared_experts=1, router_bias=True,
    router_scores="sigmoid", kv_rank=24, q_rank=16, d_head=8, d_rope=12, d_value=10,
)  # fmt: skip
MIXTRAL = replace(LLAMA, feed_forward="experts", n_experts=4, n_experts_per_token=2, d_expert=24)
DOTS = replace(
    MIXTRAL, qk_norm=True, n_layers=3, n_dense_layers=1, n_shared_experts=1, router_scores="sigmoid", router_bias=True, router_scale=2.5
)


def params_of(cfg: ModelConfig, dtype: str = "float32") -> Params:
    """Returns parameters that a file of this dtype can hold exactly."""
    params = jax.jit(partial(init_params, cfg, 3))()
    return jax.tree.map(lambda x: np.asarray(x).astype(dtype).astype(np.float32), params)


def written(folder: Path, cfg: ModelConfig = LLAMA, dtype: str = "float32", file_bytes: int = 1 << 30) -> Path:
    folder.mkdir()
    write(folder, params_of(cfg, dtype), cfg, architecture_of(cfg), dtype, file_bytes)
    return folder


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2), (1, 4, 2)])
@pytest.mark.parametrize(
    ("cfg", "dtype"),
    [
        (LLAMA, "float32"), (APERTUS, "bfloat16"), (replace(LLAMA, tied_embeddings=True), "float16"), (MIXTRAL, "float32"),
        (DOTS, "bfloat16"), (DEEPSEEK, "float32"),
    ],
)  # fmt: skip
def test_what_is_written_is_read_again_to_the_last_bit(tmp_path: Path, cfg: ModelConfig, dtype: str, sizes: tuple[int, int, int]) -> None:
    mesh = make_mesh(*sizes, devices=jax.devices()[: np.prod(sizes)])
    folder = written(tmp_path / "model", cfg, dtype, file_bytes=60_000)
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 3
    found = read(folder, cfg, architecture_of(cfg), mesh)
    jax.tree.map(np.testing.assert_array_equal, found, params_of(cfg, dtype))
    sharded = jax.tree.map(lambda x, sharding: x.sharding.is_equivalent_to(sharding, x.ndim), found, param_shardings(found, mesh))
    assert all(jax.tree.leaves(sharded))


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (256, 257), (600, 511)])
def test_a_matrix_is_transposed(shape: tuple[int, int]) -> None:
    x = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    copy = transposed(x)
    assert (copy == x.T).all() and copy.flags.c_contiguous and not np.shares_memory(copy, x)


def test_a_number_that_the_dtype_cannot_express_is_refused(tmp_path: Path) -> None:
    params = params_of(LLAMA)
    params["final_norm"]["scale_D"] = np.full(64, 1e5, np.float32)
    with pytest.raises(ValueError, match=r"model.norm.weight holds 100000, which float16 cannot express; export another checkpoint"):
        write(tmp_path, params, LLAMA, "LlamaForCausalLM", "float16")
    params["final_norm"]["scale_D"] = np.full(64, np.nan, np.float32)
    with pytest.raises(ValueError, match=r"model.norm.weight holds nan, which float32 cannot express"):
        write(tmp_path, params, LLAMA, "LlamaForCausalLM", "float32")


def test_no_file_is_larger_than_asked_and_the_index_names_all_tensors(tmp_path: Path) -> None:
    folder = written(tmp_path / "model", file_bytes=60_000)
    index = json.loads((folder / INDEX).read_text())
    held = {name: file.name for file in folder.glob("*.safetensors") for name in load_file(file)}
    assert index["weight_map"] == held
    assert index["metadata"]["total_size"] == sum(x.nbytes for file in folder.glob("*.safetensors") for x in load_file(file).values())
    assert all(sum(x.nbytes for x in load_file(file).values()) <= 60_000 for file in folder.glob("*.safetensors"))


def test_one_file_needs_no_index(tmp_path: Path) -> None:
    assert [file.name for file in written(tmp_path / "model").iterdir()] == [SINGLE]


def edit(folder: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    content = load_file(folder / SINGLE)
    change(content)
    save_file(content, folder / SINGLE)


def truncate(folder: Path) -> None:
    whole = (folder / SINGLE).read_bytes()
    (folder / SINGLE).write_bytes(whole[: len(whole) // 2])


def leave_the_folder(folder: Path) -> None:
    (folder.parent / "secret.safetensors").write_bytes((folder / SINGLE).read_bytes())
    (folder / INDEX).write_text(json.dumps({"weight_map": {"model.norm.weight": "../secret.safetensors"}}))


def lose_a_file(folder: Path) -> None:
    (folder / INDEX).write_text(json.dumps({"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}))


def only_a_pickle(folder: Path) -> None:
    (folder / SINGLE).rename(folder / "pytorch_model.bin")


UP = "model.layers.1.mlp.up_proj.weight"
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing tensor": (lambda f: edit(f, lambda c: c.pop(UP)), r"the tensor model.layers.1.mlp.up_proj.weight is missing"),
    "unknown tensor": (
        lambda f: edit(f, lambda c: c.update({"model.layers.0.self_attn.sinks": np.zeros(8, np.float32)})),
        r"model.safetensors: the tensor model.layers.0.self_attn.sinks is not known for LlamaForCausalLM, and would be lost",
    ),
    "another shape": (
        lambda f: edit(f, lambda c: c.update({UP: np.zeros((3, 64), np.float32)})),
        r"up_proj.weight has the shape \(3, 64\), but config.json asks for \(192, 64\)",
    ),
    "whole numbers": (
        lambda f: edit(f, lambda c: c.update({UP: np.zeros((192, 64), np.int8)})),
        r"up_proj.weight is of the dtype I8; expected one of F32, BF16, F16",
    ),
    "cut short": (truncate, r"model.safetensors is damaged or cut short"),
    "an index that leaves the folder": (
        leave_the_folder,
        r"names the file '../secret.safetensors'; expected the name of a",
    ),
    "a missing file": (lose_a_file, r"model-00001-of-00002.safetensors is missing, but model.safetensors.index.json names it"),
    "an index that is none": (lambda f: (f / INDEX).write_text("[1]"), r"is not an index of safetensors"),
    "a pickle": (only_a_pickle, r"holds pytorch_model.bin, a pickle, which can run any code and is never opened"),
    "nothing": (lambda f: (f / SINGLE).unlink(), r"has neither model.safetensors nor model.safetensors.index.json"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_or_foreign_folder_is_refused_by_name(tmp_path: Path, fault: str) -> None:
    folder = written(tmp_path / "model")
    spoil, message = FAULTS[fault]
    spoil(folder)
    with pytest.raises(ValueError, match=message):
        read(folder, LLAMA, "LlamaForCausalLM", ONE)


def test_a_bias_that_our_model_lacks_is_refused_unless_it_is_zero(tmp_path: Path) -> None:
    cfg = replace(LLAMA, qkv_bias=True, qk_norm=True)
    folder = written(tmp_path / "model", cfg)
    assert read(folder, cfg, "Qwen3ForCausalLM", ONE)
    edit(folder, lambda content: content["model.layers.1.self_attn.o_proj.bias"].__setitem__(5, 0.1))
    with pytest.raises(ValueError, match=re.escape("model.layers.1.self_attn.o_proj.bias is not 0, the only value that is known here")):
        read(folder, cfg, "Qwen3ForCausalLM", ONE)


def test_rotary_frequencies_and_a_copy_of_the_embedding_are_passed_over(tmp_path: Path) -> None:
    cfg = replace(LLAMA, tied_embeddings=True)
    folder = written(tmp_path / "model", cfg)
    extra = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(4, np.float32), "lm_head.weight": np.zeros((128, 64), np.float32)}
    edit(folder, lambda content: content.update(extra))
    jax.tree.map(np.testing.assert_array_equal, read(folder, cfg, "LlamaForCausalLM", ONE), params_of(cfg))


def test_bfloat16_on_disk_is_rounded_to_nearest(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    params = params_of(LLAMA)
    write(folder, params, LLAMA, "LlamaForCausalLM", "bfloat16")
    found = load_file(folder / SINGLE)["model.norm.weight"]
    assert found.dtype == ml_dtypes.bfloat16
    up = load_file(folder / SINGLE)[UP].astype(np.float32)
    np.testing.assert_allclose(up, params["layers"]["feed_forward"]["up_DF"][1].T, rtol=2**-8)
