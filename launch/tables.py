"""What the tables of the verbs have in common."""

from rich.table import Table


def align_right(table: Table, *columns: int) -> None:
    """Aligns these columns to the right, as figures are."""
    for column in columns:
        table.columns[column].justify = "right"


def fold(table: Table, *columns: int) -> None:
    """Lets these columns continue on further lines rather than lose their end, as ids and URLs must not."""
    for column in columns:
        table.columns[column].overflow = "fold"
