"""`varietas.import_model`: makes a run of a model in the layout of transformers. The work is done by `train.release.importing`."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from varietas.launch import backend, resolve
from varietas.launch.check import check
from varietas.launch.config import load_config
from varietas.train.release.incoming import Release, read_release, tokenizer_of

LONGEST = 2048  # tokens of a row of an imported model, unless it is made for fewer


def import_model(source: str | Path, folder: str | Path, cpu_devices: int | None = None) -> ConfigDict:
    """Makes a run of a model in the layout of transformers. `Run.open` evaluates and exports it, and `train.init_from` trains it.

    Args:
        source: A folder with config.json, safetensors and a tokenizer.
        folder: The new folder of the run.
        cpu_devices: On a CPU, the number of virtual devices; one for every two cores if not given.

    Returns:
        The config of the run.

    Raises:
        ValueError: If `folder` exists, or `source` is damaged, incomplete or a model that is not known here.
    """
    backend.stop_second_run()
    run = resolve.new_run(folder)
    release = read_release(Path(source))
    tokenizer = tokenizer_of(release)
    check(config := _config_of(release))
    config = resolve.with_mesh(config, cpu_devices, fit=True)
    from varietas.train.release.importing import import_release

    import_release(release, tokenizer, run, config.to_dict(), resolve.experiment_of(config))
    return config


def _config_of(release: Release) -> ConfigDict:
    """Returns the config of a run that holds the model of a release."""
    values: dict[str, Any] = {f"model.{field}": value for field, value in release.shape.items()}
    values["model.dtype"] = "bfloat16" if release.dtype == "bfloat16" else "float32"
    values["data.seq_len"] = min(LONGEST, release.shape["max_seq_len"])
    return resolve.with_values(load_config("base"), values)
