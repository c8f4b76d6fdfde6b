"""Plants small errors at random places of the source, one at a time, and reports which of them the tests notice.

    python tests/bench/plant.py --n 40 --seed 1 --out planted.jsonl

The tests run on a copy of what is committed. Those that mirror the file come first (tests/data/corpus for data/corpus/index.py). If they
pass, the other quick tests follow. An error that no test notices is either equivalent to the right code or calls for a test.

The same seed plants the same errors in the same commit. Errors that `--out` already holds are not planted again, unless --mirror_only
left out tests that could notice them; further ones are planted in the commit that it names.
"""

import ast
import copy
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

REPO = Path(__file__).parents[2]
A = [ast.Lt, ast.Gt, ast.Eq, ast.In, ast.Is, ast.And, ast.Add, ast.Mult, ast.FloorDiv, ast.BitAnd, ast.LShift]
B = [ast.LtE, ast.GtE, ast.NotEq, ast.NotIn, ast.IsNot, ast.Or, ast.Sub, ast.Div, ast.Mod, ast.BitOr, ast.RShift]
A += ["min", "minimum", "argmin", "floor", "any", "bisect_left"]
B += ["max", "maximum", "argmax", "ceil", "all", "bisect_right"]
OTHER = dict(zip(A + B, B + A, strict=True))  # operator or function -> the one that is easily written in its place
TEST_SECONDS, MIRROR_SECONDS, SUITE_SECONDS = 300, 1800, 3600  # limits of one test, of the mirroring tests, of all others


@dataclass(frozen=True)
class Error:
    """A piece of a source file, in bytes, and what is written in its place."""

    file: str
    line: int
    kind: str
    begin: int
    end: int
    new: str


def changed(node: ast.AST, **fields: object) -> ast.AST:
    other = copy.copy(node)
    vars(other).update(fields)
    return other


def variants(node: ast.AST) -> Iterator[tuple[str, ast.AST, ast.AST | str]]:
    """Yields small errors that a person could make here: their kind, the node that is replaced, and its replacement."""
    match node:
        case ast.Compare(ops=ops):
            yield from (("comparison", node, changed(node, ops=[*ops[:k], OTHER[type(op)](), *ops[k + 1 :]])) for k, op in enumerate(ops))
        case ast.BinOp(op=op) | ast.AugAssign(op=op) | ast.BoolOp(op=op) if type(op) in OTHER:
            yield "operator", node, changed(node, op=OTHER[type(op)]())
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield "not or sign dropped", node, operand
        case ast.Constant(value=bool(value)):
            yield "constant", node, str(not value)
        case ast.Constant(value=int(value)):
            yield from (("constant", node, str(value + off)) for off in (1, -1))
        case ast.Constant(value=float(value)):
            yield "constant", node, str(value * 2)
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield "condition negated", test, f"not ({ast.unparse(test)})"
        case ast.comprehension(ifs=[test, *_]):
            yield "condition dropped", test, "True"
        case ast.Slice(lower=lower, upper=upper):
            yield from (("slice", bound, f"({ast.unparse(bound)}) {off} 1") for bound in (lower, upper) if bound for off in "+-")
        case ast.Call(func=func, args=args, keywords=named):
            if len(args) > 1:
                yield "argument dropped", node, changed(node, args=args[:-1])
            yield from (("argument dropped", node, changed(node, keywords=named[:k] + named[k + 1 :])) for k in range(len(named)))
            for k in range(len(args) - 1):
                yield "arguments swapped", node, changed(node, args=[*args[:k], args[k + 1], args[k], *args[k + 2 :]])
            if (name := getattr(func, "id", None) or getattr(func, "attr", None)) in OTHER:
                yield "function", func, ast.unparse(func).removesuffix(name) + OTHER[name]
        case ast.Expr(ast.Call() | ast.Yield()) | ast.Assign([ast.Attribute() | ast.Subscript()]) | ast.Break() | ast.Continue():
            yield "statement dropped", node, ast.Pass()
        case ast.Raise():
            yield "no error raised", node, ast.Pass()
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if any(isinstance(x, ast.Name) and x.id == name for x in ast.walk(value)):
            yield "earlier value", node, ast.Pass()
        case ast.Return(value=ast.Call(args=[ast.Name() as earlier, *_]) as value):
            yield "earlier value", value, earlier


def errors(file: str, source: bytes) -> list[list[Error]]:
    """Returns the errors that may be planted in each line of code of a file: none in some."""
    tree, starts = ast.parse(source), [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    left_out = set()  # types, f-strings and docstrings
    for node in ast.walk(tree):
        parts = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            parts.append(node)
        left_out |= {id(inner) for part in parts if part for inner in ast.walk(part)}
    found: dict[int, list[Error]] = {}
    for node in [node for node in ast.walk(tree) if id(node) not in left_out]:
        if hasattr(node, "lineno"):
            found.setdefault(node.lineno, [])
        for kind, old, new in variants(node):
            begin, end = starts[old.lineno - 1] + old.col_offset, starts[old.end_lineno - 1] + old.end_col_offset
            text = new if isinstance(new, str) else ast.unparse(new)
            error = Error(file, old.lineno, kind, begin, end, f"({text})" if isinstance(old, ast.expr) else text)
            found.setdefault(old.lineno, []).append(error)
    return list(found.values())


def planted(source: bytes, error: Error) -> bytes:
    return source[: error.begin] + error.new.encode() + source[error.end :]


def choose(tree: Path, seed: int, n: int) -> list[Error]:
    """Chooses n errors. Each line of code is as likely as any other, then each kind. A smaller n chooses the first of the same errors."""
    files = sorted(path for folder in ("train", "model", "data", "launch") for path in (tree / folder).rglob("*.py"))
    lines = [of_line for path in files for of_line in errors(str(path.relative_to(tree)), path.read_bytes())]
    rng, chosen = random.Random(seed), list[Error]()
    while len(chosen) < n:
        if of_line := rng.choice(lines):
            kind = rng.choice(sorted({error.kind for error in of_line}))
            error = rng.choice([error for error in of_line if error.kind == kind])
            source = (tree / error.file).read_bytes()
            if error not in chosen and ast.dump(ast.parse(planted(source, error))) != ast.dump(ast.parse(source)):
                chosen.append(error)
    return chosen


def mirrors(file: str, tree: Path) -> list[str]:
    """Returns the tests that mirror a source file: its own first, then the others of their folder, or of the nearest folder with any."""
    folder, own = tree / "tests" / Path(file).parent, f"test_{Path(file).name}"
    while not list(folder.glob("test_*.py")):
        folder = folder.parent
    return [str(path.relative_to(tree)) for path in sorted(folder.glob("test_*.py"), key=lambda path: (path.name != own, path))]


def first_failure(tree: Path, arguments: list[str], limit: int) -> str:
    """Runs tests until one fails, and returns it with its message, or "" if all pass."""
    command = ["env", f"PYTHONPATH={tree}/.pkg", "nice", "-n", "15", sys.executable, "-m", "pytest", "-x", f"--basetemp={tree}/.tests"]
    command += ["-o", f"faulthandler_timeout={TEST_SECONDS}", "-o", "faulthandler_exit_on_timeout=true", *arguments]
    with (tree / ".output").open("wb") as output:
        process = subprocess.Popen(command, cwd=tree, stdout=output, stderr=output, start_new_session=True)
        with suppress(subprocess.TimeoutExpired):
            process.wait(limit)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and whatever its tests have started
        code = process.wait()
    text = (tree / ".output").read_text("utf-8", errors="replace")
    if failed := re.search(r"^(?:FAILED|ERROR) (.+)", text, re.MULTILINE):
        return failed[1]
    if stuck := re.findall(r'(tests/\S+\.py)", line \d+ in (test_\w+)', text):
        return f"{'::'.join(stuck[-1])} did not end"
    return f"pytest ended with {code}: {text[-300:]}" if code else ""


def main() -> None:
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=40, help="number of errors (default: 40)")
    parser.add_argument("--seed", type=int, default=1, help="of the random choice (default: 1)")
    parser.add_argument("--out", type=Path, required=True, help="file of the results, one a line")
    parser.add_argument("--mirror_only", action="store_true", help="leave out the tests that do not mirror the file")
    args = parser.parse_args()
    done = {row["number"]: row for row in map(json.loads, args.out.open(encoding="utf-8") if args.out.exists() else [])}
    commit = done[0]["commit"] if done else subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=REPO, text=True).strip()
    with tempfile.TemporaryDirectory(prefix="planted.") as folder:
        tree = Path(folder).resolve()
        subprocess.run(["tar", "-x"], cwd=tree, input=subprocess.check_output(["git", "archive", commit], cwd=REPO), check=True)
        for number, error in enumerate(choose(tree, args.seed, args.n)):
            before = done.get(number)
            if before and (before["noticed"] or before["all_tests"] or args.mirror_only):
                continue
            file, begun = tree / error.file, time.monotonic()
            source, nearest = file.read_bytes(), mirrors(error.file, tree)
            file.write_bytes(planted(source, error))
            noticed = "" if before else first_failure(tree, nearest, MIRROR_SECONDS)
            if not noticed and not args.mirror_only:
                noticed = first_failure(tree, [f"--ignore={test}" for test in nearest], SUITE_SECONDS)
            file.write_bytes(source)
            row = {"number": number, "commit": commit, **asdict(error), "old": source[error.begin : error.end].decode()}
            row |= {"noticed": noticed, "all_tests": not args.mirror_only, "seconds": round(time.monotonic() - begun)}
            done[number] = row
            with args.out.open("a", encoding="utf-8") as out:
                print(json.dumps(row, ensure_ascii=False), file=out)
    for row in done.values():
        change = f"{row['file']}:{row['line']} {row['kind']}: {' '.join(row['old'].split())[:80]} -> {row['new'][:80]}"
        print(f"{change}\n    {row['noticed'][:130] or 'NOT NOTICED'} ({row['seconds']} s)")
    print(f"{sum(bool(row['noticed']) for row in done.values())} of {len(done)} errors were noticed")


if __name__ == "__main__":
    main()
