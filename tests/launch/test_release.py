"""`varietas release`: a folder that others' tools load and check, and that names what is missing."""

import hashlib
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

import varietas
from varietas.data.packages import source_digest
from varietas.launch.cli import main
from varietas.train.run_folder.evaluations import HELD_OUT, Documents, Evaluation, write

pytestmark = pytest.mark.heavy("model-signing")

FACTS = """
[provider]
name = "Example Lab, Praha"
[model]
name = "Example 1"
[release]
license = "Apache-2.0"
documentation_license = "CC-BY-4.0"
technical_report = "https://lab.example/report"
[use]
intended = "tests"
limits = "it writes no sense"
[sources."eld 1.0.6"]
kind = "public"
link = "https://eld.example"
description = "sentences"
"""
RANDOM = ("model.sig",)  # the only file in which chance has a part


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was evaluated, a key and facts."""
    folder = tmp_path_factory.mktemp("release")
    run = varietas.Run("tiny", {"train.steps": 4, "optim.warmup_steps": 1}, folder=folder / "run")
    run.train()
    run.evaluate()
    run.sample()
    (folder / "facts.toml").write_text(FACTS)
    make_key(folder / "key.pem", "prime256v1")
    return folder


@pytest.fixture(scope="module")
def release(folder: Path) -> Path:
    assert released(folder, "first/example") == 0
    return folder / "first" / "example"


def make_key(file: Path, curve: str) -> None:
    subprocess.run(["openssl", "ecparam", "-name", curve, "-genkey", "-noout", "-out", str(file)], check=True)


def released(folder: Path, out: str, *flags: str, run: str = "run") -> int:
    named = ["--facts", str(folder / "facts.toml"), "--key", str(folder / "key.pem")]
    return main(["release", "--run", str(folder / run), "--out", str(folder / out), *(flags or named)])


def files(release: Path) -> dict[str, bytes]:
    return {file.relative_to(release).as_posix(): file.read_bytes() for file in release.rglob("*") if file.is_file()}


def test_sums_and_signature_cover_every_file(release: Path) -> None:
    sums = dict(reversed(line.split("  ")) for line in (release / "SHA256SUMS").read_text().splitlines())
    content = files(release)
    assert set(content) - set(sums) == {"SHA256SUMS", "model.sig"}
    assert all(hashlib.sha256(content[path]).hexdigest() == digest for path, digest in sums.items())
    verify(release)
    tampered = release.parent / "tampered"
    shutil.copytree(release, tampered)
    (tampered / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"Hash mismatch for 'config\.json'"):
        verify(tampered)


def verify(release: Path) -> None:
    """Checks a signature as the command `model_signing verify key` does."""
    from model_signing import hashing, verifying

    ignored = hashing.Config().set_ignored_paths(paths=[release / "model.sig"], ignore_git_paths=True)
    config = verifying.Config().use_elliptic_key_verifier(public_key=release / "model.pub").set_hashing_config(ignored)
    config.verify(release, release / "model.sig")


def test_the_same_run_gives_the_same_bytes(folder: Path, release: Path) -> None:
    assert released(folder, "second/example") == 0
    again, first = files(folder / "second" / "example"), files(release)
    assert set(again) == set(first) and [path for path in first if again[path] != first[path] and path not in RANDOM] == []


def test_others_load_it(release: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    from gguf import GGUFReader
    from transformers import AutoModelForCausalLM, AutoTokenizer

    bill = (release / "bom.cdx.json").read_text("utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
    model = json.loads(bill)["metadata"]["component"]
    assert model["name"] == "Example 1" and model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert len(model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]) > 60
    assert AutoModelForCausalLM.from_pretrained(release) and AutoTokenizer.from_pretrained(release)("Dobrý den")["input_ids"]
    assert sorted(file.name for file in (release / "gguf").iterdir()) == ["example-q4_k.gguf", "example-q8_0.gguf"]
    assert all(GGUFReader(file).tensors for file in (release / "gguf").iterdir())
    for name in ("data/summary.json", "training/config.json", "documentation/openness.json", "evaluations/declaration.json"):
        assert json.loads((release / name).read_text("utf-8"))


def test_what_is_missing_is_named_and_figures_are_those_of_the_run(folder: Path, release: Path) -> None:
    found = json.loads((release / "documentation" / "openness.json").read_text("utf-8"))
    missing = {name for names in found["missing"].values() for name in names}
    assert missing == {"complete description of all data", "research paper", "checkpoints of earlier steps"}
    assert not found["open_source_ai_definition_1.0"]["met"] and found["model_openness_framework"]["class"] == "II, open tooling"
    form = (release / "documentation" / "model_documentation.md").read_text("utf-8")
    environment = json.loads((folder / "run" / "environment.json").read_text())
    config = json.loads((folder / "run" / "config.json").read_text())
    tokens = 4 * config["train"]["batch_size"] * config["data"]["seq_len"]
    assert f"{environment['flops_per_token'] * tokens:.2g} FLOP; counted" in form and "**[to be filled in]**" in form
    assert f"{environment['parameters']:,}" in form and "`data.bias`: " in form and "Example Lab, Praha" in form
    card = (release / "README.md").read_text("utf-8")
    assert "license: apache-2.0" in card and "**Limits.** it writes no sense" in card and "# Example 1" in card
    assert "| ces_Latn | Czech |" in card and "class in the Model Openness Framework: II, open tooling" in card


def test_no_folder_of_this_machine_and_no_private_key_go_out(folder: Path, release: Path) -> None:
    """Also not of a run that began with another model, on a corpus of its own. It was not evaluated, which is missing."""
    texts = [json.dumps({"text": f"Všichni lidé rodí se svobodní a sobě rovní, praví věta {i}.", "lang": "ces_Latn"}) for i in range(300)]
    (folder / "texts.jsonl").write_text("\n".join(texts))
    tokenizer = str(release / "tokenizer.model")
    prepared = ["prepare", "--input", str(folder / "texts.jsonl"), "--out", str(folder / "own"), "--tokenizer", tokenizer, "--workers", "1"]
    assert main(prepared) == 0
    begun = {"train.init_from": str(release), "data.corpus": str(folder / "own"), "train.steps": 2, "optim.warmup_steps": 1}
    varietas.Run("tiny", begun, folder=folder / "continued").train()
    assert released(folder, "fourth", "--gguf", run="continued") == 0
    content = files(release) | {f"fourth/{path}": found for path, found in files(folder / "fourth").items()}
    telling = [path for path, found in content.items() if str(folder).encode() in found or b"PRIVATE KEY" in found]
    assert telling == ["fourth/ledger/checkpoints.jsonl"]  # which is signed as it is
    form = (folder / "fourth" / "documentation" / "model_documentation.md").read_text("utf-8")
    assert "**Model dependencies.** continued from example" in form and "nor is the training of example" in form
    openness = json.loads((folder / "fourth" / "documentation" / "openness.json").read_text("utf-8"))
    assert any("evaluation results" in names for names in openness["missing"].values())


def test_the_source_is_that_of_this_process(release: Path) -> None:
    (archive,) = (release / "code").iterdir()
    assert source_digest()[:12] in archive.name
    with tarfile.open(archive) as tar:
        names = tar.getnames()
        inside = tar.extractfile(next(name for name in names if name.endswith("/varietas/train/step.py")))
        assert inside is not None
        assert inside.read() == (Path(varietas.__file__).parent / "train" / "step.py").read_bytes()
    assert not any("test" in Path(name).name for name in names) and any(Path(name).name == "LICENSE" for name in names)


def test_an_imported_model_has_no_training_to_tell_of_but_results(folder: Path, release: Path) -> None:
    assert main(["import", "--from", str(release), "--run", str(folder / "imported")]) == 0
    row = {"bits_per_byte": 2.5, "interval": (2.25, 2.875), "bytes": 900, "documents": 2, "trained_on": True}
    documents = {"ces_Latn": Documents(("a" * 16, "b" * 16), ("", ""), (400, 500), (693.1, 866.4))}
    write(folder / "imported", Evaluation(HELD_OUT, 0, "documents that are held out", "0" * 64, {"ces_Latn": row}, documents=documents))
    assert released(folder, "third", "--gguf", run="imported") == 0
    out = folder / "third"
    assert not (out / "ledger").exists() and not (out / "gguf").exists() and not (out / "data").exists()
    openness = json.loads((out / "documentation" / "openness.json").read_text("utf-8"))
    assert openness["model_openness_framework"]["class"] == "none yet"
    card = (out / "README.md").read_text("utf-8")
    assert "the model was not trained here" in card and "| ces_Latn | Czech | 0 |  | 2.500 (2.250–2.875) |" in card
    assert not (out / "model.sig").exists()
    model = json.loads((out / "bom.cdx.json").read_text("utf-8"))["metadata"]["component"]["modelCard"]
    (metric,) = model["quantitativeAnalysis"]["performanceMetrics"]
    assert (metric["slice"], metric["value"]) == ("ces_Latn", "2.5")
    assert metric["confidenceInterval"] == {"lowerBound": "2.25", "upperBound": "2.875"}
    held_out, declaration = (
        json.loads((of / f"evaluations/{name}.json").read_text("utf-8")) for of, name in ((out, HELD_OUT), (release, "declaration"))
    )
    assert held_out["documents"] == {} and declaration["documents"]  # digests of held-out text would tell what is in the corpus


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--key", "missing.pem"], "missing.pem: No such file"),
        (["--key", "facts.toml"], "is not a private key in PEM; make one with `openssl ecparam"),
        (["--key", "other.pem"], "is not a key of one of the curves secp256r1"),
        (["--facts", "bad.toml"], r"release\.licence is unknown; did you mean license"),
        (["--step", "3"], "no checkpoint after step 3"),
        (["--gguf", "q5"], "invalid choice: 'q5'"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    folder: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    make_key(folder / "other.pem", "secp256k1")
    (folder / "bad.toml").write_text('[release]\nlicence = "MIT"')
    assert released(folder, "none", *flags) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (folder / "none").exists()
