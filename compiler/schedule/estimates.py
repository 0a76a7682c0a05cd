"""What a plan should cost; only to choose between plans. Reports never use this: they count what was executed."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import ceil, inf, prod

from compiler.schedule.axes import blocked
from compiler.schedule.blocks import WORD, Flow, Nest, Plan, turns_of
from compiler.schedule.cost import tile_interval
from isa.machine import Machine

SHARED = 0.3
"""What a cycle of DRAM counts beyond its own: the transfers of neighbouring operations, which run ahead or behind, could have had it."""
TAIL = 6
"""Tiles that the array is still busy with when a tensor's only panel has to change, with nothing else coming in."""
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
        self._tile = tile_interval(beats, machine, double_buffer=loops.slots > 1)
        self._array = ceil(tiles * self._tile / machine.arrays)
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

    def of(self, plan: Plan, most: float = inf, limit: float = inf, room: float = inf) -> Iterator[Estimate]:
        """The cost with what follows the product riding on it, and without if anything does; and the same where more is kept.

        Where it takes more than ``room`` bytes, also with single panels of some tensors, of as few as will do.
        Left out: some that take more than ``most`` bytes, and some whose key is above ``limit``.
        """
        nest = self._nest
        flows = [self._flow(plan, number) for number in range(len(nest.tensors))]
        ways = [flows]
        if any(tensor.again for tensor in nest.tensors):
            ways = [[flow.ridden(tensor) for flow, tensor in zip(flows, nest.tensors, strict=True)], flows]
        for way in ways:
            if self.least(sum([flow.traffic for flow in way])) <= limit:
                for single in self._singles(way, room):
                    yield from self._estimates(replace(plan, single=frozenset(single)), self._with_single(way, single), most)

    def _singles(self, flows: Sequence[Flow], room: float) -> Iterator[tuple[str, ...]]:
        """Tensors that may have single panels for all to fit, as few as will do."""
        several = {tensor.name: flow.panel for flow, tensor in zip(flows, self._nest.tensors, strict=True) if flow.slots > 1}
        taken = sum([flow.taken for flow in flows])
        for number in range(max(1, len(several))):
            yield from combinations(several, number)
            if any(taken - sum([several[name] for name in single]) <= room for single in combinations(several, number)):
                return

    def _with_single(self, flows: Sequence[Flow], single: Collection[str]) -> Sequence[Flow]:
        if not single:
            return flows
        return [replace(flow, slots=1) if tensor.name in single else flow for flow, tensor in zip(flows, self._nest.tensors, strict=True)]

    def _estimates(self, plan: Plan, flows: Sequence[Flow], most: float) -> Iterator[Estimate]:
        """The cost of a plan whose tensors come and go like this, for all that may be kept."""
        traffic, taken = sum([flow.traffic for flow in flows]), sum([flow.taken for flow in flows])
        if taken > most:
            return
        nest, array, bandwidth, latency = self._nest, self._array, self._machine.dram.bytes_per_cycle, self._latency
        rings = [(flow.moved / bandwidth + flow.moved / flow.panel * latency + array) / flow.slots for flow in flows]
        lost = LOST * latency * max(0, *(flow.moved / flow.panel - flow.slots for flow in flows))
        begin_and_end = sum([flow.panel + 2 * flow.moved * flow.accumulates for flow in flows])
        alone = sum([
            flow.moved / bandwidth + flow.moved / flow.panel * (latency + TAIL * self._tile)
            for flow, tensor in zip(flows, nest.tensors, strict=True) if tensor.name in plan.single
        ])  # fmt: skip
        for keeps, kept, tiled, change in self._ways:
            exposed = (kept + begin_and_end) / bandwidth + change + alone
            waits = lost + LOST * nest.kept(keeps & {"tiles"}) / bandwidth
            own = replace(plan, keeps=keeps) if keeps else plan
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
