"""What users see of reports and comparisons in a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gradweave.comparison import Comparison, Deviation, Row

UNITS = {
    "DRAM": ("dma_in", "dma_out"),
    "weight chain": ("wchain",),
    "array": ("array",),
    "gradient chain": ("gchain",),
    "vector unit": ("vector",),
}
"""What can be the busiest: the two transfer queues share one channel."""


def energy(picojoules: float) -> str:
    """With the unit that gives one to four digits."""
    for factor, unit in ((1e12, "J"), (1e9, "mJ"), (1e6, "µJ"), (1e3, "nJ")):
        if picojoules >= factor:
            return f"{picojoules / factor:.3g} {unit}"
    return f"{picojoules:.3g} pJ"


def busiest(figures: Mapping[str, Any]) -> str:
    """The unit that is at work for most of the cycles, and for how many of them; "" if there are none."""
    busy = {unit: sum(figures["queues"][queue]["busy"] for queue in queues) for unit, queues in UNITS.items()}
    unit = max(busy, key=lambda name: busy[name])
    return f"{unit} {min(1.0, busy[unit] / figures['cycles']):.0%}" if figures["cycles"] else ""


def longest_wait(figures: Mapping[str, Any], queue: str = "array") -> str:
    """What the queue waits for longest, and for how many cycles; "" if it never waits."""
    stalls: dict[str, int] = figures["queues"][queue]["stalls"]
    if not stalls:
        return ""
    cause = max(stalls, key=lambda name: stalls[name])
    return f"{cause.removeprefix('semaphore ')} {stalls[cause]:,}"


def words(figures: Mapping[str, Any]) -> int:
    """Scratchpad words read and written."""
    return int(figures["scratchpad_reads"] + figures["scratchpad_writes"])


def _table(title: str, left: int, *columns: str) -> Table:
    """A table whose first ``left`` columns are text, the others numbers."""
    table = Table(title=Text(title, "bold"), title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", no_wrap=True)
    return table


def report_table(report: Mapping[str, Any]) -> RenderableType:
    """A run's report: for each layer and product how many cycles, doing what, waiting for what, how far from the least possible."""
    table = _table(
        f"{report['program']} · machine {report['machine']} · {report['schedule']}", 2,
        "layer", "product", "cycles", "least", "PEs used", "busiest unit", "array waits for", "DRAM B", "scratchpad words", "energy",
    )  # fmt: skip
    for layer in report["layers"]:
        for index, figures in enumerate(layer["products"]):
            name = Text(layer["layer"]) + Text(f"  {', '.join(filter(None, layer['nodes']))}", "dim") if index == 0 else ""
            table.add_row(name, figures["product"], *_figures(figures))
    table.add_section()
    table.add_row("all", "", *_figures(report), style="bold")
    note = Text(
        "cycles: by how much each line moves the end of the run; least: by MACs and compulsory DRAM traffic alone, whatever binds more\n"
        f"energy: {report['energy_source']}",
        "dim",
    )
    return Group(table, note)


def _figures(figures: Mapping[str, Any]) -> list[str]:
    return [
        f"{figures['cycles']:,}",
        f"{figures['bound_cycles']:,}",
        f"{figures['utilization']:.1%}" if figures["macs"] else "",
        busiest(figures),
        longest_wait(figures),
        f"{figures['dram_bytes']:,}",
        f"{words(figures):,}",
        energy(figures["energy_pj"]),
    ]


def comparison_table(comparison: Comparison) -> RenderableType:
    """Every schedule and option side by side, with the named baselines and the agreement of the gradients."""
    batch = "" if comparison.batch is None else f" · batch {comparison.batch}"
    table = _table(
        f"{comparison.name}{batch} · machine {comparison.machine.name}", 3,
        "schedule", "double buffer", "update", "cycles", "dX, dW", "vs sequential", "vs best-sequential",
        "DRAM B", "scratchpad words", "energy", "busiest unit",
    )  # fmt: skip
    fastest = min(row.cycles for row in comparison.rows)
    for double_buffer in (True, False):
        for row in comparison.rows:
            if row.double_buffer == double_buffer:
                table.add_row(*_row(comparison, row), style="bold" if row.cycles == fastest else "")
        table.add_section()
    bound = min(row.report["bound_cycles"] for row in comparison.rows)
    table.add_row("lower bound", "", "", f"{bound:,}")
    return Group(table, Text(_notes(comparison)))


def _row(comparison: Comparison, row: Row) -> list[str]:
    ratios = (comparison.speedup(row, name) for name in ("sequential", "best-sequential"))
    return [
        row.schedule,
        "on" if row.double_buffer else "off",
        "" if comparison.optimizer is None else "fused" if row.fused_update else "separate",
        f"{row.cycles:,}",
        f"{row.gradient_cycles:,}",
        *("" if ratio is None else f"{ratio:.2f}×" for ratio in ratios),
        f"{row.report['dram_bytes']:,}",
        f"{words(row.report):,}",
        energy(row.report["energy_pj"]),
        busiest(row.report),
    ]


def _notes(comparison: Comparison) -> str:
    lines = [
        "vs: how many times fewer cycles than that baseline with the same double buffer and update; "
        "dX, dW: cycles of the gradients' products",
        f"gradients agree with a float64 reference: {agreement(comparison.gradients)}",
    ]
    if comparison.optimizer is not None:
        lines.append(f"updated weights agree with it: {agreement(comparison.weights)}")
    return "\n".join(lines)


def agreement(worst: Deviation) -> str:
    """The worst relative difference and where it is."""
    return f"worst {worst.value:.0e} ({worst.tensor})"
