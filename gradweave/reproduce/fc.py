"""Fully-connected layers: every schedule over batch ÷ array size, with the options matched on both sides and not.

What it is held against is the abstract of Unnikrishnan and Parhi, ISCAS 2020 (arXiv 2002.05529): 1.4–2.2× fewer cycles and 1.9× fewer
memory accesses.  The baseline, the array sizes and the shapes behind these are not known.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import msgspec

from compiler.schedule.schedules import SCHEDULES
from gradweave.reproduce.bench import Bench, figures
from gradweave.reproduce.products import Product, products_step
from gradweave.reproduce.results import Point, Row, select
from isa.errors import UserError
from isa.machine import Dram, Machine, load_machine

RATIOS = tuple(Fraction(ratio) for ratio in ("1/4", "1/2", "1", "2", "4", "8", "16"))
"""Batch ÷ array size."""
ARRAYS = ("32x32", "128x128")
TILES = (8, 1)
"""Tiles of the weight along each of its axes."""
UNLIMITED = Dram(bytes_per_cycle=1e9, latency=0)
OPTIONS = ((True, True), (True, False), (False, True), (False, False))
"""(double_buffer, fused_update)"""
BASELINES = tuple(name for name in SCHEDULES if name not in ("interleaved", "auto"))
CYCLES_BAND = (1.4, 2.2)
ACCESSES = 1.9


@dataclass(frozen=True, slots=True)
class Sides:
    """The options of the baseline and of what is compared with it, as in ``OPTIONS``."""

    baseline: tuple[bool, bool]
    ours: tuple[bool, bool]

    @property
    def matched(self) -> bool:
        return self.baseline == self.ours

    def __str__(self) -> str:
        if self.matched:
            return f"matched: {describe(self.ours)}"
        return f"unmatched: {describe(self.baseline)} ÷ {describe(self.ours)}"


def describe(options: tuple[bool, bool]) -> str:
    """(double_buffer, fused_update) in words."""
    return f"{'double' if options[0] else 'single'} buffer, update {'fused' if options[1] else 'separate'}"


SIDES = (*(Sides(options, options) for options in OPTIONS), Sides((False, False), (True, True)))


def machine_of(name: str, machines: Path) -> Machine:
    """A machine file's machine, or with ``, DRAM unlimited`` behind its name the same without a limit or latency of its DRAM."""
    base, _, unlimited = name.partition(",")
    machine = load_machine(machines / f"{base}.toml")
    return msgspec.structs.replace(machine, name=name, dram=UNLIMITED) if unlimited else machine


def points() -> list[Point]:
    """All combinations of machine, layer, batch and options."""
    machines = [name + dram for name in ARRAYS for dram in ("", ", DRAM unlimited")]
    return [
        {"machine": machine, "tiles": tiles, "batch": int(ratio * _size(machine)), "double_buffer": options[0], "fused_update": options[1]}
        for machine in machines
        for tiles in TILES
        for ratio in RATIOS
        for options in OPTIONS
    ]


def _size(machine: str) -> int:
    return int(machine.partition("x")[0])


def measure(machines: Path) -> Callable[[Point], list[Row]]:
    """What measures a point: all schedules of a layer; ``machines`` is the folder of the machine files."""

    def rows(point: Point) -> list[Row]:
        width = point["tiles"] * _size(point["machine"])
        layer = Product("fc", "Gemm", (1, width), (width, width))
        step = products_step("fc", [layer], point["batch"], optimizer="sgd")
        machine = machine_of(point["machine"], machines)
        bench = Bench(step, machine, double_buffer=point["double_buffer"], fused_update=point["fused_update"])
        return [{"schedule": name, **_figures(bench, name)} for name in SCHEDULES]

    return rows


def _figures(bench: Bench, schedule: str) -> Row:
    try:
        return dict(figures(bench.measure(schedule)))
    except UserError as error:
        return {"error": str(error)}


Ratios = dict[tuple[str, int, Sides], list[float | None]]
"""A ratio for each of RATIOS, by machine, tiles and options; None where a schedule does not fit the machine."""


def ratios(rows: list[Row], metric: str, baseline: str, ours: str) -> Ratios:
    """How many times less of ``metric`` a schedule needs than a baseline."""
    found: Ratios = {}
    for machine in dict.fromkeys(row["machine"] for row in rows):
        for tiles in TILES:
            layer = select(rows, machine=machine, tiles=tiles)
            for sides in SIDES:
                values = [[_value(layer, int(r * _size(machine)), o, s, metric) for r in RATIOS]
                          for o, s in ((sides.baseline, baseline), (sides.ours, ours))]  # fmt: skip
                found[machine, tiles, sides] = [a / b if a and b else None for a, b in zip(*values, strict=True)]
    return found


def _value(rows: list[Row], batch: int, options: tuple[bool, bool], schedule: str, metric: str) -> float | None:
    own = select(rows, batch=batch, double_buffer=options[0], fused_update=options[1], schedule=schedule)
    return own[0].get(metric) if own else None
