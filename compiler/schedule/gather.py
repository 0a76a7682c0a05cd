"""dX of a convolution, gathered: each word of dX asks for all that is added to it, so that its sum can stay in the array.

Scattered, tap r of dY[y] adds to dX[stride·y + dilation·r], and taps meet in a word.  Gathered, dX[q] sums over the pairs (y, r) that
reach it.  Along one dimension they are alike for all q of one residue modulo the stride: a *phase*, q = first + stride·u.  Its taps are
``tap_step`` apart, and what they meet in dY is ``spacing`` apart.  With ρ counting them from the last, dY is read forwards, W backwards:

    dX[first + stride·u] = Σ over ρ of dY[u + spacing·ρ − lead] · W[last_tap − tap_step·ρ]          dY is 0 before and behind its ends

That is a product over axes of its own: u is in dX and dY, ρ in dY and W, and no two u are one word of dX.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import gcd

from compiler.schedule.axes import Expression, classes_of, format_axes, parse_axes


@dataclass(frozen=True, slots=True)
class Phase:
    """Positions of one dimension of dX, a stride apart, and the taps that reach them."""

    first: int
    """Counted from the start of the wanted part of dX."""
    size: int
    taps: int
    """0 where the dilation or a stride above the filter's size leaves positions out: these are 0."""
    last_tap: int = 0
    tap_step: int = 1
    spacing: int = 1
    lead: int = 0
    """How far before u the last tap meets dY; negative where it is behind."""

    @property
    def reach(self) -> int:
        """Entries of dY from the first that is read to the last."""
        return self.size + self.spacing * (self.taps - 1)


@dataclass(frozen=True, slots=True)
class Sliding:
    """A dimension of dX over which taps slide: stride·pixel + dilation·tap."""

    dimension: int
    pixel: str
    tap: str
    stride: int
    dilation: int

    def phases(self, start: int, size: int, taps: int) -> list[Phase]:
        """The phases of ``size`` positions of dX from ``start`` on."""
        found = []
        for first in range(min(self.stride, size)):
            at, count = start + first, -(-(size - first) // self.stride)
            mine = [tap for tap in range(taps) if (at - self.dilation * tap) % self.stride == 0]
            if not mine:
                found.append(Phase(first, count, 0))
                continue
            common = gcd(self.stride, self.dilation)
            lead = (self.dilation * mine[-1] - at) // self.stride
            found.append(Phase(first, count, len(mine), mine[-1], self.stride // common, self.dilation // common, lead))
        return found


def padding(phases: Iterable[Phase], positions: int) -> tuple[int, int]:
    """Zeros in front of dY's positions, and their number with all zeros in front and behind, for every phase to stay within."""
    reaching = [phase for phase in phases if phase.taps]
    front = max([0, *(phase.lead for phase in reaching)])
    return front, max([front + positions, *(front - phase.lead + phase.reach for phase in reaching)])


def sliding(of_dy: str, of_w: str, of_dx: str) -> list[Sliding] | None:
    """The dimensions of dX that taps slide over, or None where the product is none that can be gathered.

    In each, a pixel axis and a tap axis share the dimension, have one of their own in dY and in W, and k has another axis beside the taps.
    """
    tensors = [parse_axes(text) for text in (of_dy, of_w, of_dx)]
    if any(len(terms) != len(dict(terms)) for tensor in tensors for terms in [sum(tensor, ())]):
        return None  # an axis steps through two dimensions at once
    classes = classes_of({"Y": of_dy, "W": of_w, "X": of_dx})
    found = []
    for dimension, terms in enumerate(parse_axes(of_dx)):
        kinds = {classes[axis]: axis for axis, _ in terms}
        if len(terms) == 1 or (len(terms) == 2 and "g" in kinds):
            continue
        if len(terms) != 2 or set(kinds) != {"b", "k"}:
            return None
        pixel, tap = kinds["b"], kinds["k"]
        if ((pixel, 1),) not in parse_axes(of_dy) or ((tap, 1),) not in parse_axes(of_w):
            return None
        found.append(Sliding(dimension, pixel, tap, dict(terms)[pixel], dict(terms)[tap]))
    channels = [axis for axis, name in classes.items() if name == "k" and axis not in {slide.tap for slide in found}]
    return found if channels else None


def gathered_axes(of_dy: str, of_w: str, of_dx: str, slides: Sequence[Sliding], phases: Sequence[Phase]) -> str:
    """Axes of one phase's product: a pixel axis is u, a tap axis is ρ."""

    def met(terms: Expression) -> Expression:
        for slide, phase in zip(slides, phases, strict=True):
            if terms == ((slide.pixel, 1),):
                return (*terms, (slide.tap, phase.spacing))
        return terms

    own = {slide.dimension: ((slide.pixel, 1),) for slide in slides}
    dy = format_axes([met(terms) for terms in parse_axes(of_dy)])
    dx = format_axes([own.get(dimension, terms) for dimension, terms in enumerate(parse_axes(of_dx))])
    return f"{dy},{of_w}->{dx}"
