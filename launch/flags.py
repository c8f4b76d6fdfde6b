"""Values and flags that several verbs share."""

import argparse
import contextlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from varietas.launch.backend import MOST_DEVICES

FORMS = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_k")  # of weights in a GGUF file
SMALL = ("int8", "int4")  # forms in which models are evaluated and generate


def _number(fits: Callable[[int], bool], wanted: str) -> Callable[[str], int]:
    """Returns a parser of whole numbers that says what was expected."""

    def parse(text: str) -> int:
        with contextlib.suppress(ValueError):
            if text.isascii() and fits(value := int(text)):  # Python reads digits of all scripts
                return value
        raise argparse.ArgumentTypeError(f"expected {wanted}, found {text!r}")

    return parse


def not_empty(text: str) -> str:
    """Parses a text that must not be empty, as one is whose variable in a shell script is not set."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"expected a value, found {text!r}")
    return text


def path(text: str) -> Path:
    """Parses a path."""
    return Path(not_empty(text))


positive_int = _number(lambda n: n >= 1, "a whole number of 1 or more")
non_negative_int = _number(lambda n: n >= 0, "a whole number of 0 or more")
cpu_devices = _number(lambda n: 1 <= n <= MOST_DEVICES, f"a whole number from 1 to {MOST_DEVICES:,}")
port = _number(lambda n: 0 <= n < 1 << 16, "a port from 0 to 65535")
seed = _number(lambda n: 0 <= n < 1 << 63, "a whole number from 0 to 2^63 - 1")


def language(code: str) -> str:
    """Parses --lang: the code of a language, or `guess`."""
    from varietas.data.text.documents import GUESS
    from varietas.data.text.identify import TWO_SCRIPTS
    from varietas.data.text.languages import FURTHER_NAMES, LANGUAGES, canonical

    with warnings.catch_warnings(action="ignore"), contextlib.suppress(ValueError):
        if code in ("", GUESS, *TWO_SCRIPTS):
            return code
        if (label := canonical(code)) in LANGUAGES | FURTHER_NAMES:
            return label
    raise argparse.ArgumentTypeError(f"expected the code of a language, such as ces_Latn or cs, or guess; found {code!r}")


def add_files(parser: argparse.ArgumentParser, flag: str, what: str) -> None:
    """Adds a flag that names files, and may be given several times."""
    parser.add_argument(flag, nargs="+", type=not_empty, action="extend", default=[], metavar="FILE", help=what)


def add_input(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say what text is read and how."""
    add_files(
        parser,
        "--input",
        "JSON Lines, Parquet, WET, WARC or .txt, also as .gz or .zst: paths, globs, URLs, or tfds:NAME (default: the embedded text)",
    )
    add_reading(parser)


def add_text(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say which text a model is evaluated on, and how it is read."""
    add_files(parser, "--text", "text to evaluate on, as prepare --input takes it (default: the Declaration of Human Rights)")
    add_reading(parser)


def add_chat(parser: argparse.ArgumentParser) -> None:
    """Adds --chat, which says that the text of `add_text` is conversations."""
    parser.add_argument(
        "--chat", action="store_true", help="--text has conversations (`messages`), of which the assistant's turns are measured"
    )


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say how records become documents."""
    parser.add_argument(
        "--lang",
        type=language,
        default="",
        metavar="CODE",
        help="the language of records that do not name theirs, in files whose path does not either; guess: identify it",
    )
    parser.add_argument(
        "--fields",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=PATH",
        help="where records keep text, lang, id, url, source and license, as in text=content,raw_content lang=metadata.language",
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that choose a config and set its fields."""
    parser.add_argument("--config", required=True, metavar="NAME|PATH[:ARG]", help="a config by name, or a file with get_config()")
    add_fields(parser, "--config.FIELD=VALUE sets any field, as in --config.mesh.fsdp=4. configs/base.py lists the fields.")


def add_fields(parser: argparse.ArgumentParser, help: str) -> None:
    """Explains `--config.FIELD=VALUE` in the help of a verb. These arguments are no flags: `config.load_config` parses them."""
    parser.add_argument_group("config fields", help)


def refuse_unused(args: argparse.Namespace, names: Sequence[str], why: str) -> None:
    """Raises ValueError if one of these flags, or with `config` a config field, was given; `why` says why it would not be used."""
    given = [f"--{name}" for name in names if getattr(args, name) != args.parser.get_default(name)]
    for flag in given + args.overrides[: "config" in names]:
        raise ValueError(f"{flag} {why}")


def add_small(parser: argparse.ArgumentParser) -> None:
    """Adds --quantize and --calibrate, which say in what form the model is used."""
    parser.add_argument("--quantize", choices=SMALL, help="round weights to 8 bits with a scale for each output, or to 4 bits in groups")
    add_calibrate(parser, "int4")


def add_calibrate(parser: argparse.ArgumentParser, form: str) -> None:
    """Adds --calibrate, for one form: None if it is not given, else the files, which may be none."""
    parser.add_argument(
        "--calibrate",
        nargs="*",
        type=not_empty,
        metavar="FILE",
        help=f"round weights of {form} so that outputs change least on text of all languages alike: of these files, or the installed text",
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that name a run and say how it uses the machine."""
    parser.add_argument("--run", type=path, required=True, metavar="DIR", help="the run's folder")
    add_cpu_devices(parser)


def add_cpu_devices(parser: argparse.ArgumentParser) -> None:
    """Adds the flag that says how a run uses a CPU."""
    parser.add_argument(
        "--cpu_devices",
        type=cpu_devices,
        metavar="N",
        help="on a CPU: the number of virtual devices, of each process (default: one for every two cores)",
    )


def add_processes(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say which of several processes this is, where no launcher says it in the environment."""
    group = parser.add_argument_group("several processes", "srun, mpirun and torchrun say these by themselves.")
    group.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 runs, and a port that is free there")
    group.add_argument("--process", type=non_negative_int, metavar="I", help="the number of this process, from 0")
    group.add_argument("--processes", type=positive_int, metavar="N", help="the number of processes, each started with the same command")
