"""Values that do not fit are told in one line, with the nearest that does, before jax is started; shipped configs are sound."""

import math
import subprocess
import sys

import pytest

from varietas.launch.check import check
from varietas.launch.config import config_names, load_config
from varietas.launch.mesh import resolve_mesh

EXPERTS = ["--config.model.feed_forward=experts"]


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["--config.data.seq_len=300"], "data.seq_len=300 is longer than model.max_seq_len=128; set data.seq_len=128"),
        (["--config.model.n_heads=7"], "model.n_heads=7 does not divide model.d_model=64; set n_heads=8"),
        (["--config.model.n_kv_heads=3"], "set n_kv_heads=2"),
        (["--config.model.d_head=9"], "need an even number; set model.d_head=10"),
        (["--config.model.remat=ful"], "did you mean 'full'?"),
        (["--config.model.lora_on=querry, value"], "no linear layer is called 'querry'; did you mean 'query'?"),
        (["--config.optim.name=moun"], "optim.name='moun' is not one of adamw, muon; did you mean 'muon'?"),
        (["--config.optim.muon_lr_ratio=0"], "optim.muon_lr_ratio=0.0 must be more than 0"),
        (["--config.optim.schedule=cosin"], "did you mean 'cosine'?"),
        (["--config.optim.peak_lr=-1"], "optim.peak_lr=-1.0 must be more than 0"),
        (["--config.optim.beta1=1.5"], "must be from 0 to 1"),
        (["--config.optim.peak_lr=nan"], "must be more than 0"),
        (["--config.optim.beta2=1.0"], "optim.beta2=1 would ignore every gradient"),
        (["--config.data.mixture.alpha=100"], "data.mixture.alpha=100.0 must be from 0 to 1"),
        (["--config.seed=99999999999999999999"], "must be less than 2^63"),
        (["--config.train.steps=10000000000"], "train.steps=10000000000 must be at most 2,147,483,647"),
        (["--config.model.attention=cudnn"], "needs model.dtype=bfloat16"),
        (["--config.model.attention=cudnn", "--config.model.dtype=bfloat16", "--config.data.seq_len=63"], "found 8 and data.seq_len=63"),
        (["--config.model.attention=cudnn", "--config.model.dtype=bfloat16", "--config.model.d_head=12"], "found 12 and data.seq_len=128"),
        (["--config.train.grad_accum=3"], "train.grad_accum=3 does not divide train.batch_size=8; set grad_accum=2"),
        (["--config.data.mixture.weights=ces_Latn"], "is not CODE:WEIGHT"),
        (["--config.model.feed_forward=expert"], "did you mean 'experts'?"),
        ([*EXPERTS, "--config.model.n_experts_per_token=9"], "is more than the 8 experts that a token may choose from"),
        ([*EXPERTS, "--config.model.router_groups=3"], "does not divide model.n_experts=8; set router_groups=2"),
        ([*EXPERTS, "--config.model.router_groups_per_token=2"], "set router_groups_per_token=1 or less"),
        ([*EXPERTS, "--config.model.router_groups=8"], "leaves groups of one expert"),
        ([*EXPERTS, "--config.model.router_groups=4", "--config.model.n_experts_per_token=3"], "more than the 2 experts"),
        ([*EXPERTS, "--config.model.n_dense_layers=2"], "leaves no layer with experts of model.n_layers=2"),
        ([*EXPERTS, "--config.mesh.tensor=4", "--config.model.n_experts=6"], "does not divide model.n_experts=6; set mesh.tensor=3"),
        (
            ["--config.model.kv_rank=24", "--config.model.n_kv_heads=4"],
            "does not go with latent attention (model.kv_rank=24); set n_kv_heads=8",
        ),
        (["--config.model.kv_rank=24", "--config.model.qk_norm=True"], "set qk_norm=False"),
        (["--config.model.kv_rank=24", "--config.model.d_rope=7"], "set model.d_rope=8"),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_one_that_does(overrides: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        check(load_config("tiny", overrides))
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", config_names())
def test_shipped_configs_are_sound(name: str) -> None:
    config = load_config(name)
    check(config)
    assert math.prod(resolve_mesh(config, 8)) == 8
    assert config.model.vocab_size == 0  # the tokenizer's
    module = sys.modules[f"varietas.configs.{name}"].__doc__ or ""
    verb = {"web": "prepare", "eurollm_1p7b": "submit", "eurollm_9b": "submit"}.get(name, "train")
    assert f"varietas {verb} --config {name}" in module


def test_settings_do_not_start_jax() -> None:
    code = (
        "import sys; from varietas.launch.check import check; from varietas.launch.config import load_config; "
        "check(load_config('tiny')); print('jax' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
