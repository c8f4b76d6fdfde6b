"""What a new user does wrong on the command line: one line says it, with exit status 2, and nothing is left behind."""

import gc
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from varietas.launch.cli import interrupt_again, main
from varietas.launch.run import Run

RUN = ("train", "--config", "tiny", "--run", "x")
PREPARE = ("prepare", "--out", "c", "--tokenizer", "t.model")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with files and folders to confuse."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # `main` sets it
    monkeypatch.delenv("VARIETAS_DEBUG", raising=False)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("text")
    (tmp_path / "binary.py").write_bytes(bytes(range(256)))
    for name, code in {"syntax": "def get_config(\n", "raises": "1 / 0", "none": "def get_config(): pass", "exits": "exit()"}.items():
        (tmp_path / f"{name}.py").write_text(code)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("trian",), "did you mean train?"),
        (("--foo",), "the verb comes first"),
        (("train", "--confg", "demo"), "unknown argument '--confg'; did you mean --config?"),
        (("train", "--steps", "3"), "did you mean --config.train.steps?"),
        (("train", "--config.train.stps=3"), "did you mean train.steps?"),
        (("mixture", "--confg", "demo"), "did you mean --config?"),
        (("prepare", "--inptu", "a"), "did you mean --input?"),
        (("tokenizer", "--sample", "a"), "did you mean --sampling?"),
        (("evaluate", "--txt", "a"), "did you mean --text?"),
        (("generate", "--promt", "a"), "did you mean --prompt?"),
        (("serve", "--prot", "80"), "did you mean --port?"),
        (("serve", "--run", "folder", "--port", "70000"), "expected a port from 0 to 65535, found '70000'"),
        (("report", "--sample"), "did you mean --samples?"),
        (("digest", "--stp", "3"), "did you mean --step?"),
        (("train", "demo"), "did you mean --config demo?"),
        (("digest", "runs/demo"), "did you mean --run runs/demo?"),
        (("train", "--config", "tiny", "--run", ""), "expected a value, found ''"),
        (("train", "--config", "", "--run", "x"), "choose from demo"),
        (("train", "--config", "folder", "--run", "x"), "--config folder: a folder"),
        (("train", "--config", "file", "--run", "x"), "--config file: not a .py file"),
        (("train", "--config", "binary.py", "--run", "x"), "Error: source code string cannot contain null bytes"),
        (("train", "--config", "syntax.py", "--run", "x"), "syntax.py, line 1: SyntaxError"),
        (("train", "--config", "raises.py", "--run", "x"), "raises.py, line 1: ZeroDivisionError"),
        (("train", "--config", "none.py", "--run", "x"), "get_config() returned nothing"),
        (("train", "--config", "exits.py", "--run", "x"), "exits.py, line 1: SystemExit"),
        (("train", "--config", "tiny", "--run", "file/x"), "file is a file; name a folder"),
        ((*RUN, "--config.train.steps"), "has no value"),
        ((*RUN, "--config.train.steps=١٢"), "expected int"),
        ((*RUN, "--config.train.steps=" + "9" * 5000), "expected int"),
        ((*RUN, "--config.data.corpus= , "), "names no folder"),
        ((*RUN, "--config.data.corpus=folder"), "folder is not a prepared corpus"),
        ((*RUN, "--cpu_devices", "99999999"), "a whole number from 1 to 1,024"),
        ((*PREPARE, "--lang", "cs"), "--lang says how files are prepared"),
        ((*PREPARE, "--config", "web"), "--config says how files are prepared"),
        ((*PREPARE, "--config.clean.pii=mask"), "--config.clean.pii=mask says how files are prepared"),
        ((*PREPARE, "--input", "file", "--config.train.steps=4"), "prepare reads only the fields of --config.clean"),
        (("tokenizer", "--out", "x.model", "--fields", "text=a"), "--fields says how files are read"),
        (("tokenizer", "--report", "file", "--vocab_size", "500"), "--vocab_size is about training"),
        (("evaluate", "--run", "folder", "--lang", "cs"), "--lang says how the files of --text are read"),
        (("evaluate", "--run", "folder", "--text", "a", "--lang", "xx"), "expected the code of a language"),
    ],
)
def test_one_line(arguments: tuple[str, ...], says: str, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = sorted(here.rglob("*"))
    assert main(arguments) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("varietas: ") and err.count("\n") == 1 and says in err
    assert len(err) < 2000 and sorted(here.rglob("*")) == before


@pytest.mark.parametrize(("verb", "shown"), [("train", "--config.FIELD=VALUE"), ("prepare", "--config.clean.FIELD=VALUE")])
def test_help_explains_config_fields_apart_from_flags(verb: str, shown: str, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    out = capfd.readouterr().out
    assert shown in out.split("config fields:")[1] and "[--config.FIELD" not in out


def test_debug_keeps_the_traceback(here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("VARIETAS_DEBUG", "1")
    assert main(["train", "--config", "raises.py", "--run", "x"]) == 2
    err = capfd.readouterr().err
    assert "Traceback" in err and "ZeroDivisionError: division by zero" in err
    assert err.splitlines()[-1] == "varietas: raises.py, line 1: ZeroDivisionError: division by zero"


def test_a_fault_of_ours_is_one_line_too(here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("varietas.launch.verbs.digest.run", lambda *_: {}["fault"])
    assert main(["digest", "--run", "x"]) == 1
    err = capfd.readouterr().err
    assert err.startswith("varietas: KeyError: 'fault' (cli.py ") and "VARIETAS_DEBUG=1" in err and err.count("\n") == 1


def test_a_ctrl_c_while_garbage_is_collected_counts(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def collected(*_: object) -> None:  # as jax's, in which Python ignores what is raised
        gc.callbacks.remove(collected)
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "unraisablehook", interrupt_again)
    gc.callbacks.append(collected)
    gc.collect()
    with pytest.raises(KeyboardInterrupt):
        time.sleep(5)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("streams", "status"), [(">&-", 0), ("2>&-", 0), (">&- 2>&-", 0), ("<&-", 0)])
def test_streams_that_are_closed(streams: str, status: int) -> None:
    command = f"{sys.executable} -m varietas.launch --version {streams}"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / ".pkg")}
    done = subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True)
    assert done.returncode == status and done.stderr == ""


def test_a_corpus_that_has_moved(corpus_folder: Path, tmp_path: Path) -> None:
    """The digest decides whether it is the same one."""
    folder, moved = tmp_path / "run", tmp_path / "moved"
    moved.symlink_to(corpus_folder)
    run = Run("tiny", {"data.corpus": moved}, folder=folder)
    folder.mkdir()
    values = run.config.to_dict()
    assert values["data"]["corpus"] == str(moved)
    values["data"]["corpus"] = str(tmp_path / "gone")
    (folder / "config.json").write_text(json.dumps(values))
    (folder / "metrics.jsonl").write_text('{"step": 0}\n')
    identity = {"corpus_digest": run.stream.corpus.digest, "tokenizer_digest": run.stream.corpus.manifest["tokenizer_digest"]}
    (folder / "mixture.json").write_text(json.dumps(identity))
    with pytest.raises(ValueError, match=r"is not at .*gone; say where it is now with evaluate --corpus PATH"):
        _ = Run.open(folder).stream
    assert Run.open(folder, corpus=moved).stream.corpus.path == moved
    (folder / "mixture.json").write_text(json.dumps({**identity, "corpus_digest": "another"}))
    with pytest.raises(ValueError, match="corpus_digest"):
        Run.open(folder, corpus=moved)


@pytest.mark.parametrize(
    "arguments", [("export", "--run", "x", "--out", "y"), (*PREPARE, "--input", "file"), ("mixture", "--config", "tiny")]
)
def test_what_one_process_does_is_refused_once_where_several_start(
    arguments: tuple[str, ...], here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(here.iterdir())
    for name, value in {"WORLD_SIZE": "4", "MASTER_ADDR": "localhost", "MASTER_PORT": "5000"}.items():
        monkeypatch.setenv(name, value)
    said = []
    for rank in range(4):
        monkeypatch.setenv("RANK", str(rank))
        assert main(arguments) == 2
        said.append(capsys.readouterr())
    assert all(one.out == "" for one in said) and all(one.err == "" for one in said[1:])
    assert said[0].err == (
        f"varietas: {arguments[0]} is done by one process, and this is one of 4; start it without srun, mpirun or torchrun\n"
    )
    assert sorted(here.iterdir()) == before
