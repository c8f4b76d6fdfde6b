"""From pairs of answers to a model that prefers the chosen ones, by the command line; the losses are those of transformers' likelihoods."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

import varietas
from varietas.launch.cli import main

pytestmark = pytest.mark.heavy("torch")

BETA, BATCH = 0.1, 8
SHAPE = ("--config", "tiny", "--config.data.seq_len=128", f"--config.train.batch_size={BATCH}", "--config.checkpoint.every=0")
THINGS = ("Tráva", "Krev", "Nebe", "Sníh", "Uhlí", "Slunce")


def do(*command: object) -> None:
    assert main([str(part) for part in command]) == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, and another that has learned from it to be polite."""
    here = tmp_path_factory.mktemp("preferences")
    lines = [
        {"lang": lang, "prompt": f"{thing} {i}?", "chosen": f"Prosím, {thing}.", "rejected": f"Nevím, {thing}."}
        for i in range(60)
        for thing in THINGS
        for lang in ("ces_Latn", "slk_Latn")
    ]
    (here / "pairs.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    do("train", "--run", here / "base", *SHAPE, "--config.train.steps=4")
    tokenizer = here / "base" / "tokenizer.model"
    do("prepare", "--input", here / "pairs.jsonl", "--preferences", "--tokenizer", tokenizer, "--out", here / "corpus")
    optim = [f"--config.optim.dpo_beta={BETA}", "--config.optim.peak_lr=1e-2", "--config.optim.schedule=constant"]
    data = [f"--config.data.corpus={here / 'corpus'}", f"--config.train.init_from={here / 'base'}", "--config.model.lora_rank=8"]
    do("train", "--run", here / "run", *SHAPE, "--config.train.steps=40", "--config.checkpoint.every=20", *optim, *data)
    for name in ("base", "run"):
        do("export", "--run", here / name, "--out", here / f"hf_{name}")
    return here


def log_p(model: torch.nn.Module, rows: dict[str, np.ndarray], row: int, segment: int) -> float:
    """Returns the log-likelihood of what is learned of a segment of a row."""
    here = rows["segments"][row] == segment
    ids = torch.tensor(rows["tokens"][row, here].astype(np.int64))[None]
    learned = torch.tensor(rows["languages"][row, here] >= 0)[1:]
    with torch.no_grad():
        each = torch.log_softmax(model(ids).logits[0, :-1].double(), -1).gather(1, ids[0, 1:, None])[:, 0]
    return float(each[learned].sum())


def test_losses_are_those_of_the_paper(folder: Path) -> None:
    """By the model before and after, on the rows of a step: -log sigmoid(beta * the difference of log ratios), averaged over pairs."""
    before, after = (AutoModelForCausalLM.from_pretrained(folder / f"hf_{name}", dtype=torch.float32).eval() for name in ("base", "run"))
    run = varietas.Run.open(folder / "run")
    rows = run.stream.rows(0, BATCH)
    losses = []
    for row in range(BATCH):
        for segment in range(1, rows["segments"][row].max(), 2):
            learned = rows["languages"][row] >= 0
            if all(learned[rows["segments"][row] == side].any() for side in (segment, segment + 1)):
                sides = [log_p(after, rows, row, side) - log_p(before, rows, row, side) for side in (segment, segment + 1)]
                losses.append(np.log1p(np.exp(-BETA * (sides[0] - sides[1]))))
    metrics = run.metrics
    assert len(losses) > 10 and metrics[0]["loss"] == pytest.approx(np.log(2), abs=1e-6)  # as it begins, the model is the reference
    assert np.mean(losses) < 0.5 < metrics[0]["loss"]
    assert metrics[-1]["loss"] == pytest.approx(np.mean(losses), rel=0.5)  # of other rows, which are alike


def test_it_learns_what_is_preferred_in_each_language(folder: Path) -> None:
    last = varietas.Run.open(folder / "run").metrics[-1]
    assert last["accuracy"] > 0.95 and last["reward_chosen"] - last["reward_rejected"] > 0.3
    assert all(language["accuracy"] > 0.9 for language in last["languages"].values()) and len(last["languages"]) == 2
    do("report", "--run", folder / "run")
    assert "Preferences" in (folder / "run" / "report.html").read_text()
    card = (folder / "hf_run" / "README.md").read_text()
    assert "which of two answers is better. Adapters of rank" in card and "(`varietas digest`)" not in card


def test_the_mean_of_its_checkpoints_is_a_model_that_chats(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    do("average", "--from", f"{folder / 'run'}@20", f"{folder / 'run'}@40", "--run", folder / "mean")
    do("generate", "--run", folder / "mean", "--chat", "--prompt", "Nebe 1?", "--max_tokens", "8")
    do("export", "--run", folder / "mean", "--out", folder / "hf_mean")
    template = (folder / "corpus" / "chat_template.jinja").read_text()
    assert (folder / "hf_mean" / "chat_template.jinja").read_text() == template
    card = (folder / "hf_mean" / "README.md").read_text()
    assert "averaged from run@20, run@40" in card and str(folder) not in card and "\n- ces\n" in card
    assert main(["average", "--from", f"{folder / 'run'}@40", str(folder / "base"), "--run", str(folder / "x")]) == 2
    assert "has another chat template than" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (["--config.optim.dpo_beta=0"], "holds preferences; set optim.dpo_beta, such as 0.1"),
        (["--config.model.lora_rank=0"], "measures the model against itself without adapters; set model.lora_rank, such as 64"),
        (["--config.data.corpus="], "needs preferences alone, but data.corpus .* holds none; leave it out, prepare some with `varietas"),
        (["--config.data.seq_len=16"], "no pair of conversations fits into data.seq_len=16 tokens; set a higher data.seq_len"),
    ],
)
def test_what_does_not_go_together_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: list[str], wanted: str
) -> None:
    fields = [f"--config.data.corpus={folder / 'corpus'}", f"--config.train.init_from={folder / 'base'}", "--config.model.lora_rank=8"]
    status = main(["train", "--run", str(tmp_path / "run"), *SHAPE, *fields, "--config.optim.dpo_beta=0.1", *changes])
    assert status and not (tmp_path / "run").exists() and re.search(wanted, capsys.readouterr().err)
