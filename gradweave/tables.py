"""What users see of reports and comparisons in a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from gradweave.comparison import BASELINES, Comparison, Deviation, Row
from gradweave.explaining import Explanation

UNITS = {
    "DRAM": ("dma_in", "dma_out"),
    "weight chain": ("wchain",),
    "array": ("array",),
    "gradient chain": ("gchain",),
    "vector unit": ("vector",),
}
"""What can be the busiest: the two transfer queues share one channel."""


def units(figures: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The units of the machine with their queues; those of its further arrays are numbered from 1."""
    found = dict(UNITS)
    for queue in figures["queues"]:
        kind, _, number = queue.partition(".")
        if number:
            found[next(f"{unit} {number}" for unit, queues in UNITS.items() if kind in queues)] = (queue,)
    return found


def energy(picojoules: float) -> str:
    """Three digits, with the unit that suits."""
    for factor, unit in ((1e12, "J"), (1e9, "mJ"), (1e6, "µJ"), (1e3, "nJ")):
        if picojoules >= factor:
            return f"{picojoules / factor:#.3g}".rstrip(".") + f" {unit}"
    return f"{picojoules:#.3g}".rstrip(".") + " pJ"


def busiest(figures: Mapping[str, Any]) -> tuple[str, int]:
    """The unit that is at work for most cycles, and for how many; ("", 0) if none is."""
    busy = {unit: sum(figures["queues"][queue]["busy"] for queue in queues) for unit, queues in units(figures).items()}
    unit = max(busy, key=lambda name: busy[name])
    return (unit, busy[unit]) if busy[unit] else ("", 0)


def longest_wait(figures: Mapping[str, Any], queue: str = "array") -> tuple[str, int]:
    """What the queue waits for longest, and for how many cycles; ("", 0) if it never waits.

    Semaphores are named after who signals and who waits, ``vector.array``: here the one who signals is told.
    """
    stalls: dict[str, int] = figures["queues"][queue]["stalls"]
    if not stalls:
        return "", 0
    cause = max(stalls, key=lambda name: stalls[name])
    return cause.removeprefix("semaphore ").removesuffix(f".{queue}"), stalls[cause]


def port_waits(figures: Mapping[str, Any]) -> str:
    """Which units wait for ports of the scratchpad, and for how many cycles; empty if none does."""
    stalls = {
        unit: sum(figures["queues"][queue]["stalls"].get("scratchpad ports", 0) for queue in queues)
        for unit, queues in units(figures).items()
    }
    waits = [f"{unit} {cycles:,}" for unit, cycles in sorted(stalls.items(), key=lambda wait: -wait[1]) if cycles]
    return f"cycles of waiting for scratchpad ports: {', '.join(waits)}" if waits else ""


def words(figures: Mapping[str, Any]) -> int:
    """Scratchpad words read and written."""
    return int(figures["scratchpad_reads"] + figures["scratchpad_writes"])


def _table(title: str, left: int, *columns: str) -> Table:
    """A table whose first ``left`` columns are text, the others numbers."""
    table = Table(title=Text(title, "bold"), title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", vertical="bottom", no_wrap=True)
    return table


def show(*parts: RenderableType) -> None:
    """Print to standard output, tables in their full width however narrow the terminal is."""
    console = Console(highlight=False)
    for part in parts:
        if isinstance(part, Table):
            wide = console.options.update(max_width=1000)
            Console(highlight=False, width=max(console.width, Measurement.get(console, wide, part).maximum)).print(part)
        else:
            console.print(part, soft_wrap=True)


def report_table(report: Mapping[str, Any]) -> list[RenderableType]:
    """A run's report: for each layer and product how many cycles, doing what, waiting for what, how far from the least possible."""
    table = _table(
        f"{report['program']} · machine {report['machine']} · {report['schedule']}", 2,
        "layer", "product", "cycles", "least", "PEs\nused", "busiest unit\nfor cycles", "array waits for\nfor cycles", "DRAM\nbytes",
        "scratchpad\nwords", "energy",
    )  # fmt: skip
    for layer in report["layers"]:
        for index, figures in enumerate(layer["products"]):
            name = Text(layer["layer"]) + Text("".join(f" {node}" for node in layer["nodes"] if node), "dim")
            table.add_row("" if index else name, figures["product"], *_figures(figures))
    table.add_section()
    table.add_row("all", "", *_figures(report), style="bold")
    notes = (
        "cycles: by how much each line moves the end of the run; what is hidden behind other lines counts as none\n"
        "least: cycles by MACs and compulsory DRAM traffic alone, whichever binds; scratchpad: words read and written\n"
        f"energy: counts times the machine file's table, nothing static; {report['energy_source']}"
    )
    if waits := port_waits(report):
        notes += f"\n{waits}"
    if any(figures["product"] == "kept" for layer in report["layers"] for figures in layer["products"]):
        notes += "\nkept: the least traffic by what forward leaves to backward, where the scratchpad does not hold all of it"
    if "area_mm2" in report:
        notes += f"\narea: {report['area_mm2']:g} mm² as given; cycles × area: {report['cycles_mm2']:,.0f} mm²"
    return [table, Text(notes, "dim")]


def _figures(figures: Mapping[str, Any]) -> list[str]:
    return [
        f"{figures['cycles']:,}",
        f"{figures['bound_cycles']:,}",
        f"{figures['utilization']:.1%}" if figures["macs"] else "",
        *_binding(figures),
        f"{figures['dram_bytes']:,}",
        f"{words(figures):,}",
        energy(figures["energy_pj"]),
    ]


def explanation_table(explanation: Explanation) -> list[RenderableType]:
    """What ``auto`` chose for each layer, what that saves and what binds it, and all that was tried."""
    report = explanation.report
    table = _table(
        f"{explanation.name} · machine {explanation.machine} · auto", 2,
        "layer", "gradients", "cycles", "least", f"fewer than\n{explanation.uniform}", "busiest unit\nfor cycles",
        "array waits for\nfor cycles",
    )  # fmt: skip
    for choice in explanation.choices:
        table.add_row(choice.layer, choice.chosen, f"{choice.cycles:,}", f"{choice.figures['bound_cycles']:,}", f"{choice.saved:,}",
                      *_binding(choice.figures))  # fmt: skip
    table.add_section()
    whole = dict(explanation.tried)[explanation.uniform] or 0
    table.add_row("all, with other work", "", f"{report['cycles']:,}", f"{report['bound_cycles']:,}", f"{whole - report['cycles']:,}",
                  *_binding(report), style="bold")  # fmt: skip
    notes = [
        "cycles, least: as in the report of a run, forward and update included; a layer's cycles depend on what is hidden behind others",
        f"{report['cycles'] / report['bound_cycles']:.2f}× the least possible by MACs and compulsory DRAM traffic alone; tried, in order:",
        *(f"  {'does not fit' if cycles is None else f'{cycles:,}':>15}  {name}" for name, cycles in explanation.tried),
    ]
    if waits := port_waits(report):
        notes.insert(1, waits)
    return [table, Text("\n".join(notes), "dim")]


def _binding(figures: Mapping[str, Any]) -> list[str]:
    """The busiest unit, and what the array waits for longest."""
    return [f"{name} {cycles:,}" if cycles else "" for name, cycles in (busiest(figures), longest_wait(figures))]


def comparison_table(comparison: Comparison) -> list[RenderableType]:
    """Every schedule and option side by side, with the named baselines and the agreement of the gradients."""
    batch = "" if comparison.batch is None else f" · batch {comparison.batch}"
    table = _table(
        f"{comparison.name}{batch} · machine {comparison.machine.name}", 3,
        "schedule", "double\nbuffer", "update", "cycles", "of these\ndX, dW", "vs\nsequential", "vs best-\nsequential",
        "DRAM\nbytes", "scratchpad\nwords", "energy", "busiest\nunit",
    )  # fmt: skip
    fastest = min(row.cycles for row in comparison.rows)
    for double_buffer in (True, False):
        for row in comparison.rows:
            if row.double_buffer == double_buffer:
                table.add_row(*_row(comparison, row), style="bold" if row.cycles == fastest else "")
        table.add_section()
    bound = min(row.report["bound_cycles"] for row in comparison.rows)
    table.add_row("lower bound", "", "", f"{bound:,}")
    return [table, Text(_notes(comparison))]


def _row(comparison: Comparison, row: Row) -> list[str]:
    ratios = (comparison.speedup(row, name) for name in BASELINES)
    unit, busy = busiest(row.report)
    return [
        row.schedule,
        "on" if row.double_buffer else "off",
        "none" if comparison.optimizer is None else "fused" if row.fused_update else "separate",
        f"{row.cycles:,}",
        f"{row.gradient_cycles:,}",
        *("" if ratio is None else f"{ratio:.2f}×" for ratio in ratios),
        f"{row.report['dram_bytes']:,}",
        f"{words(row.report):,}",
        energy(row.report["energy_pj"]),
        f"{unit} {busy / row.cycles:.0%}",
    ]


def _notes(comparison: Comparison) -> str:
    operand = comparison.machine.array.operand
    reference = "a float64 reference" + (f" (of {operand} products)" if operand != "f32" else "")
    lines = [
        "dX, dW: cycles by which these products, and an update fused into them, move the end of the run; what is hidden behind other work",
        "counts as none, so that with double buffering only the whole step compares schedules fairly",
        "vs: times fewer cycles of the whole step than that schedule with the same double buffer and update; best-sequential: the quickest",
        "dataflow for each gradient, found by running; blank: that schedule has no update to fuse",
        "lower bound: by MACs and compulsory DRAM traffic alone, the least of all rows; busiest unit: at work for this share of the cycles",
        f"gradients agree with {reference} to {agreement(comparison.gradients)}",
    ]
    if comparison.optimizer is not None:
        lines.append(f"updated weights agree with it to {agreement(comparison.weights)}")
    return "\n".join(lines)


def agreement(worst: Deviation) -> str:
    """The worst relative difference and where it is."""
    return f"{worst.value:.0e} of each tensor's largest entry (worst: {worst.tensor})"
