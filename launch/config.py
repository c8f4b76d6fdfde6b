"""Configs by name or path, with overrides from the command line. Imports no jax, so a mistake is answered at once."""

import contextlib
import difflib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module, resources
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from varietas.data.hints import nearest
from varietas.train.run_folder.config import flatten

PREFIX = "--config."  # of an argument that sets a field
MODULE = "varietas_config"  # the module that a user's config file becomes
PHASES = "data.mixture.phases."  # users name phases: below it, any field may exist
BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
LONGEST = 300  # characters of an error's text that are shown


def config_names() -> list[str]:
    """Returns the names of the configs that come with Varietas, without `base`."""
    return files_of("varietas.configs")


def files_of(package: str) -> list[str]:
    """Returns the names of the files of a package of configs, without `base`."""
    files = resources.files(package).iterdir()
    return sorted(file.name[:-3] for file in files if file.name.endswith(".py") and file.name not in ("__init__.py", "base.py"))


def load_config(name: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """Loads a config and applies overrides to it.

    Args:
        name: A config of ours by name, or the path of a Python file with `get_config()`; `:ARG` at the end is passed to that function. The
            path of a file that exists may have colons.
        overrides: Command line arguments of the form `--config.FIELD=VALUE`, or `--config.FIELD` and `VALUE`.

    Returns:
        The config, not yet checked (see `check.check`).

    Raises:
        ValueError: If there is no such config, its file fails, it does not take ARG, a field does not exist (the nearest one is named), or
            a value has the wrong type.
    """
    file, arg = split_name(name)
    if file in (*config_names(), "base"):
        module = import_module(f"varietas.configs.{file}")
    elif file.endswith(".py") and os.path.isfile(file):
        module = _module(file)
    else:
        near = nearest(file, config_names(), 0.4)
        hint = f"did you mean {near}? " if near else ""
        found = "not a .py file" if os.path.isfile(file) else "a folder" if os.path.isdir(file) else "no such config"
        raise ValueError(f"--config {name}: {found}; {hint}choose from {', '.join(config_names())}, or give the path of a .py file")
    config = _config_of(module, file, arg).lock()
    config.update_from_flattened_dict(_values(overrides, flatten(config.to_dict())))  # references between fields follow
    return config


def check_names(flags: Sequence[str]) -> None:
    """Raises ValueError if one of these flags, such as `--config.train.steps`, names no field."""
    fields = list(base_fields())
    for field in (flag.removeprefix(PREFIX) for flag in flags):
        if field not in fields and not field.startswith(PHASES):
            raise ValueError(f"{PREFIX}{field}: there is no field {field}; {nearest_field(field, fields)}")


def base_fields() -> dict[str, Any]:
    """Returns every config field by its dotted name, with its value in configs/base.py."""
    return flatten(load_config("base").to_dict())


def nearest_field(word: str, known: Sequence[str]) -> str:
    """Returns a hint that names the known field most like `word`, comparing the last parts of dotted names first."""
    last = word.rsplit(".", 1)[-1]
    same_end = [name for name in known if difflib.SequenceMatcher(None, name.rsplit(".", 1)[-1], last).ratio() > 0.8]
    return f"did you mean {nearest(word, same_end or known)}?"


def stem_of(name: str) -> str:
    """Returns what a config is called without folder, extension and argument, which is the default name of its runs."""
    return Path(split_name(name)[0]).stem


def split_name(name: str) -> tuple[str, str]:
    """Splits NAME:ARG or PATH:ARG at the last colon that has an existing file before it; if there is none, at the first colon."""
    if os.path.isfile(name):
        return name, ""
    colons = [place for place, letter in enumerate(name) if letter == ":"]
    at = next((place for place in reversed(colons) if os.path.isfile(name[:place])), colons[0] if colons else len(name))
    return name[:at], name[at + 1 :]


def _module(path: str) -> ModuleType:
    """Runs a user's config file. Unlike an import, this leaves no bytecode beside it."""
    source, module = Path(path).read_bytes(), ModuleType(MODULE)
    sys.modules[MODULE], module.__file__ = module, path
    with in_one_line(path):
        exec(compile(source, path, "exec"), module.__dict__)
    return module


def _config_of(module: ModuleType, file: str, arg: str) -> ConfigDict:
    """Calls get_config() of a module; `file` says in messages where it comes from."""
    get_config = getattr(module, "get_config", None)
    if not callable(get_config):
        raise ValueError(f"{file} has no get_config(); configs/tiny.py shows one")
    arguments = [arg] if arg else []
    try:
        inspect.signature(get_config).bind(*arguments)
    except TypeError:
        advice = f"takes no argument; leave out :{arg}" if arg else f"needs an argument; write --config {file}:ARG"
        raise ValueError(f"get_config() of {file} {advice}") from None
    with in_one_line(str(module.__file__)):
        config = get_config(*arguments)
    if not isinstance(config, ConfigDict):
        found = "nothing" if config is None else f"a {type(config).__name__}"
        raise ValueError(f"{file}: get_config() returned {found}, expected an ml_collections.ConfigDict")
    return config.as_configdict() if isinstance(config, FrozenConfigDict) else config


@contextmanager
def in_one_line(path: str) -> Iterator[None]:
    """Turns whatever a user's file raises into a ValueError with the line of the file and one line of text."""
    try:
        yield
    except (Exception, SystemExit) as error:
        lines, text = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path], str(error)
        if isinstance(error, SyntaxError) and not lines:
            lines, text = [error.lineno], error.msg
        where = f"{path}, line {lines[-1]}" if lines and lines[-1] else path
        if field := re.search(r'Key \W*"(\w+)\W*" does not exist', text):
            raise ValueError(f"{where}: there is no field {field[1]}; {nearest_field(field[1], list(base_fields()))}") from error
        raise ValueError(f"{where}: {type(error).__name__}: {' '.join(text.split())[:LONGEST]}") from error


def _values(arguments: Sequence[str], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Parses overrides.

    Args:
        arguments: `--config.FIELD=VALUE`, or `--config.FIELD` and `VALUE`.
        fields: Maps the name of each field to its value now, which says what type the new one must have.

    Returns:
        The new values by field.
    """
    values: dict[str, Any] = {}
    left = iter(arguments)
    for argument in left:
        flag, equals, value = argument.partition("=")
        field = flag.removeprefix(PREFIX)
        if not argument.startswith("-"):
            raise ValueError(f"unexpected argument {argument!r}; options have the form --NAME VALUE, config fields --config.FIELD=VALUE")
        if field == flag:
            near = nearest_field(PREFIX + flag.lstrip("-"), [PREFIX + name for name in fields])
            raise ValueError(f"unknown option {flag}; {near}")
        if field not in fields:
            raise ValueError(f"{flag}: there is no field {field}; {nearest_field(field, list(fields))}")
        if not equals and ((value := next(left, "--")).startswith("--") or not value):
            raise ValueError(f"{flag} has no value; write {flag}=VALUE, as in {flag}={fields[field]}")
        values[field] = _parsed(flag, value, fields[field])
    return values


def _parsed(flag: str, text: str, example: Any) -> bool | int | float | str:
    """Returns a value of the same type as `example`. `flag` is for messages."""
    with contextlib.suppress(ValueError, KeyError):
        if isinstance(example, str):
            return text
        if isinstance(example, bool):
            return BOOLEANS[text.lower()]
        if text.isascii():  # Python reads digits of all scripts
            return type(example)(text)
    raise ValueError(f"{flag}={text[:LONGEST]}: expected {type(example).__name__}, as in {flag.removeprefix(PREFIX)}={example!r}")
