"""What is exported comes in again as a run: same parameters, text and figures. A run can begin with the weights of another one."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import varietas
from varietas.data.corpus.sources import Sources
from varietas.data.text.embedded import parallel_documents
from varietas.data.tokenizer.extend import extend
from varietas.data.tokenizer.model import read
from varietas.launch.cli import main
from varietas.train.run_folder.checkpoint import Checkpoints
from varietas.train.run_folder.origin import languages_of

SHORT = {"train.steps": 6, "checkpoint.every": 3, "optim.schedule": "constant", "optim.warmup_steps": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, corpus_folder: Path) -> varietas.Run:
    run = varietas.Run("tiny", SHORT, folder=tmp_path_factory.mktemp("runs") / "run")
    assert run.train()
    run.export(run.folder.parent / "release")
    return run


@pytest.fixture(scope="module")
def imported(run: varietas.Run) -> Path:
    folder = run.folder.parent / "imported"
    assert main(["import", "--from", str(run.folder.parent / "release"), "--run", str(folder)]) == 0
    return folder


def test_an_imported_run_has_the_parameters_text_and_bits_of_the_run_that_was_exported(run: varietas.Run, imported: Path) -> None:
    again = varietas.Run.open(imported)
    assert again.digest() == run.digest()
    assert again.generate("Dobrý den", max_tokens=12) == run.generate("Dobrý den", max_tokens=12)
    text = [document for document in parallel_documents() if document.lang in ("ces_Latn", "mlt_Latn", "ell_Grek")]
    mine, theirs = run.evaluate(text), again.evaluate(text)
    assert len(mine) == 3
    for code in mine:  # in windows of another length
        assert theirs[code]["bits_per_byte"] == pytest.approx(mine[code]["bits_per_byte"], rel=0.02)
        assert theirs[code]["unigram"] is None and theirs[code]["untrained"] is None and theirs[code]["trained_on"]


def test_what_is_shown_of_an_imported_run_says_where_it_comes_from(imported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(imported)]) == 0
    assert f"imported from {imported.parent / 'release'}" in capsys.readouterr().out
    assert main(["report", "--run", str(imported), "--no-samples"]) == 0 and (imported / "report.html").exists()
    assert main(["train", "--config", "tiny", "--run", str(imported)]) == 2
    told = capsys.readouterr().err
    assert "imported from" in told and f"--init_from {imported}" in told


def test_a_run_begins_with_the_same_weights_from_a_run_a_release_or_an_imported_model(run: varietas.Run, imported: Path) -> None:
    digests = set()
    for number, source in enumerate((run.folder, f"{run.folder}@6", imported, imported.parent / "release")):
        folder = run.folder.parent / f"continued{number}"
        new = varietas.Run("tiny", SHORT | {"train.init_from": str(source), "train.steps": 1}, folder=folder)
        assert new.train()
        digests.add(new.digest())
        assert json.loads((folder / "origin.json").read_text())["kind"] == "continued"
    assert len(digests) == 1 and digests != {run.digest()}
    loss, first = new.losses.loss[0], run.losses.loss
    assert loss < first[-1] + 0.1 < first[0]  # the first step already knows what the other run has learned


def test_what_a_start_leaves_behind_does_not_count_for_the_next(run: varietas.Run, tmp_path: Path) -> None:
    """A run that ended before its first step may begin anew in another way."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "origin.json").write_text(json.dumps({"kind": "continued", "sources": ["elsewhere"]}))
    (folder / "release").mkdir()
    (folder / "release" / "tokenizer.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    assert varietas.Run("tiny", SHORT | {"train.steps": 1}, folder=folder).train()
    assert not {"origin.json", "release", "tokenizer.json"} & {path.name for path in folder.iterdir()}


def test_a_run_that_was_begun_from_another_resumes_without_it(run: varietas.Run, tmp_path: Path) -> None:
    source = Path(shutil.copytree(run.folder, tmp_path / "source"))
    from_source = SHORT | {"train.init_from": str(source)}
    whole = varietas.Run("tiny", from_source, folder=tmp_path / "whole")
    assert whole.train()
    part = varietas.Run("tiny", from_source, folder=tmp_path / "part")
    assert not part.train(steps=3)
    shutil.rmtree(source)
    assert varietas.Run("tiny", from_source, folder=tmp_path / "part").train()
    assert part.digest() == whole.digest()


def test_the_moments_come_along_if_asked_for_and_the_schedule_begins_anew(run: varietas.Run, tmp_path: Path) -> None:
    """One step from checkpoint 3 with its moments, by hand: optax on the gradients that the same rows give is what the run does."""
    new = varietas.Run(
        "tiny", SHORT | {"train.init_from": f"{run.folder}@3", "train.init_optimizer": True, "train.steps": 1}, folder=tmp_path / "new"
    )
    assert new.train() and new.metrics[0]["learning_rate"] == pytest.approx(run.metrics[0]["learning_rate"])

    def adam(folder: Path, step: int) -> optax.ScaleByAdamState:
        from varietas.train.program import mesh_of
        from varietas.train.step import abstract_state

        exp = new._experiment
        abstract = abstract_state(exp.model, exp.optim, mesh_of(exp))
        checkpoints = Checkpoints(folder / "checkpoints")
        state = checkpoints.restore(step, abstract.params, abstract.optimizer).optimizer
        checkpoints.close()
        is_adam: Callable[[object], bool] = lambda part: isinstance(part, optax.ScaleByAdamState)  # noqa: E731
        return next(part for part in jax.tree.leaves(state, is_leaf=is_adam) if is_adam(part))

    before, after = adam(run.folder, 3), adam(new.folder, 1)
    assert (int(before.count), int(after.count)) == (3, 4)
    old, mixed = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(part.mu)]) for part in (before, after))
    assert np.corrcoef(old, mixed)[0, 1] > 0.8  # 0.9 of the old moments and 0.1 of a gradient


def test_the_mean_of_checkpoints_is_the_mean_of_their_parameters(run: varietas.Run, tmp_path: Path) -> None:
    folder = tmp_path / "mean"
    assert main(["average", "--from", f"{run.folder}@3", str(run.folder), "--run", str(folder)]) == 0
    mean, (first, _), (second, _) = varietas.Run.open(folder)._network()[0], run._network(3), run._network(6)
    for found, one, other in zip(*(jax.tree.leaves(network.params) for network in (mean, first, second)), strict=True):
        np.testing.assert_allclose(found, (np.asarray(one, np.float64) + np.asarray(other, np.float64)) / 2, rtol=1e-6, atol=1e-9)
        assert not np.array_equal(one, other)
    assert varietas.Run.open(folder).generate("Dobrý den", max_tokens=3)
    assert languages_of(folder) == sorted(languages_of(run.folder)) != []  # an evaluation marks those that were not trained


def test_a_model_that_went_out_and_came_back_can_be_averaged_with_itself(run: varietas.Run, tmp_path: Path) -> None:
    run.export(tmp_path / "out")
    varietas.import_model(tmp_path / "out", tmp_path / "back")
    varietas.average([str(run.folder), str(tmp_path / "back")], tmp_path / "mean")
    mean = varietas.Run.open(tmp_path / "mean")._network()[0].params
    jax.tree.map(np.testing.assert_array_equal, mean, run._network()[0].params)


def test_new_pieces_begin_with_the_mean_of_their_old_ones_and_old_text_is_predicted_as_before(run: varietas.Run, tmp_path: Path) -> None:
    text = [document for document in parallel_documents() if document.lang == "mlt_Latn"]
    before, after = varietas.extend(str(run.folder), tmp_path / "wider", lambda: text, 60)
    assert before["mlt_Latn"].tokens > 1.1 * after["mlt_Latn"].tokens
    wider = varietas.Run.open(tmp_path / "wider")
    assert wider.config.model.vocab_size == 1152  # 1,024 and 60, rounded up
    old, new = run._network()[0].params["embedding_VD"], wider._network()[0].params["embedding_VD"]
    np.testing.assert_array_equal(new[:1024], old)
    parts = extend(read(run.folder / "tokenizer.model"), text, 60).parts
    np.testing.assert_allclose(new[1024:1084], [np.asarray(old)[part].mean(0) for part in parts], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(new[1090], np.asarray(old).mean(0), rtol=1e-4, atol=1e-6)
    assert languages_of(wider.folder) == languages_of(run.folder)
    assert wider.generate("Il-bnedmin", max_tokens=4) and main(["status", str(wider.folder)]) == 0


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["{run}@3", "{run}@3"], r"name two or more checkpoints, each of them once"),
        (["{run}"], r"name two or more checkpoints"),
        (["{run}@3", "{run}@4"], r"has no checkpoint after step 4; it has: 3, 6"),
        (["{run}", "{foreign}"], r"foreign@6 has another tokenizer than"),
        (["{run}", "{other}"], r"other@6: model.d_ff is 96, but .*run@6 has 192; average like models"),
    ],
)
def test_what_has_no_mean_is_refused_and_leaves_nothing(run: varietas.Run, tmp_path: Path, names: list[str], message: str) -> None:
    other = run.folder.parent / "other"
    if not other.exists():
        shutil.copytree(run.folder, other)
        config = json.loads((other / "config.json").read_text())
        config["model"]["d_ff"] = 96
        (other / "config.json").write_text(json.dumps(config))
    foreign = run.folder.parent / "foreign"
    if not foreign.exists():
        shutil.copytree(run.folder, foreign)
        (foreign / "tokenizer.model").write_bytes(b"another")
    with pytest.raises(ValueError, match=message):
        varietas.average([name.format(run=run.folder, other=other, foreign=foreign) for name in names], tmp_path / "mean")
    assert not list(tmp_path.iterdir())


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), r"has no config.json; name a folder in the layout of transformers"),
    "a broken config": (lambda f: (f / "config.json").write_text("{"), r"config.json is not valid JSON"),
    "no tokenizer": (
        lambda f: [(f / n).unlink() for n in ("tokenizer.model", "tokenizer.json")],
        r"has neither tokenizer.model nor tokenizer.json",
    ),
    "a tokenizer that is none": (
        lambda f: (f / "tokenizer.model").write_bytes(b"x"),
        r"tokenizer.model is not a tokenizer; download it again",
    ),
    "code": (
        lambda f: (f / "config.json").write_text(json.dumps(json.loads((f / "config.json").read_text()) | {"auto_map": {"A": "x.py"}})),
        r"auto_map names code that comes with the model, which is never run",
    ),
    "a small vocabulary": (
        lambda f: (f / "config.json").write_text(json.dumps(json.loads((f / "config.json").read_text()) | {"vocab_size": 512})),
        r"the tokenizer has 1,024 pieces, but config.json says vocab_size=512",
    ),
    "cut short": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:5000]),
        r"model.safetensors is damaged or cut short",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_or_foreign_release_is_refused_and_leaves_nothing(
    run: varietas.Run, tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    release = Path(shutil.copytree(run.folder.parent / "release", tmp_path / "release"))
    spoil, message = FAULTS[fault]
    spoil(release)
    assert main(["import", "--from", str(release), "--run", str(tmp_path / "run")]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train.init_from": "nowhere"}, r"nowhere is neither a run with checkpoints \(RUN or RUN@STEP\) nor a folder with a model"),
        ({"train.init_from": "{run}@5"}, r"has no checkpoint after step 5; it has: 3, 6"),
        ({"train.init_from": "{run}", "model.d_ff": 100}, r"model.d_ff=100: train.init_from=.*run@6 has 192; leave it out"),
        ({"train.init_from": "{run}/../release", "train.init_optimizer": True}, r"release has no state of an optimiser"),
        ({"train.init_from": "{run}", "data.corpus": "{corpus}"}, r"was prepared with another tokenizer than that of"),
    ],
)
def test_what_a_run_cannot_begin_with_is_refused_and_leaves_nothing(
    run: varietas.Run, two_sources: Sources, tmp_path: Path, values: dict[str, object], message: str
) -> None:
    corpus = str(two_sources.path).partition(",")[0]
    given = {field: value.format(run=run.folder, corpus=corpus) if isinstance(value, str) else value for field, value in values.items()}
    with pytest.raises(ValueError, match=message):
        varietas.Run("tiny", SHORT | given, folder=tmp_path / "new").train()
    assert not (tmp_path / "new").exists()


def test_a_longer_context_may_be_given_to_the_weights_of_another_run(run: varietas.Run, tmp_path: Path) -> None:
    longer = {"model.max_seq_len": 512, "model.rope_theta": 1e6, "train.init_from": str(run.folder), "data.embedded_vocab_size": 1024}
    new = varietas.Run("demo", longer, folder=tmp_path / "new")
    assert (new.config.model.d_ff, new.config.model.n_layers) == (192, 2)  # those of the other run
    assert (new.config.model.max_seq_len, new.config.model.rope_theta) == (512, 1e6)
