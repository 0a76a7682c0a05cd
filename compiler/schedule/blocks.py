"""Work on tensors that the scratchpad does not hold: which part of them is there at a time.

The array's operands come as *panels* (see ``tile.stage``).  A plan says which axes of a layer (of its b class: batch, rows of pixels; or
of those that stream) are walked in blocks, outermost, and whether a panel has one tile of channels or all of them.  Blocks divide their
axis evenly: a convolution's block reads rows beyond its own, so a ragged last block would be of another shape.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, isqrt, prod

from compiler.schedule.axes import axes_in, blocked, parse_axes, shared
from isa.machine import Machine

WORD = 4
PANELS = 8
"""Rings of panels that should fit together, so that as many passes can be one."""


def panel_budget(machine: Machine) -> int:
    """Bytes that the panels of one operation may take: tensors that live in the scratchpad need the rest."""
    return machine.scratchpad.bytes * 3 // 4


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

    def outside(self, axes: str, lanes: Iterable[str], turns: Mapping[str, int]) -> str:
        """The axes whose loops choose a panel of the tensor, its axes given blocked; a loop of one turn chooses nothing."""
        own = axes_in(axes)
        chosen = [axis for axis in sorted(own) if axis.isupper()]
        if self.tiled:
            # Tiles of an axis that shares its dimension with another overlap: those panels have all of it.
            chosen += [axis for axis in ("g", *lanes) if axis in own and (axis == "g" or not shared(axes, axis))]
        return "".join(axis for axis in chosen if turns[axis] > 1)


def turns_of(sizes: Mapping[str, int], tiles: Mapping[str, int]) -> dict[str, int]:
    """Turns of the loop over each axis: tiles of those on the lanes, single entries of the others."""
    return {axis: ceil(size / tiles.get(axis, 1)) for axis, size in sizes.items()}


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


def must_accumulate(tensor: Streamed, order: Sequence[str], outside: str, turns: Mapping[str, int]) -> bool:
    """Whether a result's panel goes back to DRAM before its sums are complete, or has words that no loop is the first to write."""
    around = enclosing(order, outside)
    return tensor.result and (tensor.overlaps or any(axis.lower() in tensor.summed and turns[axis] > 1 for axis in around))


def ring_slots(tensor: Streamed, order: Sequence[str], outside: str, turns: Mapping[str, int], most: int) -> int:
    """Panels of a tensor that are in the scratchpad at a time: one where there is only one, or the next may hold words of the last."""
    return 1 if not outside or must_accumulate(tensor, order, outside, turns) else most


@dataclass(frozen=True, slots=True)
class Nest:
    """What a plan is chosen for: extents, tiles of the axes on the lanes, streamed tensors, slots of a ring."""

    sizes: Mapping[str, int]
    tiles: Mapping[str, int]
    tensors: Sequence[Streamed]
    slots: int
    loaded: bool
    """Whether the stationary operand's tiles come from DRAM."""
    stored: bool
    """Whether accumulators go to DRAM."""
    sums_blocks: bool
    """Whether accumulators hold sums over the axes that may be walked in blocks: then blocks add theirs to those in DRAM."""

    def panel_bytes(self, plan: Plan, tensor: Streamed, order: Sequence[str]) -> int:
        """Scratchpad bytes of a tensor's panels."""
        axes, sizes = blocked(tensor.axes, plan.blocks), plan.split(self.sizes)
        turns = turns_of(sizes, self.tiles)
        outside = plan.outside(axes, self.tiles, turns)
        return ring_slots(tensor, order, outside, turns, self.slots) * WORD * prod(panel_shape(axes, outside, sizes, self.tiles))

    def traffic(self, plan: Plan, order: Sequence[str]) -> int:
        """DRAM bytes that the plan moves."""
        sizes = plan.split(self.sizes)
        turns = turns_of(sizes, self.tiles)
        # The tiles of an axis together are the axis: the last one may be ragged.
        words = {axis: sizes[axis] if axis in self.tiles else turns[axis] for axis in order}
        total = self.loaded * prod(words.values())
        if self.sums_blocks and any(sizes[axis] > 1 for axis in order if axis.isupper()):
            total += 2 * prod(words.values()) + prod(words[axis] for axis in order if not axis.isupper())
        else:
            total += self.stored * prod(words.values())
        for tensor in self.tensors:
            axes = blocked(tensor.axes, plan.blocks)
            outside = plan.outside(axes, self.tiles, turns)
            tiled = {axis: sizes[axis] for axis in self.tiles if axis in outside}
            moved = prod(panel_shape(axes, outside, sizes, tiled))
            moved *= prod(turns[axis] for axis in enclosing(order, outside) if axis not in tiled)
            accumulates = must_accumulate(tensor, order, outside, turns)
            # Sums are read and written, and start as zeros that are written too.
            total += 2 * moved + prod(panel_shape(axes, "", sizes, {})) if accumulates else moved
        return WORD * total


def divisors(number: int) -> list[int]:
    """From the largest to 1; in the time of the number's root, since tensors have hundreds of millions of words."""
    low = [d for d in range(1, isqrt(number) + 1) if number % d == 0]
    return [number // d for d in low] + [d for d in reversed(low) if d * d < number]


def plans(sizes: Mapping[str, int], axes: Sequence[str]) -> Iterator[Plan]:
    """Plans for axes that may be walked in blocks, the outermost first.

    All at once, blocks of the first axis, blocks of the second with the first by ones, and so on.
    """
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
