"""A run as transformers and vLLM load it: safetensors, config.json, the tokenizer and a model card. No code of ours is needed there."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from varietas.data.chat.template import FILE as TEMPLATE
from varietas.data.chat.template import chat_in
from varietas.data.files import new_folder, read_json, write_atomically
from varietas.data.text.embedded import parallel_documents
from varietas.data.tokenizer.model import FILES, file_in
from varietas.data.tokenizer.model import load as load_tokenizer
from varietas.data.tokenizer.tokenizer_json import check_equal, tokenizer_config, tokenizer_json
from varietas.model.config import ModelConfig
from varietas.model.formats.config_json import architecture_of, config_json
from varietas.model.formats.weights import write
from varietas.train.inference.network import Network
from varietas.train.release.card import facts_of, model_card
from varietas.train.release.incoming import FOLDER


def settings(run: Path, cfg: ModelConfig, dtype: str) -> dict[str, Any]:
    """Returns the JSON files that stand beside the weights, by name, without those that came with the model and go out as they are.

    What cannot be exported is refused here, without the parameters.

    Args:
        run: The run's folder.
        cfg: The shape of its model.
        dtype: The dtype of the weights: float32, bfloat16 or float16.

    Raises:
        ValueError: If transformers has no such model, or the tokenizer has no exact counterpart.
        ModuleNotFoundError: If the package tokenizers is not installed.
    """
    architecture_of(cfg)
    processor = load_tokenizer(file_in(run))
    special = {"bos": processor.bos_id(), "eos": processor.eos_id(), "pad": processor.pad_id() if processor.pad_id() >= 0 else None}
    ids = {f"{role}_token_id": number for role, number in special.items()}
    chats = (run / TEMPLATE).exists()
    made = {
        "config.json": config_json(cfg, dtype, special),
        "generation_config.json": ids,
        "tokenizer_config.json": tokenizer_config(processor, cfg.max_seq_len, chats),
    }
    if not (run / FOLDER / "tokenizer.json").exists():
        made["tokenizer.json"] = tokenizer_json(processor)
        check_equal(processor, made["tokenizer.json"], (document.text for document in parallel_documents()))
    made = {name: content for name, content in made.items() if not (run / FOLDER / name).exists()}
    if chats:  # a turn ends with a token of its own
        came = run / FOLDER / "generation_config.json"
        ends = sorted({processor.eos_id(), chat_in(run).end_id})
        made["generation_config.json"] = {**(read_json(came, "import the model again") if came.exists() else ids), "eos_token_id": ends}
    return made


def export(run: Path, network: Network, step: int, out: Path, dtype: str, beside: Mapping[str, Any]) -> None:
    """Writes a model in the layout of transformers.

    Args:
        run: The run's folder.
        network: The parameters of a checkpoint.
        step: The step of the checkpoint.
        out: A new folder.
        dtype: The dtype of the weights.
        beside: From `settings`.
    """
    cfg, architecture = network.config, architecture_of(network.config)
    with new_folder(out) as folder:
        write(folder, network.params, cfg, architecture, dtype)
        if (model := run / FILES[0]).exists():
            shutil.copyfile(model, folder / model.name)
        for file in (run / FOLDER).glob("*"):
            shutil.copyfile(file, folder / file.name)
        for name, content in beside.items():
            write_atomically(folder / name, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
        if (template := run / TEMPLATE).exists():  # of the conversations that the run has learned, instead of that of its release
            shutil.copyfile(template, folder / TEMPLATE)
        write_atomically(folder / "README.md", model_card(out.name, architecture, cfg, facts_of(run, network, step)).encode())
