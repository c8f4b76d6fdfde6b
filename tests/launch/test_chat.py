"""From chat JSON Lines to a model that answers, by the command line; the loss and the tokens are those of transformers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import varietas
from varietas.launch.cli import main

pytestmark = pytest.mark.heavy("torch")

COLOURS = {"Tráva": "zelená", "Krev": "rudá", "Nebe": "modré", "Sníh": "bílý"}
CHATML = (  # the usual one, with what is learned marked as transformers wants it
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' }}{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] + '<|end|>' }}{% endgeneration %}{% else %}{{ m['content'] + '<|end|>' }}{% endif %}{{ '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)


OTHER = dict(zip(COLOURS, reversed(COLOURS.values()), strict=True))
SHAPE = ("--config", "tiny", "--config.data.seq_len=64", "--config.train.batch_size=8", "--config.checkpoint.every=0")


def conversation(i: int, colours: dict[str, str] = COLOURS) -> list[dict[str, str]]:
    things = list(colours)[i % 4 :: 2]
    turns = [({"role": "user", "content": f"{thing}?"}, {"role": "assistant", "content": f"{colours[thing]}."}) for thing in things]
    return [message for turn in turns for message in turn]


def write(file: Path, colours: dict[str, str]) -> None:
    lines = [json.dumps({"lang": "ces_Latn", "messages": conversation(i, colours)}, ensure_ascii=False) for i in range(400)]
    file.write_text("\n".join(lines))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, and another that has gone on from it with conversations."""
    here = tmp_path_factory.mktemp("chat")
    write(here / "chats.jsonl", COLOURS)
    do("train", "--run", here / "base", *SHAPE, "--config.train.steps=4")
    (here / "base" / "chat_template.jinja").write_text(CHATML)
    tokenizer = here / "base" / "tokenizer.model"
    do("prepare", "--input", here / "chats.jsonl", "--chat", "--tokenizer", tokenizer, "--out", here / "corpus")
    optim = ["--config.optim.peak_lr=1e-2", "--config.optim.warmup_steps=5", "--config.optim.schedule=constant"]
    data = [f"--config.data.corpus={here / 'corpus'}", f"--config.train.init_from={here / 'base'}"]
    do("train", "--run", here / "run", *SHAPE, "--config.train.steps=150", *optim, *data)
    do("export", "--run", here / "run", "--out", here / "hf")
    do("export", "--run", here / "base", "--out", here / "hf_base")
    return here


def do(*command: object) -> None:
    assert main([str(part) for part in command]) == 0


def test_ids_and_what_is_learned_are_those_of_transformers(folder: Path) -> None:
    from varietas.data.chat.template import chat_in
    from varietas.data.text.conversation import turns_of

    tokenizer, chat = AutoTokenizer.from_pretrained(folder / "hf"), chat_in(folder / "run")
    for i in range(8):
        messages = conversation(i)
        theirs = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
        ids, learned = chat.encode(turns_of({"messages": messages}))
        assert ids.tolist() == theirs["input_ids"] and learned.tolist() == [bool(mine) for mine in theirs["assistant_masks"]]
        asked = tokenizer.apply_chat_template(messages[:-1], tokenize=True, add_generation_prompt=True, return_dict=True)["input_ids"]
        assert chat.prompt(turns_of({"messages": [*messages[:-1], {"role": "assistant", "content": "x"}]})[:-1]) == asked


def test_the_first_loss_is_that_of_transformers(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder / "hf_base", dtype=torch.float32).eval()
    run = varietas.Run.open(folder / "run")
    rows = run.stream.rows(0, 8)
    nats, targets = 0.0, 0
    for row in range(8):
        for segment in range(1, rows["segments"][row].max() + 1):
            here = rows["segments"][row] == segment
            ids = torch.tensor(rows["tokens"][row, here].astype(np.int64))[None]
            labels = torch.where(torch.tensor(rows["languages"][row, here] >= 0), ids, -100)
            n = int((labels[:, 1:] != -100).sum())
            if n:
                with torch.no_grad():
                    nats += float(model(ids, labels=labels).loss) * n
                targets += n
    assert targets > 50 and run.metrics[0]["loss"] == pytest.approx(nats / targets, rel=1e-5)


def test_it_answers_here_and_in_transformers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder / "hf")
    model = AutoModelForCausalLM.from_pretrained(folder / "hf", dtype=torch.float32).eval()
    for thing, colour in COLOURS.items():
        given = tokenizer.apply_chat_template(
            [{"role": "user", "content": f"{thing}?"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        full = model.generate(**given, max_new_tokens=20, do_sample=False)[0]
        assert tokenizer.decode(full[given["input_ids"].shape[1] :], skip_special_tokens=True) == f"{colour}."
        do("generate", "--run", folder / "run", "--chat", "--prompt", f"{thing}?")
        assert capsys.readouterr().out == f"{thing}?\n\n{colour}.\n"


def test_held_out_conversations_are_measured(folder: Path) -> None:
    do("evaluate", "--run", folder / "run", "--text", folder / "chats.jsonl", "--chat", "--name", "chats")
    rows = json.loads((folder / "run" / "evaluations" / "chats" / "150.json").read_text())["languages"]
    model = AutoModelForCausalLM.from_pretrained(folder / "hf", dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "hf")
    bits = bytes_ = 0.0
    for i in range(4):  # all others are the same
        messages = conversation(i)
        given = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
        ids = torch.tensor(given["input_ids"])[None]
        labels = torch.where(torch.tensor(given["assistant_masks"]).bool(), ids, -100)
        with torch.no_grad():
            bits += float(model(ids, labels=labels).loss) * int((labels != -100).sum()) / np.log(2)
        bytes_ += len(" ".join(m["content"] for m in messages if m["role"] == "assistant").encode())
    assert rows["ces_Latn"]["bits_per_byte"] == pytest.approx(bits / bytes_, abs=2e-4)


def test_adapters_learn_other_answers_and_go_out_merged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder / "other.jsonl", OTHER)
    tokenizer = folder / "run" / "tokenizer.model"
    do("prepare", "--input", folder / "other.jsonl", "--chat", "--tokenizer", tokenizer, "--out", folder / "other")
    lora = [
        "--config.model.lora_rank=8",
        "--config.optim.peak_lr=1e-2",
        f"--config.train.init_from={folder / 'run'}",
        "--config.eval.every=120",
    ]
    do("train", "--run", folder / "lora", *SHAPE, f"--config.data.corpus={folder / 'other'}", "--config.train.steps=120", *lora)
    do("export", "--run", folder / "lora", "--out", folder / "hf_lora")
    model = AutoModelForCausalLM.from_pretrained(folder / "hf_lora", dtype=torch.float32).eval()
    chats = AutoTokenizer.from_pretrained(folder / "hf_lora")
    capsys.readouterr()
    for thing, colour in OTHER.items():
        messages = [{"role": "user", "content": f"{thing}?"}]
        given = chats.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        full = model.generate(**given, max_new_tokens=20, do_sample=False)[0]
        assert chats.decode(full[given["input_ids"].shape[1] :], skip_special_tokens=True) == f"{colour}."
        assert varietas.Run.open(folder / "lora").generate(f"{thing}?", chat=True) == f"{colour}."
    # Evaluated with adapters while it trains, merged afterwards: the same figures.
    during = json.loads((folder / "lora" / "evaluations" / "declaration" / "120.json").read_text())["languages"]
    do("evaluate", "--run", folder / "lora", "--name", "declaration")
    after = json.loads((folder / "lora" / "evaluations" / "declaration" / "120.json").read_text())["languages"]
    assert {code: row["bits_per_byte"] for code, row in during.items()} == pytest.approx(
        {code: row["bits_per_byte"] for code, row in after.items()}, abs=2e-4
    )


def test_a_lora_run_continues_with_the_same_bits(folder: Path, tmp_path: Path) -> None:
    lora = ["--config.model.lora_rank=4", f"--config.train.init_from={folder / 'run'}", f"--config.data.corpus={folder / 'corpus'}"]
    overrides = [*SHAPE[2:], *lora, "--config.train.steps=6"]
    whole, halves = (varietas.Run("tiny", overrides, folder=tmp_path / name) for name in ("whole", "halves"))
    whole.train()
    halves.train(steps=3)
    again = varietas.Run("tiny", overrides, folder=tmp_path / "halves")
    again.train()
    assert whole.digest() == again.digest() != varietas.Run.open(folder / "run").digest()
