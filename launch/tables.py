"""What the tables of the verbs have in common."""

from rich.table import Table


def align_right(table: Table, *columns: int) -> None:
    """Aligns these columns to the right, as figures are."""
    for column in columns:
        table.columns[column].justify = "right"
