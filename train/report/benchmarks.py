"""The section of the report on benchmarks: the newest score of each task, the worst of a group first, and scores over steps."""

from collections.abc import Sequence

from varietas.data.text import languages
from varietas.train.report.charts import Line, line_chart
from varietas.train.report.figures import figure, fixed
from varietas.train.report.markup import esc, quiet, table
from varietas.train.run_folder.benchmarks import Benchmark, Block, Score, blocks

MOST_LINES = 4  # of a chart; of more tasks the worst, the best and the mean are drawn
COLUMNS = ("Task", "Score", "±", "Chance", "Items", "After step")


def benchmarks_section(found: Sequence[Benchmark]) -> str:
    """Shows the scores of tasks. The first table is open, and the others are folded.

    Args:
        found: All results of a run, as `benchmarks.read_all` returns them: each task's in the order of steps.
    """
    drawn = list[str]()
    for way in dict.fromkeys(result.way for result in found):
        newest = {result.task: result for result in found if result.way == way}
        for block in blocks(list(newest.values())):
            heading = esc(f"{block.group or 'Tasks'}: {block.metric}, {way}")
            inner = _table(block) + _course(block, found)
            drawn.append(f"<h3>{heading}</h3>{inner}" if not drawn else f"<details><summary>{heading}</summary>{inner}</details>")
    note = (
        "Worst score first. “±” is the standard error: with so many items, scores of equally good models differ by about that much. "
        "“Chance” is what guessing reaches. The heading says what is measured and how many examples come before a question. "
        "Languages have tasks of different difficulty unless these are translations."
    )
    return "".join(drawn) + quiet(note)


def _table(block: Block) -> str:
    body = [_row(*row, tag="td") for row in block.rows] + ([_row(*block.mean, tag="th")] if block.mean else [])
    return table(COLUMNS, body)


def _row(result: Benchmark, score: Score, tag: str) -> str:
    name = f"{result.task}, mean of {len(result.members)}" if result.members else result.task
    language = f"<br><small>{esc(languages.name(result.language))}</small>" if result.language else ""
    values = (fixed(score.value), fixed(score.stderr), fixed(score.chance), figure(result.n), figure(result.step))
    return f'<tr><th scope="row">{esc(name)}{language}</th>{"".join(f"<{tag}>{value}</{tag}>" for value in values)}</tr>'


def _course(block: Block, found: Sequence[Benchmark]) -> str:
    """Draws scores over steps, if any task of the block has been asked after several steps."""
    shown = [result for result, _ in (*block.rows, *([block.mean] if block.mean else []))]
    if len(shown) > MOST_LINES:
        shown = [shown[0], block.rows[-1][0], *([block.mean[0]] if block.mean else [])]
    lines = []
    for newest in shown:
        points = [
            (result.step, score.value)
            for result in found
            if (result.task, result.way) == (newest.task, newest.way)
            for score in result.scores
            if score.metric == block.metric
        ]
        lines.append(Line(newest.task, [step for step, _ in points], [value for _, value in points]))
    return line_chart(lines, title=f"{block.metric} over steps") if any(len(line.x) > 1 for line in lines) else ""
