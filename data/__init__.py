"""From text to rows of tokens, and the record of what was read.

The code needs NumPy but not JAX, so worker processes start fast and stay small. The names below are for other trainers
(docs/other_trainers.md).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from varietas.data.ledger.checkpoint_files import digests_of
    from varietas.data.ledger.signing import own_key, private_key
    from varietas.data.ledger.statement import sign_ledger
    from varietas.data.ledger.steps import StepLedger
    from varietas.data.stream.context import context_of, open_stream
    from varietas.data.stream.training_rows import TrainingRows

__all__ = ["StepLedger", "TrainingRows", "context_of", "digests_of", "open_stream", "own_key", "private_key", "sign_ledger"]

HOMES = {
    "StepLedger": "ledger.steps",
    "TrainingRows": "stream.training_rows",
    "context_of": "stream.context",
    "digests_of": "ledger.checkpoint_files",
    "open_stream": "stream.context",
    "own_key": "ledger.signing",
    "private_key": "ledger.signing",
    "sign_ledger": "ledger.statement",
}  # modules of `data`


def __getattr__(name: str) -> Any:
    if name in HOMES:  # on demand: whoever needs one room must not wait for the libraries of the others
        return getattr(import_module(f"varietas.data.{HOMES[name]}"), name)
    raise AttributeError(f"module 'varietas.data' has no attribute {name!r}")
