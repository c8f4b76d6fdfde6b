"""The command line: verbs, their flags and help. Heavy libraries are imported by the verb that needs them."""

import argparse
import contextlib
import difflib
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from rich.console import Console

from varietas.launch import backend

Verb = Callable[[argparse.Namespace, Console], int]
INTERRUPTED = 3  # exit status of a run that a signal stopped: run the same command again


def tokenizer(args: argparse.Namespace, console: Console) -> int:
    """train a SentencePiece tokenizer that is fair to small languages, or compare some

    varietas tokenizer --input 'texts/*.jsonl.zst' --out euro.model --vocab_size 32000 --sampling parity --parallel flores.jsonl
    """
    from varietas.data import tokenizer as tok
    from varietas.data.parallel import halves, parallel, premiums
    from varietas.data.parity import counter
    from varietas.launch.inputs import documents_of
    from varietas.launch.show import parity_table, treatment_table

    texts = parallel(documents_of(args.parallel, console)()) if args.parallel else None
    if args.report:
        return _compare(args, texts, console)
    if args.out is None:
        raise ValueError("--out is missing: where to write the .model file")
    tok.parse_sampling(args.sampling)
    documents = documents_of(args.input, console, args.lang)
    args.out.parent.mkdir(parents=True, exist_ok=True)  # an impossible place is told before the work
    tune, held = halves(texts) if texts else (None, None)
    rounds = []
    with console.status("training the tokenizer") as status:

        def progress(result: Any) -> None:
            rounds.append(result)
            status.update(f"parity search, round {len(rounds)}: worst {max(result.premium.values()):.2f}")

        train = partial(tok.train, documents, args.vocab_size, texts=tune)
        before = tok.load(train("alpha:0.3")) if held and args.sampling == "parity" else None
        model = train(args.sampling, progress=progress)
    tok.save(model, args.out)
    processor = tok.load(model)
    trained = tok.fertility(processor, documents())
    console.print(treatment_table(trained))
    if held and before:
        held = {code: mine for code, mine in held.items() if code in trained or code == "eng_Latn"}
        console.print("\nThe same content, on the half of --parallel that the search did not see:")
        counts = [counter(each) for each in (before, processor)]
        english = [sum(map(count, held["eng_Latn"].values())) for count in counts]
        console.print(parity_table(premiums(held, counts[0]), premiums(held, counts[1])))
        console.print(f"English itself takes {english[1] / english[0]:.3f} times the tokens")
    elif rounds:
        best = next(result for result in rounds if result.model == model)
        console.print("\nThe same content, estimated without parallel text (some 5 % off; --parallel measures it):")
        console.print(parity_table(rounds[0].premium, best.premium))
        console.print(f"English itself takes {best.english:.3f} times the tokens")
    console.print(f"{args.vocab_size:,} pieces: {args.out}")
    return 0


def _compare(args: argparse.Namespace, texts: Any, console: Console) -> int:
    """`tokenizer --report`: a table for each, and in --out report.json and report.svg."""
    from varietas.data import compare
    from varietas.data.default import parallel_documents
    from varietas.data.files import write_atomically, write_json
    from varietas.data.parallel import parallel
    from varietas.launch.picture import comparison_svg
    from varietas.launch.show import comparison_table

    encoders = [compare.load(path) for path in args.report]
    aligned = texts is not None
    if texts is None:
        console.print(
            "[yellow]no --parallel: tokens are counted on passages of the Declaration of Human Rights, not the same in all languages, and"
            " ×English is estimated from how long the Declaration is in each: some 5 % off, in short passages (bytes) more[/]",
            soft_wrap=True,
        )
        texts = parallel(replace(document, id="declaration") for document in parallel_documents())
    found = {}
    for number, encoder in enumerate(encoders):
        label = encoder.name if encoder.name not in found else f"{encoder.name} ({number + 1})"
        with console.status(label):
            found[label] = compare.compare(encoder, texts, aligned)
        console.print(f"\n[bold]{label}[/], {encoder.n_pieces:,} pieces")
        console.print(comparison_table(found[label]))
    if args.out:
        rows = {label: [asdict(row) for row in treatments] for label, treatments in found.items()}
        write_json(args.out / "report.json", rows)
        write_atomically(
            args.out / "report.svg",
            comparison_svg(found, "for the same content" if aligned else "for the same content, estimated").encode(),
        )
        console.print(f"\nreport: {args.out / 'report.json'}, {args.out / 'report.svg'}")
    return 0


def prepare(args: argparse.Namespace, console: Console) -> int:
    """turn text into a corpus: tokens, an index of documents, digests

    varietas prepare --input 'texts/*.jsonl.zst' --out corpus --tokenizer euro.model --config web --config.clean.pii=drop
    """
    from varietas.data import plan as planned
    from varietas.data import prepare as prepared
    from varietas.data import tokenizer as tok
    from varietas.data.clean import Cleaning
    from varietas.data.default import training_documents
    from varietas.data.read import expand
    from varietas.launch.settings import check, load_config
    from varietas.launch.show import corpus_table, rejects_table, stage_bars

    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # as Ctrl-C: workers end with us
    config = load_config(args.config, args.fields)
    check(config)
    tok.load(args.tokenizer)  # so that a file that is none is told by its name
    model = args.tokenizer.read_bytes()
    if args.input:
        files = expand(args.input)
        for file in planned.changed_inputs(args.out, files):
            console.print(f"[yellow]{file} changed since the call before; it is read again[/]")
        with (
            stage_bars(console, lambda task: planned.bytes_of(args.out, task)) as watch,
            _told(f"stopped; what is done is kept in {planned.working_folder(args.out)}: the same command goes on"),
        ):
            run = _engine(args, planned.working_folder(args.out.resolve()), watch)
            cleaning = Cleaning(**config.clean)
            manifest = prepared.prepare(files, model, args.out.resolve(), cleaning, run, args.max_rejects, default_lang=args.lang)
    else:
        manifest = prepared.prepare_documents(training_documents(), model, args.out)
    console.print(corpus_table(manifest))
    if manifest["rejected"]:
        console.print(rejects_table(manifest))
        console.print(f"each with file, line and beginning: {args.out / 'rejects.jsonl'}")
        for reject in prepared.damage(args.out):
            where = f"{reject['file']}, record {reject['line']}"
            console.print(
                f"[yellow]{where}: {reject['reason']}; what follows there could not be read and is not counted[/]", soft_wrap=True
            )
    if changed := ", ".join(f"{what} {n:,}" for what, n in manifest["changed"].items()):
        console.print(f"changed: {changed}")
    console.print(f"corpus {manifest['digest'][:16]}…: {args.out}")
    return 0


def train(args: argparse.Namespace, console: Console) -> int:
    """train a model; the same command again goes on where it was

    varietas train --config demo --run runs/demo --config.optim.peak_lr=2e-3 --cpu_devices 2
    """
    from varietas.launch.run import Run

    run = Run(args.config, args.fields, args.run, args.cpu_devices, console=console)
    return 0 if run.train() else INTERRUPTED


def mixture(args: argparse.Namespace, console: Console) -> int:
    """what a run would take of each language and source, before it begins

    varietas mixture --config demo --config.data.mixture.strategy=unimax
    """
    from varietas.launch.run import corpus_of, run_tokens, stream_of
    from varietas.launch.settings import check, load_config
    from varietas.launch.show import mixture_table, mixture_warnings

    config = load_config(args.config, args.fields)
    check(config)
    tokens = run_tokens(config)
    with config.unlocked():
        config.data.mixture.budget = config.data.mixture.budget or tokens
    stream = stream_of(config, corpus_of(config))
    console.print(mixture_table(stream, tokens))
    for warning in mixture_warnings(stream, tokens):
        console.print(f"[yellow]{warning}[/]", soft_wrap=True)
    console.print(f"{tokens:,} tokens: {config.train.steps:,} steps of {config.train.batch_size:,} × {config.data.seq_len:,}")
    return 0


def evaluate(args: argparse.Namespace, console: Console) -> int:
    """bits per byte of every language, worst first

    varietas evaluate --run runs/demo            or        … --text my/*.jsonl
    """
    from varietas.launch.inputs import documents_of
    from varietas.launch.run import Run
    from varietas.launch.show import evaluation_table, spread

    run = Run.open(args.run, args.cpu_devices, console=console)
    with console.status("evaluating"):
        rows = run.evaluate(documents_of(args.text, console)() if args.text else None)
    console.print(evaluation_table(rows))
    console.print(spread(rows))
    return 0


def generate(args: argparse.Namespace, console: Console) -> int:
    """continue a text; --prompt may be given several times

    varietas generate --run runs/demo --prompt "Všichni lidé " --temperature 0.7 --top_p 0.9
    """
    from varietas.launch.run import Run

    run = Run.open(args.run, args.cpu_devices, console=console)
    prompts = args.prompt or [""]
    if len(prompts) == 1:
        pieces = run.stream(prompts, args.max_tokens, args.temperature, args.top_p, args.seed)
        begun = next(pieces, (0, ""))  # before the prompt is shown: it may be refused
        console.out(prompts[0], style="bold", end="", highlight=False)
        for _, text in chain([begun], pieces):
            print(text, end="", flush=True)
        print()
    else:
        for prompt, text in zip(prompts, run.generate(prompts, args.max_tokens, args.temperature, args.top_p, args.seed), strict=True):
            console.out(prompt, style="bold", end="", highlight=False)
            print(text, end="\n\n")
    return 0


def report(args: argparse.Namespace, console: Console) -> int:
    """write report.html of a run, with samples of its text

    varietas report --run runs/demo
    """
    from varietas.launch.run import Run

    run = Run.open(args.run, args.cpu_devices, console=console)
    if args.samples and (run.folder / "checkpoints").is_dir():
        with console.status("generating samples"):
            run.sample()
    console.print(f"report: {run.report()}")
    return 0


def digest(args: argparse.Namespace, console: Console) -> int:
    """one SHA-256 over the parameters of a checkpoint, the same on any mesh

    varietas digest --run runs/demo --step 100
    """
    from varietas.launch.run import Run

    print(Run.open(args.run, args.cpu_devices, console=console).digest(args.step))
    return 0


VERBS: tuple[Verb, ...] = (tokenizer, prepare, mixture, train, evaluate, generate, report, digest)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="varietas",
        description="Trains multilingual language models for Europe with JAX.",
        epilog="varietas VERB --help shows an example.",
        allow_abbrev=False,
    )
    verbs = top.add_subparsers(metavar="VERB", required=True)
    made = {}
    for verb in VERBS:
        summary, _, example = (verb.__doc__ or "").partition("\n")
        made[verb] = sub = verbs.add_parser(
            verb.__name__,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog="example: " + example.strip(),
            allow_abbrev=False,
        )
        sub.set_defaults(verb=verb, sub=sub)

    for verb in (tokenizer, prepare):
        made[verb].add_argument(
            "--input",
            nargs="+",
            default=[],
            metavar="FILE",
            help="JSON Lines, Parquet, WET, WARC, .txt, also .gz or .zst: paths, globs, URLs; or tfds:NAME; none: the embedded text",
        )
    for verb in (tokenizer, prepare):
        made[verb].add_argument(
            "--lang",
            type=_language,
            default="",
            metavar="CODE",
            help="of records that do not say their language, where the path does not either; guess: what it looks like",
        )
    made[tokenizer].add_argument("--out", type=Path, metavar="PATH", help="the .model file to write; with --report: a folder")
    made[tokenizer].add_argument("--vocab_size", type=int, default=32000, metavar="N", help="pieces (default %(default)s)")
    made[tokenizer].add_argument(
        "--sampling",
        default="alpha:0.3",
        metavar="HOW",
        help="how much of each language: alpha:X (p ∝ bytes^X), unimax, parity (default %(default)s)",
    )
    made[tokenizer].add_argument(
        "--parallel",
        nargs="+",
        default=[],
        metavar="FILE",
        help="parallel text: JSON Lines, one id is one content in all languages",
    )
    made[tokenizer].add_argument(
        "--report", nargs="+", type=Path, default=[], metavar="TOKENIZER", help="compare .model and tokenizer.json files instead"
    )
    made[prepare].add_argument("--out", type=Path, required=True, metavar="DIR", help="the corpus folder to write; must not exist")
    made[prepare].add_argument("--tokenizer", type=Path, required=True, metavar="FILE", help="a SentencePiece .model file")
    made[prepare].add_argument(
        "--config",
        default="base",
        metavar="NAME|PATH[:ARG]",
        help="its `clean` fields say what to do to text; web: all (default %(default)s)",
    )
    made[prepare].add_argument("--config.clean.FIELD", dest="_field", metavar="VALUE", help="a step, as in --config.clean.pii=mask")
    made[prepare].add_argument(
        "--engine",
        choices=("local", "slurm", "ray"),
        default="local",
        help="who works; the corpus is the same (default %(default)s)",
    )
    made[prepare].add_argument("--workers", type=count, metavar="N", help="at a time (default: one a core; Slurm: no limit)")
    made[prepare].add_argument(
        "--slurm",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="sbatch's options, as in partition=small time=4:00:00 account=p1",
    )
    made[prepare].add_argument(
        "--max_rejects", type=_whole, metavar="N", help="stop where more than N records of a file cannot be read (default: never)"
    )
    for verb in (mixture, train):
        made[verb].add_argument(
            "--config", required=True, metavar="NAME|PATH[:ARG]", help="a config of ours by name, or a file with get_config()"
        )
        made[verb].add_argument(
            "--config.FIELD", dest="_field", metavar="VALUE", help="any field, as in --config.mesh.fsdp=4; configs/base.py lists them"
        )
    for verb in (train, evaluate, generate, report, digest):
        made[verb].add_argument("--run", type=Path, required=True, metavar="DIR", help="the run's folder")
        made[verb].add_argument(
            "--cpu_devices", type=count, metavar="N", help="on a CPU: virtual devices (default: one for every two cores)"
        )
    made[evaluate].add_argument(
        "--text",
        nargs="+",
        default=[],
        metavar="FILE",
        help="text (as prepare --input takes it) instead of the Declaration of Human Rights",
    )
    made[generate].add_argument("--prompt", action="append", metavar="TEXT", help="where to begin")
    made[generate].add_argument("--max_tokens", type=count, default=64, metavar="N", help="new tokens (default %(default)s)")
    made[generate].add_argument("--temperature", type=float, default=0.0, help="0: always the likeliest token (default)")
    made[generate].add_argument(
        "--top_p", type=float, default=1.0, help="sample from the likeliest tokens that hold this much probability (default %(default)s)"
    )
    made[generate].add_argument("--seed", type=_seed, default=0, help="of the random choices (default %(default)s)")
    made[report].add_argument("--samples", action=argparse.BooleanOptionalAction, default=True, help="generate new samples first")
    made[digest].add_argument("--step", type=int, metavar="N", help="the checkpoint after N steps (default: the newest)")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a verb. Returns the exit status; 2 for an error of the user's, told in one line."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    logging.basicConfig(format="varietas: %(message)s", level=logging.WARNING)
    warnings.showwarning = lambda message, *_: print(f"varietas: {message}", file=sys.stderr)
    args, rest = parser().parse_known_args(argv)
    args.fields = rest
    try:
        if rest and args.verb not in (prepare, mixture, train):  # these have a config
            raise ValueError(_unknown(rest[0], args.sub))
        if argv is None and args.verb in (train, evaluate, generate):
            backend.on_huge_pages()
        return args.verb(args, console)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, FloatingPointError, MemoryError, ImportError, ChildProcessError) as error:
        print(f"varietas: {error}", file=sys.stderr)
    except RuntimeError as error:
        from varietas.train.memory import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        print(f"varietas: a device ran out of memory ({' '.join(str(error).split())[:200]}); use more devices", file=sys.stderr)
    except OSError as error:
        where = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"varietas: {where}; check the path, who may write there, and the space left", file=sys.stderr)
    return 2


def _number(kind: type[int] | type[float], fits: Callable[[float], bool], wanted: str) -> Callable[[str], float]:
    """A parser of a flag's value that says what was expected."""

    def parse(text: str) -> float:
        with contextlib.suppress(ValueError):
            if fits(value := kind(text)):
                return value
        raise argparse.ArgumentTypeError(f"expected {wanted}, found {text!r}")

    return parse


count = _number(int, lambda n: n >= 1, "a whole number of 1 or more")
_whole = _number(int, lambda n: n >= 0, "a whole number of 0 or more")
_seed = _number(int, lambda n: 0 <= n < 1 << 63, "a whole number from 0 to 2^63 - 1")


def _language(code: str) -> str:
    """A parser of --lang."""
    from varietas.data.documents import GUESS
    from varietas.data.languages import LANGUAGES, canonical

    with warnings.catch_warnings(action="ignore"), contextlib.suppress(ValueError):
        if code in ("", GUESS) or canonical(code) in LANGUAGES:
            return code if code in ("", GUESS) else canonical(code)
    raise argparse.ArgumentTypeError(f"expected the code of a language, as ces_Latn or cs, or guess; found {code!r}")


def _unknown(argument: str, sub: argparse.ArgumentParser) -> str:
    flags = re.findall(r"--\w+", sub.format_usage())
    near = difflib.get_close_matches(argument.split("=")[0], flags, n=1)
    return f"unknown argument {argument!r}; {f'did you mean {near[0]}?' if near else f'see {sub.prog} --help'}"


def _engine(args: argparse.Namespace, work: Path, watch: Any) -> Any:
    """Who does the work of `prepare`."""
    from varietas.data import engine

    workers = args.workers or backend.cores()
    if args.slurm and args.engine != "slurm":
        raise ValueError("--slurm gives options to sbatch; add --engine slurm, or leave it out")
    if args.engine == "local":
        return engine.local(workers, watch)
    if args.engine == "ray":
        return engine.ray(workers, work / "jobs", watch)
    options = dict(option.partition("=")[::2] for option in args.slurm)
    return engine.slurm(args.workers or -1, options, work / "jobs", watch)


@contextlib.contextmanager
def _told(message: str) -> Iterator[None]:
    """Says so when Ctrl-C or SIGTERM comes."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"varietas: {message}", file=sys.stderr)
        raise
