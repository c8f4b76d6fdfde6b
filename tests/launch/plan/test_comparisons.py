"""docs/plan.md says how far off the formulas are now."""

import pytest
from comparisons import FILE, between, tables


@pytest.mark.parametrize("name", ["memory", "published"])
def test_the_tables_of_the_documentation(name: str) -> None:
    found = between(name).search(FILE.read_text("utf-8"))
    assert found and found[2] == tables()[name], "python tests/launch/plan/comparisons.py writes them anew; read the text around them again"
