"""What is said of a small form is what a file of that form holds."""

import json
from pathlib import Path

import gguf
import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

import varietas
from varietas.data.text.embedded import parallel_documents
from varietas.launch.cli import main
from varietas.model.formats.dequantized import as_in_file, bytes_in_file

LANGUAGES = ("ces_Latn", "mlt_Latn", "ell_Grek")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, corpus_folder: Path) -> varietas.Run:
    run = varietas.Run("tiny", {"train.steps": 4, "optim.peak_lr": 2e-2}, folder=tmp_path_factory.mktemp("runs") / "run")
    assert run.train()
    return run


@pytest.mark.parametrize("form", ["q8_0", "q4_0", "f16"])
def test_weights_are_those_that_the_file_gives_back(run: varietas.Run, tmp_path: Path, form: str) -> None:
    run.export_gguf(tmp_path / "model.gguf", form=form)
    network = run._network()[0]
    params = flatten_dict(as_in_file(network.params, network.config, form, network.mesh))
    reader = gguf.GGUFReader(tmp_path / "model.gguf")
    held = {tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(tensor.shape[::-1]) for tensor in reader.tensors}
    np.testing.assert_array_equal(params["embedding_VD",], held["token_embd.weight"])
    np.testing.assert_array_equal(params["layers", "feed_forward", "up_DF"][1].T, held["blk.1.ffn_up.weight"])
    np.testing.assert_array_equal(params["layers", "attention_norm", "scale_D"][0], held["blk.0.attn_norm.weight"])
    out = np.asarray(params["layers", "attention", "out_NHD"][1])
    np.testing.assert_array_equal(out.reshape(-1, out.shape[-1]).T, held["blk.1.attn_output.weight"])
    assert bytes_in_file(network.config, form) == sum(tensor.n_bytes for tensor in reader.tensors)
    whole = flatten_dict(network.params)
    assert not np.array_equal(params["embedding_VD",], whole["embedding_VD",])
    assert jax.tree.all(jax.tree.map(lambda x, like: x.sharding.is_equivalent_to(like.sharding, x.ndim), params, whole))


def test_the_damage_is_the_difference_of_two_evaluations(run: varietas.Run) -> None:
    text = [document for document in parallel_documents() if document.lang in LANGUAGES]
    whole, small = varietas.quantization_damage(run.folder, ["q4_0"], text)
    assert (whole.name, small.name) == ("f32", "q4_0") and small.bytes < 0.2 * whole.bytes
    alone = run.evaluate(text, "alone")
    for code in LANGUAGES:
        assert whole.languages[code]["bits_per_byte"] == pytest.approx(alone[code]["bits_per_byte"], abs=2e-4)
        assert whole.languages[code]["trained_on"] == alone[code]["trained_on"]
    differences = [small.languages[code]["bits_per_byte"] - whole.languages[code]["bits_per_byte"] for code in LANGUAGES]
    assert any(difference != 0 for difference in differences) and max(map(abs, differences)) < 0.2
    kept = json.loads((run.folder / "quantization.json").read_text())["reports"][-1]
    assert kept["step"] == 4 and kept["forms"]["q4_0"]["bits_per_byte"] == {
        code: small.languages[code]["bits_per_byte"] for code in small.languages
    }


def test_reports_of_other_settings_stay(tmp_path: Path, corpus_folder: Path) -> None:
    run = varietas.Run("tiny", {"train.steps": 2, "checkpoint.every": 1}, folder=tmp_path / "run")
    run.train()
    czech, greek = ([document for document in parallel_documents() if document.lang == code] for code in ("ces_Latn", "ell_Grek"))

    def kept() -> list[tuple[int, set[str], set[str]]]:
        reports = json.loads((run.folder / "quantization.json").read_text())["reports"]
        return [(report["step"], set(report["forms"]), set(report["forms"]["f32"]["bits_per_byte"])) for report in reports]

    varietas.quantization_damage(run.folder, ["int8"], czech, step=1)
    varietas.quantization_damage(run.folder, ["int8"], czech)
    varietas.quantization_damage(run.folder, ["int4"], czech)
    varietas.quantization_damage(run.folder, ["int4"], greek)
    varietas.quantization_damage(run.folder, ["int4"], greek, czech)
    of_czech = [(1, {"f32", "int8"}, {"ces_Latn"}), (2, {"f32", "int8", "int4"}, {"ces_Latn"})]
    assert kept() == [*of_czech, (2, {"f32", "int4"}, {"ell_Grek"}), (2, {"f32", "int4", "int4 calibrated"}, {"ell_Grek"})]
    (run.folder / "quantization.json").write_text("{")
    with pytest.raises(ValueError, match=r"quantization.json is not valid JSON .*restore it from a copy, or delete it"):
        varietas.quantization_damage(run.folder, ["int8"], czech)


def test_the_language_that_loses_most_comes_first(run: varietas.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text("\n".join(json.dumps({"text": d.text, "lang": d.lang}) for d in parallel_documents() if d.lang in LANGUAGES))
    assert main(["quantize", "--run", str(run.folder), "--to", "q8_0", "q4_0", "--text", str(text)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    losses = [float(line[-1].rstrip("%")) for line in lines if line and line[0] in LANGUAGES]
    assert len(losses) == 3 and losses == sorted(losses, reverse=True)


def test_calibrated_weights_stand_beside_the_others(tmp_path: Path, corpus_folder: Path) -> None:
    wide = varietas.Run("tiny", {"train.steps": 4, "model.d_model": 256, "model.d_ff": 256, "model.n_layers": 1}, folder=tmp_path / "wide")
    wide.train()
    text = [document for document in parallel_documents() if document.lang in LANGUAGES]
    found = varietas.quantization_damage(wide.folder, ["q4_k"], text, text)
    assert [form.name for form in found] == ["f32", "q4_k", "q4_k calibrated"] and found[1].bytes == found[2].bytes
    files = [tmp_path / "plain.gguf", tmp_path / "calibrated.gguf"]
    wide.export_gguf(files[0], form="q4_k")
    assert main(["export", "--run", str(wide.folder), "--format", "gguf", "--quantize", "q4_k", "--calibrate", "--out", str(files[1])]) == 0
    plain, calibrated = ({tensor.name: tensor.data for tensor in gguf.GGUFReader(file).tensors} for file in files)
    differ = {name for name, data in plain.items() if not np.array_equal(data, calibrated[name])}
    assert differ == {f"blk.0.{name}.weight" for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")}


def test_evaluate_and_generate_take_the_forms_that_quantize_measures(
    run: varietas.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = [document for document in parallel_documents() if document.lang in LANGUAGES]
    _, eight, four, calibrated = varietas.quantization_damage(run.folder, ["int8", "int4"], text, text)
    assert calibrated.name == "int4 calibrated" and four.bytes == calibrated.bytes < eight.bytes
    params = run._network()[0].params
    embedding, whole = params["embedding_VD"].size, sum(x.size for x in jax.tree.leaves(params))  # tied
    assert eight.bytes == pytest.approx(whole, rel=0.1) and four.bytes == pytest.approx(embedding + (whole - embedding) * 5 / 8, rel=0.1)
    file = tmp_path / "text.jsonl"
    file.write_text("\n".join(json.dumps({"text": d.text, "lang": d.lang}) for d in text))
    flags = ["--run", str(run.folder), "--cpu_devices", "1"]
    for form, more in ((eight, []), (four, []), (calibrated, ["--calibrate", str(file)])):
        quantize = ["--quantize", form.name.split()[0], *more]
        assert main(["evaluate", *flags, "--text", str(file), *quantize]) == 0
        name = f"text-{form.name.replace(' ', '-')}"
        kept = json.loads((run.folder / "evaluations" / name / "4.json").read_text())["languages"]
        for code, row in form.languages.items():
            assert kept[code]["bits_per_byte"] == pytest.approx(row["bits_per_byte"], abs=2e-4)
    capsys.readouterr()
    texts = []
    for more in ([], ["--quantize", "int8"], ["--quantize", "int4"]):
        assert main(["generate", *flags, "--prompt", "Ahoj", "--max_tokens", "24", *more]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] and len(texts[2]) > 24  # 8 bits change nothing that matters
    assert varietas.Run.open(run.folder, small=varietas.Small("int8")).digest() == run.digest()
    assert main(["evaluate", *flags, "--text", str(file), "--name", "x-int4"]) == 2
    assert "ends like the name of a small form" in capsys.readouterr().err


def test_what_is_no_small_form_is_refused(run: varietas.Run) -> None:
    for make in (
        lambda: varietas.Small("q4_k"),
        lambda: varietas.Small("int8", []),
        lambda: varietas.quantization_damage(run.folder, ["int5"]),
    ):
        with pytest.raises(ValueError, match=r"int4"):
            make()


def test_forms_of_our_own_need_no_model_of_llama_cpp(tmp_path: Path, corpus_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    window = varietas.Run("tiny", {"train.steps": 2, "model.sliding_window": 16}, folder=tmp_path / "window")
    window.train()
    text = [document for document in parallel_documents() if document.lang in LANGUAGES]
    with caplog.at_level("WARNING", "varietas"):
        found = varietas.quantization_damage(window.folder, ["int4"], text, text)
    assert [form.name for form in found] == ["f32", "int4", "int4 calibrated"]
    assert "has none of 31 languages that the model was trained on: als_Latn, " in caplog.text
    with pytest.raises(ValueError, match=r"model.sliding_window=16 is not known to llama.cpp"):
        varietas.quantization_damage(window.folder, ["q8_0"], text)


def test_what_is_not_calibrated(run: varietas.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        ["quantize", "--to", "q8_0"],
        ["export", "--format", "gguf", "--quantize", "q4_0", "--out", str(tmp_path / "x")],
        ["evaluate", "--quantize", "int8"],
        ["generate"],
    ):
        assert main([*command, "--run", str(run.folder), "--calibrate"]) == 2
        assert "other forms are not calibrated" in capsys.readouterr().err
