"""From a config name and overrides to a checked Experiment. No jax here: a mistake is told before anything is started."""

import difflib
import math
import re
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module, resources
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from varietas.data.clean import DUPLICATE_MODES, PII_MODES
from varietas.data.mixture import from_config
from varietas.model.config import ModelConfig
from varietas.train.experiment import Experiment, OptimConfig
from varietas.train.folder import flatten

CHOICES = {
    "model.dtype": ("float32", "bfloat16"),
    "model.remat": ("none", "dots", "full"),
    "model.attention": ("auto", "blocks", "cudnn"),
    "clean.pii": PII_MODES,
    "clean.duplicates": DUPLICATE_MODES,
    "optim.schedule": ("cosine", "wsd", "constant"),
}
POSITIVE = (
    "data.seq_len", "model.vocab_size", "model.n_layers", "model.d_model", "model.d_ff", "model.n_heads", "model.n_kv_heads",
    "model.max_seq_len", "model.loss_chunk", "model.rope_theta", "model.norm_eps", "model.init_std", "optim.peak_lr", "optim.eps",
    "optim.clip_norm", "train.steps", "train.batch_size", "train.grad_accum", "checkpoint.keep",
)  # fmt: skip
NOT_NEGATIVE = (
    "seed", "data.workers", "model.d_head", "optim.warmup_steps", "optim.weight_decay", "optim.z_loss",
    "checkpoint.every", "eval.every", "clean.min_chars",
)  # fmt: skip
OPTIONS = ("config", "run", "cpu_devices", "input", "out", "tokenizer", "engine", "workers", "slurm", "max_rejects", "lang")
CORES_A_DEVICE = 2  # of a CPU: XLA keeps two busy within one device, without exchanging gradients
LEAST_COLUMNS = 256  # of d_model on a device, where the mesh is ours to choose: narrower parts are slow to exchange
FRACTIONS = ("data.mixture.alpha", "optim.decay_fraction", "optim.final_lr_fraction", "optim.beta1", "optim.beta2")


def config_names() -> list[str]:
    files = resources.files("varietas.configs").iterdir()
    return sorted(file.name[:-3] for file in files if file.name.endswith(".py") and file.name not in ("__init__.py", "base.py"))


def load_config(name: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """A config by NAME or PATH, with an optional :ARG, and `--config.FIELD=VALUE` overrides applied.

    Raises ValueError on an unknown name, an unknown field (naming the nearest), or a value of the wrong type.
    """
    file, _, arg = name.partition(":")
    if file in (*config_names(), "base"):
        path = str(import_module(f"varietas.configs.{file}").__file__)
    elif file.endswith(".py") and Path(file).is_file():
        path = file
    else:
        near = difflib.get_close_matches(file, config_names(), n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"--config {name}: no such config; {hint}there are {', '.join(config_names())}, or give the path of a .py file")
    argv = ["varietas", f"--config={path}:{arg}" if arg else f"--config={path}", *overrides]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    sys.modules.pop("config_config", None)  # ml_collections would load the file into the module of the one before it
    try:
        rest = values(argv)
        config = values["config"].value
    except Exception as error:  # whatever the code of a user's config raises
        raise ValueError(_in_file(error, path) or _explain(error, overrides, path)) from None
    if not isinstance(config, ConfigDict):
        raise ValueError(f"{path}: get_config() returned a {type(config).__name__}, expected an ml_collections.ConfigDict")
    if len(rest) > 1:
        raise ValueError(f"unexpected argument {rest[1]!r}; options are --NAME VALUE, fields --config.FIELD=VALUE")
    return config


def _in_file(error: Exception, path: str) -> str:
    """One line on an error that the config file itself raised; "" if it was not the file."""
    lines, text = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path], str(error)
    if isinstance(error, SyntaxError) and error.filename == path:
        lines, text = [error.lineno], error.msg
    if not lines:
        return f"{path} has no get_config(); configs/tiny.py shows one" if "'get_config'" in text else ""
    where = f"{path}, line {lines[-1]}"
    if field := re.search(r'Key \W*"(\w+)\W*" does not exist', text):
        return f"{where}: there is no field {field[1]}; {_nearest(field[1], list(_base_fields()))}"
    return f"{where}: {type(error).__name__}: {' '.join(text.split())[:300]}"


def _explain(error: Exception, overrides: Sequence[str], path: str) -> str:
    """One line that names the argument at fault and the nearest field."""
    fields = _base_fields()
    for argument in filter(lambda text: text.startswith("-"), overrides):
        flag = argument.split("=")[0].lstrip("-")
        field = flag.removeprefix("config.")
        if not flag.startswith("config."):
            options = [f"--{name}" for name in OPTIONS]
            if near := difflib.get_close_matches(f"--{flag}", options, n=1, cutoff=0.8):
                return f"unknown option --{flag}; did you mean {near[0]}?"
            return f"unknown option --{flag}; {_nearest(f'--config.{field}', [f'--config.{name}' for name in fields] + options)}"
        if field not in fields:
            return f"--{flag}: there is no field {field}; {_nearest(field, list(fields))}"
        value = argument.partition("=")[2]
        if f"config.{field}={value}" in str(error):
            default = fields[field]
            return f"--{flag}={value}: expected {type(default).__name__}, as in {field}={default!r}"
    text = " ".join(str(error).split())
    return f"{text[:300]}; see configs/base.py for the fields and their types" if overrides else f"{path}: {text[:300]}"


def _base_fields() -> dict[str, Any]:
    """Every field there is, by its dotted name, with the value it has in configs/base.py."""
    return flatten(load_config("base").to_dict())


def _nearest(word: str, known: Sequence[str]) -> str:
    last = word.rsplit(".", 1)[-1]
    same_end = [name for name in known if difflib.SequenceMatcher(None, name.rsplit(".", 1)[-1], last).ratio() > 0.8]
    near = difflib.get_close_matches(word, same_end or known, n=1, cutoff=0.0)
    return f"did you mean {near[0]}?"


def check(config: ConfigDict) -> None:
    """Raises ValueError, in one line with the nearest valid value, on anything that cannot be trained."""
    known, flat = _base_fields(), flatten(config.to_dict())
    for field in flat:
        if field not in known and not field.startswith("data.mixture.phases."):  # whose names are the user's, and checked below
            raise ValueError(f"config has an unknown field {field}; {_nearest(field, list(known))}")
    for field, value in known.items():
        if field not in flat:
            raise ValueError(f"config lacks the field {field}; start from varietas.configs.base.get_config()")
        if type(flat[field]) is not type(value):
            raise ValueError(f"{field}={flat[field]!r} is of type {type(flat[field]).__name__}, expected {type(value).__name__}")
    for field in (*POSITIVE, *NOT_NEGATIVE, *FRACTIONS):
        value = flat[field]
        valid = (value >= 0 if field not in POSITIVE else value > 0) and (value <= 1 if field in FRACTIONS else math.isfinite(value))
        if not valid:
            wanted = "more than 0" if field in POSITIVE else "from 0 to 1" if field in FRACTIONS else "0 or more"
            raise ValueError(f"{field}={value} must be {wanted}; configs/base.py has {known[field]}")
    if config.seed >= 1 << 63:
        raise ValueError(f"seed={config.seed} must be less than 2^63")
    for field in ("optim.beta1", "optim.beta2"):
        if flat[field] == 1:
            raise ValueError(f"{field}=1 would never take a gradient in; configs/base.py has {known[field]}")
    if config.model.attention == "cudnn" and config.model.dtype != "bfloat16":
        raise ValueError(f"model.attention='cudnn' needs model.dtype=bfloat16, found {config.model.dtype}; or set model.attention=auto")
    for field, choices in CHOICES.items():
        if flat[field] not in choices:
            near = difflib.get_close_matches(flat[field], choices, n=1, cutoff=0.0)
            raise ValueError(f"{field}={flat[field]!r} is none of {', '.join(choices)}; did you mean {near[0] if near else choices[0]!r}?")
    m, t = config.model, config.train
    if not m.d_head and m.d_model % m.n_heads:
        raise ValueError(
            f"model.n_heads={m.n_heads} does not divide model.d_model={m.d_model}; set n_heads={_divisor(m.d_model, m.n_heads)} or d_head"
        )
    head = m.d_head or m.d_model // m.n_heads
    if head % 2:
        raise ValueError(
            f"heads are {head} wide (model.d_head, or d_model / n_heads); rotary positions need an even number: set model.d_head={head + 1}"
        )
    if m.n_heads % m.n_kv_heads:
        raise ValueError(
            f"model.n_kv_heads={m.n_kv_heads} does not divide model.n_heads={m.n_heads}; set n_kv_heads={_divisor(m.n_heads, m.n_kv_heads)}"
        )
    if m.attention == "cudnn" and (head % 8 or config.data.seq_len % 2):
        raise ValueError(
            f"model.attention='cudnn' takes heads of a multiple of 8 and rows of an even number of tokens, found {head} and "
            f"data.seq_len={config.data.seq_len}; set model.attention=auto"
        )
    if config.data.seq_len > m.max_seq_len:
        raise ValueError(
            f"data.seq_len={config.data.seq_len} is longer than model.max_seq_len={m.max_seq_len}; set data.seq_len={m.max_seq_len} or less"
        )
    if config.data.seq_len < 2:
        raise ValueError("data.seq_len=1 leaves nothing to predict; set data.seq_len=2 or more")
    if t.batch_size % t.grad_accum:
        fits = _divisor(t.batch_size, t.grad_accum)
        raise ValueError(f"train.grad_accum={t.grad_accum} does not divide train.batch_size={t.batch_size}; set grad_accum={fits}")
    from_config(config.data.mixture.to_dict())


def cpu_devices(config: ConfigDict, cores: int) -> int:
    """How many virtual devices suit a CPU of `cores` cores: those the mesh names, and where it leaves room up to one for each
    CORES_A_DEVICE cores."""
    sizes = [config.mesh.data, config.mesh.fsdp, config.mesh.tensor]
    named = math.prod(size for size in sizes if size > 0)
    if named > max(cores, 8):
        return cores
    return suitable(config, max(named, cores // CORES_A_DEVICE)) if -1 in sizes else named


def suitable(config: ConfigDict, at_most: int) -> int:
    """The most devices that the mesh, the batch and the model divide over. `at_most` where there is no such number: they say why then."""

    def fits(n_devices: int) -> bool:
        try:
            resolve_mesh(config, n_devices)
        except ValueError:
            return False
        return True

    return next(filter(fits, range(at_most, 0, -1)), at_most)


def resolve_mesh(config: ConfigDict, n_devices: int) -> tuple[int, int, int]:
    """data, fsdp, tensor with -1 filled in. Raises ValueError if they do not fit the devices, the batch or the model."""
    mesh, m, t = config.mesh, config.model, config.train
    sizes = {"data": mesh.data, "fsdp": mesh.fsdp, "tensor": mesh.tensor}
    for axis, size in sizes.items():
        if size < 1 and size != -1:
            raise ValueError(f"mesh.{axis}={size} must be 1 or more, or -1 for the devices that are left")
    named = math.prod(size for size in sizes.values() if size > 0)
    if sizes["fsdp"] == sizes["data"] == -1:
        left = n_devices // named
        sizes["fsdp"] = max(n for n in range(1, left + 1) if n == 1 or (left % n == m.d_model % n == 0 and m.d_model // n >= LEAST_COLUMNS))
    for axis in ("fsdp", "data", "tensor"):
        if sizes[axis] == -1:
            sizes[axis] = max(1, n_devices // math.prod(size for size in sizes.values() if size > 0))
    if math.prod(sizes.values()) != n_devices:
        shown = " × ".join(f"{axis}={size}" for axis, size in sizes.items())
        rest = {axis: math.prod(sizes.values()) // size for axis, size in sizes.items()}
        fits = [f"mesh.{axis}={n_devices // rest[axis]}" for axis in rest if mesh[axis] not in (-1, 1) and n_devices % rest[axis] == 0]
        raise ValueError(
            f"mesh {shown} needs {math.prod(sizes.values())} devices, found {n_devices}; "
            f"set {fits[0] if fits else 'mesh.data=1 and mesh.fsdp=-1'} (on a CPU also: --cpu_devices {named})"
        )
    batch_parts = sizes["data"] * sizes["fsdp"] * t.grad_accum
    if t.batch_size % batch_parts:
        near = max(1, round(t.batch_size / batch_parts)) * batch_parts
        raise ValueError(
            f"train.batch_size={t.batch_size} does not divide over data={sizes['data']} × fsdp={sizes['fsdp']} devices"
            f"{f' × grad_accum={t.grad_accum}' if t.grad_accum > 1 else ''}; set train.batch_size={near}"
        )
    for axis, field, size in (
        ("fsdp", "d_model", m.d_model), ("tensor", "n_heads", m.n_heads), ("tensor", "n_kv_heads", m.n_kv_heads),
        ("tensor", "d_ff", m.d_ff), ("tensor", "vocab_size", m.vocab_size),
    ):  # fmt: skip
        if size % sizes[axis]:
            raise ValueError(
                f"mesh.{axis}={sizes[axis]} does not divide model.{field}={size}; set mesh.{axis}={_divisor(size, sizes[axis])}"
            )
    return sizes["data"], sizes["fsdp"], sizes["tensor"]


def _divisor(n: int, near: int) -> int:
    """The divisor of n nearest to `near`."""
    return min((d for d in range(1, n + 1) if n % d == 0), key=lambda d: abs(d - near))


def experiment(config: ConfigDict, corpus: str, mesh: tuple[int, int, int]) -> Experiment:
    """The plain frozen values that train, model and data take."""
    return Experiment(
        seed=config.seed,
        corpus=corpus,
        seq_len=config.data.seq_len,
        workers=config.data.workers,
        mixture=from_config(config.data.mixture.to_dict()),
        model=ModelConfig(**config.model),
        optim=OptimConfig(**config.optim),
        mesh=mesh,
        steps=config.train.steps,
        batch_size=config.train.batch_size,
        grad_accum=config.train.grad_accum,
        checkpoint_every=config.checkpoint.every,
        checkpoints_kept=config.checkpoint.keep,
        eval_every=config.eval.every,
    )
