"""A config is loaded by name or from a file, and a mistake in it or in an override is told in one line, with the nearest valid name."""

from pathlib import Path

import pytest

from varietas.launch.config import load_config


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
    ],
)
def test_a_mistake_in_an_override_is_told_with_the_nearest_name_or_type(overrides: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        load_config("tiny", overrides)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_config_is_told_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"did you mean tiny\? choose from demo, eurollm_1p7b"):
        load_config("tinny")


def test_a_config_file_of_the_users_own_is_loaded_with_its_argument(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from varietas.configs import tiny\n"
        "def get_config(arg=''):\n    c = tiny.get_config()\n    c.train.steps = int(arg or 7)\n    return c\n"
    )
    assert load_config(str(file)).train.steps == 7
    assert load_config(f"{file}:9").train.steps == 9


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
