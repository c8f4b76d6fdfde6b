"""Which folder may import which (docs/architecture.md), read from the syntax trees."""

import ast
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
ALLOWED = {
    "configs": {"configs"},
    "data": {"data"},
    "model": {"model"},
    "train": {"train", "model", "data"},
    "launch": {"launch", "train", "model", "data", "configs"},
}
ROOMS = {  # lowest first: a room imports itself, rooms before it
    "data": ("text", "formats", "clean", "tokenizer", "chat", "ledger", "corpus", "prepare", "stream", "summary", "audit", "benchmarks"),
    "train": (
        "run_folder", "statistics", "accounting", "execution", "report", "inference", "serving", "benchmarks", "release", "publication",
        "ladder",
    ),
    "launch": ("plan", "prepare", "models", "slurm", "doctor", "distributed", "evaluation", "audit", "verbs"),
}  # fmt: skip
NO_JAX = ("configs", "data")
MOST_FILES, MOST_LINES, MOST_ARGUMENTS = 13, 350, 7


def sources(folder: str = "") -> list[Path]:
    folders = [folder] if folder else list(ALLOWED)
    files = [file for name in folders for file in sorted((REPO / name).rglob("*.py"))]
    assert files
    return files


def imported(file: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    nodes = list(ast.walk(ast.parse(file.read_text("utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    froms = {f"{node.module}.{alias.name}" for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    return plain | froms


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports_go_downwards(folder: str) -> None:
    for file in sources(folder):
        modules = imported(file)
        ours = {name.split(".")[1] for name in modules if name.startswith("varietas.")}
        assert ours <= ALLOWED[folder], file
        assert not any(name.split(".")[0] in ("tests", *ALLOWED) for name in modules), file
        if folder in NO_JAX:
            assert not any(name.split(".")[0] in ("jax", "flax", "optax", "orbax", "torch") for name in modules), file


@pytest.mark.parametrize("folder", ROOMS)
def test_a_room_imports_only_rooms_below_it(folder: str) -> None:
    rooms = ROOMS[folder]
    assert set(rooms) == {path.parent.name for path in (REPO / folder).glob("*/__init__.py")}
    for height, room in enumerate(rooms):
        for file in sources(f"{folder}/{room}"):
            used = {name.split(".")[2] for name in imported(file) if name.startswith(f"varietas.{folder}.")} & set(rooms)
            assert used <= set(rooms[: height + 1]), file


def test_files_beside_the_rooms_of_data_are_below_them() -> None:
    for file in (REPO / "data").glob("*.py"):
        used = {name.split(".")[2] for name in imported(file) if name.startswith("varietas.data.")}
        if file.name == "__init__.py":  # names what rooms offer, and imports a room only when it is asked for
            tree = ast.parse(file.read_text("utf-8"))
            used = {ast.unparse(node) for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))}
            assert used == {"from importlib import import_module", "from typing import TYPE_CHECKING, Any"}
            continue
        assert not used & set(ROOMS["data"]), file


def test_no_circles() -> None:
    """No module imports itself through others, not even inside of functions."""
    names = {"varietas." + ".".join(file.relative_to(REPO).with_suffix("").parts): file for file in sources() if file.name != "__init__.py"}
    needs = {
        name: {module for full in imported(file) for module in (full, full.rpartition(".")[0]) if module in names}
        for name, file in names.items()
    }
    left = dict(needs)
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    assert not left, sorted(left)


def test_folders_files_and_functions_stay_small() -> None:
    for folder in {file.parent for file in sources()}:
        assert len(list(folder.glob("*.py"))) - 1 <= MOST_FILES or folder.name == "verbs", folder  # which has a file for each verb
    for file in sources():
        text = file.read_text("utf-8")
        assert len(text.splitlines()) <= MOST_LINES, file
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                a = node.args
                names = [arg.arg for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
                assert len(names) - (names[:1] in (["self"], ["cls"])) <= MOST_ARGUMENTS, f"{file}: {node.name}"
                public = not node.name.startswith("_")
                assert not (public and isinstance(node.returns, ast.Name) and node.returns.id == "Any"), f"{file}: {node.name} returns Any"


def test_dataclasses_are_frozen() -> None:
    """Data that nobody changes can be shared, hashed and given to a worker."""
    for file in sources():
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                made = [text for text in map(ast.unparse, node.decorator_list) if text.startswith(("dataclass", "dataclasses."))]
                assert all("frozen=True" in text for text in made), f"{file}: {node.name}"


def test_test_files_have_names_of_their_own() -> None:
    """Otherwise pytest refuses to collect them together, which shows only when all tests run."""
    names = [path.name for path in (REPO / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names)), {name for name in names if names.count(name) > 1}
