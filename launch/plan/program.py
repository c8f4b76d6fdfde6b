"""Reads what a compiled program sends between devices from its text (XLA's HLO as compiled: scheduled and partitioned).

Bytes are those that one device sends in one run of the program, if n devices of a group form a ring: all-gather and reduce-scatter send
(n - 1) / n of the gathered array, all-reduce twice that, all-to-all (n - 1) / n of its operand, and a permute its operand.
"""

import math
import re
from collections import defaultdict
from dataclasses import dataclass

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
SIZES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f32": 4, "s32": 4, "u32": 4, "f64": 8, "s64": 8, "u64": 8}

_HEAD = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.-]+) = (.*?) ([\w-]+)\((.*)$")
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_CALLS = re.compile(r"\b(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")


@dataclass(frozen=True)
class Instruction:
    """An instruction of a compiled program."""

    name: str
    result: str  # type of the result
    op: str
    rest: str  # operands and attributes


@dataclass(frozen=True)
class Collective:
    """An exchange of arrays between devices."""

    kind: str  # one of KINDS
    arrays: str  # types of the operands
    group: int  # devices that take part
    bytes: float  # sent by one device each time
    times: int  # in one run of the program
    overlapped: bool  # whether products are computed while it is under way


def collectives(text: str) -> list[Collective]:
    """Returns the collectives of a compiled program, in the order of its text.

    Raises:
        ValueError: If the text is not understood.
    """
    computations, entry = parse(text)
    times = executions(computations, entry)
    busy = {name: any(_is_product(i) for i in instructions) for name, instructions in computations.items()}
    while True:  # a computation that calls one with a product has a product itself
        more = {n for n, instructions in computations.items() if not busy[n] and any(busy[c] for i in instructions for c in called(i))}
        if not more:
            break
        busy |= dict.fromkeys(more, True)
    fused = {name for instructions in computations.values() for i in instructions if i.op == "fusion" for name in called(i)}
    started = {  # a TPU's SparseCores run a computation of their own beside the program that starts it
        name: (one, place, instructions)
        for instructions in computations.values()
        for place, one in enumerate(instructions)
        if one.op == "call-start"
        for name in called(one)
    }
    found: dict[str, Collective] = {}
    for name, instructions in computations.items():
        for place, one in enumerate(instructions):
            kind = one.op.removesuffix("-start")
            if kind not in KINDS or not times[name]:
                continue
            if kind == "all-reduce" and name.startswith("all-reduce-scatter"):
                kind = "reduce-scatter"  # XLA's TPU compiler writes it as a fusion of an all-reduce and a slice of the result
            group, data = group_size(one.rest, kind), operand_bytes(one, instructions)
            key, overlapped = f"{name} {one.name}", _behind_products(*started.get(name, (one, place, instructions)), busy)
            if name in fused:  # on a TPU, a gather may extend over several fusions, each of which names it
                channel = re.search(r"channel_id=(\d+)", one.rest)
                key = f"{kind} {channel[1] if channel else key}"
                overlapped = busy[name] or (key in found and found[key].overlapped)
            found[key] = Collective(kind, arrays(one, instructions), group, sent(kind, data, group), times[name], overlapped)
    return list(found.values())


def _behind_products(one: Instruction, place: int, instructions: list[Instruction], busy: dict[str, bool]) -> bool:
    """Returns whether there are products between the start and the end of an exchange."""
    for other in instructions[place + 1 :] if one.op.endswith("-start") else ():
        if other.op == one.op.replace("-start", "-done") and one.name in _operand_names(other):
            return False
        if _is_product(other) or any(busy[name] for name in called(other)):
            return True
    return False


def sent(kind: str, operand: float, group: int) -> float:
    """Returns the bytes that one of `group` devices in a ring sends, given the bytes of its operand."""
    return {
        "all-gather": operand * (group - 1),
        "reduce-scatter": operand * (group - 1) / group,
        "all-reduce": 2 * operand * (group - 1) / group,
        "all-to-all": operand * (group - 1) / group,
        "collective-permute": operand,
    }[kind]


def parse(text: str) -> tuple[dict[str, list[Instruction]], str]:
    """Returns the instructions of each computation, and the name of the computation that the program runs.

    Raises:
        ValueError: If there is no such computation.
    """
    computations: dict[str, list[Instruction]] = {}
    entry = ""
    for line in text.splitlines():
        if head := _HEAD.match(line):
            here = computations.setdefault(head[2], [])
            entry = head[2] if head[1] else entry
        elif found := _INSTRUCTION.match(line):
            here.append(Instruction(found[2], found[3], found[4], found[5]))
    if not entry:
        raise ValueError("this is not the text of a compiled program: it has no ENTRY")
    return computations, entry


def called(instruction: Instruction) -> list[str]:
    """Returns the computations that an instruction runs."""
    branches = [name.strip().removeprefix("%") for found in _BRANCHES.findall(instruction.rest) for name in found.split(",")]
    return _CALLS.findall(instruction.rest) + branches


def executions(computations: dict[str, list[Instruction]], entry: str) -> dict[str, int]:
    """Returns how often each computation runs in one run of the program.

    Every branch counts as taken. A loop without exchanges counts once: how often it runs may depend on the data.
    """
    times: dict[str, int] = defaultdict(int)

    def visit(name: str, n: int) -> None:
        times[name] += n
        for instruction in computations[name]:
            loops = 1
            if instruction.op == "while" and any(communicates(other, computations) for other in called(instruction)):
                loops = trip_count(instruction, computations)
            for other in called(instruction):
                visit(other, n * loops)

    visit(entry, 1)
    return times


def communicates(name: str, computations: dict[str, list[Instruction]]) -> bool:
    """Returns whether a computation, or one that it runs, exchanges anything between devices."""
    return any(
        instruction.op.removesuffix("-start") in KINDS or any(communicates(other, computations) for other in called(instruction))
        for instruction in computations[name]
    )


def trip_count(loop: Instruction, computations: dict[str, list[Instruction]]) -> int:
    """Returns how often a while loop runs: as the compiler noted it, or else from its counter, which goes from 0 to a bound.

    Raises:
        ValueError: If it is another kind of loop.
    """
    if noted := re.search(r'known_trip_count"?:\{"n":"(\d+)"', loop.rest):
        return int(noted[1])
    condition, body = ({i.name: i for i in computations[name]} for name in re.findall(r"(?:condition|body)=%?([\w.-]+)", loop.rest))
    try:
        compared = next(i for i in condition.values() if i.op == "compare" and "direction=LT" in i.rest)
        counter, bound = (condition[name] for name in _operand_names(compared))
        place = int(re.search(r"index=(\d+)", counter.rest)[1])  # type: ignore[index]
        end = next(i for i in reversed(body.values()) if i.op == "tuple")
        increment = _value(_operand_names(end)[place], body)
        return math.ceil(_value(bound.name, condition) / increment)
    except (StopIteration, KeyError, TypeError, ValueError, ZeroDivisionError):
        raise ValueError(f"cannot read from the program how often the loop {loop.name} runs") from None


def _value(name: str, computation: dict[str, Instruction]) -> int:
    """Returns the value of an integer scalar, if everything that the loop carries is 0."""
    one = computation[name]
    if one.op == "constant":
        return int(one.rest.split(")")[0])
    if one.op == "get-tuple-element":
        return 0
    if one.op in ("add", "copy", "convert", "bitcast"):
        return sum(_value(operand, computation) for operand in _operand_names(one))
    raise ValueError(one.op)


def group_size(attributes: str, kind: str) -> int:
    """Returns the number of devices that take part in one exchange."""
    if kind == "collective-permute":
        return 2
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", attributes):
        return len(listed[1].split(","))
    if iota := re.search(r"replica_groups=\[(\d+),(\d+)\]<=", attributes):
        return int(iota[2])
    if named := re.search(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(.*?\))? \{([^}]*)\}", attributes):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", named[1]))
        parts = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", named[2])  # an axis, or ('axis':(before)size) a part of one
        return math.prod(int(part or sizes[axis]) for axis, part in parts)
    raise ValueError(f"cannot read the replica groups of {attributes[:200]}")


def operand_bytes(instruction: Instruction, computation: list[Instruction]) -> int:
    """Returns the bytes of the arrays that a collective takes."""
    return sum(_bytes(one.result) for one in _operands(instruction, computation))


def arrays(instruction: Instruction, computation: list[Instruction]) -> str:
    """Returns the types of the operands, without layouts: "bf16[256,5632] f32[2048]"."""
    return " ".join(f"{dtype}[{shape}]" for one in _operands(instruction, computation) for dtype, shape in _ARRAY.findall(one.result))


def _operands(instruction: Instruction, computation: list[Instruction]) -> list[Instruction]:
    defined = {one.name: one for one in computation}
    return [defined[name] for name in _operand_names(instruction)]


def _operand_names(instruction: Instruction) -> list[str]:
    return re.findall(r"%([\w.-]+)", instruction.rest.split(")")[0])


def _bytes(result: str) -> int:
    return sum(SIZES[dtype] * math.prod(map(int, filter(None, shape.split(",")))) for dtype, shape in _ARRAY.findall(result))


def _is_product(instruction: Instruction) -> bool:
    if instruction.op in ("dot", "convolution"):
        return True
    return instruction.op == "custom-call" and any(name in instruction.rest for name in ("cublas", "cudnn", "gemm", "fmha"))
