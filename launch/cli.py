"""The command line: finds the verb, and turns what it raises into one line."""

import _thread
import argparse
import contextlib
import io
import keyword
import logging
import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from rich.console import Console

import varietas
from varietas.data.hints import nearest
from varietas.launch import audit, backend
from varietas.launch.backend import COORDINATION
from varietas.launch.distributed.ending import BROKEN, INTERRUPTED, leave
from varietas.launch.distributed.environment import Process, find
from varietas.launch.distributed.meeting import join, joined
from varietas.launch.doctor.hardware import accelerators

VERBS = (
    "tokenizer", "fences", "prepare", "mixture", "plan", "ladder", "train", "submit", "status", "evaluate", "contamination",
    "memorisation", "generate", "serve", "report", "import", "average", "extend", "quantize", "export", "release", "digest", "benchmarks",
    "audit", "doctor",
)  # fmt: skip
COMPUTING = ("train", "evaluate", "generate", "serve")  # verbs that gain from huge pages
NAME = re.compile(r"--?[A-Za-z][^ ]*")  # of a flag; anything else that begins with a dash is a value
CONNECTIONS = ("Gloo", COORDINATION)  # what names them in errors
AGAIN = 0.1  # seconds after which a Ctrl-C is repeated
LONGEST = 1500  # characters of a line; a path or a value that was given may be longer


class Parser(argparse.ArgumentParser):
    """Raises ValueError where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; see {self.prog} --help")


def top_parser() -> Parser:
    """Returns the parser of `varietas` without a verb, for its help."""
    top = Parser(
        prog="varietas",
        description="Trains multilingual language models for Europe with JAX.",
        epilog="varietas VERB --help explains a verb and shows an example.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"varietas {varietas.__version__}")
    _list(top, VERBS, "")
    return top


def audit_parser() -> Parser:
    """Returns the parser of `varietas audit` without a verb of its own, for its help."""
    about = f"{audit.SUMMARY[0].upper()}{audit.SUMMARY[1:]}.".replace("; `varietas audit --help` lists the verbs", "")
    parser = Parser(prog="varietas audit", description=about, epilog="varietas audit VERB --help explains a verb.", allow_abbrev=False)
    _list(parser, audit.VERBS, "audit ")
    return parser


def _list(parser: Parser, names: Sequence[str], group: str) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for name in names:
        verbs.add_parser(name, help=_verb(group + name).SUMMARY)


def verb_parser(name: str) -> Parser:
    """Returns the parser of a verb, such as `train` or `audit find`."""
    verb = _verb(name)
    description = verb.SUMMARY[0].upper() + verb.SUMMARY[1:] + "."
    parser = Parser(prog=f"varietas {name}", description=description, epilog=f"example: {verb.EXAMPLE}", allow_abbrev=False)
    verb.add_flags(parser)
    return parser


def _verb(name: str) -> ModuleType:
    if name == "audit":
        return audit
    group, _, verb = name.rpartition(" ")
    return import_module(f"varietas.launch.{group or 'verbs'}.{verb}{'_' * keyword.iskeyword(verb)}")


def main(argv: Sequence[str] | None = None, restart: bool = False) -> int:
    """Runs a verb.

    Args:
        argv: The verb and its flags; those of this process if not given.
        restart: Whether this process may begin again on huge pages. That suits the command `varietas`, and no other program.

    Returns:
        The exit status: 2 for a mistake of the user, 1 for a fault of ours and 3 for another process that is lost, all of which are told
        in one line.
    """
    backend.stop_second_run()
    _open_streams()
    console = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120)
    logging.basicConfig(format="varietas: %(message)s", level=logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it repeats at length, when it may, what Orbax has raised
    warnings.showwarning = lambda message, *_: print(f"varietas: {message}", file=sys.stderr)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = interrupt_again
    message = ""
    try:
        status = _run(sys.argv[1:] if argv is None else list(argv), console, restart)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        status = 1
    except Exception as error:
        if os.environ.get("VARIETAS_DEBUG"):
            traceback.print_exc()
        message, status = _in_one_line(error)
    if process := joined():
        leave(process, message, status)
    if message:
        with contextlib.suppress(OSError):
            print(f"varietas: {' '.join(message.splitlines())[:LONGEST]}", file=sys.stderr, flush=True)
    try:
        sys.stdout.flush()
    except OSError:  # Python would try it again when it exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def interrupt_again(ignored: Any) -> None:
    """Repeats a Ctrl-C that Python ignores, since it came while garbage was collected. Of other ignored errors it says what Python says."""
    if issubclass(ignored.exc_type, KeyboardInterrupt):
        threading.Timer(AGAIN, _thread.interrupt_main).start()
    else:
        sys.__unraisablehook__(ignored)


def command() -> int:
    """The command `varietas`, which begins again on huge pages."""
    return main(restart=True)


def _open_streams() -> None:
    """Makes the standard streams take any character, so that a print does not end a run. Those that are closed lead nowhere."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < 3:  # otherwise a file that is opened later would be a standard stream
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _in_one_line(error: Exception) -> tuple[str, int]:
    """Returns what to tell the user of an error, and the exit status."""
    text = " ".join(str(error).split())
    if any(name in text for name in CONNECTIONS):  # of any class
        return f"{BROKEN} ({text[:LONGEST]})", INTERRUPTED
    if isinstance(error, OSError) and not isinstance(error, ChildProcessError):
        where = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return f"{where}; check the path, who may write there, and the space left", 2
    if isinstance(error, (ValueError, FloatingPointError, MemoryError, ImportError, ChildProcessError)):
        return str(error), 2
    from varietas.train.execution.faults import FaultyDevice
    from varietas.train.memory import is_out_of_memory
    from varietas.train.processes import ProcessLost

    if isinstance(error, ProcessLost):
        return text, INTERRUPTED
    if isinstance(error, FaultyDevice):
        return text, 1
    if isinstance(error, RuntimeError) and is_out_of_memory(error):
        return f"a device ran out of memory ({text[:500]}); use more devices", 2
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if f"{os.sep}varietas{os.sep}" in frame.filename]
    where = ", ".join(f"{Path(frame.filename).name} {frame.lineno}" for frame in frames[-3:])
    return f"{type(error).__name__}: {text[:500]} ({where}); VARIETAS_DEBUG=1 shows more, for a report of this fault", 1


def _run(argv: list[str], console: Console, restart: bool) -> int:
    if not argv:
        top_parser().print_help()
        return 0
    name, *arguments = argv
    try:
        if name in ("-h", "--help", "--version"):
            top_parser().parse_args([name])
        if name.startswith("-"):
            raise ValueError(f"unknown argument {name!r}; the verb comes first, as in varietas train --help")
        _check_verb(name, VERBS, "")
        if name == "audit":
            if not arguments or arguments[0] in ("-h", "--help"):
                audit_parser().print_help()
                return 0
            verb, *arguments = arguments
            _check_verb(verb, audit.VERBS, "audit ")
            name = f"audit {verb}"
        args = _parsed(verb_parser(name), arguments)
    except SystemExit:  # --help and --version have been answered
        return 0
    if restart and name in COMPUTING:
        backend.on_huge_pages()
    if hasattr(args, "coordinator"):
        if process := find(os.environ, args.coordinator, args.process, args.processes):
            _one_of_several(process)
    elif process := _unwanted():
        if process.index > 0:
            return 2
        raise ValueError(f"{name} is done by one process, and this is one of {process.count}; start it without srun, mpirun or torchrun")
    return _verb(name).run(args, console)


def _check_verb(name: str, verbs: Sequence[str], group: str) -> None:
    if name not in verbs:
        near = nearest(name, verbs, 0.5)
        hint = f"did you mean {near}? " if near else ""
        raise ValueError(f"there is no verb {group + name!r}; {hint}the verbs are {', '.join(verbs)}")


def _unwanted() -> Process | None:
    """Returns which of several processes this is, for a verb that one process does. What is incomplete does not matter to it."""
    with contextlib.suppress(ValueError):
        return find(os.environ)
    return None


def _one_of_several(process: Process) -> None:
    """Joins the other processes before anything else, so that a mistake of one ends all. Only process 0 prints."""
    if joined():  # by another command of this program
        return
    first = process.index == 0
    if not first:
        logging.basicConfig(format=f"varietas: {process}: %(message)s", level=logging.ERROR, force=True)
        warnings.showwarning = lambda *_: None
    # What C++ prints is no result: gloo's notes on connections are dropped, what NCCL is asked to print goes with the errors.
    sys.stdout.flush()
    quiet, own = os.open(os.devnull, os.O_WRONLY), os.dup(1)
    os.dup2(2 if accelerators() else quiet, 1)
    sys.stdout = os.fdopen(own if first else quiet, "w", 1, encoding="utf-8", errors="backslashreplace")
    join(process)


def _parsed(parser: Parser, arguments: list[str]) -> argparse.Namespace:
    """Parses the arguments of a verb. A flag that does not exist is told first, whatever else is wrong.

    Returns:
        The values of the flags; also `overrides`, the arguments that set config fields, and `parser`.
    """
    flags = re.findall(r"--[\w-]+", parser.format_usage())
    names = [argument.partition("=")[0] for argument in arguments if NAME.fullmatch(argument.partition("=")[0])]
    has_config = "--config" in flags
    if not {"-h", "--help"} & set(names):
        for name in names:
            if name not in flags and not (has_config and name.startswith("--config.")):
                raise ValueError(_unknown(name, flags, parser.prog))
        first = next((flag for flag in ("--input", "--config", "--run") if flag in flags), None)
        if first and arguments and not arguments[0].startswith("-"):
            raise ValueError(f"unexpected argument {arguments[0]!r}; did you mean {first} {arguments[0]}?")
    try:
        args, overrides = parser.parse_known_args(arguments)
    except ValueError:
        if fields := [name for name in names if name.startswith("--config.")]:
            from varietas.launch.config import check_names

            check_names(fields)
        raise
    if overrides and not has_config:
        raise ValueError(f"unexpected argument {overrides[0]!r}; flags have the form --NAME VALUE; see {parser.prog} --help")
    args.overrides, args.parser = overrides, parser
    return args


def _unknown(name: str, flags: list[str], prog: str) -> str:
    near = nearest(name, flags, 0.6)
    if not near and "--config" in flags:
        from varietas.launch.config import PREFIX, base_fields, nearest_field

        return f"unknown argument {name!r}; {nearest_field(PREFIX + name.lstrip('-'), [PREFIX + field for field in base_fields()])}"
    return f"unknown argument {name!r}; {f'did you mean {near}?' if near else f'see {prog} --help'}"
