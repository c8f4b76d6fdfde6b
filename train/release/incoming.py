"""A model that others have released, in a folder in the layout of transformers: what it says of itself. Its weights are not read here.

Nothing in such a folder is run or unpickled.
"""

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from varietas.data.chat.template import FILE as TEMPLATE
from varietas.data.chat.template import RELEASE as FOLDER
from varietas.data.files import read_json
from varietas.data.text.embedded import parallel_documents
from varietas.data.tokenizer.model import FILES, Tokenizer, file_name, from_bytes, read
from varietas.data.tokenizer.tokenizer_json import first_difference
from varietas.model.formats.config_json import shape_of

KEPT = (*FILES, "tokenizer_config.json", "special_tokens_map.json", "generation_config.json", TEMPLATE)


@dataclass(frozen=True)
class Release:
    """A model in a folder in the layout of transformers."""

    folder: Path
    architecture: str
    shape: dict[str, Any]  # the fields of `model` in our config that config.json sets
    dtype: str  # of its weights, as config.json says: float32, bfloat16 or float16


def read_release(folder: Path) -> Release:
    """Reads what a release says of its model.

    Raises:
        ValueError: If config.json is missing, damaged or not known here.
    """
    file = folder / "config.json"
    try:
        config = read_json(file, "download it again")
    except FileNotFoundError:
        raise ValueError(
            f"{folder} has no config.json; name a folder in the layout of transformers, with its safetensors and tokenizer"
        ) from None
    shape = shape_of(config, str(file))
    return Release(folder, config["architectures"][0], shape, str(config.get("dtype") or config.get("torch_dtype")))


def tokenizer_of(release: Release) -> bytes:
    """Returns the content of the tokenizer of a release, as `data.tokenizer.model.load` takes it.

    That is tokenizer.model, which is faster, if tokenizer.json has the same ids; else tokenizer.json.

    Raises:
        ValueError: If the tokenizer is missing, damaged, or larger than the vocabulary of the model.
    """
    folder, vocab_size = release.folder, release.shape["vocab_size"]
    found = [read(folder / name) for name in FILES if (folder / name).exists()]
    if not found:
        raise ValueError(f"{folder} has neither {' nor '.join(FILES)}; download the tokenizer too")
    tokenizers = []
    for content in found:
        try:
            tokenizers.append(from_bytes(content))
        except RuntimeError:
            raise ValueError(f"{folder / file_name(content)} is not a tokenizer; download it again") from None
    which = 0 if len(found) == 1 or same_ids(tokenizers[0], tokenizers[1]) else 1
    if (pieces := tokenizers[which].get_piece_size()) > vocab_size:
        raise ValueError(
            f"{folder}: the tokenizer has {pieces:,} pieces, but config.json says vocab_size={vocab_size:,}; they are not of the same "
            "model: download both again"
        )
    return found[which]


def same_ids(one: Tokenizer, other: Tokenizer) -> bool:
    """Whether two tokenizers have the same ids for a text in all languages of Europe, and for odd texts."""
    texts = (document.text for document in parallel_documents())
    return one.get_piece_size() == other.get_piece_size() and first_difference(one, other, texts) is None


def keep_of_run(run: Path, new: Path, without: Collection[str] = ()) -> None:
    """Copies from one run's folder into another's what goes out with its model: its own chat template, and files of its release."""
    if (run / TEMPLATE).exists():
        shutil.copyfile(run / TEMPLATE, new / TEMPLATE)
    keep_files(run / FOLDER, new, without)


def keep_files(release: Path, run: Path, without: Collection[str] = ()) -> None:
    """Copies those files of a release into a run's folder that go out again with its model. A file that names code to run stays behind."""
    for name in KEPT:
        file = release / name
        if name not in without and file.exists() and not (name.endswith(".json") and b'"auto_map"' in file.read_bytes()):
            (run / FOLDER).mkdir(exist_ok=True)
            shutil.copyfile(file, run / FOLDER / name)
