"""What a user sets is followed, or one line says that it is not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from varietas.data.corpus.sources import open_corpus
from varietas.data.files import split_paths
from varietas.launch.config import load_config
from varietas.launch.mesh import resolve_mesh
from varietas.model.config import ModelConfig
from varietas.train.inference import network
from varietas.train.run_folder.checkpoint import DamagedCheckpoint

REPO = Path(__file__).parents[2]
OURS = ("JAX_", "XLA_", "GLIBC_", "VARIETAS_DEBUG")  # what the tests of this file set themselves


def python(code: str, *args: str, cwd: Path | None = None, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in a process of its own, with `environment` added to an environment that sets nothing for jax."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    command = [sys.executable, *(["-c", code] if code else []), *args]
    env = {**plain, "PYTHONPATH": str(REPO / ".pkg"), **environment}
    return subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=cwd, env=env, timeout=300)


START = """
import sys
from varietas.launch import backend
try:
    print(backend.start(2, int(sys.argv[1]) if sys.argv[1:] else None))
except ValueError as error:
    sys.exit(str(error))
"""


def test_the_compilation_cache_of_the_user_holds_small_programs_too(tmp_path: Path) -> None:
    code = "from varietas.launch import backend; backend.start(1); import jax; jax.jit(lambda x: jax.numpy.sort(x) @ x)(jax.numpy.ones(9))"
    mine, ours = tmp_path / "mine", tmp_path / "ours"
    done = python(code, JAX_COMPILATION_CACHE_DIR=str(mine), VARIETAS_CACHE=str(ours))
    assert done.returncode == 0 and list(mine.iterdir()) and not (ours / "xla").exists(), done.stderr
    shutil.rmtree(mine)
    slow = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "100"}
    assert python(code, JAX_COMPILATION_CACHE_DIR=str(mine), **slow).returncode == 0 and not (mine.exists() and list(mine.iterdir()))


@pytest.mark.parametrize(
    ("platform", "says"),
    [
        ("cuda", "pip install 'varietas[cuda]'"),
        ("tpu", "pip install 'varietas[tpu]'"),
        ("kuda", "jax knows no such platform; choose from cpu, cuda"),
    ],
)
def test_a_platform_that_jax_does_not_have(platform: str, says: str) -> None:
    done = python(START, JAX_PLATFORMS=platform)
    assert done.returncode == 1 and done.stderr.startswith(f"JAX_PLATFORMS={platform}: ") and says in done.stderr
    assert done.stderr.count("\n") == 1


XLA_FLAG = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}


@pytest.mark.parametrize(
    ("flag", "environment", "devices"),
    [
        ((), {}, 2),
        ((), {"JAX_NUM_CPU_DEVICES": "3"}, 3),
        ((), XLA_FLAG, 4),
        (("5",), {"JAX_NUM_CPU_DEVICES": "3"}, 5),
        (("5",), XLA_FLAG, 5),
    ],
)
def test_number_of_virtual_devices(flag: tuple[str, ...], environment: dict[str, str], devices: int) -> None:
    """The environment comes before our default of 2 here, and --cpu_devices before both."""
    done = python(START, *flag, **environment)
    assert (done.stdout, done.stderr) == (f"{devices}\n", "")


def test_a_number_of_devices_that_comes_too_late_is_told() -> None:
    done = python(f"import jax; jax.devices()\n{START}", "5")
    assert done.stdout == "1\n" and "cpu_devices=5 is not followed: jax had begun with 1" in done.stderr
    config = load_config("tiny", ["--config.mesh.data=5", "--config.mesh.fsdp=1"])
    with pytest.raises(ValueError, match=r"found 1; .*cpu_devices=5 in a new process"):
        resolve_mesh(config, 1, fixed=True)


def test_paths_with_commas(tmp_path: Path) -> None:
    for name in ("a", "a,b", "c"):
        (tmp_path / name).mkdir()
    os.chdir(tmp_path)
    assert split_paths("a,b", ",") == ["a,b"]
    assert split_paths("a, c", ",") == split_paths("a,c,", ",") == ["a", "c"]
    assert split_paths("./a,./b", ",") == ["./a", "./b"]
    assert split_paths("c,a,b,none", ",") == ["c", "a,b", "none"]
    assert split_paths(f"{tmp_path}/a,b,{tmp_path}/c", ",") == [f"{tmp_path}/a,b", f"{tmp_path}/c"]


def test_a_corpus_whose_path_has_a_comma(corpus_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "web,2024").symlink_to(corpus_folder)
    corpus = open_corpus(f"{tmp_path}/web,2024")
    assert corpus.path == tmp_path / "web,2024"
    with pytest.raises(ValueError, match=r"data\.corpus=' , ' names no folder"):
        open_corpus(" , ")


def test_a_config_whose_path_has_colons(tmp_path: Path) -> None:
    (tmp_path / "8:30").mkdir()
    for file in (tmp_path / "8:30" / "mine.py", tmp_path / "mine.py:7.py"):
        file.write_text(
            "from varietas.configs import tiny\ndef get_config(arg='7'):\n  c = tiny.get_config()\n  c.train.steps = int(arg)\n  return c\n"
        )
        assert load_config(str(file)).train.steps == 7
        assert load_config(f"{file}:9").train.steps == 9
    assert not list(tmp_path.rglob("__pycache__"))


def test_an_argument_that_a_config_does_not_take(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from varietas.configs import tiny\ndef get_config():\n  return tiny.get_config()\n")
    for name in ("demo", str(tmp_path / "mine.py")):
        with pytest.raises(ValueError, match=rf"get_config\(\) of {name} takes no argument; leave out :large"):
            load_config(f"{name}:large")
    (tmp_path / "sized.py").write_text("from varietas.configs import tiny\ndef get_config(size):\n  return tiny.get_config()\n")
    with pytest.raises(ValueError, match=r"needs an argument; write --config .*sized\.py:ARG"):
        load_config(str(tmp_path / "sized.py"))


def test_main_in_a_script_from_standard_input_runs(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom varietas.launch.cli import main\nprint('once', flush=True)\n"
        "sys.argv[1:] = ['train', '--config', 'tiny', '--run', 'x', '--config.train.steps=0']\nsys.exit(main())\n"
    )
    done = python("", "-", cwd=tmp_path, stdin=script)
    assert (done.returncode, done.stdout) == (2, "once\n") and "train.steps=0 must be more than 0" in done.stderr


def test_a_script_without_a_guard_is_told_by_its_workers(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import multiprocessing, varietas\n"
        "if __name__ == '__main__':  # stands for a run with data.workers=1\n"
        "    worker = multiprocessing.get_context('spawn').Process(target=print)\n"
        "    worker.start()\n    worker.join()\n    print(worker.exitcode)\n"
        "else:\n    varietas.Run('tiny')\n"
    )
    done = python("", str(tmp_path / "script.py"), cwd=tmp_path)
    assert done.stdout == "1\n" and done.stderr.count("\n") == 1
    assert 'put what the script does under `if __name__ == "__main__":`' in done.stderr


def test_a_checkpoint_that_vanishes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that keeps one checkpoint saves the next and deletes this one; the newest is read then, and only if none was asked for."""
    checkpoints, shape = tmp_path / "checkpoints", ModelConfig(**load_config("tiny").model)
    (checkpoints / "4" / "params").mkdir(parents=True)

    def restore(folder: Path, model: object, mesh: object, step: int, build: object) -> tuple[str, int]:
        if step == 4:
            (checkpoints / "8" / "params").mkdir(parents=True, exist_ok=True)
            shutil.rmtree(checkpoints / "4", ignore_errors=True)
            raise DamagedCheckpoint("checkpoint 4: params cannot be read")
        return f"parameters of {step}", step

    monkeypatch.setattr(network, "restore_params", restore)
    found, step = network.load(tmp_path, shape, None)  # type: ignore[arg-type]
    assert (found.params, step) == ("parameters of 8", 8)
    (checkpoints / "4" / "params").mkdir(parents=True)
    with pytest.raises(ValueError, match="has no checkpoint after step 4; it has: 8"):
        network.load(tmp_path, shape, None, step=4)  # type: ignore[arg-type]
    shutil.rmtree(checkpoints / "8")
    (checkpoints / "4" / "params").mkdir(parents=True)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # damaged, and still there
    monkeypatch.setattr(network, "saved_step", lambda *_: 4)
    with pytest.raises(DamagedCheckpoint):
        network.load(tmp_path, shape, None)  # type: ignore[arg-type]
