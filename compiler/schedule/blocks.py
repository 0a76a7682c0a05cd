"""Work on tensors that the scratchpad does not hold: which part of them is there at a time.

The array's operands come as *panels* (see ``tile.stage``).  A plan says which axes of a layer are walked in blocks, outermost, of which its
panels have single tiles, and in which order; `plans.py` chooses one.  Blocks divide their axis evenly: a convolution's block reads rows
beyond its own, so a ragged last block would be of another shape.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, isqrt, prod

from compiler.schedule.axes import axes_in, blocked, parse_axes, shared
from isa.machine import Machine

WORD = 4
TILES_AHEAD = 4
"""The most tiles in a ring of them, unless a schedule has another number."""
PANELS = 8
"""Rings of panels that should fit together, so that as many passes can be one."""


def panel_budget(machine: Machine) -> int:
    """Bytes that the panels of one operation may take: tensors that live in the scratchpad need the rest."""
    return machine.scratchpad.bytes * 7 // 8


class Extents(dict[str, int]):
    """Extents by axis, never changed, so that they can be part of a key."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))


def tiles_ahead(machine: Machine, slots: int, most: int = TILES_AHEAD) -> int:
    """Tiles in an array's ring of weights and in its ring of gradients.

    With double buffering up to ``most``, if that is at most an eighth of the scratchpad, all arrays together. Transfers keep their order,
    so the next operation's panels can come in as soon as this one's last tiles have somewhere to wait.
    """
    fit = machine.scratchpad.bytes // 8 // (WORD * machine.elements)
    return slots if slots == 1 else max(slots, min(most, fit))


@dataclass(frozen=True, slots=True)
class Streamed:
    """A tensor in DRAM that a port streams: its axes, and for a result the axes summed over."""

    name: str
    axes: str
    shape: tuple[int, ...] | None = None
    """Words in each dimension, of a result, and of an operand around which panels have zeros."""
    result: bool = False
    summed: frozenset[str] = frozenset()
    zeroed: bool = False
    """Whether a result's panels begin as zeros: taps meet in a word, or there are words that no product adds to."""
    beside: int = 0
    """Panels of its size for what the vector unit does with it, if that rides on the nest (see ``tile.epilogue``)."""
    again: int = 0
    """DRAM bytes that are moved because it does not."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is in the scratchpad at a time.

    ``blocks``: size of a block of each axis walked in blocks.  ``outer``: the loops that choose panels, from the outermost: over the blocks
    of an axis (``Y``), over single groups or single tiles of an axis on the lanes (``k``).
    """

    blocks: Mapping[str, int] = field(default_factory=dict)
    outer: tuple[str, ...] = ()
    slots: int = 1
    """Panels of a tensor that are there at a time: with two, one is moved while the other is in use."""
    single: frozenset[str] = frozenset()
    """Tensors of which there is only one panel at a time all the same."""
    keeps: frozenset[str] = frozenset()
    """What of the array's tiles is in the scratchpad as a whole, for all blocks: ``tiles`` of the stationary operand, ``sums``."""

    def split(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Extents with the blocked axes split: Y blocks of y rows."""
        split = {axis.upper(): sizes[axis] // size for axis, size in self.blocks.items()}
        return split | {axis: self.blocks.get(axis, extent) for axis, extent in sizes.items()}

    def order(self, inner: Sequence[str]) -> list[str]:
        """All loops, from the outermost; ``inner``: the order of those that choose no panel."""
        return [*self.outer, *(axis for axis in inner if axis not in self.outer)]

    def outside(self, axes: str, turns: Mapping[str, int]) -> str:
        """The axes whose loops choose a panel of the tensor, its axes given blocked; a loop of one turn chooses nothing.

        Tiles of an axis that shares its dimension with another overlap: those panels have all of it.
        """
        own = axes_in(axes)
        chosen = [axis for axis in self.outer if axis in own and (axis.isupper() or axis == "g" or not shared(axes, axis))]
        return "".join(axis for axis in chosen if turns[axis] > 1)


def turns_of(sizes: Mapping[str, int], tiles: Mapping[str, int]) -> dict[str, int]:
    """Turns of the loop over each axis: tiles of those on the lanes, single entries of the others."""
    return {axis: ceil(size / tiles.get(axis, 1)) for axis, size in sizes.items()}


def panel_shape(
    axes: str, outside: str, sizes: Mapping[str, int], tiles: Mapping[str, int], whole: Sequence[int] | None = None
) -> tuple[int, ...]:
    """Words in each dimension of a panel; ``whole``: of a tensor whose panels have the zeros up to the next one, too."""
    shape: list[int] = []
    dimensions = parse_axes(axes)
    for terms, size in zip(dimensions, whole or [0] * len(dimensions), strict=True):
        words = 1
        for axis, factor in terms:
            part = min(sizes[axis], tiles.get(axis, 1)) if axis in outside else sizes[axis]
            words += factor * (part - 1)
        steps = [(factor, sizes[axis]) for axis, factor in terms if axis in outside]
        if not steps:
            words = max(words, size)
        elif [factor * count for factor, count in steps] == [size]:
            words = max(words, steps[0][0])
        shape.append(words)
    return tuple(shape)


def enclosing(order: Sequence[str], outside: str) -> list[str]:
    """The loops around the place where a panel changes: all down to the innermost that chooses it."""
    last = max([order.index(axis) for axis in outside], default=-1)
    return list(order[: last + 1])


def must_accumulate(tensor: Streamed, order: Sequence[str], outside: str, sizes: Mapping[str, int], turns: Mapping[str, int]) -> bool:
    """Whether a result's panel goes back to DRAM before its sums are complete: they are summed over a loop around it, or panels overlap."""
    return tensor.result and (
        any(axis.lower() in tensor.summed and turns[axis] > 1 for axis in enclosing(order, outside))
        or any(_beyond(tensor, axis.lower(), sizes) > 0 for axis in outside if axis.isupper())
    )


def leaves_gaps(
    axes: str, outside: str, sizes: Mapping[str, int], tiles: Mapping[str, int], shape: Sequence[int], whole: Sequence[int] | None
) -> bool:
    """Whether a result of this shape has words that no panel has; ``whole``: see :func:`panel_shape`."""
    tiled = {axis: sizes[axis] for axis in tiles if axis in outside}
    panel = panel_shape(axes, outside, sizes, tiled, whole)
    for terms, words, size in zip(parse_axes(axes), panel, shape, strict=True):
        for factor, axis in sorted((factor, axis) for axis, factor in terms if axis in outside and axis not in tiled):
            if words < factor:
                return True
            words += factor * (sizes[axis] - 1)
        if words < size:
            return True
    return False


def _beyond(tensor: Streamed, axis: str, sizes: Mapping[str, int]) -> int:
    """Entries that a block of the axis shares with the next one; negative: that lie between them."""
    terms = next(dict(terms) for terms in parse_axes(tensor.axes) if axis in dict(terms))
    return 1 + sum(factor * (sizes[other] - 1) for other, factor in terms.items() if other not in (axis, "g")) - terms[axis]


@dataclass(frozen=True, slots=True)
class Panels:
    """The panels of one tensor under a plan."""

    outside: str
    """The axes whose loops choose one."""
    shape: tuple[int, ...]
    slots: int
    """So many are in the scratchpad at a time: one where there is only one, or the next may hold words of the last."""
    accumulates: bool
    """Whether they are sums that go out unfinished, and come in again."""
    zeros: bool
    """Whether the tensor has to be 0 in DRAM before."""
    whole: tuple[int, ...] | None
    """The tensor's shape, if they have its zeros up to the next one, too."""


def panels_of(
    tensor: Streamed, plan: Plan, order: Sequence[str], sizes: Mapping[str, int], turns: Mapping[str, int], tiles: Mapping[str, int]
) -> Panels:
    """``sizes`` and ``turns`` are those of all axes, with the ones in blocks split; ``tiles``: of the axes on the lanes."""
    axes = blocked(tensor.axes, plan.blocks)
    outside = plan.outside(axes, turns)
    accumulates = must_accumulate(tensor, order, outside, sizes, turns)
    slots = 1 if not outside or accumulates or tensor.name in plan.single else plan.slots
    # Zeros in a panel help where none have to be written to DRAM then.
    whole = tensor.shape if tensor.zeroed and not accumulates else None
    zeros = accumulates
    if tensor.result and tensor.shape and leaves_gaps(axes, outside, sizes, tiles, tensor.shape, whole):
        whole, zeros = None, True
    return Panels(outside, panel_shape(axes, outside, sizes, tiles, whole), slots, accumulates, zeros, whole)


@dataclass(frozen=True, slots=True)
class Flow:
    """What a plan does with one tensor."""

    panel: int
    """Bytes of one of its panels."""
    slots: int
    """Panels that are there at a time."""
    moved: int
    """Bytes of all panels that come by."""
    accumulates: bool
    """Whether they are sums that go out unfinished, and come in again."""
    zeros: int
    """Bytes that are set to 0 in DRAM before."""
    beside: int = 0
    """Panels of its size for what rides on it."""
    again: int = 0
    """Bytes that are moved afterwards because nothing does."""

    @property
    def taken(self) -> int:
        """Scratchpad bytes of its panels."""
        return (self.slots + self.beside) * self.panel

    @property
    def traffic(self) -> int:
        """DRAM bytes."""
        return self.zeros + self.moved * (2 if self.accumulates else 1) + self.again

    def ridden(self, tensor: Streamed) -> "Flow":
        """The same if what follows the tensor's product rides on it, which it does on complete panels alone."""
        whole = not self.accumulates and not self.zeros
        return Flow(self.panel, self.slots, self.moved, self.accumulates, self.zeros, tensor.beside) if whole else self


@dataclass(frozen=True, slots=True)
class Nest:
    """What a plan is chosen for: extents, tiles of the axes on the lanes, streamed tensors."""

    sizes: Extents
    tiles: Extents
    tensors: tuple[Streamed, ...]
    loaded: bool
    """Whether the stationary operand's tiles come from DRAM."""
    stored: bool
    """Whether accumulators go to DRAM."""
    summed: frozenset[str]
    """Axes over which accumulators hold sums: blocks of these add theirs to those of the blocks before."""
    held: int = 0
    """Words of the stationary operand."""
    sums: int = 0
    """Words of what the accumulators hold."""

    def flow(self, plan: Plan, tensor: Streamed, order: Sequence[str], sizes: Mapping[str, int], turns: Mapping[str, int]) -> Flow:
        """What the plan does with a tensor on which nothing rides; ``sizes`` and ``turns``: of all axes, those in blocks split."""
        axes, panels = blocked(tensor.axes, plan.blocks), panels_of(tensor, plan, order, sizes, turns, self.tiles)
        tiled = {axis: sizes[axis] for axis in self.tiles if axis in panels.outside}
        shape = panel_shape(axes, panels.outside, sizes, tiled, panels.whole) if tiled else panels.shape
        moved = prod(shape if tensor.result else map(min, shape, tensor.shape or shape))
        moved *= prod(turns[axis] for axis in enclosing(order, panels.outside) if axis not in tiled)
        zeros = prod(tensor.shape or ()) if panels.zeros else 0
        return Flow(WORD * prod(panels.shape), panels.slots, WORD * moved, panels.accumulates, WORD * zeros, again=tensor.again)

    def kept(self, keeps: Collection[str]) -> int:
        """Bytes of what is in the scratchpad as a whole."""
        return WORD * (("tiles" in keeps) * self.held + ("sums" in keeps) * self.sums)

    def tile_traffic(
        self, order: Sequence[str], sizes: Mapping[str, int], turns: Mapping[str, int], keeps: Collection[str] = ()
    ) -> int:  # fmt: skip
        """DRAM bytes of what is held in the array: the stationary operand's tiles and the accumulators'."""
        # The tiles of an axis together are the axis: the last one may be ragged.
        words = {axis: sizes[axis] if axis in self.tiles else turns[axis] for axis in order}
        total = self.held if "tiles" in keeps else self.loaded * prod(words.values())
        summed = self.summed_blocks(order)
        if "sums" in keeps:
            total += self.stored * self.sums
        elif prod(sizes[axis] for axis in summed) > 1:
            # Sums are read and written, and start as zeros that are written too.
            total += 2 * prod(words.values()) + prod(words[axis] for axis in order if axis not in summed)
        else:
            total += self.stored * prod(words.values())
        return WORD * total

    def summed_blocks(self, order: Sequence[str]) -> list[str]:
        """The loops over blocks whose sums accumulators add to those in DRAM."""
        return [axis for axis in order if axis.isupper() and axis.lower() in self.summed]


def divisors(number: int) -> list[int]:
    """From the largest to 1; in the time of the number's root, since tensors have hundreds of millions of words."""
    low = [d for d in range(1, isqrt(number) + 1) if number % d == 0]
    return [number // d for d in low] + [d for d in reversed(low) if d * d < number]


def divisor_below(number: int, most: int) -> int:
    """The largest divisor of a number that is not above ``most``; 0 if there is none."""
    return next((d for d in divisors(number) if d <= most), 0)
