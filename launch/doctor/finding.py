"""What the doctor says about one thing, and how the findings of many processes become one table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

OK, SLOW, BROKEN = "OK", "slow", "broken"
SEVERITY = (OK, SLOW, BROKEN)
NEAR = 0.85  # of the median of all processes, below which one is slow: nodes that are alike differ by a few percent
MOST_NAMED = 8  # processes in a line


@dataclass(frozen=True)
class Finding:
    """A line of the doctor."""

    name: str  # what was looked at
    state: str  # OK, SLOW or BROKEN
    said: str  # what was found
    todo: str = ""  # the next step, unless it is OK
    figure: float | None = None  # more is better, and nodes that are alike have nearly the same
    own: bool = False  # whether every node says something else and nothing is wrong with that, such as its name


def at_least(name: str, value: float, wanted: float, said: str, todo: str) -> Finding:
    """Returns a finding that is slow if a figure is below the wanted one."""
    return Finding(name, OK, said, figure=value) if value >= wanted else Finding(name, SLOW, said, todo, value)


def joined(processes: Mapping[str, Sequence[Finding]]) -> list[Finding]:
    """Joins the findings of many processes. What is equal becomes one line; processes that deviate are named.

    A process deviates that is broken or slow, that is much slower than the others, or that says something else where all should say the
    same, such as the version of a package.

    Args:
        processes: The findings of each process, by a name that says where it runs. The order of things is that of the first process.

    Returns:
        For each thing a line of those that are well, if there are any, and lines of those that are not.
    """
    if len(processes) == 1:
        return [finding for findings in processes.values() for finding in findings]
    names = dict.fromkeys(finding.name for findings in processes.values() for finding in findings)
    lines = []
    for name in names:
        of_all = {where: finding for where, findings in processes.items() for finding in findings if finding.name == name}
        lines += _lines(_compared(of_all))
    return lines


def _compared(of_all: dict[str, Finding]) -> dict[str, Finding]:
    """Marks those that are well by themselves but not beside the others."""
    figures = [finding.figure for finding in of_all.values() if finding.figure is not None]
    usual = median(figures) if figures else 0.0
    said = [finding.said for finding in of_all.values() if finding.state == OK]
    most = max(said, key=said.count, default="")  # the first of several

    def marked(finding: Finding) -> Finding:
        if finding.state != OK or finding.own:
            return finding
        if finding.figure is None:
            return finding if finding.said == most else replace(finding, state=SLOW, todo=f"make it as elsewhere: {most}")
        if finding.figure >= NEAR * usual:
            return finding
        said = f"{finding.said}; {finding.figure / usual:.0%} of the median of {len(figures):,} processes"
        return replace(finding, state=SLOW, said=said, todo="take another node, and tell the help desk, unless other programs run there")

    return {where: marked(finding) for where, finding in of_all.items()}


def _lines(of_all: dict[str, Finding]) -> list[Finding]:
    well = {where: finding for where, finding in of_all.items() if finding.state == OK}
    groups: dict[tuple[str, str], dict[str, Finding]] = {}  # those that are not well, by state and next step
    for where, finding in of_all.items():
        if finding.state != OK:
            groups.setdefault((finding.state, finding.todo), {})[where] = finding
    lines = []
    if well:
        where, least = min(well.items(), key=lambda item: item[1].figure or 0.0)
        one_of_many = least.figure is not None and len({finding.said for finding in well.values()}) > 1
        lines.append(replace(least, said=f"{least.said} (the least of {len(well):,}, {where})") if one_of_many else least)
    for _, group in sorted(groups.items(), key=lambda item: -SEVERITY.index(item[0][0])):  # broken first
        worst = min(group.values(), key=lambda finding: finding.figure or 0.0)
        lines.append(replace(worst, said=f"{worst.said} ({_named(list(group))}; {len(group):,} of {len(of_all):,})"))
    return lines


def _named(places: list[str]) -> str:
    return ", ".join(places[:MOST_NAMED]) + (", …" if len(places) > MOST_NAMED else "")
