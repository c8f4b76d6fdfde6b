"""`varietas audit verify`: whether a ledger is whole, and whether the corpus gives the rows that it commits to."""

import argparse
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from varietas.launch.audit import opened
from varietas.launch.flags import path

SUMMARY = "check a ledger: its chain, its signature, its steps against the corpus, its checkpoints"
EXAMPLE = "varietas audit verify --run runs/demo --steps 100:200 --key KEY.pub"
SHOWN = 20  # faults
COMPLETE = "_CHECKPOINT_METADATA"  # a checkpoint of Orbax without this file is not whole


def add_flags(parser: argparse.ArgumentParser) -> None:
    opened.add_flags(parser)
    parser.add_argument("--steps", type=steps, metavar="A:B", help="recompute only steps A to B - 1 (default: all, and the whole corpus)")
    parser.add_argument("--key", type=path, metavar="KEY.pub", help="the public key of who should have signed it (default: ledger/key.pub)")


def steps(text: str) -> tuple[int, int | None]:
    """Parses a range of steps: A:B, A: or :B."""
    match = re.fullmatch(r"(\d*):(\d*)", text, re.ASCII)
    if not match or not any(match.groups()) or (match[2] and int(match[1] or 0) >= int(match[2])):
        raise argparse.ArgumentTypeError(f"expected A:B with A < B, as in 100:200, found {text!r}")
    return int(match[1] or 0), int(match[2]) if match[2] else None


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.data.audit.verify import check_corpus, check_logs, check_removals, check_steps, not_compared
    from varietas.data.corpus.sources import sources_of
    from varietas.data.ledger.signing import public_key
    from varietas.data.ledger.statement import ENVELOPE, signed_of

    ledger, key = opened.ledger_of(args.run), public_key(args.key) if args.key else None
    faults, done = list(check_logs(ledger, key)), list[str]()
    if not faults:
        audited = opened.audited(args.run, args.corpus)
        first, last = audited.spans[0].first, audited.spans[-1].stop
        begin, end = args.steps or (first, last)
        chosen = range(max(begin, first), min(last, last if end is None else end))
        if not chosen or begin < first or (end or last) > last:
            raise ValueError(f"--steps: the ledger has steps {first} to {last - 1}")
        sealed = [source for source in sources_of(audited.corpus).values() if source.sealed]
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task("computing rows again", total=len(chosen))
            if sealed:
                done.append(f"no step was computed again: that needs the sealed part of {', '.join(str(each.path) for each in sealed)}")
            else:
                faults += check_steps(ledger, audited.spans, audited.corpus, chosen, lambda _: progress.advance(bar))
                which = f"steps {chosen.start} to {chosen.stop - 1} of {first} to {last - 1}"
                done.append(f"{which} computed again from {audited.corpus.path}")
            for source in sources_of(audited.corpus).values():
                faults += check_removals(source)
                if args.steps:
                    continue
                if why := not_compared(source):
                    done.append(why)
                    continue
                documents = source.manifest["documents"]
                bar = progress.add_task("comparing the corpus with its commitment", total=documents)
                faults += check_corpus(source, partial(progress.advance, bar))
                done.append(f"{opened.count(documents, 'document')} of {source.path} compared with what the corpus committed to")
        checkpoints = list(check_checkpoints(args.run, ledger))
        faults += [fault for fault, _ in checkpoints if fault]
        done += [said for _, said in checkpoints if said]
        if (ledger / ENVELOPE).exists():
            signed, whose = signed_of(ledger, key), str(args.key) if args.key else "the key in the ledger's folder"
            done.append(f"signed on {signed['signed']}, up to step {signed['steps'] - 1}, checked with {whose}")
        else:
            done.append("not signed")
    if args.json:
        opened.print_json({"valid": not faults, "faults": faults, "checked": done})
        return 1 if faults else 0
    for line in done:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for fault in faults[:SHOWN]:
        console.print(f"FAULT {fault}", markup=False, highlight=False, soft_wrap=True)
    if len(faults) > SHOWN:
        console.print(f"… and {len(faults) - SHOWN:,} more; --json has all", highlight=False)
    console.print(f"{opened.count(len(faults), 'fault')} found" if faults else "everything that was checked agrees", highlight=False)
    return 1 if faults else 0


def check_checkpoints(run: Path, ledger: Path) -> Iterator[tuple[str, str]]:
    """Yields what is wrong with each checkpoint that is still there ("" if nothing), and what was checked."""
    from varietas.data.ledger.checkpoint_files import faults_of
    from varietas.data.ledger.log import lines
    from varietas.data.ledger.steps import CHECKPOINTS
    from varietas.train.run_folder.folder import saved_steps

    if not (ledger / CHECKPOINTS).exists():
        there = saved_steps(run)
        yield f"{ledger / CHECKPOINTS} is missing, and the run has checkpoints" if there else "", "" if there else "no checkpoint to check"
        return
    named = {line.record["step"]: line.record for line in lines(ledger / CHECKPOINTS)}
    of_others = {step: record["files"] for step, record in named.items() if "files" in record}
    for step, files in of_others.items():
        faults = list(faults_of(files, ledger))
        yield from ((f"checkpoint {step}: {fault}", "") for fault in faults)
        if not faults and any((ledger / name).exists() for name in files):
            yield "", f"checkpoint {step}: its files are those that the ledger has"
    if of_others:
        return
    yield from config_faults(run, next(reversed(named.values()), None))
    there = saved_steps(run)
    if not there:
        yield "", "no checkpoint is left to check"
        return
    from varietas.train.accounting.ledger import checkpoint_faults

    for step in there:
        if not (run / "checkpoints" / str(step) / COMPLETE).exists():
            yield "", f"checkpoint {step} is not whole: the run was stopped while it saved or deleted it"
        elif step not in named:
            yield f"checkpoint {step}: the ledger does not have it", ""
        else:
            fault = checkpoint_faults(run / "checkpoints", step, named[step]["checkpoint"])
            yield fault, "" if fault else f"checkpoint {step}: its arrays are those that the ledger has"


def config_faults(run: Path, last: dict | None) -> Iterator[tuple[str, str]]:
    """Yields the fields of config.json that are not those that the last checkpoint was trained with."""
    from varietas.train.run_folder.config import CHANGEABLE, flatten, read_config

    if last is None or "config" not in last or not (run / "config.json").exists():
        return
    now, then = flatten(read_config(run)), flatten(last["config"])
    for field in sorted({*now, *then}):
        if now.get(field) != then.get(field):
            said = f"config.json: {field} is {now.get(field)!r}, but {then.get(field)!r} at the checkpoint of step {last['step']}"
            yield ("", f"{said}, and may be") if field.startswith(CHANGEABLE) else (said, "")
