"""The notebook runs from top to bottom, and shows what its text promises."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.heavy("notebook")

REPO = Path(__file__).parents[1]


def test_the_first_run_ends_without_an_error_and_draws(tmp_path: Path, corpus_folder: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(REPO / "notebooks" / "first_run.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in shown if output.output_type == "error"]
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 2  # losses, and a parameter over the mesh
    assert len((tmp_path / "runs" / "tiny" / "metrics.jsonl").read_text().splitlines()) == 50
