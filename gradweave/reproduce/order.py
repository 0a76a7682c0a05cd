"""The setting of the interleaved gradient order (Kim et al., MICRO 2023, doi:10.1145/3613424.3614299).

Measured is forward and backward of its networks, layers standing alone.  Its baseline computes dX, then dW, tiled and double-buffered, as
``sequential`` does; all layers but the first have both gradients.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gradweave.reproduce.bench import Bench, figures
from gradweave.reproduce.networks import available, products_of
from gradweave.reproduce.products import products_step
from gradweave.reproduce.results import Point, Row
from isa.machine import load_machine

BATCH = {"micro2023-small": 4, "micro2023-large": 8}
BASELINE = "sequential"
SCHEDULES = ("sequential", "tile-interleaved", "interleaved", "best-sequential", "auto")
PUBLISHED = {"micro2023-small": (0.8, 23.8, 29.3), "micro2023-large": (7.4, 10.9, 14.5)}
"""By how many percent execution time falls, averaged over nine networks: tiles interleaved; and ordered; and partitioned."""


def points(tables: Path | None) -> list[Point]:
    """Quick networks first."""
    return [{"network": network, "machine": machine} for network in available(tables) for machine in BATCH]


def measure(machines: Path, tables: Path | None) -> Callable[[Point], list[Row]]:
    """What measures a point: all schedules of a network on a machine.

    Args:
        machines: folder of the machine files.
        tables: SCALE-Sim's folder ``topologies``.
    """

    def rows(point: Point) -> list[Row]:
        source = available(tables)[point["network"]]
        products = products_of(source, tables)
        batch = 1 if source.own_batch else BATCH[point["machine"]]
        step = products_step(point["network"], products, batch, first_dx=not hasattr(source, "path"))
        bench = Bench(step, load_machine(machines / f"{point['machine']}.toml"))
        return [{"batch": batch, "layers": len(products), "schedule": name, **figures(bench.measure(name))} for name in SCHEDULES]

    return rows


def falls(rows: list[Row]) -> dict[tuple[str, str], dict[str, float]]:
    """By how many percent cycles fall against the baseline: {(machine, network): {schedule: percent}}."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        found.setdefault((row["machine"], row["network"]), {})[row["schedule"]] = row["cycles"]
    return {key: {name: 100 * (1 - cycles / own[BASELINE]) for name, cycles in own.items()} for key, own in found.items()}
