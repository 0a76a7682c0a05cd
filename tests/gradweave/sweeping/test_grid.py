"""Grids of machines."""

import random
from contextlib import suppress
from pathlib import Path

import pytest
from damage import CASES, damage

from gradweave.sweeping.grid import load_grid
from isa.errors import UserError
from isa.machine import Machine


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    (tmp_path / "base.toml").write_text('name = "base"\n[array]\nrows = 4\ncols = 3\n')
    return tmp_path / "grid.toml"


def test_each_value_with_each_the_last_list_first(grid: Path) -> None:
    grid.write_text('base = "base.toml"\n[grid]\n"array" = [{rows = 8, cols = 9}, {rows = 2, cols = 5}]\n"dram.latency" = [1, 2, 3]\n')
    found = load_grid(grid)
    assert found.fields == ("array.rows", "array.cols", "dram.latency")
    assert [tuple(found.values(machine).values()) for machine in found.machines] == [
        (8, 9, 1), (8, 9, 2), (8, 9, 3), (2, 5, 1), (2, 5, 2), (2, 5, 3),
    ]  # fmt: skip
    assert found.machines[4].name == "base array.rows=2 array.cols=5 dram.latency=2"
    assert found.machines[0].scratchpad == Machine().scratchpad


def test_fields_of_any_part_change_together_and_may_set_the_name(grid: Path) -> None:
    grid.write_text("""
        base = {name = "inline", array = {rows = 6}}
        [grid]
        machine = [{name = "a", array.rows = 7, vector.lanes = 7}, {dram.bytes_per_cycle = 2}]
        scratchpad.bytes = [4096]
    """)
    found = load_grid(grid)
    assert found.fields == ("array.rows", "vector.lanes", "dram.bytes_per_cycle", "scratchpad.bytes")
    names = ["a scratchpad.bytes=4096", "inline dram.bytes_per_cycle=2 scratchpad.bytes=4096"]
    assert [machine.name for machine in found.machines] == names
    assert [tuple(found.values(machine).values()) for machine in found.machines] == [(7, 7, 32.0, 4096), (6, 32, 2.0, 4096)]


def test_a_grid_of_one(grid: Path) -> None:
    grid.write_text("")
    assert load_grid(grid).machines == (Machine(),)
    grid.write_text('base = "base.toml"')
    assert [machine.rows for machine in load_grid(grid).machines] == [4]


MISTAKES = {
    "grid = 3": "`grid` is no table",
    "[grid": "not a grid of machines",
    "machine = 3": "unknown entry 'machine'; a grid of machines has `base` and `[grid]`",
    "base = 3": "base: not a machine",
    "base = {array = {rows = 0}}": "base: not a machine: Expected `int` >= 1 - at `$.array.rows`",
    'base = "a\\u0000b"': "base: 'a\\x00b' cannot be the name of a file",
    "base = 'missing.toml'": "missing.toml: cannot read the machine file",
    "[grid]\narray.rows = 8": '"array.rows": 8 is no list of values; write for instance "array.rows" = [8, 16]',
    "[grid]\narray.rows = []": '"array.rows": [] is no list of values',
    "[grid]\narray.row = [8]": '[grid] array.row=8: Object contains unknown field `row`; the fields are name, array.rows, array.cols,',
    "[grid]\narray = [8]": '[grid] array=8: Expected `object`, got `int`; the fields are',
    "[grid]\n\"array.rows.x\" = [8]": '[grid] array.rows.x=8: Expected `int`, got `object`; the fields are',
    "[grid]\nmachine = [8]": "[grid] machine: 8 is no table of fields; write for instance machine = [{array.rows = 8, vector.lanes = 8}]",
    "[grid]\n" + "a." * 5000 + "a = [1]": "not a grid of machines",
    "[grid]\narray.rows = [8, 0]": "[grid] array.rows=0: Expected `int` >= 1",
    "[grid]\narray.operand = ['f64']": "[grid] array.operand=f64: Invalid enum value 'f64'",
    "[grid]\narray = [{rows = 8}]\n\"array.rows\" = [4]": '[grid] sets "array.rows" in two lists',
    "[grid]\narray = [{rows = 0}]\ndram.latency = [-1, 2]": "has 2 mistakes\n  array.rows=0: Expected `int` >= 1\n  dram.latency=-1: ",
}  # fmt: skip


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes(text: str, grid: Path) -> None:
    grid.write_text(text)
    with pytest.raises(UserError) as error:
        load_grid(grid)
    assert MISTAKES[text] in str(error.value)
    assert str(grid.parent) in str(error.value)


def test_damaged_grids(grid: Path) -> None:
    draw = random.Random(7)
    grid.write_text(
        'base = {name = "inline", array = {rows = 6}}\n'
        '[grid]\nmachine = [{name = "a", array.rows = 7}, {dram.latency = 2}]\n"scratchpad.bytes" = [4096, 64]\n'
    )
    assert len(load_grid(grid).machines) == 4
    whole = grid.read_bytes()
    for _ in range(CASES["grids of machines"]):
        grid.write_bytes(damage(whole, draw))
        with suppress(UserError):
            load_grid(grid)
