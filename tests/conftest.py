"""Eight virtual CPU devices for every test, one tiny corpus that all share, and compiles that run beside the tests."""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

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
def compiles(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[str]]]:
    """What test_programs.py compares, compiled one after the other beside the tests that come before."""
    running: dict[str, Future[str]] = {}
    compiler = ThreadPoolExecutor(1)
    for item in request.session.items:
        if isinstance(item, pytest.Function) and item.originalname == "test_a_step_holds_and_sends_what_it_did":
            name = item.callspec.params["name"]
            running[name] = compiler.submit(item.module.compiled, item.module.command(name))
    yield running
    compiler.shutdown(cancel_futures=True)
