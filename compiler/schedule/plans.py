"""Choosing what a nest keeps in the scratchpad: all plans, and what each should cost."""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import permutations, product
from math import inf

from compiler.schedule.axes import shared
from compiler.schedule.blocks import Extents, Nest, Plan, divisors
from compiler.schedule.estimates import Estimate, Estimator, Loops
from isa.machine import Machine

MOST_SIZES = 3
"""Sizes tried of blocks of several tiles, for one axis."""

NEAR = 1.1
"""How many times the cycles with all of every tensor there are near to them."""

Split = tuple[dict[str, int], tuple[str, ...]]
"""Blocks of some axes, and the loops that choose panels by them."""


@cache
def cheapest(nest: Nest, loops: Loops, machine: Machine, most: int, room: int) -> tuple[Estimate | None, Estimate | None]:
    """The best plan whose panels take at most ``room`` bytes, and the best that takes at most ``most``, which is no less.

    Single buffers are looked at where with two of them nothing comes near to what the nest takes with all of every tensor there.
    """

    @cache
    def estimator(blocks: Extents) -> Estimator:
        return Estimator(nest, loops, machine, blocks)

    floor = next(estimator(Extents()).of(Plan(slots=loops.slots))).cycles
    inside: Estimate | None = None
    best: Estimate | None = None
    limit = inf
    for number in sorted({loops.slots, 1}, reverse=True):
        for plan in plans(nest, loops.walked, number):
            same_blocks = estimator(plan.blocks)
            if same_blocks.least() > limit:
                continue
            for cost in same_blocks.of(plan, most, limit, room):
                if cost.taken <= most and (best is None or cost.key < best.key):
                    best = cost
                if cost.taken <= room and (inside is None or cost.key < inside.key):
                    inside = cost
                    limit = cost.key[0]
        if inside is not None and inside.cycles < NEAR * floor:
            break
    return inside, best


def plans(nest: Nest, walked: Sequence[str], slots: int) -> Iterator[Plan]:
    """All plans of so many slots.

    Blocks of the walked axes × tiles or blocks of tiles of each axis on the lanes × orders of these loops × single groups or all of them;
    tiles of all groups do not lie side by side, so there are none.
    """
    lanes = [list(_of_lane(nest, axis)) for axis in nest.tiles]
    for streamed, *split in product(_of_walked(nest, walked), *lanes):
        parts = [part for part in (streamed, *split) if part[1]]
        blocks = Extents({axis: size for part in parts for axis, size in part[0].items()})
        for order in permutations(part[1] for part in parts):
            outer = tuple(axis for loops in order for axis in loops)
            if "g" not in nest.sizes or not any(part[1] for part in split):
                yield Plan(blocks, outer, slots)
            if nest.sizes.get("g", 1) > 1:
                yield Plan(blocks, ("g", *outer), slots)


def _of_walked(nest: Nest, axes: Sequence[str]) -> Iterator[Split]:
    """All at once, blocks of the first axis, blocks of the second with the first by ones, and so on."""
    yield {}, ()
    before: dict[str, int] = {}
    for axis in axes:
        for size in divisors(nest.sizes[axis])[1:]:
            blocks = {**before, axis: size}
            yield blocks, tuple(a.upper() for a in blocks)
        if nest.sizes[axis] > 1:
            before[axis] = 1


def _of_lane(nest: Nest, axis: str) -> Iterator[Split]:
    """All of it, single tiles, blocks of several; these not where the axis shares its dimension in some tensor, or is one of a group's."""
    size, tile = nest.sizes[axis], nest.tiles[axis]
    yield {}, ()
    if size <= tile:
        return
    yield {}, (axis,)
    if "g" in nest.sizes or any(shared(tensor.axes, axis) for tensor in nest.tensors):
        return
    several = [block for block in divisors(size) if block % tile == 0 and tile < block < size]
    for block in several[:: max(1, len(several) // MOST_SIZES)]:
        yield {axis: block}, (axis.upper(),)
