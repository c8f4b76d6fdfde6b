"""Who may import whom (docs/architecture.md), read from the syntax trees."""

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
NO_JAX = ("configs", "data")


def imported(file: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    nodes = list(ast.walk(ast.parse(file.read_text("utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    froms = {f"{node.module}.{alias.name}" for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    return plain | froms


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports_go_downwards(folder: str) -> None:
    files = sorted((REPO / folder).glob("*.py"))
    assert files
    for file in files:
        modules = imported(file)
        ours = {name.split(".")[1] for name in modules if name.startswith("varietas.")}
        assert ours <= ALLOWED[folder], file
        assert not any(name.split(".")[0] in ("tests", *ALLOWED) for name in modules), file
        if folder in NO_JAX:
            assert not any(name.split(".")[0] in ("jax", "flax", "optax", "orbax", "torch") for name in modules), file
