"""`varietas.extend`: more pieces for a model. The work is done by `data.tokenizer.extend` and `train.release.extending`."""

from collections.abc import Callable, Iterable
from pathlib import Path

from varietas.data.text.documents import Document
from varietas.data.tokenizer.extend import extend as extend_tokenizer
from varietas.data.tokenizer.model import Fertility, fertility, file_in, load, read
from varietas.launch import backend, resolve
from varietas.model.config import ModelConfig
from varietas.train.run_folder.config import read_config
from varietas.train.run_folder.origin import checkpoint_of


def extend(
    name: str, folder: str | Path, documents: Callable[[], Iterable[Document]], pieces: int, cpu_devices: int | None = None
) -> tuple[dict[str, Fertility], dict[str, Fertility]]:
    """Makes a run whose tokenizer has more pieces, for text that takes many tokens. The run is trained further with `train.init_from`.

    Args:
        name: The checkpoint, as RUN@STEP, or RUN for its newest one.
        folder: The new folder of the run.
        documents: Returns the text; it is called three times.
        pieces: Number of new pieces.
        cpu_devices: On a CPU, the number of virtual devices; one for every two cores if not given.

    Returns:
        How many tokens the text of each language takes, before and after.

    Raises:
        ValueError: If `folder` exists, there is no such checkpoint, or the text is too little for so many pieces.
    """
    backend.stop_second_run()
    run = resolve.new_run(folder)
    checkpoint = checkpoint_of(name)
    content = read(file_in(checkpoint.run))
    found = extend_tokenizer(content, documents(), pieces)
    before, after = load(content), load(found.content)
    config = resolve.reopened(read_config(checkpoint.run))
    size = max(config.model.vocab_size, resolve.rounded(after.get_piece_size()))
    values = {"model.vocab_size": size, "model.lora_rank": 0, "optim.dpo_beta": 0.0}
    wider = resolve.with_mesh(resolve.with_values(config, values), cpu_devices, fit=True)
    from varietas.train.release.extending import extend_vocabulary

    model, exp = ModelConfig(**config.model), resolve.experiment_of(wider)
    extend_vocabulary(checkpoint, model, found, run, wider.to_dict(), exp)
    return fertility(before, documents()), fertility(after, documents())
