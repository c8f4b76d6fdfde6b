"""The training losses of a run, for notebooks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from varietas.train.run_folder.records import mapping, number, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Losses:
    """Losses in nats a token; of preferences, in nats a pair.

    Attributes:
        steps: Numbers of the steps, from 0, int64 (n,).
        loss: The loss of all languages together after each of these steps, float64 (n,). NaN where it was not a number.
        languages: Maps the code of a language to its loss, float64 (n,). NaN also where a step had no text of the language.
    """

    steps: np.ndarray
    loss: np.ndarray
    languages: dict[str, np.ndarray]

    def plot(self, languages: Sequence[str] = ()) -> "Axes":
        """Draws the loss of all languages together, and those of `languages`. Needs matplotlib (extra `notebook`)."""
        import matplotlib.pyplot as plt

        _, axes = plt.subplots()
        for code in languages:
            axes.plot(self.steps, self.languages[code], linewidth=0.8, label=code)
        axes.plot(self.steps, self.loss, color="black", linewidth=1.6, label="all")
        axes.set(xlabel="step", ylabel="loss (nats)")
        axes.legend(ncols=2, fontsize="small")
        return axes


def read_losses(run: Path) -> Losses:
    """Reads the losses of a run from its metrics.jsonl. Lines that are cut short or broken are left out."""
    found = readable(run / "metrics.jsonl")
    by_language = [mapping(record.get("languages")) for record in found]
    codes = sorted({code for languages in by_language for code in languages})

    def column(values: Sequence[object]) -> np.ndarray:
        return np.array([number(value) for value in values], np.float64)  # None becomes NaN

    return Losses(
        np.array([record["step"] for record in found], np.int64),
        column([record.get("loss") for record in found]),
        {code: column([mapping(languages.get(code)).get("loss") for languages in by_language]) for code in codes},
    )
