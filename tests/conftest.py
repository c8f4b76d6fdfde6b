"""Eight virtual CPU devices for every test, one tiny corpus that all share, and compiles that run beside the tests."""

import os
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_disable_most_optimizations", True)  # compiles in a third of the time; processes of their own are as users have them


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing is read from or left in the user's cache; programs compiled by one test are there for the next."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["VARIETAS_CACHE"] = str(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    assert jax.device_count() == 8  # started here, before a Run asks for fewer


@pytest.fixture(scope="session")
def corpus_folder(_cache: None) -> Path:
    """The embedded default corpus with 1024 pieces, as `tiny` has it."""
    from varietas.data.default import default_corpus

    return default_corpus(1024)


@pytest.fixture(scope="session", autouse=True)
def compiles(request: pytest.FixtureRequest) -> Iterator[dict[Path, Popen[str]]]:
    """What test_programs.py compares takes minutes to compile: it is begun before the first test, and gives way to all others."""
    running: dict[Path, Popen[str]] = {}
    for item in request.session.items:
        if isinstance(item, pytest.Function) and item.originalname == "test_a_step_holds_and_sends_what_it_did":
            file = item.callspec.params["file"]
            running[file] = item.module.start(file)
    yield running
    for process in running.values():
        process.kill()
        process.communicate()
