"""Eight virtual CPU devices for every test, one tiny corpus that all share, and which tests run.

A test that needs heavy libraries or minutes is marked `heavy(PART)`, a module of such tests by `pytestmark`. Without --all those are left
out; with it a test that is skipped although this machine could run it is a failure.
"""

import os
import platform
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import pytest
import several
import slurm_cluster

if TYPE_CHECKING:
    from varietas.data.corpus.sources import Sources

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts in the background ignore it
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_disable_most_optimizations", True)
os.environ |= several.QUICK  # before jax reads it; jax's own variable is for the processes that tests start

REPO = Path(__file__).parents[1]
HEAVY_MODULE = re.compile(r'^pytestmark = pytest\.mark\.heavy\("(.+)"\)', re.MULTILINE)
CANNOT = "not on this machine: "  # begins the reason of a skip that is no failure
WITH_SLURM = ("data/prepare/test_engine.py", "slurm/test_chain.py")  # there is one Slurm, so one process of xdist runs both
LEFT_OUT = pytest.StashKey[Counter[str]]()
SKIPS: list[str] = []  # of this session


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the heavy tests too, and fail on a skip that this machine could have run")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEFT_OUT] = Counter()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out modules of heavy tests without importing them: their libraries may not be installed."""
    if config.getoption("--all") or collection_path.suffix != ".py" or not collection_path.name.startswith("test_"):
        return None
    if part := HEAVY_MODULE.search(collection_path.read_text("utf-8")):
        config.stash[LEFT_OUT][f"{part[1]} ({collection_path.name})"] += 1
        return True
    return None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keeps tests of a file in one process, since they share fixtures. Compilers of other machines' programs share nothing."""
    from xdist.scheduler import LoadScopeScheduling

    class Files(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            if file.endswith(WITH_SLURM):
                return "slurm"
            return nodeid if file.endswith("test_programs.py") else file

    return Files(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--all"):
        return
    heavy = {item: mark for item in items if (mark := item.get_closest_marker("heavy"))}
    config.stash[LEFT_OUT].update(f"{mark.args[0]} ({item.path.name})" for item, mark in heavy.items())
    config.hook.pytest_deselected(items=list(heavy))
    items[:] = [item for item in items if item not in heavy]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        SKIPS.append(f"{report.nodeid}: {report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if left_out := config.stash[LEFT_OUT]:
        terminalreporter.write_line(f"left out, since they need heavy parts: {', '.join(sorted(left_out))}; make test-all runs them")
    for skip in SKIPS:
        terminalreporter.write_line(f"SKIPPED {skip}", yellow=True, bold=True)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Learns from a process of xdist what it has left out."""
    node.config.stash[LEFT_OUT].update(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if (output := getattr(session.config, "workeroutput", None)) is not None:  # this is a process of xdist
        output["left_out"] = dict(session.config.stash[LEFT_OUT])
    if session.config.getoption("--all") and any(CANNOT not in skip for skip in SKIPS):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps the user's cache and key out of the tests; a program that one test compiles is there for all, also in other processes of xdist.

    A process that a test starts finds this folder's varietas, and the CPU.
    """
    session = tmp_path_factory.getbasetemp()
    folder = (session.parent if "PYTEST_XDIST_WORKER" in os.environ else session) / "cache"
    folder.mkdir(exist_ok=True)
    os.environ.pop("COLUMNS", None)  # which xdist sets: tables would be narrower
    os.environ |= {"VARIETAS_CACHE": str(folder), "PYTHONPATH": str(REPO / ".pkg"), "JAX_PLATFORMS": "cpu"}
    os.environ["VARIETAS_KEY"] = str(folder / "ledger.key")
    jax.config.update("jax_compilation_cache_dir", str(folder / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    assert jax.device_count() == 8  # started here, before a Run asks for fewer


@pytest.fixture(scope="session")
def corpus_folder(_cache: None) -> Path:
    """The embedded default corpus with 1024 pieces, as `tiny` has it."""
    from varietas.data.prepare.default import default_corpus

    return default_corpus(1024)


@pytest.fixture(scope="session")
def two_sources(tmp_path_factory: pytest.TempPathFactory) -> "Sources":
    """Two prepared sources: `web` has 300 documents in Czech and as many in Finnish, `wiki` 60 in Czech and 60 in Maltese.

    Document i of a language has a quality of 0.0, 0.1 … 0.9 in turn and other signals, but none at all if i is a multiple of five.
    """
    from varietas.data.corpus.corpus import Corpus
    from varietas.data.corpus.sources import Sources
    from varietas.data.prepare.prepare import prepare_documents
    from varietas.data.text.documents import Document
    from varietas.data.tokenizer.training import train

    def signals(i: int) -> dict[str, object]:
        return {"quality": i % 10 / 10, "registers": {"IN": i % 3 / 2}, "robots": i % 2 == 0, "filter": "keep"} if i % 5 else {}

    folder = tmp_path_factory.mktemp("sources")
    texts = {
        source: [
            Document(f"{source}{i}", code, f"{source} {code} {i} " + "slovo " * (1 + i % 23), signals=signals(i))
            for i in range(n)
            for code in codes
        ]
        for source, n, codes in (("web", 300, ("ces_Latn", "fin_Latn")), ("wiki", 60, ("ces_Latn", "mlt_Latn")))
    }
    model = train(lambda: texts["web"] + texts["wiki"], 330)
    for source, documents in texts.items():
        prepare_documents(documents, model, folder / source)
    return Sources(Corpus(folder / "web"), Corpus(folder / "wiki"))


@pytest.fixture(scope="session")
def slurm_conf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The configuration of a real Slurm with two nodes, which runs for the rest of the session."""
    if why := slurm_cluster.missing():
        pytest.skip(why if platform.system() == "Linux" and os.geteuid() == 0 else f"{CANNOT}{why}")
    with slurm_cluster.cluster(tmp_path_factory.mktemp("slurm")) as config:
        yield config


@pytest.fixture
def real_slurm(slurm_conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm's commands find the cluster. A job does not see this process's eight devices."""
    monkeypatch.setenv("SLURM_CONF", str(slurm_conf))
    monkeypatch.setenv("PATH", slurm_cluster.PATH)
