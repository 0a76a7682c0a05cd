"""docs/memory.md tells what the machine really counts."""

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_costs_are_current() -> None:
    spec = importlib.util.spec_from_file_location("make_memory", DOCS / "make_memory.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (DOCS / "memory.md").read_text(encoding="utf-8")
    assert f"<!-- costs -->\n{module.costs()}\n<!-- end -->" in page, "run: python docs/make_memory.py --write"
