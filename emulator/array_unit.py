"""The array's queue in the fast engine: beat nests as single events."""

import numpy as np

from emulator.costs import words_of
from emulator.counters import READ, WRITE
from emulator.nest import Beat, Nest
from emulator.sums import Ints, RecentSums
from emulator.units import Code, Shared, Unit
from isa.instructions import Queue
from isa.sequencer import turns


class ArrayUnit(Unit):
    """The array: issues beat nests.  A `take` at the end of a nest is a beat of its own, since only the drain before tells its cycle."""

    def __init__(self, queue: Queue, code: Code, shared: Shared) -> None:
        self.sums = RecentSums(shared.machine)
        self.in_tail = False
        self.lanes = {"h": 0, "v": 0}
        super().__init__(queue, code, shared)

    @property
    def nest(self) -> Nest:
        nest = self.code.nests[self.index]
        assert nest is not None
        return nest

    def _next(self) -> None:
        """Further on, past nests without a turn; the flags of the nest are looked up here, once."""
        super()._next()
        while self.index >= 0 and self.index in self.code.nests:
            nest = self.nest
            self.turns = [turns(loop, self.counters) for loop in nest.loops]
            if all(count > 0 for count in self.turns):
                self.swap = nest.beats[0].swap.holds(self.counters, self.counts)
                self.take = nest.beats[-1].take.holds(self.counters, self.counts)
                self.zeros = [beat.zero.holds(self.counters, self.counts) for beat in nest.beats]
                self.total = len(nest.beats) * int(np.prod(self.turns, dtype=np.int64))
                return
            super()._next()

    def start(self) -> int | None:
        shared = self.shared
        start = self.time
        if self.swap and not self.in_tail:
            if len(shared.loads) <= len(shared.swaps):
                return None
            start = max(start, shared.loads[len(shared.swaps)] + shared.machine.rows)
        if self.take and (self.in_tail or self.total == 1):
            if len(shared.drains) < len(shared.takes):
                return None
            start = max(start, shared.drains[-1] + 1 if shared.drains else 0)
        return start

    def execute(self) -> None:
        if self.in_tail:
            self._take(self.nest.beats[-1])
        else:
            self._run(self.nest)
            self.in_tail = self.take and self.total > 1
            if self.in_tail:
                return
        self.in_tail = False
        self._next()

    def _run(self, nest: Nest) -> None:
        """All beats; the last one is left out if it takes the gradient and is not the only one."""
        shared = self.shared
        if self.swap:
            self._stall(shared.weight_chain, shared.loads[len(shared.swaps)] + shared.machine.rows, nest.beats[0].provenance)
        for beat in nest.beats:
            self._count(beat, self.total // len(nest.beats))
        if shared.values:
            shared.array.run(nest, self.counters, self.turns, self.swap, self.zeros)
        if self.take and self.total == 1:
            self._take(nest.beats[0])
            if self.swap:
                shared.swaps.append(self.time - 1)
            return
        beats, start = self.total - self.take, self.time
        shifts = self.sums.shifts(nest, self.counters, self.turns, self.zeros, beats, start)
        self.sums.record(nest, self.counters, self.turns, beats, start, shifts)
        if self.swap:
            shared.swaps.append(start + int(shifts[0]))
        self._book(nest, beats, start, shifts)

    def _take(self, beat: Beat) -> None:
        """Issue a beat that takes the gradient."""
        shared = self.shared
        self._stall(shared.gradient_chain, shared.drains[-1] + 1 if shared.drains else 0, beat.provenance)
        shared.takes.append(self.time)
        if shared.values:
            shared.array.take(beat.op == "upd")
        self._issue(beat, 1, self.time, self.time)

    def _book(self, nest: Nest, beats: int, start: int, shifts: Ints) -> None:
        """Busy and stalled cycles of the first ``beats`` beats of the nest."""
        width, last_shift = len(nest.beats), int(shifts[-1])
        if last_shift:
            steps = np.diff(shifts, prepend=0)
            for number in np.flatnonzero(steps).tolist():
                stalled = nest.beats[number % width].provenance
                self.shared.counters.stalls[stalled, self.queue, self.shared.partial_sums] += int(steps[number])
        for position, beat in enumerate(nest.beats):
            count = (beats - position + width - 1) // width
            if count > 0:
                last = (count - 1) * width + position
                issue = start + last + int(shifts[min(last, len(shifts) - 1)])
                self._issue(beat, count, start + position, issue)
        self.time = start + beats + last_shift

    def _issue(self, beat: Beat, count: int, first: int, last: int) -> None:
        """Book ``count`` turns of a beat, the first and the last of which issue in these cycles."""
        finish = last + self.shared.machine.rows + self.shared.machine.cols - 1
        self.shared.counters.work(beat.provenance, self.queue, first, last + 1 - first, finish, beat.op, cycles=count)
        self.time = last + 1
        self.finish = max(self.finish, finish)

    def _count(self, beat: Beat, turn_count: int) -> None:
        """MACs and scratchpad accesses of all turns of a beat."""
        counters, lanes = self.shared.counters, self.lanes
        for port, source in (("h", beat.h), ("v", beat.v)):
            if source and source.stream:
                lanes[port] = words_of(source.stream, self.counters)
                counters.access(beat.provenance, READ, source.stream, self.queue, lanes[port] * turn_count)
        if beat.acc:
            through = "v" if beat.op == "fwd" else "h"
            lanes[through] = words_of(beat.acc, self.counters)
            counters.access(beat.provenance, WRITE, beat.acc, self.queue, lanes[through] * turn_count)
            if not beat.zero.holds(self.counters, self.counts):
                counters.access(beat.provenance, READ, beat.acc, self.queue, lanes[through] * turn_count)
        if beat.op != "upd":
            counters.macs[beat.provenance] += lanes["h"] * lanes["v"] * turn_count
