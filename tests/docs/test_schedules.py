"""The table of docs/schedules.md is what the schedules do."""

import re
from pathlib import Path

from scripts import script

from compiler.schedule.schedules import SCHEDULES
from isa.machine import Machine

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "schedules.md").read_text(encoding="utf-8")
LAYOUT = r"(\w), (\w), (\w)"


def test_the_layouts_are_those_of_the_schedules() -> None:
    rows = re.findall(rf"^\| `([\w-]+)` \| {LAYOUT} \| (\w+) \| {LAYOUT} \| (\w+) \|$", PAGE, flags=re.MULTILINE)
    sizes = {"b": 2, "k": 3, "n": 4}
    assert {row[0] for row in rows} == SCHEDULES.keys() - {"best-sequential", "auto"}
    for name, *cells in rows:
        for product, result, told in (("dx", "dX", cells[:4]), ("dw", "dW", cells[4:])):
            mapping = SCHEDULES[name].choose("fc", sizes, Machine(), True).mapping(product)
            held = mapping.stationary(product) or result
            assert [mapping.rows, mapping.cols, mapping.time, held] == told, (name, product)


def test_what_updates_in_the_array_save_is_current() -> None:
    table = script(DOCS / "make_schedules.py").updates()
    assert f"<!-- updates -->\n{table}\n<!-- end -->" in PAGE, "run: python docs/make_schedules.py --write"


def test_every_schedule_is_explained() -> None:
    assert [name for name in SCHEDULES if f"`{name}`" not in PAGE and f"## {name}" not in PAGE] == []
