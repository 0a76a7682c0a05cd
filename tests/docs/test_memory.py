"""docs/memory.md tells what the machine really counts."""

from pathlib import Path

from scripts import script

DOCS = Path(__file__).parents[2] / "docs"


def test_the_costs_are_current() -> None:
    module = script(DOCS / "make_memory.py")
    page = (DOCS / "memory.md").read_text(encoding="utf-8")
    assert f"<!-- costs -->\n{module.costs()}\n<!-- end -->" in page, "run: python docs/make_memory.py --write"
