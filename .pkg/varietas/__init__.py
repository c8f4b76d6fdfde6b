"""Varietas: trains multilingual language models for Europe with JAX. `varietas --help` lists the commands."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from varietas.launch.run import Run

__version__ = "0.1.0"
__all__ = ["Run", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Run":  # on demand: `import varietas` must not wait for its libraries
        from varietas.launch.run import Run

        return Run
    raise AttributeError(f"module 'varietas' has no attribute {name!r}")
