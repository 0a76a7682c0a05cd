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
    interleaves: bool
    doc: str

    def mapping(self, product: str, sizes: Sizes, machine: Machine, *, double_buffer: bool) -> Mapping:
        """Dataflow of one product of a layer of these sizes (axes b, k, n)."""
        if product == "fwd":
            return INTERLEAVED
        return self.gradient(product, sizes, machine, double_buffer=double_buffer)


_ROWS = [
    Schedule("sequential", _fixed(_WS["dx"], _OS["dw"]), False, "dX weight-stationary, then dW output-stationary"),
    Schedule("ws", _fixed(_WS["dx"], _WS["dw"]), False, "both gradients weight-stationary: W resident for dX, dY for dW"),
    Schedule("os", _fixed(_OS["dx"], _OS["dw"]), False, "both gradients output-stationary"),
    Schedule("is", _fixed(_IS["dx"], _IS["dw"]), False, "both gradients input-stationary: dY resident for dX, X for dW"),
    Schedule("best-sequential", _best, False, "for each layer and gradient the quickest of ws, os and is"),
    Schedule("interleaved", _fixed(INTERLEAVED, INTERLEAVED), True, "dX and dW beat by beat on the same tile of the array"),
]

SCHEDULES = {schedule.name: schedule for schedule in _ROWS}
