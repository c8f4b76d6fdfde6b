"""What the tables and bars of the verbs have in common."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table


def align_right(table: Table, *columns: int) -> None:
    """Aligns these columns to the right, as figures are."""
    for column in columns:
        table.columns[column].justify = "right"


def fold(table: Table, *columns: int) -> None:
    """Lets these columns continue on further lines rather than lose their end, as ids and URLs must not."""
    for column in columns:
        table.columns[column].overflow = "fold"


def progress_on(console: Console) -> Progress:
    """Returns bars that count what is done, and are gone in the end. Without a terminal nothing is shown."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
