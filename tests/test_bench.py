"""The model that the GPU's benchmark trains, the errors that plant.py plants, and tables of the docs that benchmarks have made."""

from dataclasses import replace
from pathlib import Path

import gpu
import pii
import plant
import pytest

from varietas.launch.config import load_config
from varietas.launch.plan.job import USUAL_PIECES
from varietas.model.config import ModelConfig
from varietas.train.experiment import OptimConfig


def test_the_gpu_benchmark_trains_the_shipped_config() -> None:
    """It has the numbers a second time, since it runs where ml_collections is not installed."""
    config = load_config("eurollm_1p7b")
    model = ModelConfig(**config.model)
    theirs = replace(model, remat="dots", vocab_size=USUAL_PIECES)
    assert ModelConfig(**gpu.SHAPE, max_seq_len=model.max_seq_len, remat="dots", attention="auto") == theirs
    assert OptimConfig(**config.optim) == gpu.OPTIM


def test_the_docs_have_the_table_of_personal_data_that_its_benchmark_makes() -> None:
    """The last column depends on the random numbers of other kinds, so only all others are compared."""
    docs = Path("docs/data.md").read_text("utf-8")
    for line in pii.countries():
        assert line.rpartition(" | ")[0] in docs


def test_errors_that_a_person_could_make_are_planted_and_nothing_else_changes() -> None:
    source = b"""def f(n: int = 1, *, each: bool = False) -> str:
    \"\"\"Not here: 1 + 1.\"\"\"
    n = min(n, n + 2)  # nor here: 1 < 2
    if n < 3 and not each:
        return f"nor here: {n + 1}"
    return g(n, rows[1:n])
"""
    lines = plant.errors("f.py", source)
    wrong = {plant.planted(source, error).decode() for line in lines for error in line}
    before = source.decode().splitlines()
    changed = {
        (number, line.strip())
        for text in wrong
        for number, (old, line) in enumerate(zip(before, text.splitlines(), strict=True), 1)
        if line != old
    }
    assert len(lines) == 5  # a line for each line of code
    assert changed == {
        (1, "def f(n: int = (2), *, each: bool = False) -> str:"),
        (1, "def f(n: int = (0), *, each: bool = False) -> str:"),
        (1, "def f(n: int = 1, *, each: bool = (True)) -> str:"),
        (3, "pass  # nor here: 1 < 2"),
        (3, "n = (min(n))  # nor here: 1 < 2"),
        (3, "n = (min(n + 2, n))  # nor here: 1 < 2"),
        (3, "n = (max)(n, n + 2)  # nor here: 1 < 2"),
        (3, "n = min(n, (n - 2))  # nor here: 1 < 2"),
        (3, "n = min(n, n + (3))  # nor here: 1 < 2"),
        (3, "n = min(n, n + (1))  # nor here: 1 < 2"),
        (4, "if (not (n < 3 and (not each))):"),
        (4, "if (n < 3 or not each):"),
        (4, "if (n <= 3) and not each:"),
        (4, "if n < (4) and not each:"),
        (4, "if n < (2) and not each:"),
        (4, "if n < 3 and (each):"),
        (6, "return (n)"),
        (6, "return (g(n))"),
        (6, "return (g(rows[1:n], n))"),
        (6, "return g(n, rows[(2):n])"),
        (6, "return g(n, rows[(0):n])"),
        (6, "return g(n, rows[((1) + 1):n])"),
        (6, "return g(n, rows[((1) - 1):n])"),
        (6, "return g(n, rows[1:((n) + 1)])"),
        (6, "return g(n, rows[1:((n) - 1)])"),
    }


def test_the_same_seed_plants_the_same_errors() -> None:
    repo = Path(__file__).parents[1]
    five = plant.choose(repo, 3, 5)
    assert plant.choose(repo, 3, 2) == five[:2] and plant.choose(repo, 4, 2) != five[:2] and len(set(five)) == 5


@pytest.mark.parametrize(
    ("file", "first", "others"),
    [
        ("data/clean/pii.py", "tests/data/clean/test_pii.py", "tests/data/clean/"),
        ("data/hashing.py", "tests/data/test_hashing.py", "tests/data/"),
    ],
)
def test_the_tests_beside_an_error_come_first(file: str, first: str, others: str) -> None:
    tests = plant.mirrors(file, Path(__file__).parents[1])
    assert tests[0] == first and all(test.startswith(others) for test in tests) and len(set(tests)) == len(tests)
