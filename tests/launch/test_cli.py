"""The commands as a user types them, in processes of their own."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import several

TINY = ("--config", "tiny", "--cpu_devices", "2", "--config.train.steps=12", "--config.checkpoint.every=4")


def varietas(*args: str | Path, check: bool = True, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "varietas.launch", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def steps_recorded(run: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module", autouse=True)
def _optimised() -> Iterator[None]:
    """Programs are those of a user, with all of XLA's optimisations, but in tests that say otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        for name in several.QUICK:
            patch.delenv(name)
        yield


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that no other test here needs."""
    for name, value in several.QUICK.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny` trained for 12 steps without interruption."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    varietas("train", *TINY, "--run", folder)
    return folder


def test_help_names_every_verb_and_shows_examples() -> None:
    text = varietas("--help").stdout
    for verb in (
        "tokenizer", "fences", "prepare", "mixture", "plan", "train", "submit", "status", "evaluate", "generate", "serve", "report",
        "digest", "benchmarks", "doctor",
    ):  # fmt: skip
        assert re.search(rf"^ +{verb}\b", text, re.MULTILINE)
        assert f"varietas {verb} --" in varietas(verb, "--help").stdout


def test_alone_it_helps_and_says_its_version() -> None:
    assert "varietas VERB --help" in varietas().stdout
    assert re.fullmatch(r"varietas \d+\.\d+\.\d+\n", varietas("--version").stdout)


def modules_after(*args: str | Path, status: int = 2, cwd: Path | None = None) -> set[str]:
    """The top-level modules that are imported when the command line answers with this exit status."""
    code = (
        "import os, sys; os.environ['GLIBC_TUNABLES'] = ''; from varietas.launch.cli import main\n"
        "try: status = main(sys.argv[1:])\nexcept SystemExit as end: status = end.code\n"
        "print('modules:', *{name.split('.')[0] for name in sys.modules}); sys.exit(status)"
    )
    out = subprocess.run([sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, cwd=cwd)
    assert out.returncode == status, out.stderr
    return set(out.stdout.split("modules:")[1].split())


@pytest.mark.parametrize(
    ("arguments", "status"), [(("--help",), 0), (("train", "--help"), 0), (("tokeniser",), 2), (("digest", "--run", "x", "--stp", "3"), 2)]
)
def test_help_and_wrong_words_do_not_wait_for_libraries(arguments: tuple[str, ...], status: int) -> None:
    assert not modules_after(*arguments, status=status) & {"jax", "numpy", "ml_collections", "pyarrow", "sentencepiece"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "--config", "tinny", "--run", "x"),
        ("train", "--config", "tiny", "--run", "x", "--config.train.step=3"),
        ("train", "--config", "tiny", "--run", "x", "--config.train.steps=many"),
        ("train", "--config", "tiny", "--run", "x", "--config.mesh.tensor=3"),
        ("train", "--config", "tiny", "--run", "x", "--config.data.corpus=nowhere"),
        ("train", "--config", "tiny", "--run", "x", "--config.data.mixture.weights=xyz_Latn:1"),
        ("train", "--config", "tiny", "--run", "RUN", "--config.seed=1"),
        ("mixture", "--config", "tiny", "--config.data.mixture.where=qualty > 1"),
        ("evaluate", "--run", "x"),
        ("evaluate", "--run", "RUN", "--text", "none.jsonl"),
        ("evaluate", "--run", "RUN", "--name", "../x"),
        ("generate", "--run", "RUN", "--max_tokens", "500"),
        ("generate", "--run", "RUN", "--top_p", "2"),
        ("report", "--run", "x"),
        ("digest", "--run", "RUN", "--step", "9"),
        ("prepare", "--input", "none.jsonl", "--out", "c", "--tokenizer", "t.model"),
        ("tokenizer", "--input", "none*.jsonl", "--out", "t.model"),
        ("tokenizer", "--out", "t.model", "--sampling", "alpa:1"),
    ],
)
def test_mistakes_are_answered_without_jax(arguments: tuple[str, ...], run: Path, tmp_path: Path) -> None:
    """Importing these takes 2 to 5 seconds on two cores."""
    given = [run if argument == "RUN" else argument for argument in arguments]
    assert not modules_after(*given, cwd=tmp_path) & {"jax", "flax", "orbax", "grain", "optax"}


def test_output_is_utf8_whatever_the_locale_says(run: Path, tmp_path: Path) -> None:
    foreign = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "varietas.launch", "evaluate", "--run", str(run)]
    done = subprocess.run(command, capture_output=True, env=foreign, timeout=300)
    assert done.returncode == 0 and "×English" in done.stdout.decode("utf-8"), done.stderr


def test_64_bit_types_change_nothing_that_is_kept(run: Path, tmp_path: Path) -> None:
    """A notebook or an environment variable may turn them on; a run trains, resumes and generates all the same, in float32."""
    wide, command = tmp_path / "run", [sys.executable, "-m", "varietas.launch", "train", *TINY, "--run", "run"]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "JAX_ENABLE_X64": "1"}, cwd=tmp_path, timeout=300)
        assert done.returncode == 0, done.stderr
        assert steps_recorded(wide) == list(range(12))
        shutil.rmtree(wide / "checkpoints" / "12")  # so it goes on after step 8
    losses = [[json.loads(line)["loss"] for line in (each / "metrics.jsonl").open()] for each in (wide, run)]
    assert losses[0][0] == losses[1][0] and losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert varietas("generate", "--run", wide, "--prompt", "Dobrý den", "--max_tokens", "8").returncode == 0


def test_repeated_flags_add_up(tmp_path: Path) -> None:
    for code in ("cs", "mt"):
        (tmp_path / f"{code}.jsonl").write_text("".join(f'{{"lang":"{code}","text":"slovo {i} {code}"}}\n' for i in range(200)))
    inputs = ("--input", "cs.jsonl", "--input", "mt.jsonl")
    varietas("tokenizer", *inputs, "--out", "t.model", "--vocab_size", "310", cwd=tmp_path)
    out = varietas("tokenizer", "--report", "t.model", "--report", "t.model", cwd=tmp_path).stdout
    assert "t, 310 pieces" in out and "t (2), 310 pieces" in out
    assert "no --parallel: tokens are counted on passages of the Declaration of Human Rights" in out
    varietas("prepare", *inputs, "--out", "corpus", "--tokenizer", "t.model", cwd=tmp_path)
    assert set(json.loads((tmp_path / "corpus" / "manifest.json").read_text())["languages"]) == {"ces_Latn", "mlt_Latn"}


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
    assert wrong.returncode == 2 and "it has: 4, 8, 12" in wrong.stderr


def test_another_config_is_refused_and_an_allowed_change_is_said(run: Path, tmp_path: Path, quick: None) -> None:
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
        (("train", "--config", "tiny", "--run", "x", "--config.mesh.data=4", "--config.mesh.fsdp=1", "--cpu_devices", "8"), "found 8"),
        (("train", "--config", "tiny", "--run", "x", "--config.mesh.data=3"), "does not divide over data=3 devices"),
        (("train", "--config", "tiny", "--run", "x", "--config.data.corpus=nowhere"), "varietas prepare"),
        (("train", "--config", "tiny", "--run", "x", "--config.data.mixture.weights=xyz_Latn:1"), "the nearest is"),
        (("evaluate", "--run", "x"), "is not a run folder"),
        (("prepare", "--input", "none.jsonl", "--out", "c", "--tokenizer", "t.model"), "t.model: no such file"),
        (("tokenizer", "--input", "none*.jsonl", "--out", "t.model"), "none*.jsonl: no such file"),
        (("digest", "--run", "x", "--stp", "3"), "unknown argument '--stp'; did you mean --step?"),
        (("tokeniser", "--out", "t.model"), "there is no verb 'tokeniser'; did you mean tokenizer?"),
        (("generate", "--run", "x", "--max_tokens", "many"), "expected a whole number of 1 or more, found 'many'"),
        (("train", "--run", "x"), "required: --config"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = varietas(*arguments, check=False, cwd=tmp_path)
    errors = [line for line in done.stderr.splitlines() if line.startswith("varietas: ")]
    assert done.returncode == 2 and says in errors[-1] and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_from_ones_own_text_to_a_model(tmp_path: Path, quick: None) -> None:
    """Two languages, one of which the demo does not have; one bad line."""
    lines = [
        json.dumps({"id": str(i), "lang": "mt" if i % 3 else "gle_Latn", "text": f"Sentenza numru {i}. Abairt uimhir {i * 7}."})
        for i in range(400)
    ]
    (tmp_path / "text.jsonl").write_text("\n".join([*lines, "{broken"]), "utf-8")
    varietas("tokenizer", "--input", tmp_path / "text.jsonl", "--out", tmp_path / "t.model", "--vocab_size", "320")
    out = varietas("prepare", "--input", tmp_path / "text.jsonl", "--out", tmp_path / "corpus", "--tokenizer", tmp_path / "t.model").stdout
    assert "invalid JSON 1 " in " ".join(out.split()) and "rejects.jsonl" in "".join(out.split())  # a long path is wrapped
    assert re.findall(r"read [\d.]+ MB, [\d.]+ MB/s of input in \d+ s, 1 part\n", out) and out.count("of input") == 1
    manifest = json.loads((tmp_path / "corpus" / "manifest.json").read_text())
    assert (manifest["documents"], manifest["records_read"], set(manifest["languages"])) == (400, 401, {"mlt_Latn", "gle_Latn"})
    run = tmp_path / "run"
    trained = varietas("train", *TINY, "--run", run, "--config.data.corpus=corpus", "--config.data.mixture.weights=mt:3,ga:1", cwd=tmp_path)
    assert "vocabulary 384 (the tokenizer has 320 pieces)" in trained.stdout
    assert json.loads((run / "config.json").read_text())["model"]["vocab_size"] == 384
    languages = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["languages"]
    assert set(languages) == {"mlt_Latn", "gle_Latn"}
    (tmp_path / "elsewhere").mkdir()
    varietas("evaluate", "--run", run, "--text", tmp_path / "text.jsonl", cwd=tmp_path / "elsewhere")  # the corpus was named relatively
    rows = json.loads((run / "evaluations" / "text" / "12.json").read_text())["languages"]
    assert rows["mlt_Latn"]["trained_on"] and rows["mlt_Latn"]["bits_per_byte"] < rows["mlt_Latn"]["untrained"]
    shutil.move(tmp_path / "corpus" / "manifest.json", tmp_path / "kept.json")
    varietas("prepare", "--input", tmp_path / "text.jsonl", "--out", tmp_path / "other", "--tokenizer", run / "tokenizer.model")
    fields = ("--config.data.corpus=../other", "--config.data.mixture.weights=mt:3,ga:1", "--config.train.steps=14")
    moved = varietas("train", *TINY[:4], *fields, "--run", run, cwd=tmp_path / "elsewhere")
    assert "data.corpus" in moved.stdout  # the same digest in another place is the same corpus
    assert "train.steps: 12 -> 14" in moved.stdout and "the cosine schedule now ends at step 14" in moved.stdout
    assert steps_recorded(run) == list(range(14))


def test_another_corpus_is_refused(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    text = "\n".join(json.dumps({"lang": "cs", "text": f"Věta číslo {i}."}) for i in range(50))
    (tmp_path / "text.jsonl").write_text(text, "utf-8")
    varietas("prepare", "--input", tmp_path / "text.jsonl", "--out", tmp_path / "corpus", "--tokenizer", run / "tokenizer.model")
    refused = varietas(
        "train", *TINY, "--run", tmp_path / "run", f"--config.data.corpus={tmp_path / 'corpus'}", "--config.train.steps=20", check=False
    )
    assert refused.returncode == 2 and "corpus_digest" in refused.stderr
    assert (tmp_path / "run" / "config.json").read_bytes() == (run / "config.json").read_bytes()  # and nothing has changed
    varietas("evaluate", "--run", tmp_path / "run")


def test_prompts_are_continued_and_a_report_is_written(run: Path) -> None:
    one = varietas("generate", "--run", run, "--prompt", "Dobrý den", "--max_tokens", "8").stdout
    assert one.startswith("Dobrý den") and len(one) > len("Dobrý den") + 1
    two = varietas("generate", "--run", run, "--prompt", "Dobrý den", "--prompt", "Guten", "--max_tokens", "8").stdout
    assert one.strip() in two and "Guten" in two
    long = varietas("generate", "--run", run, "--max_tokens", "500", check=False)
    assert long.returncode == 2 and "exceed the model's context of 128 tokens" in long.stderr
    varietas("report", "--run", run)
    assert "<html" in (run / "report.html").read_text("utf-8")


def test_killed_at_any_moment_it_ends_with_the_same_bits(run: Path, tmp_path: Path) -> None:
    """kill -9 after some steps and in the middle of saves, again and again; then SIGTERM; then to the end."""
    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "varietas.launch", "train", *TINY, "--run", str(killed)]

    def saving() -> bool:
        return any(killed.glob("checkpoints/*tmp*"))

    def recorded(n: int) -> bool:
        """Whether more than n whole lines are written; the last one may be half there."""
        return (killed / "metrics.jsonl").exists() and (killed / "metrics.jsonl").read_bytes().count(b"\n") > n

    moments = [lambda: recorded(0), saving, lambda: recorded(5), saving, lambda: recorded(9)]
    for number, moment in enumerate(moments):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
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
