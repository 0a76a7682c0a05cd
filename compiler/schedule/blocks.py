"""Work on tensors that the scratchpad does not hold: which part of them is there at a time.

The array's operands come as *panels* (see ``tile.stage``).  A plan says which axes of a layer's b class (batch, rows of pixels) are
walked in blocks, outermost, and whether a panel has one tile of channels or all of them.  Blocks divide their axis evenly: a
convolution's block reads rows beyond its own, so a ragged last block would be of another shape.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, prod

from compiler.schedule.axes import axes_in, blocked, parse_axes, shared

WORD = 4


@dataclass(frozen=True, slots=True)
class Streamed:
    """A tensor in DRAM that a port streams: its axes, and for a result the axes summed over and whether taps meet in a word."""

    name: str
    axes: str
    result: bool = False
    summed: frozenset[str] = frozenset()
    overlaps: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What is in the scratchpad at a time.

    ``blocks``: size of a block of each axis walked in blocks; ``tiled``: panels have one tile of the axes on the lanes, and one group.
    """

    blocks: Mapping[str, int] = field(default_factory=dict)
    tiled: bool = True

    def split(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Extents with the blocked axes split: Y blocks of y rows."""
        split = {axis.upper(): sizes[axis] // size for axis, size in self.blocks.items()}
        return split | {axis: self.blocks.get(axis, extent) for axis, extent in sizes.items()}

    def outside(self, axes: str, lanes: Sequence[str]) -> str:
        """The axes whose loops choose a panel of the tensor, its axes given blocked."""
        own = axes_in(axes)
        chosen = [axis for axis in sorted(own) if axis.isupper()]
        if self.tiled:
            # Tiles of an axis that shares its dimension with another overlap: those panels have all of it.
            chosen += [axis for axis in ("g", *lanes) if axis in own and (axis == "g" or not shared(axes, axis))]
        return "".join(chosen)


def panel_shape(axes: str, outside: str, sizes: Mapping[str, int], tiles: Mapping[str, int]) -> tuple[int, ...]:
    """Words in each dimension of a panel."""

    def part(axis: str) -> int:
        if axis not in outside:
            return sizes[axis]
        return min(sizes[axis], tiles.get(axis, 1))

    return tuple(1 + sum(factor * (part(axis) - 1) for axis, factor in terms) for terms in parse_axes(axes))


def enclosing(order: Sequence[str], outside: str) -> list[str]:
    """The loops around the place where a panel changes: all down to the innermost that chooses it."""
    last = max((i for i, axis in enumerate(order) if axis in outside), default=-1)
    return list(order[: last + 1])


def must_accumulate(tensor: Streamed, order: Sequence[str], outside: str, sizes: Mapping[str, int]) -> bool:
    """Whether a result's panel goes back to DRAM before its sums are complete, or has words that no loop is the first to write."""
    around = enclosing(order, outside)
    return tensor.result and (tensor.overlaps or any(axis.lower() in tensor.summed and sizes[axis] > 1 for axis in around))


@dataclass(frozen=True, slots=True)
class Nest:
    """What a plan is chosen for: extents, loop order for a plan, tiles on the lanes, streamed tensors, bytes of slots to a ring."""

    sizes: Mapping[str, int]
    lanes: tuple[str, str]
    tiles: Mapping[str, int]
    tensors: Sequence[Streamed]
    slots: int
    weights: int
    """Bytes of the tiles that pass through the array once for each walk over the tile loops."""
    drains: bool
    """Whether accumulators are drained at each tile."""

    def panel_bytes(self, plan: Plan, tensor: Streamed, order: Sequence[str]) -> int:
        """Scratchpad bytes of a tensor's panels."""
        axes, sizes = blocked(tensor.axes, plan.blocks), plan.split(self.sizes)
        outside = plan.outside(axes, self.lanes)
        slots = 1 if must_accumulate(tensor, order, outside, sizes) else self.slots
        return slots * WORD * prod(panel_shape(axes, outside, sizes, self.tiles))

    def traffic(self, plan: Plan, order: Sequence[str]) -> int:
        """DRAM bytes that the plan moves."""
        sizes = plan.split(self.sizes)
        turns = {axis: ceil(sizes[axis] / self.tiles.get(axis, 1)) for axis in order}
        blocks = prod(turns[axis] for axis in order if axis.isupper())
        total = self.weights * blocks + (2 * self.weights * blocks if self.drains and blocks > 1 else 0)
        for tensor in self.tensors:
            axes = blocked(tensor.axes, plan.blocks)
            outside = plan.outside(axes, self.lanes)
            # The tiles of an axis together are the axis: the last one may be ragged.
            tiled = {axis: sizes[axis] for axis in self.tiles if axis in outside}
            size = WORD * prod(panel_shape(axes, outside, sizes, tiled))
            moves = 2 if must_accumulate(tensor, order, outside, sizes) else 1
            total += moves * size * prod(turns[axis] for axis in enclosing(order, outside) if axis not in tiled)
        return total


def divisors(number: int) -> list[int]:
    """From the largest to 1."""
    return [d for d in range(number, 0, -1) if number % d == 0]


def plans(sizes: Mapping[str, int], axes: Sequence[str]) -> Iterator[Plan]:
    """Plans for axes of the b class, outermost first: all, blocks of the first, blocks of the second with the first by ones, and so on."""
    for tiled in (True, False):  # where both move as much, smaller panels overlap better
        yield Plan({}, tiled)
        before: dict[str, int] = {}
        for axis in axes:
            for size in divisors(sizes[axis])[1:]:
                yield Plan({**before, axis: size}, tiled)
            if sizes[axis] > 1:
                before[axis] = 1


def divisor_below(number: int, most: int) -> int:
    """The largest divisor of a number that is not above ``most``; 0 if there is none."""
    return next((d for d in divisors(number) if d <= most), 0)
