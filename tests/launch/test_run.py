"""`varietas.Run`, as a notebook uses it (in this process: eight devices)."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import varietas
from varietas.model.decoder import Decoder

SHORT = {"train.steps": 6, "checkpoint.every": 3}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, corpus_folder: Path) -> varietas.Run:
    run = varietas.Run("tiny", SHORT, folder=tmp_path_factory.mktemp("runs") / "run")
    assert not run.train(steps=4) and run.train()
    return run


def test_training_in_two_calls_is_training_in_one(run: varietas.Run, tmp_path: Path) -> None:
    once = varietas.Run("tiny", SHORT, folder=tmp_path / "once")
    assert once.train() and once.digest() == run.digest()
    assert [record["loss"] for record in once.metrics] == [record["loss"] for record in run.metrics]
    assert np.array_equal(run.losses.steps, np.arange(6)) and run.losses.loss[0] == pytest.approx(np.log(1024), abs=0.1)


def test_opened_again_it_is_the_same_run(run: varietas.Run) -> None:
    again = varietas.Run.open(run.folder)
    assert again.digest() == run.digest() and again.digest(step=3) != run.digest()
    assert again.generate("Dobrý den", max_tokens=5) == run.generate(["Dobrý den", "Tere"], max_tokens=5)[0]


def test_evaluation_names_every_eu_language_and_those_without_training_text(run: varietas.Run) -> None:
    from varietas.data.languages import LANGUAGES

    rows = run.evaluate()
    assert {code for code, language in LANGUAGES.items() if language.status == "eu"} <= set(rows)
    assert [code for code in ("gle_Latn", "mlt_Latn", "ces_Latn") if rows[code]["trained_on"]] == ["ces_Latn"]
    values = [row["bits_per_byte"] for row in rows.values()]
    assert values == sorted(values, reverse=True)
    assert rows["ces_Latn"]["bits_per_byte"] < rows["ces_Latn"]["untrained"]


def test_evaluation_while_training_does_not_change_the_training(run: varietas.Run, tmp_path: Path) -> None:
    watched = varietas.Run("tiny", {**SHORT, "eval.every": 3}, folder=tmp_path / "watched")
    watched.train()
    assert watched.digest() == run.digest() and (tmp_path / "watched" / "evaluation.json").exists()


def test_a_part_of_ones_own(tmp_path: Path) -> None:
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
