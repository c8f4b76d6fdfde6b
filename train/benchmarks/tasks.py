"""Tasks of lm_eval, found by name, loaded with their data and checked before anything is computed.

What lm_eval and datasets print meanwhile is dropped. Nothing that a data set brings along is executed: a task that needs it is refused.
"""

import contextlib
import io
import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import datasets
import huggingface_hub.constants
from lm_eval.api.group import Group
from lm_eval.api.registry import metric_registry
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager
from lm_eval.tasks._index import Entry, Kind, TaskIndex
from lm_eval.tasks._yaml_loader import load_yaml
from lm_eval.utils import pattern_match

from varietas.data.hints import nearest

PATIENCE = 3.0  # seconds that the hub of data sets has to answer
SHOWN = 3  # tasks with the same reason that are named; others are counted


@dataclass(frozen=True)
class Settings:
    """How tasks are asked; the names are those of lm_eval.

    Attributes:
        limit: Items of each task at most, or a share of them if it is below 1; None for all.
        num_fewshot: Examples before each question; None for as many as the task says.
        apply_chat_template: Whether questions are put as what a user says.
        fewshot_as_multiturn: Whether examples are then turns of their own.
        log_samples: Whether questions and answers are kept.
    """

    limit: float | None = None
    num_fewshot: int | None = None
    apply_chat_template: bool = False
    fewshot_as_multiturn: bool = True
    log_samples: bool = False


@dataclass(frozen=True)
class Loaded:
    """Tasks whose data is at hand."""

    tasks: Mapping[str, Task]
    groups: Sequence[Group]  # those inside of others first

    def group_of(self, name: str) -> str:
        """Returns the group that a task or a group directly belongs to, or ""."""
        return next((group.name for group in self.groups if name in group), "")


def load_tasks(names: Sequence[str], include_path: Path | None = None) -> Loaded:
    """Loads tasks with their data.

    Args:
        names: Names of tasks, groups or tags of lm_eval, also with wildcards, and paths of YAML files.
        include_path: A folder with further tasks. Python that its YAML files name is executed, as lm_eval does.

    Raises:
        ValueError: If a name is not known, a task would execute code that comes with its data or is not safe, or data is not at hand.
    """
    if include_path is not None and not include_path.is_dir():
        raise ValueError(f"--include_path {include_path} is not a folder; name one with YAML files of tasks")
    with quiet(), _offline_if_unreachable():
        manager = TaskManager(include_path=str(include_path) if include_path else None)
        found = [each for name in names for each in _resolved(name, manager)]
        leaves = {leaf: config for name in found for leaf, config in _leaves(name, manager.task_index)}
        raise_for({name: reason for name, config in leaves.items() if (reason := _refusal(config))})
        try:
            loaded = manager.load(found)
        except Exception as error:
            raise_for(_failures(leaves, manager) or {names[0]: _why(error, {})})
            raise
    unsafe = [name for name, task in loaded["tasks"].items() if getattr(task, "UNSAFE_CODE", False)]
    raise_for(dict.fromkeys(unsafe, "runs code that the model writes"))
    groups = loaded.get("groups", {}).values()
    return Loaded(loaded["tasks"], sorted(groups, key=lambda group: len(group.get_all_groups())))


def _resolved(name: str, manager: TaskManager) -> list[str]:
    """Returns the tasks and groups that a name means. Raises ValueError if there is none."""
    if name in manager.task_index or (Path(name).suffix == ".yaml" and Path(name).is_file()):
        return [name]
    if matching := pattern_match(name, manager.all_tasks) if set("*?[") & set(name) else []:
        return list(matching)
    near = nearest(name, manager.all_tasks, 0.5)
    hint = f"did you mean {near}?" if near else "its names are those of lm_eval, and of YAML files in --include_path"
    raise ValueError(f"there is no task {name!r}; {hint}")


def _leaves(name: str, index: Mapping[str, Entry]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the tasks that a task, group, tag or file consists of, each with its config, in which functions are still names."""
    entry = index.get(name) or TaskIndex.entry_from_path(Path(name))
    if entry is None:
        return
    if entry.kind == Kind.TAG:
        for member in sorted(entry.tags):
            yield from _leaves(member, index)
    elif entry.kind == Kind.GROUP:
        yield from _members((entry.cfg or {}).get("task"), index)
    else:
        yield name, entry.cfg or load_yaml(entry.yaml_path, resolve_func=False)


def _members(members: Any, index: Mapping[str, Entry]) -> Iterator[tuple[str, dict[str, Any]]]:
    for member in members if isinstance(members, list) else []:
        if isinstance(member, str):
            yield from _leaves(member, index)
        elif isinstance(member.get("task"), list):
            yield from _members(member["task"], index)
        elif name := member.get("task") or member.get("group"):
            if name in index:
                yield from _leaves(name, index)
            yield name, member  # with what the group sets


def _refusal(config: Mapping[str, Any]) -> str:
    """Returns why a task is not run; "" if it is."""
    if config.get("unsafe_code"):
        return "runs code that the model writes"
    if (config.get("dataset_kwargs") or {}).get("trust_remote_code"):
        return "executes code that comes with its data set (trust_remote_code)"
    if config.get("doc_to_image") or config.get("doc_to_audio"):
        return "asks about images or sounds"
    for entry in config.get("metric_list") or [] if not config.get("process_results") else []:
        metric = entry.get("metric")
        if entry.get("hf_evaluate") or (isinstance(metric, str) and "/" not in metric and metric not in metric_registry):
            return f"downloads the code of its metric {metric} (hf_evaluate)"
    return ""


def raise_for(reasons: Mapping[str, str]) -> None:
    """Raises ValueError if there are reasons not to run tasks, which it names. Tasks with the same reason are named together."""
    together = dict[str, list[str]]()
    for name, reason in reasons.items():
        together.setdefault(reason, []).append(name)
    said = []
    for reason, names in together.items():
        more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        said.append(f"{', '.join(names[:SHOWN])}{more}: {reason}")
    if said:
        raise ValueError(f"not all --tasks can be run. {'; '.join(said)}")


def _failures(leaves: Mapping[str, Mapping[str, Any]], manager: TaskManager) -> dict[str, str]:
    """Returns why tasks cannot be loaded, each by itself."""
    found = {}
    for name, config in leaves.items():
        try:
            if name in manager.task_index:
                manager.load([name])
        except Exception as error:
            found[name] = _why(error, config)
    return found


def _why(error: Exception, config: Mapping[str, Any]) -> str:
    said = (" ".join(str(error).split()) or type(error).__name__)[:160]
    data = str(config.get("dataset_path") or "its data set")
    if "scripts are no longer supported" in said:
        return f"executes code that comes with {data}"
    if isinstance(error, OSError) or type(error).__module__.startswith(("datasets", "huggingface_hub")):
        why = "there is no network" if huggingface_hub.constants.HF_HUB_OFFLINE and isinstance(error, ConnectionError) else said
        return (
            f"{data} is not at hand ({why}); connect to the network, or copy HF_HOME, the cache of Hugging Face, of a machine that has it"
        )
    if isinstance(error, ModuleNotFoundError):
        return f"needs the package {error.name}; install it"
    return f"cannot be loaded ({type(error).__name__}: {said})"


@contextlib.contextmanager
def _offline_if_unreachable() -> Iterator[None]:
    """Lets datasets look into its cache only if there is no network. It would try for half a minute for every task."""
    before, where = huggingface_hub.constants.HF_HUB_OFFLINE, urlsplit(huggingface_hub.constants.ENDPOINT)
    if not before and not getproxies():
        try:
            socket.create_connection((where.hostname or "", where.port or 443), PATIENCE).close()
        except OSError:
            huggingface_hub.constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        huggingface_hub.constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = before


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drops what lm_eval and datasets print, and keeps them from starting processes: jax's threads do not survive a fork."""
    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets", "huggingface_hub", "fsspec", "httpx")]
    before, single = [logger.level for logger in loggers], os.environ.get("DISABLE_MULTIPROC")
    os.environ["DISABLE_MULTIPROC"] = "1"
    bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
        if not bars:
            datasets.enable_progress_bars()
        if single is None:
            del os.environ["DISABLE_MULTIPROC"]
        else:
            os.environ["DISABLE_MULTIPROC"] = single
