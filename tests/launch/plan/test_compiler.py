"""Compiling for machines that are not here: what needs no compiler. tests/train/test_programs.py compiles."""

import subprocess
import sys

import pytest

from varietas.launch.plan import compiler


def test_an_unknown_target_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no compiler for 'mi250'.*a100, h100, gh200, v5p, v6e"):
        compiler.missing("mi250")


def test_what_is_missing_can_be_installed() -> None:
    """Each extra that the answer names is one of the package."""
    import tomllib
    from pathlib import Path

    extras = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    code = "import sys; sys.path = [p for p in sys.path if 'aot' not in p]; from varietas.launch.plan.compiler import missing; "
    for target, extra, package in (("h100", "plan-cuda", "jax-cuda13-plugin"), ("v5p", "plan-tpu", "libtpu")):
        out = subprocess.run([sys.executable, "-c", f"{code}print(missing({target!r}))"], capture_output=True, text=True, check=True).stdout
        assert out.strip() in ("", f"pip install 'varietas[{extra}]'")
        assert any(name.startswith(package) for name in extras[extra])


def test_the_compilers_are_not_loaded_with_the_module() -> None:
    code = "import sys, varietas.launch.plan.compiler; print(*{'jax', 'libtpu'} & {m.split('.')[0] for m in sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
