"""Which turns of a loop take the same time and count the same, seen from the code alone.

Loops of which each holds nothing but the next are looked at as one, if nothing in them tells their turns apart: what they do goes on where
an inner one begins anew.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isa.instructions import Instruction, When
from isa.sequencer import Sequencer
from isa.stream import Space, Stream, reach

Move = Callable[[int], int]
"""From the address of a row of partial sums to that of the row which has its part some turns later."""


@dataclass(frozen=True, slots=True)
class Body:
    """What tells the turns of the loops at ``levels`` apart: flags, clipped extents, addresses. Turns are counted through all of them."""

    levels: range
    first: int
    """1 if a flag tells the first turn from the others, else 0."""
    last: int
    """The same of the last turn."""
    full: int | None
    """So many turns come before the first that is clipped; None: nothing is clipped."""
    sums: tuple[Stream, ...]
    dram: tuple[Stream, ...]
    waits: frozenset[int]
    """Semaphores of which tokens are taken."""
    slots: range | None
    """Addresses of the rows of partial sums if they lie in the slots of one ring; its step is the size of a slot."""

    def number(self, counters: Sequence[int], counts: Sequence[int]) -> int:
        """How many turns came before."""
        number = 0
        for level in self.levels:
            number = number * counts[level] + counters[level]
        return number

    def go(self, counters: list[int], counts: Sequence[int], turns: int) -> None:
        """Set the counters to those of so many turns later."""
        number = self.number(counters, counts) + turns
        for level in reversed(self.levels):
            number, counters[level] = divmod(number, counts[level])

    def alike(self, counts: Sequence[int]) -> range:
        """The turns that do not differ but in their addresses."""
        last = math.prod([counts[level] for level in self.levels]) - self.last
        return range(self.first, last if self.full is None else min(last, self.full))

    def moves_sums(self, turns: int) -> Move | None:
        """How all partial sums move in so many turns; None if they do not move alike."""
        level = self.levels[-1]
        moves = {(_stride(stream, level) * turns, _ring_steps(stream, level, turns)) for stream in self.sums}
        if len(moves) > 1:
            return None
        shift, steps = moves.pop()
        if not steps:
            return lambda row: row + shift
        slots = self.slots
        if shift or slots is None:
            return None
        start, size = slots.start, slots.stop - slots.start
        return lambda row: start + (row - start + steps * slots.step) % size if start <= row < start + size else row

    def keeps_alignment(self, turns: int, burst: int) -> bool:
        """Whether so many turns move every DRAM address by a multiple of a burst's bytes."""
        return burst == 1 or all(_aligned(stream, level, turns, burst) for stream in self.dram for level in self.levels)


def bodies(sequencer: Sequencer, index: int, burst: int, join: bool) -> tuple[Body, ...]:
    """Of each loop around an instruction, or a nest, the body that it belongs to; without ``join`` each loop has one of its own."""
    loops = sequencer.enclosing[index]
    found: list[Body] = []
    while len(found) < len(loops):
        one = _body(sequencer, loops[len(found) :], burst, join)
        found += [one] * len(one.levels)
    return tuple(found)


def _body(sequencer: Sequencer, around: Sequence[int], burst: int, join: bool) -> Body:
    """The body that begins with the first of these loops, each around the next."""
    loop, code = around[0], sequencer.code
    level = len(sequencer.enclosing[loop])
    inside = range(loop + 1, sequencer.partner[loop])
    values = [(index, value) for index in inside for value in code[index].args.values()]
    flags = [value for _, value in values if isinstance(value, When)]
    streams = [value for _, value in values if isinstance(value, Stream)]
    sums = [(index, code[index].args["acc"]) for index in inside if "acc" in code[index].args]
    clips = [(dim.level, dim.limit // dim.count) for stream in streams for dim in stream.dims if dim.limit is not None]
    loops = [code[index].args for index in inside if code[index].op == "loop"]
    clips += [(args["level"], args["limit"] // args["count"]) for args in loops if args["limit"]]
    dram = tuple([stream for stream in streams if stream.space is Space.dram])
    clipped = {at for at, _ in clips}

    def joins(inner: int, level: int) -> bool:
        """Whether turns can be counted through this loop and the one around it; a flag of both is one of the first or last of all."""
        aligned = burst == 1 or all(_aligned(stream, at, 1, burst) for stream in dram for at in (level - 1, level))
        goes_on = aligned and all(_goes_on(acc, level, code[inner]) for _, acc in sums)
        return goes_on and not clipped & {level - 1, level} and all((level in flag.levels) == (level - 1 in flag.levels) for flag in flags)

    stop = level + 1
    for inner in around[1:]:
        if not (join and _is_all(sequencer, inner) and joins(inner, stop)):
            break
        stop += 1
    return Body(
        range(level, stop),
        int(any(flag.kind == "first" and level in flag.levels for flag in flags)),
        int(any(flag.kind == "last" and level in flag.levels for flag in flags)),
        min((full for at, full in clips if at == level), default=None),
        tuple([acc for _, acc in sums]),
        dram,
        frozenset([code[index].args["sem"] for index in inside if code[index].op == "wait"]),
        _slots(sequencer, sums) if join else None,
    )


def _is_all(sequencer: Sequencer, loop: int) -> bool:
    """Whether this loop is not clipped, and all there is in the one around it."""
    code, partner = sequencer.code, sequencer.partner
    return code[loop - 1].op == "loop" and not code[loop].args["limit"] and partner[loop - 1] == partner[loop] + 1


def _goes_on(stream: Stream, level: int, loop: Instruction) -> bool:
    """Whether a turn of the loop around this one moves the stream as far as all of this one's turns."""
    turns: int = loop.args["count"]
    same_slot = _ring_steps(stream, level - 1, 1) == _ring_steps(stream, level, turns)
    return same_slot and _stride(stream, level - 1) == _stride(stream, level) * turns


def _slots(sequencer: Sequencer, sums: Sequence[tuple[int, Stream]]) -> range | None:
    """Addresses of the rows of sums, given with their beats' indices, if these are slots of one ring."""
    rings = {(acc.ring.slots, acc.ring.size) if acc.ring else None for _, acc in sums}
    ring = rings.pop() if len(rings) == 1 else None
    if ring is None:
        return None
    reaches = []
    for index, acc in sums:
        counts = [sequencer.code[loop].args["count"] for loop in sequencer.enclosing[index]]
        low, high = reach(list(zip(counts, acc.strides, strict=False)))
        reaches.append((acc.base + low, acc.base + high))
    start = min(low for low, _ in reaches)
    slots, size = ring
    return range(start, start + slots * size, size) if max(high for _, high in reaches) < start + size else None


def _stride(stream: Stream, level: int) -> int:
    return stream.strides[level] if level < len(stream.strides) else 0


def _ring_steps(stream: Stream, level: int, turns: int) -> int:
    """By how many slots the stream moves in so many turns; 0 if it is in the same one then."""
    ring = stream.ring
    return ring.steps[level] * turns % ring.slots if ring and level < len(ring.steps) else 0


def _aligned(stream: Stream, level: int, turns: int, burst: int) -> bool:
    """Whether the stream moves by a multiple of a burst in so many turns."""
    moves = _ring_steps(stream, level, turns) and stream.ring and stream.ring.size % burst
    return not moves and _stride(stream, level) * turns % burst == 0
