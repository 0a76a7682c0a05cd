"""The schedules: how the gradients of a layer are computed. Adding one is adding a row."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from compiler.schedule.blocks import TILES_AHEAD
from compiler.schedule.cost import nest_cycles
from compiler.schedule.mapping import INTERLEAVED, Mapping
from compiler.schedule.partition import PARTITIONS
from isa.errors import UserError
from isa.machine import Machine

Sizes = dict[str, int]
"""Extents of a layer's axis classes b, k, n (and g)."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How the two gradients of one layer are computed."""

    dx: Mapping
    dw: Mapping
    by: str = ""
    """How they alternate: by ``beat``, by ``tile``, or not at all (empty): dX, then dW."""
    rows_first: bool = False
    """Whether the tiles on the rows are the outer loop, so that those of dX are complete before the next are begun."""
    fuses: bool = True
    """Whether the weight may be updated in the array, where the option is on."""
    partition: str = "auto"
    """How several arrays share the layer's products, forward included; see `partition.py`."""

    def mapping(self, product: str) -> Mapping:
        """Dataflow of a gradient, dx or dw."""
        return self.dx if product == "dx" else self.dw

    def __str__(self) -> str:
        if self.by:
            text = "interleaved" if self.by == "beat" else "tile-interleaved"
        else:
            text = f"dX {_name('dx', self.dx)}, dW {_name('dw', self.dw)}"
        return text + (", rows first" if self.rows_first else "") + ("" if self.fuses else ", no update in the array") + self._shared()

    def _shared(self) -> str:
        return "" if self.partition == "auto" else ", one array" if self.partition == "none" else f", arrays share {self.partition}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """One way to run the backward pass."""

    name: str
    choose: Callable[[str, Sizes, Machine, bool], Choice]
    """(layer, sizes, machine, double_buffer) → how the layer's gradients are computed."""
    doc: str
    partition: str = "auto"
    """How several arrays share every layer, if it is the same for all."""
    ahead: int = TILES_AHEAD
    """The most tiles in a ring of them, see `blocks.py`."""


DATAFLOWS = {
    "ws": {"dx": Mapping("k", "n", "b"), "dw": Mapping("b", "n", "k")},
    "os": {"dx": Mapping("b", "k", "n"), "dw": Mapping("k", "n", "b")},
    "is": {"dx": Mapping("b", "n", "k"), "dw": Mapping("b", "k", "n")},
    # Of W turned for dX, what that is summed over is on the rows, where a convolution's taps may lie beside its channels.
    "ws turned": {"dx": Mapping("n", "k", "b"), "dw": Mapping("k", "n", "b")},
}
CANDIDATES = {product: tuple(dict.fromkeys(own[product] for own in DATAFLOWS.values())) for product in ("dx", "dw")}
"""The dataflows of each gradient that ``best-sequential`` chooses from."""


def _name(product: str, mapping: Mapping) -> str:
    return next((name for name, own in DATAFLOWS.items() if own[product] == mapping), str(mapping))


def fixed(name: str, choice: Choice, doc: str = "") -> Schedule:
    """The schedule that does the same for every layer."""
    return Schedule(name, lambda layer, sizes, machine, double_buffer: choice, doc)


def partitioned(schedule: Schedule, partition: str) -> Schedule:
    """The same schedule, with all layers shared by the arrays in one way; raises UserError for one that there is not."""
    if partition not in PARTITIONS:
        raise UserError("--partition", f"unknown partition {partition!r}; there are {', '.join(PARTITIONS)}")
    if partition == "auto":
        return schedule

    def choose(layer: str, sizes: Sizes, machine: Machine, double_buffer: bool) -> Choice:
        return replace(schedule.choose(layer, sizes, machine, double_buffer), partition=partition)

    return replace(schedule, choose=choose, partition=partition)


def _same(name: str) -> Choice:
    return Choice(DATAFLOWS[name]["dx"], DATAFLOWS[name]["dw"])


def _estimated_best(layer: str, sizes: Sizes, machine: Machine, double_buffer: bool) -> Choice:
    """The dataflows with the least estimated cycles; who can measure does better, see `search.py`."""

    def best(product: str) -> Mapping:
        return min(CANDIDATES[product], key=lambda m: nest_cycles(m, product, sizes, machine, double_buffer=double_buffer))

    return Choice(best("dx"), best("dw"))


def _by_tile(layer: str, sizes: Sizes, machine: Machine, double_buffer: bool) -> Choice:
    return Choice(INTERLEAVED, INTERLEAVED, "tile", finishes_rows_first(sizes))


def finishes_rows_first(sizes: Sizes) -> bool:
    """Whether ``tile-interleaved`` finishes a tile of dX before the next (dX-major), for a layer of extents b, k, n.

    The published rule (Kim et al., MICRO 2023), with M = b, K = k, N = n: no order of its own where the extents are within a factor of 4;
    dW-major where K is the largest; else dX-major.  In this array a tile of dW is always finished at once, b being streamed: both of the
    other cases are the order that all schedules have.
    """
    extents = [sizes[axis] for axis in "bkn"]
    return max(extents) >= 4 * min(extents) and not (sizes["k"] > sizes["n"] and sizes["k"] > sizes["b"])


BY_BEAT = Choice(INTERLEAVED, INTERLEAVED, "beat")

_ROWS = [
    fixed("sequential", Choice(DATAFLOWS["ws"]["dx"], DATAFLOWS["os"]["dw"]), "dX weight-stationary, then dW output-stationary"),
    fixed("turned", _same("ws turned"), "as sequential, but for dX W is turned, so that taps may lie beside channels"),
    fixed("ws", _same("ws"), "both gradients weight-stationary: W resident for dX, dY for dW"),
    fixed("os", _same("os"), "both gradients output-stationary"),
    fixed("is", _same("is"), "both gradients input-stationary: dY resident for dX, X for dW"),
    Schedule("best-sequential", _estimated_best, "for each layer and gradient the quickest of ws, os and is"),
    Schedule("tile-interleaved", _by_tile, "dX and dW of a tile one after the other"),
    fixed("interleaved", BY_BEAT, "dX and dW beat by beat on the same tile of the array"),
    fixed("auto", BY_BEAT, "for each layer the quickest of all these, found by running"),
]

SCHEDULES = {schedule.name: schedule for schedule in _ROWS}
