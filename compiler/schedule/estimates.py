"""What a plan should cost; only to choose between plans. Reports never use this: they count what was executed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import ceil, inf, prod

from compiler.schedule.axes import blocked
from compiler.schedule.blocks import WORD, Flow, Nest, Plan, turns_of
from compiler.schedule.cost import tile_interval
from isa.machine import Machine

SHARED = 0.3
"""What a cycle of DRAM counts beyond its own: the transfers of neighbouring operations, which run ahead or behind, could have had it."""
LOST = 0.25
"""What part of a panel's latency nothing else hides, since queues that share the channel wait for one another; and of the time in which
tiles come in that have to be there before any beat."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan should cost."""

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


class Estimator:
    """Estimates plans of the same blocks: what does not depend on the order of their loops is computed once.

    With two slots DRAM and array work side by side.  What they do one after the other: the first panels come in, the last ones go out, sums
    of which there is only one panel change, and accumulators that blocks add to go out before those of the next block come in.
    """

    def __init__(self, nest: Nest, loops: Loops, machine: Machine, blocks: Mapping[str, int]) -> None:
        self._nest, self._loops, self._machine = nest, loops, machine
        self._sizes = sizes = Plan(blocks).split(nest.sizes)
        self._turns = turns = turns_of(sizes, nest.tiles)
        axes = (*(axis.upper() for axis in blocks), *loops.inner)
        beats = loops.products * prod(sizes[axis] for axis in loops.time)
        tiles = prod(turns[axis] for axis in axes)
        self._array = ceil(tiles * tile_interval(beats, machine, double_buffer=loops.slots > 1) / machine.arrays)
        rows, cols, bandwidth = machine.rows, machine.cols, machine.dram.bytes_per_cycle
        # A panel's place is free again when it has been moved and used, until it is through with the latency of DRAM and of the array.
        self._latency = machine.dram.latency + rows + cols
        turn = rows + cols + 2 * (machine.dram.latency + WORD * rows * cols / bandwidth)
        change = turn * (prod(sizes[axis] for axis in nest.summed_blocks(axes)) - 1)
        self._ways = [
            (keeps, nest.kept(keeps), nest.tile_traffic(axes, sizes, turns, keeps), 0 if "sums" in keeps else change)
            for keeps in what_to_keep(nest, blocks)
        ]
        self._tiled = min(tiled for _, _, tiled, _ in self._ways)
        everything = Plan(blocks, axes)
        self._choosing = [frozenset(everything.outside(blocked(tensor.axes, blocks), turns)) for tensor in nest.tensors]
        self._flows: dict[tuple[int, int, frozenset[str]], Flow] = {}

    def least(self, traffic: int = 0) -> float:
        """What no key is below, where panels move so many bytes or more."""
        dram = (self._tiled + traffic) / self._machine.dram.bytes_per_cycle
        return max(self._array, dram) + SHARED * dram

    def of(self, plan: Plan, most: float = inf, limit: float = inf) -> Iterator[Estimate]:
        """The cost with what follows the product riding on it, and without if anything does; and the same where more is kept.

        Left out: some that take more than ``most`` bytes, and some whose key is above ``limit``.
        """
        nest, array = self._nest, self._array
        flows = [self._flow(plan, number) for number in range(len(nest.tensors))]
        ways = [flows]
        if any(tensor.again for tensor in nest.tensors):
            ways = [[flow.ridden(tensor) for flow, tensor in zip(flows, nest.tensors, strict=True)], flows]
        moved = [(sum([flow.traffic for flow in way]), sum([flow.taken for flow in way])) for way in ways]
        moved = [(traffic, taken) for traffic, taken in moved if taken <= most and self.least(traffic) <= limit]
        if not moved:
            return
        bandwidth, latency = self._machine.dram.bytes_per_cycle, self._latency
        rings = [(flow.moved / bandwidth + flow.moved / flow.panel * latency + array) / flow.slots for flow in flows]
        lost = LOST * latency * max(0, *(flow.moved / flow.panel - flow.slots for flow in flows))
        begin_and_end = sum([flow.panel + 2 * flow.moved * flow.accumulates for flow in flows])
        for keeps, kept, tiled, change in self._ways:
            exposed = (kept + begin_and_end) / bandwidth + change
            waits = lost + LOST * nest.kept(keeps & {"tiles"}) / bandwidth
            own = Plan(plan.blocks, plan.outer, plan.slots, keeps) if keeps else plan
            for traffic, taken in moved:
                dram = (tiled + traffic) / bandwidth
                cycles = max(dram, array + exposed, *rings) if plan.slots > 1 else dram + array
                yield Estimate(cycles + waits, dram, tiled + traffic, kept + taken, own)

    def _flow(self, plan: Plan, number: int) -> Flow:
        """What the plan does with a tensor: the same whatever the order of the loops around its panels, and of those within."""
        around, choosing = plan.outer, self._choosing[number]
        while around and around[-1] not in choosing:
            around = around[:-1]
        key = number, plan.slots, frozenset(around)
        if key not in self._flows:
            order = plan.order(self._loops.inner)
            self._flows[key] = self._nest.flow(plan, self._nest.tensors[number], order, self._sizes, self._turns)
        return self._flows[key]


def what_to_keep(nest: Nest, blocks: Mapping[str, int]) -> list[frozenset[str]]:
    """What may be in the scratchpad as a whole: tiles that all blocks use, sums that all add to."""
    if not blocks:
        return [frozenset()]
    possible = {"tiles": nest.loaded and nest.held > 0, "sums": nest.sums > 0 and not nest.summed.isdisjoint(blocks)}
    there = [name for name, can in possible.items() if can]
    return [frozenset(names) for number in range(len(there) + 1) for names in combinations(there, number)]
