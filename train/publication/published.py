"""What is published: a checkpoint of a run, with all that its folder and the provider's file of facts say of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from varietas.data.summary.facts import Facts as Said
from varietas.model.config import ModelConfig
from varietas.train.accounting.goodput import ABSENT, Account, read_account
from varietas.train.release.card import Facts
from varietas.train.run_folder.config import read_config
from varietas.train.run_folder.evaluations import Evaluation, read_all
from varietas.train.run_folder.folder import read_record


@dataclass(frozen=True)
class Published:
    """A checkpoint that is published.

    Attributes:
        name: That of the release.
        model: The shape of the model.
        facts: What the run says of the checkpoint.
        said: What the provider says.
        config: config.json of the run, without the folders of this machine.
        environment: environment.json of the run; empty if it was not trained here.
        account: Where the time and the energy went; None if it was not recorded.
        evaluations: Of this checkpoint, by their names.
        small_forms: The reports of `varietas quantize`.
        summary: The summary of training content; None if nothing was trained here.
        files: Paths of the files of the release, with their SHA-256 and their bytes.
        left_out: What could not be made, and why.
    """

    name: str
    model: ModelConfig
    facts: Facts
    said: Said
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    account: Account | None
    evaluations: Mapping[str, Evaluation]
    small_forms: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Any] | None
    files: Mapping[str, tuple[str, int]]
    left_out: Mapping[str, str]

    @property
    def tokens(self) -> int:
        """Tokens of all steps of the checkpoint, with padding."""
        return int(self.facts.step * self.config["train"]["batch_size"] * self.config["data"]["seq_len"])

    @property
    def flops(self) -> float | None:
        """Floating-point operations of the training by formula; None if nothing was trained here."""
        each = self.environment.get("flops_per_token")
        return each * self.tokens if each and self.facts.step else None

    @property
    def flops_counted(self) -> float | None:
        """Those that the products of the traced step do, with what is computed again; None if they were not recorded."""
        each = self.environment.get("step_flops")
        return each * self.facts.step if each and self.facts.step else None

    @property
    def went_on(self) -> str:
        """What to say of figures of a run that did not end with this checkpoint; "" if it did."""
        last = max((attempt.last or 0 for attempt in self.account.attempts), default=0) if self.account else 0
        return f" (of the whole run, which went on to step {last:,})" if last > self.facts.step else ""

    @property
    def devices(self) -> int:
        """On how many devices the run was computed last."""
        return int(str(self.environment.get("devices", "1")).split(" ")[0])

    @property
    def seconds(self) -> float | None:
        """How long the run was running, all its starts together."""
        return None if self.account is None else self.account.life - self.account.seconds[ABSENT]

    def has(self, pattern: str) -> bool:
        """Whether the release has a file whose path fits a pattern, such as `*.safetensors`."""
        return any(Path(path).match(pattern) for path in self.files)


def published(run: Path, name: str, model: ModelConfig, facts: Facts, said: Said, summary: Mapping[str, Any] | None) -> Published:
    """Collects what the folder of a run says of a checkpoint. Files are added when they are known, with `dataclasses.replace`."""
    return Published(
        name,
        model,
        facts,
        said,
        without_folders(read_config(run)),
        read_record(run, "environment.json") if (run / "environment.json").exists() else {},
        read_account(run),
        {found.name: found for each in read_all(run).values() for found in each if found.step == facts.step},
        read_record(run, "quantization.json").get("reports", ()) if (run / "quantization.json").exists() else (),
        summary,
        files={},
        left_out={},
    )


def without_folders(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config in which the corpora and the model that it began with have their names alone, not where they lie."""
    data, train = dict(config["data"]), dict(config["train"])
    data["corpus"] = ",".join(Path(folder).name for folder in data["corpus"].split(",")) if data["corpus"] else ""
    if train.get("init_from"):
        train["init_from"] = Path(train["init_from"]).name
    return {**config, "data": data, "train": train}
