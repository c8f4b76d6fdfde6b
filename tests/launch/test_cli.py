"""The commands as a user types them, in processes of their own."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TINY = ("--config", "tiny", "--cpu_devices", "2", "--config.train.steps=12", "--config.checkpoint.every=4")


def varietas(*args: str | Path, check: bool = True, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "varietas.launch", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment(), timeout=300)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def environment() -> dict[str, str]:
    """Without pytest's eight devices; our package found as pytest finds it."""
    package = str(Path(__file__).parents[2] / ".pkg")
    return {**os.environ, "PYTHONPATH": package, "JAX_PLATFORMS": "cpu"}


def steps_recorded(run: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny` trained for 12 steps without interruption."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    varietas("train", *TINY, "--run", folder)
    return folder


def test_help_names_every_verb_and_shows_examples() -> None:
    text = varietas("--help").stdout
    for verb in ("tokenizer", "prepare", "mixture", "train", "evaluate", "generate", "report", "digest"):
        assert re.search(rf"^ +{verb}\b", text, re.MULTILINE)
        assert f"varietas {verb} --" in varietas(verb, "--help").stdout


def test_help_does_not_wait_for_libraries() -> None:
    code = (
        "import sys, varietas.launch.cli as c; c.parser(); print(sorted({'jax', 'numpy', 'pyarrow', 'sentencepiece'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment()).stdout.strip() == "[]"


def test_a_run_leaves_what_the_readme_says(run: Path) -> None:
    assert steps_recorded(run) == list(range(12))
    record = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert set(record) == {"step", "loss", "grad_norm", "learning_rate", "tokens", "tokens_per_second", "mfu", "languages"}
    assert record["tokens"] == sum(language["tokens"] for language in record["languages"].values())
    assert all(set(language) == {"loss", "tokens", "epochs"} for language in record["languages"].values())
    assert json.loads((run / "config.json").read_text())["train"]["steps"] == 12
    assert list((run / "tensorboard").glob("events.*")) and (run / "tokenizer.model").is_file()
    assert sorted(int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdigit()) == [4, 8, 12]


def test_digest_is_printed_and_the_same_on_any_mesh(run: Path) -> None:
    digests = {varietas("digest", "--run", run, "--cpu_devices", str(n)).stdout.strip() for n in (1, 4)}
    again = varietas("train", *TINY, "--run", run).stdout  # nothing left to do
    assert len(digests) == 1 and digests.pop() in again
    assert varietas("digest", "--run", run, "--step", "8").stdout.strip() not in again
    wrong = varietas("digest", "--run", run, "--step", "9", check=False)
    assert wrong.returncode == 2 and "there are: 4, 8, 12" in wrong.stderr


def test_another_config_is_refused_and_an_allowed_change_is_said(run: Path, tmp_path: Path) -> None:
    other = varietas("train", *TINY, "--run", run, "--config.seed=1", "--config.optim.peak_lr=1e-4", check=False)
    assert other.returncode == 2 and "seed: 0 -> 1" in other.stderr and "optim.peak_lr: 0.003 -> 0.0001" in other.stderr
    shutil.copytree(run, tmp_path / "copy")
    longer = varietas(
        "train", *TINY[:2], "--run", tmp_path / "copy", "--config.train.steps=14", "--config.mesh.fsdp=4", "--cpu_devices", "8"
    )
    assert "train.steps: 12 -> 14" in longer.stdout and "mesh.fsdp: 1 -> 4" in longer.stdout
    assert steps_recorded(tmp_path / "copy") == list(range(14))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("train", "--config", "tinny", "--run", "x"), "did you mean tiny?"),
        (("train", "--config", "tiny", "--run", "x", "--config.train.step=3"), "did you mean train.steps?"),
        (("train", "--config", "tiny", "--run", "x", "--config.mesh.data=3", "--cpu_devices", "8"), "found 8"),
        (("train", "--config", "tiny", "--run", "x", "--config.data.corpus=nowhere"), "varietas prepare"),
        (("train", "--config", "tiny", "--run", "x", "--config.data.mixture.weights=xyz_Latn:1"), "the nearest is"),
        (("evaluate", "--run", "x"), "is no run folder"),
        (("prepare", "--input", "none.jsonl", "--out", "c", "--tokenizer", "t.model"), "t.model: no such file"),
        (("tokenizer", "--input", "none*.jsonl", "--out", "t.model"), "none*.jsonl: no such file"),
        (("digest", "--run", "x", "--stp", "3"), "unknown argument '--stp'; did you mean --step?"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = varietas(*arguments, check=False, cwd=tmp_path)
    errors = [line for line in done.stderr.splitlines() if line.startswith("varietas: ")]
    assert done.returncode == 2 and says in errors[-1] and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_from_ones_own_text_to_a_model(tmp_path: Path) -> None:
    """Two languages, one of which the demo does not have; one bad line."""
    lines = [
        json.dumps({"id": str(i), "lang": "mt" if i % 3 else "gle_Latn", "text": f"Sentenza numru {i}. Abairt uimhir {i * 7}."})
        for i in range(400)
    ]
    (tmp_path / "text.jsonl").write_text("\n".join([*lines, "{broken"]), "utf-8")
    varietas("tokenizer", "--input", tmp_path / "text.jsonl", "--out", tmp_path / "t.model", "--vocab_size", "320")
    out = varietas("prepare", "--input", tmp_path / "text.jsonl", "--out", tmp_path / "corpus", "--tokenizer", tmp_path / "t.model").stdout
    assert "invalid JSON 1 " in " ".join(out.split()) and "rejects.jsonl" in out
    manifest = json.loads((tmp_path / "corpus" / "manifest.json").read_text())
    assert (manifest["documents"], manifest["records_read"], set(manifest["languages"])) == (400, 401, {"mlt_Latn", "gle_Latn"})
    run = tmp_path / "run"
    varietas("train", *TINY, "--run", run, f"--config.data.corpus={tmp_path / 'corpus'}", "--config.data.mixture.weights=mt:3,ga:1")
    languages = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["languages"]
    assert set(languages) == {"mlt_Latn", "gle_Latn"}
    varietas("evaluate", "--run", run, "--text", tmp_path / "text.jsonl")
    rows = json.loads((run / "evaluation.json").read_text())["languages"]
    assert rows["mlt_Latn"]["trained_on"] and rows["mlt_Latn"]["bits_per_byte"] < rows["mlt_Latn"]["untrained"]
    shutil.move(tmp_path / "corpus" / "manifest.json", tmp_path / "kept.json")
    varietas("prepare", "--input", tmp_path / "text.jsonl", "--out", tmp_path / "other", "--tokenizer", run / "tokenizer.model")
    moved = varietas("train", *TINY, "--run", run, f"--config.data.corpus={tmp_path / 'other'}", "--config.data.mixture.weights=mt:3,ga:1")
    assert "data.corpus" in moved.stdout  # the same digest in another place is the same corpus


def test_another_corpus_is_refused(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    text = "\n".join(json.dumps({"lang": "cs", "text": f"Věta číslo {i}."}) for i in range(50))
    (tmp_path / "text.jsonl").write_text(text, "utf-8")
    varietas("prepare", "--input", tmp_path / "text.jsonl", "--out", tmp_path / "corpus", "--tokenizer", run / "tokenizer.model")
    refused = varietas(
        "train", *TINY, "--run", tmp_path / "run", f"--config.data.corpus={tmp_path / 'corpus'}", "--config.train.steps=20", check=False
    )
    assert refused.returncode == 2 and "corpus_digest" in refused.stderr


def test_generate_and_report(run: Path) -> None:
    one = varietas("generate", "--run", run, "--prompt", "Dobrý den", "--max_tokens", "8").stdout
    assert one.startswith("Dobrý den") and len(one) > len("Dobrý den") + 1
    two = varietas("generate", "--run", run, "--prompt", "Dobrý den", "--prompt", "Guten", "--max_tokens", "8").stdout
    assert one.strip() in two and "Guten" in two
    long = varietas("generate", "--run", run, "--max_tokens", "500", check=False)
    assert long.returncode == 2 and "exceed the model's context of 128" in long.stderr
    varietas("report", "--run", run)
    assert "<html" in (run / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_bits(run: Path, tmp_path: Path) -> None:
    """kill -9 after some steps and in the middle of saves, again and again; then SIGTERM; then to the end."""
    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "varietas.launch", "train", *TINY, "--run", str(killed)]

    def saving() -> bool:
        return any(killed.glob("checkpoints/*tmp*"))

    def recorded(n: int) -> bool:
        return (killed / "metrics.jsonl").exists() and len(steps_recorded(killed)) > n

    moments = [lambda: recorded(0), saving, lambda: recorded(5), saving, lambda: recorded(9)]
    for number, moment in enumerate(moments):
        process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL)
        while process.poll() is None and not moment():
            time.sleep(0.001)
        process.send_signal(signal.SIGTERM if number == 2 else signal.SIGKILL)
        process.wait(timeout=120)
    last = varietas("train", *TINY, "--run", killed).stdout
    assert varietas("digest", "--run", run).stdout.strip() in last
    assert steps_recorded(killed) == list(range(12))

    def without_time(folder: Path) -> list[dict[str, object]]:
        records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [{key: value for key, value in record.items() if key not in ("tokens_per_second", "mfu")} for record in records]

    assert without_time(killed) == without_time(run)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_a_program_starts_again_on_huge_pages_once_and_with_its_arguments(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\nfrom varietas.launch.backend import on_huge_pages\nprint('begun', flush=True)\non_huge_pages()\n"
        "print(os.environ['GLIBC_TUNABLES'], sys.argv[1:])\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    out = subprocess.run([sys.executable, script, "a b", "--c"], env=environment, capture_output=True, text=True)
    assert out.stdout.splitlines() == ["begun", "begun", "glibc.malloc.hugetlb=1 ['a b', '--c']"], out.stderr
