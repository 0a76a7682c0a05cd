"""docs/ir.md shows what the compiler really makes."""

import re
from pathlib import Path

from scripts import script

ROOT = Path(__file__).parents[2]


def test_the_examples_are_current() -> None:
    module = script(ROOT / "docs" / "make_ir.py")
    page = (ROOT / "docs" / "ir.md").read_text(encoding="utf-8")
    sections = module.sections()
    assert re.findall(r"<!-- (.*?) -->", page) == [word for name in sections for word in (name, "end")]
    for name, content in sections.items():
        assert f"<!-- {name} -->\n{content}\n<!-- end -->" in page, "run: python docs/make_ir.py --write"
