"""A run as a GGUF file, which llama.cpp runs: the weights, the shape and the tokenizer in one file. No code of ours is needed there."""

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import track

from varietas.data.chat.template import FILE as TEMPLATE
from varietas.data.chat.template import chat_in, template_in
from varietas.data.files import new_file
from varietas.data.text.documents import Document
from varietas.data.text.embedded import parallel_documents
from varietas.data.tokenizer.hub import HubTokenizer
from varietas.data.tokenizer.llama_cpp import sentencepiece_fields
from varietas.data.tokenizer.llama_cpp_bpe import byte_level_fields
from varietas.data.tokenizer.model import file_in
from varietas.data.tokenizer.model import load as load_tokenizer
from varietas.model.config import ModelConfig
from varietas.model.formats.gguf import Field, Importances, architecture_of, gguf_tensors
from varietas.train.inference.network import Network
from varietas.train.release.calibrating import importances
from varietas.train.release.card import facts_of, made

BY_DTYPE = {"float32": "f32", "bfloat16": "bf16"}  # the form for a run's model.dtype


def export(
    run: Path,
    cfg: ModelConfig,
    network: Callable[[], tuple[Network, int]],
    out: Path,
    form: str | None,
    calibration: Iterable[Document] | None,
    console: Console,
) -> None:
    """Writes the model and its tokenizer into a GGUF file.

    Args:
        run: The run's folder.
        cfg: The shape of its model.
        network: Loads the parameters of a checkpoint, and returns its step too.
        out: The new file.
        form: f32, f16, bf16, q8_0, q4_0 or q4_k; None for that of the run's `model.dtype`.
        calibration: Text by which weights are rounded to q4_k (see calibrating.py); None to round each by itself.
        console: Where progress is shown.

    Raises:
        ValueError: If `out` exists, or llama.cpp has no model or tokenizer that computes the same.
        ModuleNotFoundError: If the package gguf is not installed.
    """
    if out.exists():
        raise ValueError(f"{out} exists; name a new file")
    check_installed()
    from varietas.model.formats.gguf_file import write

    tensors, tokenizer = gguf_tensors(cfg), tokenizer_fields(run, cfg)
    with console.status("loading the checkpoint"):
        loaded, step = network()
        about = about_fields(run, loaded, step, out.stem)
    found: Importances = {}
    if calibration is not None:
        with console.status("calibrating"):
            found = importances(loaded, load_tokenizer(file_in(run)), calibration)
    with new_file(out) as partial:
        writing = write(partial, cfg, loaded.params, form or BY_DTYPE[cfg.dtype], about | tokenizer, found)
        for _ in track(writing, "exporting", len(tensors), console=console, transient=True, disable=not console.is_terminal):
            pass


def check_installed() -> None:
    """Raises ModuleNotFoundError if the package gguf is not installed."""
    if find_spec("gguf") is None:
        raise ModuleNotFoundError("GGUF files are written with the package gguf; install it: pip install 'varietas[data]'")


def tokenizer_fields(run: Path, cfg: ModelConfig) -> dict[str, Field]:
    """Returns the fields of the tokenizer. What cannot be exported is refused here, without the parameters.

    Args:
        run: The run's folder.
        cfg: The shape of its model.

    Raises:
        ValueError: If llama.cpp has no such model, or the tokenizer has no exact counterpart there.
    """
    architecture_of(cfg)
    processor = load_tokenizer(file_in(run))
    if isinstance(processor, HubTokenizer):
        own = byte_level_fields(processor, cfg.vocab_size)
    else:
        own = sentencepiece_fields(processor, cfg.vocab_size, (document.text for document in parallel_documents()))
    special = {"bos": processor.bos_id(), "eos": processor.eos_id(), "unknown": processor.unk_id(), "padding": processor.pad_id()}
    return {
        **own,
        **{f"tokenizer.ggml.{role}_token_id": number for role, number in special.items() if number >= 0},
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": False,
        **({"tokenizer.chat_template": template} if (template := template_in(run)) else {}),
        **({"tokenizer.ggml.eot_token_id": chat_in(run).end_id} if (run / TEMPLATE).exists() else {}),
    }


def about_fields(run: Path, network: Network, step: int, name: str) -> dict[str, Field]:
    """Returns the fields that say where a model comes from."""
    facts = facts_of(run, network, step)
    return {
        "general.type": "model",
        "general.name": name,
        "general.description": f"{made(facts)}; digest of the parameters: {facts.digest}",
        **({"general.languages": facts.codes} if facts.codes else {}),
    }
