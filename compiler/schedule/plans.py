"""Choosing what a nest keeps in the scratchpad: all plans, and what each should cost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, combinations, permutations, product
from math import ceil, prod

from compiler.schedule.axes import shared
from compiler.schedule.blocks import WORD, Nest, Plan, divisors, turns_of
from compiler.schedule.cost import tile_interval
from isa.machine import Machine

MOST_SIZES = 3
"""Sizes tried of blocks of several tiles, for one axis."""

SHARED = 0.3
"""What a cycle of DRAM counts beyond its own: the transfers of neighbouring operations, which run ahead or behind, could have had it."""
LOST = 0.25
"""What part of a panel's latency nothing else hides, since queues that share the channel wait for one another; and of the time in which
tiles come in that have to be there before any beat."""
NEAR = 1.1
"""How many times the cycles with all of every tensor there are near to them."""

Split = tuple[dict[str, int], tuple[str, ...]]
"""Blocks of some axes, and the loops that choose panels by them."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan should cost; only to choose between plans."""

    cycles: float
    """Whichever of DRAM and array binds."""
    dram: float
    """Those in which DRAM is busy."""
    traffic: int
    """DRAM bytes."""
    taken: int
    """Scratchpad bytes of the panels."""
    plan: Plan

    @property
    def key(self) -> tuple[float, int, int]:
        """What is better is less."""
        return self.cycles + SHARED * self.dram, self.traffic, self.taken


@dataclass(frozen=True, slots=True)
class Loops:
    """What a nest's loops are, beside its plan.

    ``walked``: axes that may be walked in blocks of any size, the outermost first; ``inner``: the order of the loops that choose no panel;
    ``time``: the axes that stream; ``products``: how many share a tile; ``slots``: tiles of an operand that are there at a time.
    """

    walked: tuple[str, ...]
    inner: tuple[str, ...]
    time: tuple[str, ...]
    products: int
    slots: int


def estimate(nest: Nest, loops: Loops, plan: Plan, machine: Machine) -> list[Estimate]:
    """The cost of a plan, with what follows the product riding on it, and without if anything does follow; and the same where more is kept.

    With two slots DRAM and array work side by side.  What they do one after the other: the first panels come in, the last ones go out, sums
    of which there is only one panel change, and accumulators that blocks add to go out before those of the next block come in.
    """
    order, sizes = plan.order(loops.inner), plan.split(nest.sizes)
    turns = turns_of(sizes, nest.tiles)
    beats = loops.products * prod(sizes[axis] for axis in loops.time)
    rows, cols = machine.rows, machine.cols
    tiles = prod(turns[axis] for axis in order)
    array = ceil(tiles * tile_interval(beats, machine, double_buffer=loops.slots > 1) / machine.arrays)
    flows = [nest.flow(plan, tensor, order, sizes, turns) for tensor in nest.tensors]
    bandwidth = machine.dram.bytes_per_cycle
    # A panel's place is free again when it has been moved and used, until it is through with the latency of DRAM and of the array.
    latency = machine.dram.latency + rows + cols
    rings = [(flow.moved / bandwidth + flow.moved / flow.panel * latency + array) / flow.slots for flow in flows]
    lost = LOST * latency * max(0, *(flow.moved / flow.panel - flow.slots for flow in flows))
    begin_and_end = sum([flow.panel + 2 * flow.moved * flow.accumulates for flow in flows])
    turn = rows + cols + 2 * (machine.dram.latency + WORD * rows * cols / bandwidth)
    change = turn * (prod(sizes[axis] for axis in nest.summed_blocks(order)) - 1)
    ways = [flows]
    if any(tensor.again for tensor in nest.tensors):
        ways = [[flow.ridden(tensor) for flow, tensor in zip(flows, nest.tensors, strict=True)], flows]
    moved = [(sum([flow.traffic for flow in way]), sum([flow.taken for flow in way])) for way in ways]
    found = []
    for keeps in what_to_keep(nest, plan):
        kept, tiled = nest.kept(keeps), nest.tile_traffic(order, sizes, turns, keeps)
        exposed = (kept + begin_and_end) / bandwidth + (0 if "sums" in keeps else change)
        waits = lost + LOST * nest.kept(keeps & {"tiles"}) / bandwidth
        own = Plan(plan.blocks, plan.outer, plan.slots, keeps) if keeps else plan
        for traffic, taken in moved:
            dram = (tiled + traffic) / bandwidth
            cycles = max(dram, array + exposed, *rings) if plan.slots > 1 else dram + array
            found.append(Estimate(cycles + waits, dram, tiled + traffic, kept + taken, own))
    return found


def what_to_keep(nest: Nest, plan: Plan) -> list[frozenset[str]]:
    """What may be in the scratchpad as a whole: tiles that all blocks use, sums that all add to."""
    if not plan.blocks:
        return [frozenset()]
    possible = {"tiles": nest.loaded and nest.held > 0, "sums": nest.sums > 0 and not nest.summed.isdisjoint(plan.blocks)}
    there = [name for name, can in possible.items() if can]
    return [frozenset(names) for number in range(len(there) + 1) for names in combinations(there, number)]


@cache
def cheapest(nest: Nest, loops: Loops, machine: Machine, most: int, room: int) -> tuple[Estimate | None, Estimate | None]:
    """The best plan whose panels take at most ``room`` bytes, and the best that takes at most ``most``.

    Single buffers are looked at where with two of them nothing comes near to what the nest takes with all of every tensor there.
    """
    floor = estimate(nest, loops, Plan(slots=loops.slots), machine)[0].cycles
    inside: Estimate | None = None
    best: Estimate | None = None
    for number in sorted({loops.slots, 1}, reverse=True):
        for cost in chain.from_iterable(estimate(nest, loops, plan, machine) for plan in plans(nest, loops.walked, number)):
            if cost.taken <= most and (best is None or cost.key < best.key):
                best = cost
            if cost.taken <= room and (inside is None or cost.key < inside.key):
                inside = cost
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
        blocks = {axis: size for part in parts for axis, size in part[0].items()}
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
