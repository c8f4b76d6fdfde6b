"""`varietas.Run`, as a notebook uses it (in this process: eight devices)."""

import json
import shutil
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import FrozenConfigDict

import varietas
from varietas.configs import tiny
from varietas.launch.cli import main
from varietas.launch.config import base_fields
from varietas.model.decoder import Decoder
from varietas.train.run_folder.config import changes

SHORT = {"train.steps": 6, "checkpoint.every": 3}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, corpus_folder: Path) -> varietas.Run:
    run = varietas.Run("tiny", SHORT, folder=tmp_path_factory.mktemp("runs") / "run")
    assert not run.train(steps=4) and len(run.metrics) == 4 and run.train()
    return run


def test_training_in_two_calls_is_training_in_one(run: varietas.Run, tmp_path: Path) -> None:
    once = varietas.Run("tiny", SHORT, folder=tmp_path / "once")
    assert once.train() and once.digest() == run.digest()
    assert [record["loss"] for record in once.metrics] == [record["loss"] for record in run.metrics]
    assert np.array_equal(run.losses.steps, np.arange(6)) and run.losses.loss[0] == pytest.approx(np.log(1024), abs=0.1)


def test_a_run_from_before_a_config_field_existed_goes_on(run: varietas.Run, tmp_path: Path) -> None:
    """A field that its config.json lacks has the default of configs/base.py, and counts as that."""
    old = Path(shutil.copytree(run.folder, tmp_path / "run"))
    config = json.loads((old / "config.json").read_text())
    config["model"] = {name: value for name, value in config["model"].items() if not name.startswith(("rope_", "qkv_"))}
    config["model"]["rope_theta"] = run.config.model.rope_theta  # as old as the first runs
    del config["data"]["on_corrupt"]
    (old / "config.json").write_text(json.dumps(config))
    for field, value in {"model.qkv_bias": True, "model.rope_scaling": "linear"}.items():
        with pytest.raises(ValueError, match=rf"started with another config \({field}: (False|'none') -> {value!r}\)"):
            varietas.Run("tiny", SHORT | {field: value}, folder=old)
    again = varietas.Run("tiny", SHORT | {"train.steps": 7}, folder=old)
    assert [change.field for change in changes(old, again.config.to_dict(), base_fields())] == ["train.steps"]
    assert varietas.Run.open(old).digest() == run.digest()


def test_what_an_export_lacks_is_told_before_the_parameters_are_loaded(
    run: varietas.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = varietas.Run.open(run.folder)
    monkeypatch.setattr(again, "_network", None)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "tokenizers", None)
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'varietas\[data\]'"):
            again.export(tmp_path / "out")
        patch.setitem(sys.modules, "gguf", None)
        with pytest.raises(ModuleNotFoundError, match=r"package gguf; install it: pip install 'varietas\[data\]'"):
            again.export_gguf(tmp_path / "out.gguf")
    with again.config.unlocked():
        again.config.model.feed_forward = "xielu"
    with pytest.raises(ValueError, match="known to transformers only with"):
        again.export(tmp_path / "out")
    with pytest.raises(ValueError, match=r"known to llama\.cpp only with"):
        again.export_gguf(tmp_path / "out.gguf")
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match="out exists; name a new folder"):
        again.export(tmp_path / "out")
    with pytest.raises(ValueError, match="out exists; name a new file"):
        again.export_gguf(tmp_path / "out")


def test_a_gguf_file_says_where_it_comes_from(run: varietas.Run, tmp_path: Path) -> None:
    import gguf

    run.export_gguf(tmp_path / "release.gguf", form="q8_0")
    fields = gguf.GGUFReader(tmp_path / "release.gguf").fields
    assert fields["general.name"].contents() == "release" and "ces" in fields["general.languages"].contents()
    assert fields["general.description"].contents().endswith(f"languages; digest of the parameters: {run.digest()}")
    assert fields["tokenizer.ggml.tokens"].contents()[:3] == ["<unk>", "<s>", "</s>"] and len(fields["tokenizer.ggml.scores"].data) == 1024
    assert (fields["tokenizer.ggml.bos_token_id"].contents(), fields["tokenizer.ggml.eos_token_id"].contents()) == (1, 2)
    assert not fields["tokenizer.ggml.add_space_prefix"].contents() and fields["tokenizer.ggml.add_bos_token"].contents()
    assert [file.name for file in tmp_path.iterdir()] == ["release.gguf"] and "tokenizer.chat_template" not in fields


@pytest.mark.parametrize(
    ("name", "content"), [("chat_template.jinja", "{{ ó }}"), ("tokenizer_config.json", json.dumps({"chat_template": "{{ ó }}"}))]
)
def test_the_template_of_an_imported_model_goes_into_the_gguf_file(run: varietas.Run, tmp_path: Path, name: str, content: str) -> None:
    import gguf

    again = varietas.Run.open(shutil.copytree(run.folder, tmp_path / "run"))
    (again.folder / "release").mkdir()
    (again.folder / "release" / name).write_text(content, "utf-8")
    again.export_gguf(tmp_path / "release.gguf")
    assert gguf.GGUFReader(tmp_path / "release.gguf").fields["tokenizer.chat_template"].contents() == "{{ ó }}"


def test_an_export_that_fails_leaves_nothing(run: varietas.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from varietas.model.formats import gguf_file

    monkeypatch.setattr(gguf_file, "rounded", lambda x, form, name, importance: x if name == "token_embd.weight" else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run.export_gguf(tmp_path / "release.gguf", form="f32")
    assert not list(tmp_path.iterdir())


def test_opened_again_it_is_the_same_run(run: varietas.Run) -> None:
    again = varietas.Run.open(run.folder)
    assert again.digest() == run.digest() and again.digest(step=3) != run.digest()
    assert again.generate("Dobrý den", max_tokens=5) == run.generate(["Dobrý den", "Tere"], max_tokens=5)[0]


def test_every_setting_of_a_generation_counts(run: varietas.Run) -> None:
    def generated(**settings: float) -> str | list[str]:
        return run.generate("Dobrý den", max_tokens=8, **settings)  # type: ignore[arg-type]

    greedy, sampled = generated(), generated(temperature=1.0)
    assert generated(temperature=1.0, seed=0) == sampled != greedy
    assert generated(temperature=1.0, seed=1) not in (sampled, greedy)
    assert generated(temperature=1.0, top_p=1e-6, seed=1) == greedy  # only the likeliest token is left
    assert len(run.generate("Dobrý den", max_tokens=2)) < len(greedy)


def test_evaluation_names_every_eu_language_and_those_without_training_text(run: varietas.Run) -> None:
    from varietas.data.text.languages import LANGUAGES

    rows = run.evaluate()
    assert {code for code, language in LANGUAGES.items() if language.status == "eu"} <= set(rows)
    assert [code for code in ("gle_Latn", "mlt_Latn", "ces_Latn") if rows[code]["trained_on"]] == ["ces_Latn"]
    values = [row["bits_per_byte"] for row in rows.values()]
    assert values == sorted(values, reverse=True)
    assert rows["ces_Latn"]["bits_per_byte"] < rows["ces_Latn"]["untrained"]


def test_evaluation_while_training_does_not_change_the_training(run: varietas.Run, tmp_path: Path) -> None:
    watched = varietas.Run("tiny", {**SHORT, "eval.every": 3}, folder=tmp_path / "watched")
    watched.train()
    during, after = (json.loads((tmp_path / f"watched/evaluations/declaration/{step}.json").read_text()) for step in (3, 6))
    assert watched.digest() == run.digest() and during["languages"] != after["languages"]
    assert main(["evaluate", "--run", str(tmp_path / "watched"), "--step", "3", "--name", "older"]) == 0
    older = json.loads((tmp_path / "watched/evaluations/older/3.json").read_text())
    for code, row in during["languages"].items():
        assert older["languages"][code]["bits_per_byte"] == pytest.approx(row["bits_per_byte"], abs=1e-4)


def test_a_model_with_a_part_of_ones_own_trains_and_generates(tmp_path: Path) -> None:
    class SquaredReLU(nnx.Module):
        def __init__(self, cfg, rngs):
            init = nnx.initializers.normal(cfg.init_std)
            self.up_DF = nnx.Param(init(rngs.params(), (cfg.d_model, cfg.d_ff)))
            self.down_FD = nnx.Param(init(rngs.params(), (cfg.d_ff, cfg.d_model)))

        def __call__(self, x_BLD):
            return jnp.square(jax.nn.relu(x_BLD @ self.up_DF)) @ self.down_FD

    own = varietas.Run("tiny", SHORT, folder=tmp_path / "own", build=partial(Decoder, feed_forward=SquaredReLU))
    own.train()
    assert own.losses.loss[-1] < own.losses.loss[0] and own.generate("a", max_tokens=3)


def test_no_number_stops_the_run_and_names_documents(tmp_path: Path) -> None:
    wild = varietas.Run("tiny", {**SHORT, "optim.peak_lr": 1e30, "optim.warmup_steps": 0}, folder=tmp_path / "wild")
    with pytest.raises(FloatingPointError, match=r"step [1-5]: loss .* Its batch holds \d+ documents \(.*_.*"):
        wild.train()
    *before, last = ((record["loss"], record["grad_norm"]) for record in wild.metrics)
    assert None in last and not any(None in pair for pair in before) and len(wild.losses.loss) == len(before) + 1
    assert f"Step {len(before)} has no finite loss or gradient" in wild.report().read_text()


def test_references_between_fields_follow_overrides(tmp_path: Path) -> None:
    """The same config as a file does that too; a value that was computed before the overrides would be stale."""
    config = tiny.get_config()
    with config.unlocked():
        config.optim.warmup_steps = config.train.get_ref("steps") // 10
    run = varietas.Run(config, {"train.steps": 80}, folder=tmp_path / "run")
    assert run.config.optim.warmup_steps == 8 and config.train.steps == 50
    frozen = varietas.Run(FrozenConfigDict(tiny.get_config()), {"train.steps": 80}, folder=tmp_path / "frozen")
    assert frozen.config.train.steps == 80
    with pytest.raises(ValueError, match="overrides of a ConfigDict are a dict of its fields"):
        varietas.Run(config, {"train.step": 80}, folder=tmp_path / "wrong")


def test_a_relative_folder_stays_where_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = varietas.Run("tiny", {"train.steps": 1, "optim.schedule": "constant"}, folder="relative/run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run.train() and (tmp_path / "relative" / "run" / "metrics.jsonl").exists()


def test_losses_are_read_from_a_file_that_is_cut_short(run: varietas.Run, tmp_path: Path) -> None:
    copy = varietas.Run("tiny", SHORT, folder=tmp_path / "copy")
    copy.folder.mkdir()
    content = (run.folder / "metrics.jsonl").read_bytes()
    (copy.folder / "metrics.jsonl").write_bytes(content[:-20] + b"\n{broken\n")
    assert copy.losses.steps.tolist() == list(range(5)) and len(copy.metrics) == 5


def test_samples_are_of_languages_in_the_mixture(run: varietas.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from varietas.train.inference import text
    from varietas.train.run_folder import origin

    asked = list[list[str]]()
    shares = {"languages": {"eng_Latn": {"weight": 0.0}, "ces_Latn": {"weight": 0.5}, "deu_Latn": {"weight": 0.5}}}
    monkeypatch.setattr(origin, "read_record", lambda *_: shares)
    monkeypatch.setattr(varietas.Run, "_generator", lambda *_: None)
    monkeypatch.setattr(text, "sample", lambda _model, _tokenizer, languages: asked.append(languages) or [])
    run.sample()
    assert asked == [["ces_Latn", "deu_Latn"]]
