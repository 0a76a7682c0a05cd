"""The schedules: for each gradient its dataflow, and whether the two interleave. Adding one is adding a row."""

from collections.abc import Callable
from dataclasses import dataclass

from compiler.schedule.cost import nest_cycles
from compiler.schedule.mapping import INTERLEAVED, Mapping
from isa.machine import Machine

Sizes = dict[str, int]

_WS = {"dx": Mapping("k", "n", "b"), "dw": Mapping("b", "n", "k")}
_OS = {"dx": Mapping("b", "k", "n"), "dw": Mapping("k", "n", "b")}
_IS = {"dx": Mapping("b", "n", "k"), "dw": Mapping("b", "k", "n")}


CANDIDATES = {product: tuple(dict.fromkeys((_WS[product], _OS[product], _IS[product]))) for product in ("dx", "dw")}
"""The dataflows that ``best-sequential`` chooses from."""


def _best(product: str, sizes: Sizes, machine: Machine, *, double_buffer: bool) -> Mapping:
    """The dataflow with the least estimated cycles; who can measure does better, see `search.py`."""
    return min(CANDIDATES[product], key=lambda m: nest_cycles(m, product, sizes, machine, double_buffer=double_buffer))


def _fixed(dx: Mapping, dw: Mapping) -> Callable[..., Mapping]:
    def choose(product: str, sizes: Sizes, machine: Machine, *, double_buffer: bool) -> Mapping:
        return dx if product == "dx" else dw

    return choose


@dataclass(frozen=True, slots=True)
class Schedule:
    """One way to run the backward pass. The forward product is weight-stationary in all of them."""

    name: str
    gradient: Callable[..., Mapping]
    """(product, sizes, machine, double_buffer=…) → the gradient's dataflow."""
    interleaves: str
    """How dX and dW alternate: by ``beat``, by ``tile``, or not at all (empty)."""
    doc: str

    def mapping(self, product: str, sizes: Sizes, machine: Machine, *, double_buffer: bool) -> Mapping:
        """Dataflow of one product of a layer of these sizes (axes b, k, n)."""
        if product == "fwd":
            return INTERLEAVED
        return self.gradient(product, sizes, machine, double_buffer=double_buffer)


_ROWS = [
    Schedule("sequential", _fixed(_WS["dx"], _OS["dw"]), "", "dX weight-stationary, then dW output-stationary"),
    Schedule("ws", _fixed(_WS["dx"], _WS["dw"]), "", "both gradients weight-stationary: W resident for dX, dY for dW"),
    Schedule("os", _fixed(_OS["dx"], _OS["dw"]), "", "both gradients output-stationary"),
    Schedule("is", _fixed(_IS["dx"], _IS["dw"]), "", "both gradients input-stationary: dY resident for dX, X for dW"),
    Schedule("best-sequential", _best, "", "for each layer and gradient the quickest of ws, os and is"),
    Schedule("tile-interleaved", _fixed(INTERLEAVED, INTERLEAVED), "tile", "dX and dW of a tile one after the other"),
    Schedule("interleaved", _fixed(INTERLEAVED, INTERLEAVED), "beat", "dX and dW beat by beat on the same tile of the array"),
]


def finishes_rows_first(sizes: Sizes) -> bool:
    """Whether ``tile-interleaved`` finishes a tile of dX before the next (dX-major), for a layer of extents b, k, n.

    The published rule (Kim et al., MICRO 2023), with M = b, K = k, N = n: no order of its own where the extents are within a factor of 4;
    dW-major where K is the largest; else dX-major.  In this array a tile of dW is always finished at once, b being streamed: both of the
    other cases are the order that all schedules have.
    """
    extents = [sizes[axis] for axis in "bkn"]
    return max(extents) >= 4 * min(extents) and not (sizes["k"] > sizes["n"] and sizes["k"] > sizes["b"])


SCHEDULES = {schedule.name: schedule for schedule in _ROWS}
