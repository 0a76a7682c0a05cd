"""docs/ir.md shows what the compiler really makes."""

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_examples_are_current() -> None:
    spec = importlib.util.spec_from_file_location("make_ir", ROOT / "docs" / "make_ir.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (ROOT / "docs" / "ir.md").read_text(encoding="utf-8")
    sections = module.sections()
    assert re.findall(r"<!-- (.*?) -->", page) == [word for name in sections for word in (name, "end")]
    for name, content in sections.items():
        assert f"<!-- {name} -->\n{content}\n<!-- end -->" in page, "run: python docs/make_ir.py --write"
