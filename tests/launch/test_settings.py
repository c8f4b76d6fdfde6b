"""A mistake in a config is told in one line, with the nearest valid name or value, before jax is started."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

from varietas.launch.settings import check, config_names, cpu_devices, experiment, load_config, resolve_mesh


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["--config.train.step=4"], "no field train.step; did you mean train.steps?"),
        (["--config.trian.steps=4"], "did you mean train.steps?"),
        (["--config.peak_lr=1"], "did you mean optim.peak_lr?"),
        (["--config.train.steps=many"], "--config.train.steps=many: expected int"),
        (["--config.train.steps=1.5"], "expected int"),
        (["--config.model.tied_embeddings=perhaps"], "expected bool"),
        (["--stps=3"], "unknown option --stps; did you mean --config.train.steps?"),
        (["stray"], "unexpected argument 'stray'"),
        (["--config.data.seq_len=300"], "data.seq_len=300 is longer than model.max_seq_len=128; set data.seq_len=128"),
        (["--config.model.n_heads=7"], "model.n_heads=7 does not divide model.d_model=64; set n_heads=8"),
        (["--config.model.n_kv_heads=3"], "set n_kv_heads=2"),
        (["--config.model.d_head=9"], "even number: set model.d_head=10"),
        (["--config.model.remat=ful"], "did you mean 'full'?"),
        (["--config.optim.schedule=cosin"], "did you mean 'cosine'?"),
        (["--config.optim.peak_lr=-1"], "optim.peak_lr=-1.0 must be more than 0"),
        (["--config.optim.beta1=1.5"], "must be from 0 to 1"),
        (["--config.optim.peak_lr=nan"], "must be more than 0"),
        (["--config.optim.beta2=1.0"], "optim.beta2=1 would never take a gradient in"),
        (["--config.data.mixture.alpha=100"], "data.mixture.alpha=100.0 must be from 0 to 1"),
        (["--config.seed=99999999999999999999"], "must be less than 2^63"),
        (["--config.model.attention=cudnn"], "needs model.dtype=bfloat16"),
        (["--config.model.attention=cudnn", "--config.model.dtype=bfloat16", "--config.data.seq_len=63"], "found 8 and data.seq_len=63"),
        (["--config.model.attention=cudnn", "--config.model.dtype=bfloat16", "--config.model.d_head=12"], "found 12 and data.seq_len=128"),
        (["--config.train.grad_accum=3"], "train.grad_accum=3 does not divide train.batch_size=8; set grad_accum=2"),
        (["--config.data.mixture.weights=ces_Latn"], "is not CODE:WEIGHT"),
    ],
)
def test_mistakes(overrides: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        check(load_config("tiny", overrides))
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "n_devices", "result"),
    [
        ([], 8, (8, 1, 1)),
        (["--config.model.d_model=1024"], 8, (2, 4, 1)),
        (["--config.model.d_model=1024", "--config.mesh.tensor=4"], 8, (1, 2, 4)),
        (["--config.model.d_model=1024", "--config.mesh.data=1"], 8, (1, 8, 1)),
        (["--config.mesh.fsdp=4"], 8, (2, 4, 1)),
        (["--config.mesh.data=2"], 8, (2, 4, 1)),
        (["--config.mesh.tensor=2", "--config.mesh.data=4"], 8, (4, 1, 2)),
        (["--config.mesh.data=3", "--config.mesh.fsdp=4"], 8, "data=3 × fsdp=4 × tensor=1 needs 12 devices, found 8; set mesh.data=2"),
        (["--config.mesh.data=2", "--config.mesh.fsdp=8"], 8, "needs 16 devices, found 8; set mesh.data=1"),
        (["--config.mesh.fsdp=3"], 8, "devices, found 8"),
        (["--config.mesh.data=3", "--config.mesh.fsdp=5"], 8, "found 8; set mesh.data=1 and mesh.fsdp=-1"),
        (["--config.mesh.fsdp=0"], 8, "mesh.fsdp=0 must be 1 or more"),
        (["--config.train.batch_size=6"], 8, "train.batch_size=6 does not divide over data=8 × fsdp=1 devices; set train.batch_size=8"),
        (
            ["--config.mesh.tensor=8", "--config.model.n_kv_heads=4"],
            8,
            "mesh.tensor=8 does not divide model.n_kv_heads=4; set mesh.tensor=4",
        ),
    ],
)
def test_mesh(overrides: list[str], n_devices: int, result: tuple[int, int, int] | str) -> None:
    config = load_config("tiny", overrides)
    if isinstance(result, tuple):
        assert resolve_mesh(config, n_devices) == result
        return
    with pytest.raises(ValueError, match=r".") as error:
        resolve_mesh(config, n_devices)
    assert result in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "cores", "devices"),
    [
        ([], 2, 1),
        ([], 16, 8),
        ([], 1, 1),
        (["--config.mesh.fsdp=4"], 2, 4),
        (["--config.train.batch_size=12"], 14, 6),  # of 7, the batch would not divide
        (["--config.train.batch_size=12", "--config.mesh.fsdp=-1", "--config.mesh.data=1"], 12, 4),  # 6 would not divide d_model=64
        (["--config.train.batch_size=15", "--config.mesh.tensor=2"], 30, 10),
        (["--config.mesh.data=1", "--config.mesh.fsdp=1", "--config.mesh.tensor=-1", "--config.model.n_kv_heads=4"], 16, 4),
    ],
)
def test_the_virtual_devices_chosen_fit_the_config(overrides: list[str], cores: int, devices: int) -> None:
    config = load_config("tiny", overrides)
    assert cpu_devices(config, cores) == devices
    assert math.prod(resolve_mesh(config, devices)) == devices


def test_unknown_config() -> None:
    with pytest.raises(ValueError, match=r"did you mean tiny\? there are demo, eurollm_1p7b"):
        load_config("tinny")


@pytest.mark.parametrize("name", config_names())
def test_shipped_configs_are_sound(name: str) -> None:
    config = load_config(name)
    check(config)
    assert math.prod(resolve_mesh(config, 8)) == 8
    assert experiment(config, "corpus", (1, 1, 1)).model.vocab_size == config.model.vocab_size
    module = sys.modules[f"varietas.configs.{name}"].__doc__ or ""
    assert f"varietas {'prepare' if name == 'web' else 'train'} --config {name}" in module


def test_a_config_file_of_the_users_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from varietas.configs import tiny\n"
        "def get_config(arg=''):\n    c = tiny.get_config()\n    c.train.steps = int(arg or 7)\n    return c\n"
    )
    assert load_config(str(file)).train.steps == 7
    assert load_config(f"{file}:9").train.steps == 9


def test_settings_do_not_start_jax() -> None:
    code = "import sys; from varietas.launch.settings import load_config, check; check(load_config('tiny')); print('jax' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=None)
    assert out.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def get_config(\n", "mine.py, line 1: SyntaxError: '(' was never closed"),
        ("x = 1\n", "mine.py has no get_config(); configs/tiny.py shows one"),
        ("from varietas.configs import base\ndef get_config(arg=''):\n  c = base.get_config()\n  c.model.n_layer = 3\n",
         "mine.py, line 4: there is no field n_layer; did you mean model.n_layers?"),
        ("def get_config(arg=''):\n  return {'seed': 1}\n", "get_config() returned a dict, expected an ml_collections.ConfigDict"),
        ("def get_config(arg=''):\n  return missing\n", "mine.py, line 2: NameError: name 'missing' is not defined"),
        ("import nothing_of_the_kind\n", "mine.py, line 1: ModuleNotFoundError"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_config_file_is_told_with_its_line(code: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(code)
    with pytest.raises(ValueError, match=r".") as error:
        load_config(str(tmp_path / "mine.py"))
    assert says in str(error.value) and "\n" not in str(error.value)
