"""Varietas: trains multilingual language models for Europe with JAX. `varietas --help` lists the commands."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from varietas.launch.evaluation.comparing import compare
    from varietas.launch.models.averaging import average
    from varietas.launch.models.extending import extend
    from varietas.launch.models.importing import import_model
    from varietas.launch.models.quantizing import Small, quantization_damage
    from varietas.launch.run import Run

__version__ = "0.1.0"
__all__ = ["Run", "Small", "__version__", "average", "compare", "extend", "import_model", "quantization_damage"]


HOMES = {
    "Run": "run",
    "Small": "models.quantizing",
    "average": "models.averaging",
    "compare": "evaluation.comparing",
    "extend": "models.extending",
    "import_model": "models.importing",
    "quantization_damage": "models.quantizing",
}  # modules of `launch`


def __getattr__(name: str) -> Any:
    if name in HOMES:  # on demand: `import varietas` must not wait for its libraries
        return getattr(import_module(f"varietas.launch.{HOMES[name]}"), name)
    raise AttributeError(f"module 'varietas' has no attribute {name!r}")
